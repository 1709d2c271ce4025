"""The gateway brings checkpoints to witnesses that others run, whatever these answer."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prometheus_client import CollectorRegistry

from concordat_gateway.config import Witness, Witnesses
from concordat_gateway.cosigning import Lag, Submission, WitnessAway, cosigning
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.witnesses import add, newest
from concordat_privacy.log.checkpoint import SigningKey, parse_checkpoint
from concordat_privacy.log.cosignature import Quorum, WitnessSigningKey
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.witnessing import AddCheckpoint, Seen, WitnessRefusal, judge
from concordat_rpc.errors import Refusal
from tests.gateways import eventually
from tests.ledgers import appending
from tests.stores import ManualClock
from tests.witnesses import ONE, SECONDS, TWO, WITNESSES, quorum_of, size_of

Answer = tuple[int, bytes]


class Foreign:
    """A witness of somebody else's making: it answers what it is told to, or as it should."""

    def __init__(self, key: WitnessSigningKey, log: SigningKey) -> None:
        self.key = key
        self.seen: dict[str, Seen] = {}
        self.requests: list[AddCheckpoint] = []
        self.answers: list[Callable[[AddCheckpoint], Answer]] = []
        """What it answers to the next requests instead."""
        self._logs = {log.name: log.verifier}

    def answer(self, body: bytes) -> Answer:
        request = AddCheckpoint.decode(body)
        self.requests.append(request)
        if self.answers:
            return self.answers.pop(0)(request)
        return self.honest(request)

    def honest(self, request: AddCheckpoint) -> Answer:
        try:
            origin, now = judge(request, self._logs, self.seen)
        except WitnessRefusal as refusal:
            return refusal.status, f"{refusal.size}\n".encode()
        self.seen[origin] = now
        return 200, self.key.cosign(parse_note(now.note).text, SECONDS).encode()


@pytest.fixture
def foreign(ledger_key: SigningKey) -> Foreign:
    return Foreign(ONE, ledger_key)


@pytest.fixture
def url(foreign: Foreign) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/prefix/add-checkpoint"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = foreign.answer(body)
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/prefix"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def listed(url: str, needed: int = 1, grace: float = 60) -> Witnesses:
    witnesses = tuple(Witness(key.verifier, url if key is ONE else "") for key in WITNESSES)
    return Witnesses(quorum_of(needed), timedelta(seconds=grace), witnesses)


@pytest.fixture
def submission(journal: Journal, url: str) -> Submission:
    wanted = listed(url)
    return Submission(journal, wanted, wanted.listed[0])


def grow(journal: Journal, entries: int = 1) -> int:
    for number in range(entries):
        journal.write(appending(number))
    return journal.size


def test_each_checkpoint_is_brought_once_with_a_proof_from_the_last(
    journal: Journal, foreign: Foreign, submission: Submission
) -> None:
    assert submission.submit() == 0
    for entries in (3, 1, 9):
        size = grow(journal, entries)
        assert submission.submit() == size
        assert submission.submit() == size
        note = newest(journal, quorum_of(1))
        assert (size_of(note), quorum_of(1).check(note)) == (size, {ONE.name: SECONDS})
    assert [request.old for request in foreign.requests] == [0, 3, 4]


def test_a_gateway_that_was_restarted_learns_what_the_witness_has(
    journal: Journal, foreign: Foreign, url: str
) -> None:
    for entries in (3, 4):
        size = grow(journal, entries)
        wanted = listed(url)
        assert Submission(journal, wanted, wanted.listed[0]).submit() == size
    assert [request.old for request in foreign.requests] == [0, 0, 3]


def test_a_witness_that_is_ahead_of_what_is_asked_cosigns_what_it_has(
    journal: Journal, foreign: Foreign, submission: Submission
) -> None:
    """Somebody else brought it a newer checkpoint than the one that the others are asked for."""
    size = grow(journal, 5)
    newer = grow(journal, 2)
    foreign.honest(AddCheckpoint(0, (), journal.checkpoint_of(newer)))
    two = listed("", needed=2)
    note = journal.checkpoint_of(size)
    add(journal, two.quorum, size, TWO.cosign(parse_note(note).text, SECONDS), 30)
    assert submission.submit() == newer


