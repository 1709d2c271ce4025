"""A witness's request and its decision (C2SP tlog-witness), without any state of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import EMPTY_ROOT, Tree
from concordat_privacy.log.witness import (
    MAX_PROOF_LINES,
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    Reason,
    Witness,
    WitnessRefusal,
)

LOG = SigningKey("concordat.example/ledger", bytes(range(32)))
OTHER = SigningKey("other.example/log", bytes([7] * 32))
ENTRIES = [f"entry {number}".encode() for number in range(40)]
FORKED = [*ENTRIES[:10], *(b"other " + entry for entry in ENTRIES[10:])]
WITNESS = Witness([LOG.verifier, OTHER.verifier])


def head(size: int, entries: list[bytes] = ENTRIES) -> Checkpoint:
    return Checkpoint(LOG.name, size, Tree.of(entries[:size]).root)


def note(size: int, entries: list[bytes] = ENTRIES) -> str:
    return sign(head(size, entries), LOG)


def proof(old: int, new: int, entries: list[bytes] = ENTRIES) -> tuple[bytes, ...]:
    return tuple(Tree.of(entries[:new]).consistency_proof(old)) if 0 < old <= new else ()


def asked(old: int, new: int, entries: list[bytes] = ENTRIES) -> AddCheckpoint:
    return AddCheckpoint(old, proof(old, new, entries), note(new, entries))


def refused(request: AddCheckpoint, last: Checkpoint | None) -> Reason:
    with pytest.raises(WitnessRefusal) as refusal:
        WITNESS.decide(request, lambda _: last)
    return refusal.value.reason


@given(st.data())
def test_any_extension_of_the_last_is_cosigned(data: st.DataObject) -> None:
    new = data.draw(st.integers(0, 40))
    old = data.draw(st.integers(0, new))
    last = head(old) if old or data.draw(st.booleans()) else None
    request = AddCheckpoint.parse(asked(old, new).encode())
    assert WITNESS.decide(request, lambda _: last) == head(new)


@given(st.integers(1, 39), st.integers(11, 40))
def test_a_branch_is_never_cosigned_over_the_other(old: int, new: int) -> None:
    """Whatever the request claims as old and proves, once the last lies beyond the fork."""
    last = head(max(old, 11))
    for claimed in range(41):
        reason = refused(asked(claimed, new, FORKED), last)
        assert reason in {
            Reason.FORKED,
            Reason.OTHER_SIZE,
            Reason.UNPROVEN,
            Reason.MALFORMED,
        }


def test_a_fork_of_one_size_is_told_with_both_checkpoints() -> None:
    for old in (0, 5, 20):
        with pytest.raises(WitnessRefusal, match="two different trees of size 20") as refusal:
            WITNESS.decide(asked(old, 20, FORKED), lambda _: head(20))
        assert refusal.value.reason is Reason.FORKED
        assert refusal.value.reason.status == 409
        assert (refusal.value.last, refusal.value.offered) == (head(20), head(20, FORKED))


def test_the_last_checkpoint_can_be_cosigned_again() -> None:
    assert WITNESS.decide(asked(20, 20), lambda _: head(20)) == head(20)
    with_proof = AddCheckpoint(20, (bytes(32),), note(20))
    assert refused(with_proof, head(20)) is Reason.UNPROVEN


def test_a_rolled_back_log_is_refused_with_the_size_it_had() -> None:
    with pytest.raises(WitnessRefusal) as refusal:
        WITNESS.decide(asked(5, 10), lambda _: head(20))
    assert refusal.value.reason is Reason.OTHER_SIZE
    assert refusal.value.last == head(20)


def test_from_size_zero_no_proof_may_be_given() -> None:
    assert WITNESS.decide(asked(0, 7), lambda _: None) == head(7)
    assert refused(AddCheckpoint(0, (bytes(32),), note(7)), None) is Reason.UNPROVEN
    assert WITNESS.decide(asked(0, 0), lambda _: None).root == EMPTY_ROOT


def test_an_empty_log_has_one_root_only() -> None:
    wrong = sign(Checkpoint(LOG.name, 0, bytes(32)), LOG)
    assert refused(AddCheckpoint(0, (), wrong), None) is Reason.FORKED


def test_old_must_be_what_was_cosigned_last() -> None:
    assert refused(asked(3, 7), None) is Reason.OTHER_SIZE
    assert refused(asked(0, 7), head(3)) is Reason.OTHER_SIZE
    assert refused(asked(2, 7), head(3)) is Reason.OTHER_SIZE


def test_old_above_the_checkpoint_is_malformed() -> None:
    assert refused(AddCheckpoint(8, (), note(7)), head(8)) is Reason.MALFORMED


def test_only_followed_logs_with_their_own_keys_are_cosigned() -> None:
    stranger = SigningKey("stranger.example/log", bytes(32))
    unknown = sign(Checkpoint(stranger.name, 1, bytes(32)), stranger)
    assert refused(AddCheckpoint(0, (), unknown), None) is Reason.UNKNOWN_LOG
    forged = sign(head(7), SigningKey(LOG.name, bytes([9] * 32)))
    assert refused(AddCheckpoint(0, (), forged), None) is Reason.NOT_SIGNED
    # The key of another followed log does not count for this one.
    crossed = sign(Checkpoint(LOG.name, 7, bytes(32)), SigningKey(LOG.name, OTHER.seed))
    assert refused(AddCheckpoint(0, (), crossed), None) is Reason.NOT_SIGNED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "old SIZE"),
        (b"\xff\xfe", "UTF-8"),
        (b"old 0\n", "empty line"),
        (b"old 0", "empty line"),
        (b"old 01\n\n" + note(1).encode(), "old SIZE"),
        (b"old -1\n\n" + note(1).encode(), "old SIZE"),
        (b"old 1 \n\n" + note(1).encode(), "old SIZE"),
        (b"OLD 0\n\n" + note(1).encode(), "old SIZE"),
        (b"old 0\nabc\n\n" + note(1).encode(), "base64"),
        (b"old 1\nAAAA\n\n" + note(1).encode(), "32 bytes"),
        (b"old 0\n\n", "note"),
        (b"old 0\n\nno note\n", "note"),
        (b"old 0\n\n" + note(1).encode()[:-1], "newline"),
        (b"old 0\n\n" + note(1).encode() + b" " * MAX_REQUEST_BYTES, "longer"),
        (
            b"old 1\n"
            + b"A" * 43
            + b"=\n"
            + (b"A" * 43 + b"=\n") * MAX_PROOF_LINES
            + b"\n"
            + note(1).encode(),
            "63",
        ),
    ],
)
def test_a_malformed_request_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(WitnessRefusal, match=reason) as refusal:
        AddCheckpoint.parse(body)
    assert refusal.value.reason is Reason.MALFORMED
    assert refusal.value.reason.status == 400


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_request_is_worse_than_malformed(body: bytes) -> None:
    def ask() -> None:
        WITNESS.decide(AddCheckpoint.parse(b"old 0\n\n" + body), lambda _: None)

    with pytest.raises(WitnessRefusal) as refusal:
        ask()
    assert refusal.value.reason in {Reason.MALFORMED, Reason.UNKNOWN_LOG, Reason.NOT_SIGNED}


def test_a_request_keeps_its_form() -> None:
    request = asked(5, 20)
    lines = request.encode().decode().split("\n")
    assert lines[0] == "old 5"
    assert lines[1 + len(request.proof)] == ""
    assert lines[2 + len(request.proof)] == LOG.name
    assert AddCheckpoint.parse(request.encode()) == request
