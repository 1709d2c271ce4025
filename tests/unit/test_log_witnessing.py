"""A witness's request and its decision (C2SP tlog-witness), without any state of its own."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import EMPTY_ROOT, Tree
from concordat_privacy.log.witnessing import AddCheckpoint, Seen, Status, WitnessRefusal, judge

LOG = SigningKey("log.example/ledger", bytes(range(32)))
FORKED = [b"entry %d" % n for n in range(8)] + [b"another entry"]
ENTRIES = [b"entry %d" % n for n in range(12)]
KEYS = {LOG.name: LOG.verifier}


def note_of(entries: list[bytes]) -> str:
    return sign(Checkpoint(LOG.name, len(entries), Tree.of(entries).root), LOG)


def seen_of(entries: list[bytes]) -> dict[str, Seen]:
    return {LOG.name: Seen(len(entries), Tree.of(entries).root, note_of(entries))}


def request(old: int, entries: list[bytes]) -> AddCheckpoint:
    proof = Tree.of(entries).consistency_proof(old) if old else []
    return AddCheckpoint(old, tuple(proof), note_of(entries))


def refused(made: AddCheckpoint, seen: dict[str, Seen]) -> WitnessRefusal:
    with pytest.raises(WitnessRefusal) as raised:
        judge(AddCheckpoint.decode(made.encode()), KEYS, seen)
    return raised.value


@pytest.mark.parametrize("size", [0, 1, 12])
def test_the_first_checkpoint_is_taken_as_it_is(size: int) -> None:
    made = AddCheckpoint.decode(request(0, ENTRIES[:size]).encode())
    origin, seen = judge(made, KEYS, {})
    assert origin == LOG.name
    assert (seen.size, seen.root) == (size, Tree.of(ENTRIES[:size]).root)
    assert seen.note == note_of(ENTRIES[:size])


@given(old=st.integers(1, 12), new=st.integers(1, 12))
def test_whatever_extends_the_last_is_cosigned_and_nothing_smaller(old: int, new: int) -> None:
    seen = seen_of(ENTRIES[:old])
    if old <= new:
        assert judge(request(old, ENTRIES[:new]), KEYS, seen)[1].size == new
    else:
        assert refused(AddCheckpoint(old, (), note_of(ENTRIES[:new])), seen).status == 400


def test_a_request_goes_on_from_the_last_cosigned_size() -> None:
    for old in (0, 3, 9):
        refusal = refused(request(old, ENTRIES), seen_of(ENTRIES[:5]))
        assert (refusal.status, refusal.size) == (Status.CONFLICT, 5)


def test_a_forked_log_is_not_cosigned() -> None:
    for old in (9, 12):
        refusal = refused(
            AddCheckpoint(old, (), note_of(FORKED + ENTRIES[9:])), seen_of(ENTRIES[:old])
        )
        assert refusal.status == (Status.CONFLICT if old == 12 else Status.NOT_CONSISTENT)
    proof = tuple(Tree.of([*FORKED, b"more"]).consistency_proof(9))
    made = AddCheckpoint(9, proof, note_of([*FORKED, b"more"]))
    assert refused(made, seen_of(ENTRIES[:9])).status == Status.NOT_CONSISTENT
    assert judge(made, KEYS, seen_of(FORKED))[1].size == 10


def test_a_proof_from_nothing_is_empty() -> None:
    made = AddCheckpoint(0, (bytes(32),), note_of(ENTRIES))
    assert refused(made, {}).status == Status.NOT_CONSISTENT


def test_strangers_checkpoints_are_refused() -> None:
    stranger = SigningKey("other.example/log", bytes(32))
    note = sign(Checkpoint(stranger.name, 0, hashlib.sha256().digest()), stranger)
    assert refused(AddCheckpoint(0, (), note), {}).status == Status.UNKNOWN_LOG
    impostor = SigningKey(LOG.name, bytes(32))
    note = sign(Checkpoint(LOG.name, 0, hashlib.sha256().digest()), impostor)
    assert refused(AddCheckpoint(0, (), note), {}).status == Status.NOT_SIGNED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"old 1\n",
        b"old 01\n\n" + note_of(ENTRIES).encode(),
        b"old -1\n\n" + note_of(ENTRIES).encode(),
        b"old 1\nAAAA\n\n" + note_of(ENTRIES).encode(),
        b"old 1\nnot base64\n\n" + note_of(ENTRIES).encode(),
        b"old 1\n" + 64 * (base64.b64encode(bytes(32)) + b"\n") + b"\n" + note_of(ENTRIES).encode(),
        b"old 0\n\n" + b"x" * 70_000,
        b"old 0\n\nno note",
    ],
)
def test_malformed_requests_are_told_so(body: bytes) -> None:
    with pytest.raises(WitnessRefusal) as raised:
        judge(AddCheckpoint.decode(body), KEYS, {})
    assert raised.value.status == Status.MALFORMED


@given(st.integers(9, 12), st.integers(9, 12))
def test_a_branch_is_never_cosigned_over_the_other(last: int, new: int) -> None:
    """Whatever the request claims as old and proves, once the last lies beyond the fork."""
    fork = [*FORKED, *ENTRIES[9:]]
    for claimed in range(new + 1):
        refused(request(claimed, fork[:new]), seen_of(ENTRIES[:last]))


def test_the_last_checkpoint_can_be_cosigned_again_without_a_proof() -> None:
    assert judge(request(12, ENTRIES), KEYS, seen_of(ENTRIES))[1].size == 12
    with_proof = AddCheckpoint(12, (bytes(32),), note_of(ENTRIES))
    assert refused(with_proof, seen_of(ENTRIES)).status is Status.NOT_CONSISTENT


def test_an_empty_log_has_one_root_only() -> None:
    wrong = sign(Checkpoint(LOG.name, 0, bytes(32)), LOG)
    assert refused(AddCheckpoint(0, (), wrong), {}).status is Status.CONFLICT
    assert judge(request(0, []), KEYS, {})[1].root == EMPTY_ROOT


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_request_is_worse_than_refused(body: bytes) -> None:
    def ask() -> None:
        judge(AddCheckpoint.decode(b"old 0\n\n" + body), KEYS, {})

    with pytest.raises(WitnessRefusal) as refusal:
        ask()
    assert refusal.value.status in {Status.MALFORMED, Status.UNKNOWN_LOG, Status.NOT_SIGNED}