def test_lines_of_other_keys_in_an_answer_are_passed_over(
    journal: Journal, foreign: Foreign, submission: Submission
) -> None:
    size = grow(journal, 2)
    same_name = WitnessSigningKey(ONE.name, bytes([8] * 32))

    def crowd(request: AddCheckpoint) -> Answer:
        text = parse_note(request.note).text
        lines = [same_name.cosign(text, 1), TWO.cosign(text, 1), "junk\n", ONE.cosign(text, 5)]
        return 200, "".join(lines).encode()

    foreign.answers.append(crowd)
    assert submission.submit() == size
    assert quorum_of(1).check(newest(journal, quorum_of(1))) == {ONE.name: 5}


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"\xff\xfe"),
        (200, TWO.cosign("text\n", 1).encode()),
        (301, b""),
        (404, b"unknown log"),
        (409, b"many"),
        (409, b"99999999999999999999\n"),
        (409, b"1000\n"),
        (422, b"no proof"),
        (500, b"x" * 10_000),
    ],
)
def test_an_unusable_answer_is_an_absent_witness(
    journal: Journal, foreign: Foreign, submission: Submission, answer: Answer
) -> None:
    size = grow(journal, 2)
    foreign.answers.append(lambda _: answer)
    with pytest.raises(WitnessAway):
        submission.submit()
    with pytest.raises(Refusal, match="no checkpoint has been cosigned"):
        newest(journal, quorum_of(1))
    assert submission.submit() == size


def test_a_cosignature_of_another_tree_is_not_taken(
    journal: Journal, foreign: Foreign, submission: Submission
) -> None:
    grow(journal, 2)
    foreign.answers.append(lambda _: (200, ONE.cosign("another text\n", 1).encode()))
    with pytest.raises(Refusal, match="not over this ledger's checkpoint"):
        submission.submit()


def test_one_absent_witness_holds_up_no_other(journal: Journal, foreign: Foreign, url: str) -> None:
    quorum = Quorum((ONE.verifier, TWO.verifier), 1)
    absent = Witness(TWO.verifier, "http://127.0.0.1:1")
    wanted = Witnesses(quorum, timedelta(60), (absent, Witness(ONE.verifier, url)))
    size = grow(journal, 2)
    registry = CollectorRegistry()

    def cosigned() -> bool:
        try:
            return size_of(newest(journal, quorum)) == size
        except Refusal:
            return False

    with cosigning(journal, wanted, registry):
        eventually(cosigned, "the newest checkpoint is cosigned")
        size = grow(journal, 2)
        eventually(cosigned, "the next one too")
    assert parse_checkpoint(parse_note(newest(journal, quorum)).text).size == size
    assert registry.get_sample_value("concordat_ledger_unwitnessed_seconds") is not None


def test_the_operator_is_told_before_uses_stop_and_when_they_do(
    journal: Journal, clock: ManualClock, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    wanted = listed(url, grace=100)
    lag = Lag(journal, wanted, registry, clock)
    caplog.set_level(logging.INFO, "concordat_gateway.cosigning")

    def told() -> list[str]:
        lag.look()
        messages = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        caplog.clear()
        return messages

    assert told() == []
    grow(journal)
    clock.advance(49)
    assert told() == []
    clock.advance(1)
    [warning] = told()
    assert warning == (
        "WARNING too few witnesses have seen the ledger for 50 s; at 100 s uses of data stop"
    )
    assert registry.get_sample_value("concordat_ledger_unwitnessed_seconds") == 50
    assert told() == []
    clock.advance(50)
    [error] = told()
    assert error.startswith("ERROR too few witnesses have seen the ledger for 100 s: no data is")
    assert told() == []
    Submission(journal, wanted, wanted.listed[0]).submit()
    assert told() == ["INFO enough witnesses have seen the ledger again"]
    assert registry.get_sample_value("concordat_ledger_unwitnessed_seconds") == 0
