"""Lookups that are under way when a consent ends: once its end is acknowledged, nothing leaves."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from concordat.v1 import common_pb2, consent_pb2, dispute_pb2, signal_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.relations import History
from concordat_privacy.log.checkpoint import SigningKey, open_note
from concordat_store.database import Database
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    account,
    contribute,
    draft,
    grant_one,
    serving,
    token,
    withdraw,
)
from tests.stores import ManualClock, StoreUrls, shape_of, traced

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
INQUIRIES = common_pb2.DATA_CATEGORY_INQUIRIES
OK = signal_pb2.SUBJECT_STATUS_OK
REFUSED = signal_pb2.SUBJECT_STATUS_NO_CONSENT
REQUEST_ID = bytes(range(16))


@dataclass
class Stop:
    """Where a lookup is held: after the permit is durable, before or after the signals are read."""

    before_reading: bool
    armed: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        if self.armed:
            self.reached.set()
            assert self.released.wait(CALL_SECONDS)


class StoppingStore(SignalStore):
    """The signals store, with a place where the test can hold whoever reads."""

    def __init__(self, database: Database, clock: ManualClock, stop: Stop) -> None:
        super().__init__(database, clock)
        self._stop = stop

    def histories(self, subjects: Sequence[SubjectKey], epoch: int) -> dict[SubjectKey, History]:
        if self._stop.before_reading:
            self._stop.wait()
        found = super().histories(subjects, epoch)
        if not self._stop.before_reading:
            self._stop.wait()
        return found


@pytest.fixture(params=[True, False], ids=["before reading", "after reading"])
def stop(request: pytest.FixtureRequest) -> Stop:
    return Stop(before_reading=request.param)


@pytest.fixture
def held(
    journal: Journal, store_urls: StoreUrls, clock: ManualClock, stop: Stop
) -> Iterator[Consortium]:
    with closing(Database.open(store_urls.signals_url)) as database:
        store = StoppingStore(database, clock, stop)
        with serving(journal, store, clock) as running:
            yield running


@contextmanager
def in_flight(stop: Stop, call: Callable[[], object]) -> Iterator[Future[object]]:
    """A call that is held in its middle for as long as the block lasts."""
    stop.armed = True
    with ThreadPoolExecutor(1) as pool:
        try:
            future = pool.submit(call)
            assert stop.reached.wait(CALL_SECONDS)
            yield future
        finally:
            stop.armed = False
            stop.released.set()


def furnish(consortium: Consortium, caller: Caller, subject: int) -> bytes:
    """The caller contributes an open account of the subject; the id of the consent to it."""
    consent = grant_one(caller, draft(consortium, subject, [CONTRIBUTION]))
    assert contribute(caller, [account(consortium, subject)]).rows_accepted == 1
    return consent


def request_of(subject: int) -> signal_pb2.LookupRequest:
    return signal_pb2.LookupRequest(
        token=token(subject), purpose=UNDERWRITING, request_id=REQUEST_ID
    )


def look_up(caller: Caller, subject: int) -> signal_pb2.LookupResponse:
    return caller.signals.Lookup(request_of(subject), timeout=CALL_SECONDS)


def look_up_batch(caller: Caller, subjects: Sequence[int]) -> signal_pb2.BatchLookupResponse:
    request = signal_pb2.BatchLookupRequest(
        tokens=b"".join(map(token, subjects)), purpose=UNDERWRITING, request_id=REQUEST_ID
    )
    return caller.signals.BatchLookup(request, timeout=CALL_SECONDS)


def lenders(result: signal_pb2.SubjectResult) -> str:
    [signal] = [signal for signal in result.signals if signal.name == "lenders_open"]
    return signal.band_label


def last_entry(consortium: Consortium) -> tuple[int, dict[str, object], list[dict[str, object]]]:
    size = consortium.journal.size
    [(index, leaf, items)] = consortium.journal.entries(size - 1, size)
    return index, json.loads(leaf), [json.loads(item) for item in items]


def pause(caller: Caller, consent_id: bytes) -> consent_pb2.PauseConsentResponse:
    request = consent_pb2.PauseConsentRequest(consent_id=consent_id, reason="a test")
    return caller.consents.PauseConsent(request, timeout=CALL_SECONDS)


def revoke(caller: Caller, consent_id: bytes) -> consent_pb2.RevokeConsentResponse:
    request = consent_pb2.RevokeConsentRequest(consent_id=consent_id, reason="a test")
    return caller.consents.RevokeConsent(request, timeout=CALL_SECONDS)


@pytest.mark.parametrize("end", [withdraw, revoke, pause])
def test_an_answer_is_kept_back_where_its_consent_ended_meanwhile(
    held: Consortium, stop: Stop, ledger_key: SigningKey, end: Callable[[Caller, bytes], Any]
) -> None:
    furnish(held, held.beta, 1)
    consent = grant_one(held.alpha, draft(held, 1))
    with in_flight(stop, lambda: look_up(held.alpha, 1)) as call:
        withdrawn = end(held.alpha, consent)
        assert withdrawn.receipt.checkpoint
    reply = call.result()

    assert isinstance(reply, signal_pb2.LookupResponse)
    assert reply.result == signal_pb2.SubjectResult(status=REFUSED)
    # The receipt is of the question, as ever; its tree holds that the answer was kept back.
    assert json.loads(reply.receipt.entry)["type"] == "lookup"
    index, entry, items = last_entry(held)
    assert index > withdrawn.receipt.entry_index > reply.receipt.entry_index
    assert entry["type"] == "lookup.withheld"
    assert entry["lookup"] == reply.receipt.entry_index
    assert entry["request"] == REQUEST_ID.hex()
    assert str(entry["actor"]).endswith("/member/alpha")
    assert items == [{"item": 0}]
    assert open_note(reply.receipt.checkpoint, [ledger_key.verifier]).size > index

    refused = look_up(held.alpha, 1)
    assert refused.result == reply.result


def test_one_of_two_consents_that_ends_keeps_the_whole_answer_back(
    held: Consortium, stop: Stop
) -> None:
    furnish(held, held.beta, 1)
    grant_one(held.alpha, draft(held, 1, categories=[ACCOUNTS]))
    inquiries = grant_one(held.alpha, draft(held, 1, categories=[INQUIRIES]))
    with in_flight(stop, lambda: look_up(held.alpha, 1)) as call:
        withdraw(held.alpha, inquiries)
    reply = call.result()
    assert isinstance(reply, signal_pb2.LookupResponse)
    assert reply.result == signal_pb2.SubjectResult(status=REFUSED)


def test_of_a_batch_only_the_subjects_are_kept_back_whose_consent_ended(
    held: Consortium, stop: Stop
) -> None:
    for subject in (1, 2):
        furnish(held, held.beta, subject)
    ending = grant_one(held.alpha, draft(held, 1))
    grant_one(held.alpha, draft(held, 2))
    with in_flight(stop, lambda: look_up_batch(held.alpha, [1, 3, 2, 1])) as call:
        withdraw(held.alpha, ending)
    reply = call.result()
    assert isinstance(reply, signal_pb2.BatchLookupResponse)
    assert [result.status for result in reply.results] == [REFUSED, REFUSED, OK, REFUSED]
    assert lenders(reply.results[2]) == "1"
    _, entry, items = last_entry(held)
    assert entry["lookup"] == reply.receipt.entry_index
    assert items == [{"item": 0}, {"item": 3}]


def test_rows_are_hidden_whose_consent_was_withdrawn_meanwhile(
    held: Consortium, stop: Stop
) -> None:
    beta = furnish(held, held.beta, 1)
    furnish(held, held.gamma, 1)
    grant_one(held.alpha, draft(held, 1))
    assert lenders(look_up(held.alpha, 1).result) == "2"
    with in_flight(stop, lambda: look_up(held.alpha, 1)) as call:
        withdraw(held.beta, beta)
    reply = call.result()
    assert isinstance(reply, signal_pb2.LookupResponse)
    assert lenders(reply.result) == "1"
    # Nothing of the subject's own was withdrawn, so nothing was kept back.
    assert last_entry(held)[1]["type"] == "consent.withdrawn"


def test_what_is_disputed_meanwhile_is_not_told(held: Consortium, stop: Stop) -> None:
    furnish(held, held.beta, 1)
    for purpose in (UNDERWRITING, common_pb2.PURPOSE_DISPUTE):
        grant_one(held.alpha, draft(held, 1, [purpose]))
    request = dispute_pb2.OpenDisputeRequest(
        request_id=REQUEST_ID,
        token=token(1),
        category=ACCOUNTS,
        reason=dispute_pb2.DISPUTE_REASON_NOT_MINE,
        statement_sha256=bytes(32),
    )
    with in_flight(stop, lambda: look_up(held.alpha, 1)) as call:
        held.alpha.disputes.OpenDispute(request, timeout=CALL_SECONDS)
    reply = call.result()
    assert isinstance(reply, signal_pb2.LookupResponse)
    [signal] = [signal for signal in reply.result.signals if signal.name == "lenders_open"]
    assert (signal.status, signal.band) == (signal_pb2.SIGNAL_STATUS_DISPUTED, 0)


def test_an_answer_by_the_operators_revocation_is_kept_back(held: Consortium, stop: Stop) -> None:
    furnish(held, held.beta, 1)
    consent = grant_one(held.alpha, draft(held, 1))
    with in_flight(stop, lambda: look_up(held.alpha, 1)) as call:
        revoke(held.operator, consent)
    reply = call.result()
    assert isinstance(reply, signal_pb2.LookupResponse)
    assert reply.result == signal_pb2.SubjectResult(status=REFUSED)


def test_positions_of_one_subject_stand_with_the_consents_that_each_rests_on(
    held: Consortium, stop: Stop
) -> None:
    furnish(held, held.beta, 1)
    once = draft(held, 1)
    once.frequency.unit, once.frequency.uses = consent_pb2.TIME_UNIT_DAY, 1
    first = grant_one(held.alpha, once)
    grant_one(held.alpha, draft(held, 1))
    with in_flight(stop, lambda: look_up_batch(held.alpha, [1, 1])) as call:
        withdraw(held.alpha, first)
    reply = call.result()
    assert isinstance(reply, signal_pb2.BatchLookupResponse)
    assert [result.status for result in reply.results] == [REFUSED, OK]
    assert last_entry(held)[2] == [{"item": 0}]


def test_an_exhausted_frequency_ends_no_answer_that_it_permitted(
    held: Consortium, stop: Stop
) -> None:
    furnish(held, held.beta, 1)
    once = draft(held, 1)
    once.frequency.unit, once.frequency.uses = consent_pb2.TIME_UNIT_DAY, 1
    grant_one(held.alpha, once)
    stop.released.set()
    assert look_up(held.alpha, 1).result.status == OK
    assert look_up(held.alpha, 1).result.status == REFUSED


def test_what_ends_or_begins_elsewhere_changes_nothing(held: Consortium, stop: Stop) -> None:
    furnish(held, held.beta, 1)
    grant_one(held.alpha, draft(held, 1, lasts_seconds=60))
    others = grant_one(held.gamma, draft(held, 1))
    of_another_subject = grant_one(held.alpha, draft(held, 2))
    with in_flight(stop, lambda: look_up(held.alpha, 1)) as call:
        withdraw(held.gamma, others)
        withdraw(held.alpha, of_another_subject)
        # Too late to be part of this answer, and an expiry that the permit was in time for.
        furnish(held, held.gamma, 1)
        held.clock.advance(61)
    reply = call.result()
    assert isinstance(reply, signal_pb2.LookupResponse)
    assert reply.result.status == OK
    assert lenders(reply.result) == "1"


def test_the_second_question_asks_nothing_about_refused_subjects(
    consortium: Consortium,
) -> None:
    furnish(consortium, consortium.beta, 1)
    known_ending = furnish(consortium, consortium.beta, 2)
    grant_one(consortium.alpha, draft(consortium, 9))
    runs = []
    for subject in (1, 2, 3):
        with traced() as seen:
            look_up_batch(consortium.alpha, [subject, 9])
        runs.append(shape_of(seen))
        if subject == 1:
            withdraw(consortium.beta, known_ending)
    assert runs[0] == runs[1] == runs[2]


def test_a_withdrawal_through_one_process_stops_an_answer_of_another(
    consortium: Consortium, store_urls: StoreUrls
) -> None:
    beta = furnish(consortium, consortium.beta, 2)
    for subject in (1, 2, 3):
        furnish(consortium, consortium.gamma, subject)
    consents = [grant_one(consortium.alpha, draft(consortium, subject)) for subject in (1, 2, 3)]
    command = [sys.executable, "-m", "tests.programs.look_up"]
    command += [store_urls.control_url, store_urls.signals_url, "alpha", "1", "2", "3"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "read\n"
        withdraw(consortium.alpha, consents[0])
        withdraw(consortium.beta, beta)
        said, _ = other.communicate("go on\n", timeout=CALL_SECONDS)
    (first, nothing), (second, hidden), (third, whole) = json.loads(said)
    assert (first, nothing) == (False, [])
    assert (second, third) == (True, True)
    assert hidden == whole
    _, entry, items = last_entry(consortium)
    assert entry["type"] == "lookup.withheld"
    assert items == [{"item": 0}]
