"""`concordat witness serve`: HTTP statuses, racing and killed, and never two histories."""

import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, parse_checkpoint
from concordat_privacy.log.checkpoint import sign as sign_checkpoint
from concordat_privacy.log.cosignature import WitnessKey, cosignatures
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.witnessing import MAX_REQUEST_BYTES, AddCheckpoint
from concordat_rpc.address import Address
from concordat_witness.serving import serve_until
from concordat_witness.state import WitnessFolder, create, opened
from tests.witnesses import Branching, ServingWitness, post, run_witness

LOG = Branching(fork=5, size=24)
PLAIN = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "witness"
    create(made, "witness.example/w1")
    return made


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    """A serving witness of the log, in this process."""
    stopping, ready = threading.Event(), threading.Event()
    ports: list[int] = []

    def serve(state: WitnessFolder) -> None:
        def tell(port: int) -> None:
            ports.append(port)
            ready.set()

        serve_until(state, Address("127.0.0.1", 0), stopping, tell)

    with opened(folder) as state:
        state.follow(LOG.key.verifier)
        thread = threading.Thread(target=serve, args=(state,))
        thread.start()
        assert ready.wait(30)
        try:
            yield ports[0]
        finally:
            stopping.set()
            thread.join()


def key_of(folder: Path) -> WitnessKey:
    return WitnessKey.decode((folder / "witness.vkey").read_text())


def test_a_checkpoint_that_extends_the_last_is_cosigned(folder: Path, port: int) -> None:
    for old, size in ((0, 3), (3, 9), (9, 9), (9, 24)):
        request = LOG.request(0, old, size)
        status, kind, line = post(port, request.encode())
        assert (status, kind) == (200, PLAIN)
        found = cosignatures(request.note + line.decode(), [key_of(folder)])
        assert abs(found["witness.example/w1"] - time.time()) < 300
        assert WitnessFolder(folder).seen(LOG.key.name).size == size  # type: ignore[union-attr]


def test_every_refusal_has_the_status_of_the_protocol(port: int) -> None:
    assert post(port, LOG.request(0, 0, 9).encode())[0] == 200
    stranger = SigningKey("stranger.example/log", bytes(32))
    unknown = AddCheckpoint(
        0, (), sign_checkpoint(Checkpoint(stranger.name, 1, bytes(32)), stranger)
    )
    forged = SigningKey(LOG.key.name, bytes(32))
    not_signed = AddCheckpoint(9, (), sign_checkpoint(LOG.checkpoint(0, 9), forged))
    good = LOG.request(0, 9, 12)

    def status(request: AddCheckpoint | bytes) -> tuple[int, str]:
        body = request if isinstance(request, bytes) else request.encode()
        return post(port, body)[:2]

    assert status(b"") == (400, PLAIN)
    assert status(b"old x\n\n" + good.note.encode()) == (400, PLAIN)
    assert status(good.encode()[:-1]) == (400, PLAIN)
    assert status(b"\xff" + good.encode()) == (400, PLAIN)
    assert status(AddCheckpoint(13, (), good.note)) == (400, PLAIN)
    assert status(not_signed) == (403, PLAIN)
    assert status(unknown) == (404, PLAIN)
    assert status(AddCheckpoint(9, good.proof[1:], good.note)) == (422, PLAIN)
    assert status(AddCheckpoint(9, (), good.note)) == (422, PLAIN)
    assert status(LOG.request(1, 9, 12)) == (422, PLAIN)
    for other in (LOG.request(0, 0, 12), LOG.request(0, 3, 12), LOG.request(0, 0, 3)):
        assert post(port, other.encode()) == (409, SIZE, b"9\n")
    assert post(port, LOG.request(1, 9, 9).encode()) == (409, SIZE, b"9\n")
    assert status(b"x" * (MAX_REQUEST_BYTES + 1))[0] == 413
    assert post(port, good.encode(), "/other")[0] == 404
    assert status(good)[0] == 200


