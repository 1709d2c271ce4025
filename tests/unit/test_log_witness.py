"""A witness's request and its decision (C2SP tlog-witness), without any state of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import EMPTY_ROOT, Tree
from concordat_privacy.log.witnessing import (
    AddCheckpoint,
    Seen,
    Status,
    WitnessRefusal,
    judge,
)

LOG = SigningKey("concordat.example/ledger", bytes(range(32)))
OTHER = SigningKey("other.example/log", bytes([7] * 32))
ENTRIES = [f"entry {number}".encode() for number in range(40)]
FORKED = [*ENTRIES[:10], *(b"other " + entry for entry in ENTRIES[10:])]
LOGS = {key.name: key.verifier for key in (LOG, OTHER)}


def head(size: int, entries: list[bytes] = ENTRIES) -> Checkpoint:
    return Checkpoint(LOG.name, size, Tree.of(entries[:size]).root)


def note(size: int, entries: list[bytes] = ENTRIES) -> str:
    return sign(head(size, entries), LOG)


def proof(old: int, new: int, entries: list[bytes] = ENTRIES) -> tuple[bytes, ...]:
    return tuple(Tree.of(entries[:new]).consistency_proof(old)) if 0 < old <= new else ()


def asked(old: int, new: int, entries: list[bytes] = ENTRIES) -> AddCheckpoint:
    return AddCheckpoint(old, proof(old, new, entries), note(new, entries))


def seen(last: Checkpoint | None) -> dict[str, Seen]:
    return {} if last is None else {last.origin: Seen(last.size, last.root, sign(last, LOG))}


def refused(request: AddCheckpoint, last: Checkpoint | None) -> Status:
    with pytest.raises(WitnessRefusal) as refusal:
        judge(request, LOGS, seen(last))
    return refusal.value.status


@given(st.data())
def test_any_extension_of_the_last_is_cosigned(data: st.DataObject) -> None:
    new = data.draw(st.integers(0, 40))
    old = data.draw(st.integers(0, new))
    last = head(old) if old or data.draw(st.booleans()) else None
    request = AddCheckpoint.decode(asked(old, new).encode())
    origin, kept = judge(request, LOGS, seen(last))
    assert (origin, kept.size, kept.root) == (LOG.name, new, head(new).root)


@given(st.integers(11, 40), st.integers(11, 40))
def test_a_branch_is_never_cosigned_over_the_other(last: int, new: int) -> None:
    """Whatever the request claims as old and proves, once the last lies beyond the fork."""
    for claimed in range(41):
        refused(asked(claimed, new, FORKED), head(last))


def test_a_rolled_back_log_is_refused_with_the_size_it_had() -> None:
    with pytest.raises(WitnessRefusal) as refusal:
        judge(asked(5, 10), LOGS, seen(head(20)))
    assert (refusal.value.status, refusal.value.size) == (Status.CONFLICT, 20)


def test_the_last_checkpoint_can_be_cosigned_again_without_a_proof() -> None:
    assert judge(asked(20, 20), LOGS, seen(head(20)))[1].size == 20
    with_proof = AddCheckpoint(20, (bytes(32),), note(20))
    assert refused(with_proof, head(20)) is Status.NOT_CONSISTENT


def test_an_empty_log_has_one_root_only() -> None:
    wrong = sign(Checkpoint(LOG.name, 0, bytes(32)), LOG)
    assert refused(AddCheckpoint(0, (), wrong), None) is Status.CONFLICT
    assert judge(asked(0, 0), LOGS, {})[1].root == EMPTY_ROOT


def test_the_key_of_another_log_counts_for_no_other() -> None:
    crossed = sign(Checkpoint(LOG.name, 7, bytes(32)), SigningKey(LOG.name, OTHER.seed))
    assert refused(AddCheckpoint(0, (), crossed), None) is Status.NOT_SIGNED


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_request_is_worse_than_refused(body: bytes) -> None:
    def ask() -> None:
        judge(AddCheckpoint.decode(b"old 0\n\n" + body), LOGS, {})

    with pytest.raises(WitnessRefusal) as refusal:
        ask()
    assert refusal.value.status in {Status.MALFORMED, Status.UNKNOWN_LOG, Status.NOT_SIGNED}