def test_only_post_is_answered_and_connections_are_kept_alive(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        for method, wanted in (("GET", 405), ("POST", 200), ("POST", 200), ("DELETE", 405)):
            connection.request(method, "/add-checkpoint", LOG.request(0, 0, 0).encode())
            response = connection.getresponse()
            response.read()
            assert response.status == wanted


def test_a_request_without_an_end_holds_up_no_other(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as silent:
        silent.sendall(
            b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nold 0\n"
        )
        assert post(port, LOG.request(0, 0, 3).encode())[0] == 200


def test_a_fork_of_one_size_is_written_down_with_both_signatures(folder: Path, port: int) -> None:
    assert post(port, LOG.request(0, 0, 9).encode())[0] == 200
    for _ in range(3):
        assert post(port, LOG.request(1, 9, 9).encode())[0] == 409
    [evidence] = WitnessFolder(folder).forks()
    text = evidence.read_text()
    for branch in (0, 1):
        assert sign_checkpoint(LOG.checkpoint(branch, 9), LOG.key) in text
    assert post(port, LOG.request(0, 9, 12).encode())[0] == 200
    shown = run_witness("status", folder)
    assert shown.returncode == 3
    assert str(evidence) in shown.stdout


def tree_of(request: AddCheckpoint) -> tuple[int, bytes]:
    checkpoint = parse_checkpoint(parse_note(request.note).text)
    return checkpoint.size, checkpoint.root


Reply = tuple[AddCheckpoint, int]
"""What was asked, and the status of the answer."""


def push(
    port: int, log: Branching, branch: int, seed: int, cosigned: Callable[[], None] = lambda: None
) -> list[Reply]:
    """Bring one branch's checkpoints to the end of the branch or of the witness.

    `cosigned` is called after each cosignature that arrived.
    """
    chosen, replies, old = random.Random(seed), list[Reply](), 0
    while old < log.size:
        request = log.request(branch, old, min(old + chosen.randint(1, 2), log.size))
        try:
            status, _, answer = post(port, request.encode())
        except (OSError, http.client.HTTPException):
            break
        replies.append((request, status))
        if status == 200:
            old = tree_of(request)[0]
            cosigned()
        elif status == 409:
            old = int(answer)
        else:
            break
    return replies


def check_one_history(log: Branching, replies: list[Reply]) -> int:
    """All that was cosigned lies on one branch, and only the other was refused; which it is."""
    branches = {0, 1}
    for request, status in replies:
        assert status in (200, 409, 422)
        if status == 200:
            branches &= log.branch_of(*tree_of(request))
    [branch] = branches
    for request, status in replies:
        if status == 422:
            assert branch not in log.branch_of(*tree_of(request))
    return branch


def test_racing_requests_never_get_two_histories_cosigned(port: int) -> None:
    replies: list[Reply] = []
    for seed in range(3):
        with ThreadPoolExecutor(8) as pool:
            running = [pool.submit(push, port, LOG, at % 2, 8 * seed + at) for at in range(8)]
            replies += [reply for one in running for reply in one.result()]
    branch = check_one_history(LOG, replies)
    # The end was reached, and all that bring the other branch have been refused since.
    assert (24, 200) in [(tree_of(request)[0], status) for request, status in replies]
    assert post(port, LOG.request(branch, 24, 24).encode())[0] == 200
    assert post(port, LOG.request(1 - branch, 24, 24).encode())[0] == 409


class KilledAfter:
    """Kills a witness as soon as so many of its cosignatures have arrived."""

    def __init__(self, witness: ServingWitness, cosignatures: int) -> None:
        self._witness = witness
        self._left = cosignatures
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._witness.kill()


@pytest.mark.slow
def test_a_witness_that_is_killed_at_any_moment_never_cosigns_two_histories(folder: Path) -> None:
    """When its first, second or third cosignature has arrived, with others under way."""
    # Each round gets at most three cosignatures and those under way: none comes to the end.
    log = Branching(fork=5, size=100)
    replies: list[Reply] = []
    for number, wanted in enumerate((1, 2, 3, 1, 2, 3)):
        witness = ServingWitness(folder, "--log", log.key.verifier.encode())
        killer = KilledAfter(witness, wanted)
        with ThreadPoolExecutor(4) as pool:
            running = [
                pool.submit(push, witness.port, log, at % 2, 4 * number + at, killer)
                for at in range(4)
            ]
            found = [reply for one in running for reply in one.result()]
        given = [tree_of(request)[0] for request, status in found if status == 200]
        assert wanted <= len(given) <= wanted + 3
        kept = WitnessFolder(folder).seen(log.key.name)
        assert kept is not None
        assert kept.size >= max(given)
        replies += found
    branch = check_one_history(log, replies)
    last = WitnessFolder(folder).seen(log.key.name)
    assert last is not None
    assert log.branch_of(last.size, last.root) == {branch}
    successor = ServingWitness(folder)
    try:
        for old in range(log.size):
            status = post(successor.port, log.request(1 - branch, old, log.size).encode())[0]
            assert status == (422 if old == last.size else 409), old
        extended = log.request(branch, last.size, log.size)
        assert post(successor.port, extended.encode())[0] == 200
    finally:
        successor.stop()


def test_two_processes_do_not_cosign_from_one_folder(folder: Path) -> None:
    first = ServingWitness(folder, "--log", LOG.key.verifier.encode())
    try:
        second = run_witness("serve", folder, "--listen", "127.0.0.1:0")
        assert second.returncode == 1
        assert "in use by another process" in second.stderr
        assert run_witness("status", folder).returncode == 0
    finally:
        assert first.stop() == 0
    third = ServingWitness(folder)
    assert third.stop() == 0


def test_a_damaged_memory_stops_the_witness_instead_of_starting_anew(folder: Path) -> None:
    with opened(folder) as state:
        state.follow(LOG.key.verifier)
        state.cosign(LOG.request(0, 0, 9), 1)
    [memory] = (folder / "seen").iterdir()
    memory.write_text("nothing")
    with opened(folder) as state, pytest.raises(Exception, match="no empty line"):
        state.cosign(LOG.request(1, 0, 9), 1)


def test_a_key_that_others_can_read_is_not_used(folder: Path) -> None:
    (folder / "witness.key").chmod(0o644)
    shown = run_witness("status", folder)
    assert shown.returncode == 1
    assert "chmod 600" in shown.stderr


def test_a_folder_with_something_in_it_is_left_alone(folder: Path) -> None:
    before = (folder / "witness.key").read_text()
    again = run_witness("init", folder, "--name", "witness.example/w2")
    assert again.returncode == 1
    assert (folder / "witness.key").read_text() == before
