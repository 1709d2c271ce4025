"""Cosignatures, what a witness cosigns, and proofs as texts: as C2SP writes them."""

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import Checkpoint, CheckpointError, SigningKey, sign
from concordat_privacy.log.cosignature import (
    Quorum,
    WitnessKey,
    WitnessSigningKey,
    cosignatures,
    parse_line,
    with_cosignatures,
)
from concordat_privacy.log.merkle import Tree
from concordat_privacy.log.proof import TlogProof, TlogProofError
from concordat_privacy.log.witnessing import AddCheckpoint, Seen, Status, WitnessRefusal, judge

LOG = SigningKey("log.example/ledger", bytes(range(32)))
FORKED = [b"entry %d" % n for n in range(8)] + [b"another entry"]
ENTRIES = [b"entry %d" % n for n in range(12)]
SEED = bytes(range(100, 132))
WITNESS = WitnessSigningKey("witness.example/w1", SEED)
SECOND = WitnessSigningKey("witness.example/w2", bytes(range(200, 232)))
KEYS = {LOG.name: LOG.verifier}


def note_of(entries: list[bytes]) -> str:
    return sign(Checkpoint(LOG.name, len(entries), Tree.of(entries).root), LOG)


def text_of(note: str) -> str:
    return note.rpartition("\n\n")[0] + "\n"


def seen_of(entries: list[bytes]) -> dict[str, Seen]:
    return {LOG.name: Seen(len(entries), Tree.of(entries).root, note_of(entries))}


def request(old: int, entries: list[bytes]) -> AddCheckpoint:
    proof = Tree.of(entries).consistency_proof(old) if old else []
    return AddCheckpoint(old, tuple(proof), note_of(entries))


def refused(made: AddCheckpoint, seen: dict[str, Seen]) -> WitnessRefusal:
    with pytest.raises(WitnessRefusal) as raised:
        judge(AddCheckpoint.decode(made.encode()), KEYS, seen)
    return raised.value


# Cosignatures


def test_a_cosignature_is_what_the_specification_writes() -> None:
    """Key id, message and bytes, put together by hand."""
    note = note_of(ENTRIES)
    line = WITNESS.cosign(text_of(note), 1_679_315_147)
    private = Ed25519PrivateKey.from_private_bytes(SEED)
    public = private.public_key().public_bytes_raw()
    key_id = hashlib.sha256(b"witness.example/w1\n\x04" + public).digest()[:4]
    message = b"cosignature/v1\ntime 1679315147\n" + text_of(note).encode()
    raw = key_id + (1_679_315_147).to_bytes(8, "big") + private.sign(message)
    assert line == f"— witness.example/w1 {base64.b64encode(raw).decode()}\n"
    vkey = base64.b64encode(b"\x04" + public).decode()
    assert WITNESS.verifier.encode() == f"witness.example/w1+{key_id.hex()}+{vkey}"


def test_keys_survive_their_texts() -> None:
    assert WitnessKey.decode(WITNESS.verifier.encode()) == WITNESS.verifier
    assert WitnessSigningKey.decode(WITNESS.encode()) == WITNESS
    assert SEED.hex() not in repr(WITNESS)


def test_a_log_s_key_is_no_witness_s() -> None:
    with pytest.raises(CheckpointError, match="algorithm 4 is wanted, not of 1"):
        WitnessKey.decode(LOG.verifier.encode())


def test_cosigned_notes_are_still_the_log_s() -> None:
    note = note_of(ENTRIES)
    lines = [key.cosign(text_of(note), 1000 + at) for at, key in enumerate((WITNESS, SECOND))]
    cosigned = with_cosignatures(note, lines)
    assert cosigned.startswith(note)
    assert cosignatures(cosigned, [WITNESS.verifier, SECOND.verifier]) == {
        "witness.example/w1": 1000,
        "witness.example/w2": 1001,
    }
    assert with_cosignatures(cosigned, lines) == cosigned


def test_a_wrong_cosignature_of_a_known_witness_is_never_ignored() -> None:
    other = WITNESS.cosign(text_of(note_of(ENTRIES[:5])), 1000)
    with pytest.raises(CheckpointError, match=r"'witness\.example/w1' does not verify"):
        cosignatures(note_of(ENTRIES) + other, [WITNESS.verifier])


def test_the_time_is_signed() -> None:
    note = note_of(ENTRIES)
    raw = bytearray(parse_line(WITNESS.cosign(text_of(note), 1000)).signature)
    raw[7] ^= 1
    with pytest.raises(CheckpointError, match="does not verify"):
        WITNESS.verifier.verify(text_of(note), bytes(raw))


def test_a_quorum_counts_each_witness_once() -> None:
    note = note_of(ENTRIES)
    twice = note + WITNESS.cosign(text_of(note), 1000) + WITNESS.cosign(text_of(note), 1001)
    two = Quorum((WITNESS.verifier, SECOND.verifier), 2)
    with pytest.raises(CheckpointError, match="2 cosignatures are needed, found 1"):
        two.check(twice)
    assert two.check(twice + SECOND.cosign(text_of(note), 999))["witness.example/w1"] == 1001


def test_strangers_do_not_count() -> None:
    note = note_of(ENTRIES)
    stranger = replace(SECOND, name="witness.example/w1")
    with pytest.raises(CheckpointError, match="found 0"):
        Quorum((WITNESS.verifier,), 1).check(note + stranger.cosign(text_of(note), 5))


@pytest.mark.parametrize(
    ("witnesses", "needed"),
    [
        ((WITNESS.verifier,), 2),
        ((WITNESS.verifier, WITNESS.verifier), 1),
        ((WITNESS.verifier, WitnessKey("witness.example/w3", WITNESS.verifier.public)), 1),
    ],
)
def test_a_quorum_that_cannot_mean_what_it_says_is_refused(
    witnesses: tuple[WitnessKey, ...], needed: int
) -> None:
    with pytest.raises(CheckpointError, match="quorum"):
        Quorum(witnesses, needed)


# What a witness cosigns


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


# Proofs as texts


def proof_of(index: int) -> TlogProof:
    return TlogProof(index, tuple(Tree.of(ENTRIES).inclusion_proof(index)), note_of(ENTRIES))


@given(index=st.integers(0, 11), extra=st.binary(max_size=40))
def test_a_proof_text_proves_its_entry(index: int, extra: bytes) -> None:
    text = replace(proof_of(index), extra=extra).encode()
    assert text.startswith("c2sp.org/tlog-proof@v1\n")
    proof = TlogProof.decode(text)
    assert proof.encode() == text
    assert proof.verify(ENTRIES[index], LOG.verifier).size == 12


def test_a_proof_text_proves_no_other_entry_and_no_other_log() -> None:
    proof = TlogProof.decode(proof_of(3).encode())
    with pytest.raises(TlogProofError):
        proof.verify(ENTRIES[4], LOG.verifier)
    with pytest.raises(TlogProofError, match="not signed by its log"):
        proof.verify(ENTRIES[3], SigningKey(LOG.name, bytes(32)).verifier)
    with pytest.raises(TlogProofError, match="1 cosignatures are needed"):
        proof.verify(ENTRIES[3], LOG.verifier, Quorum((WITNESS.verifier,), 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("index 3", "index 03"),
        lambda text: text.replace("index 3\n", ""),
        lambda text: text.replace("index 3\n", "index 3\nAAAA\n"),
        lambda text: text.replace("\n\n", "\n", 1),
        lambda text: text.replace("index", "extra !\nindex"),
        lambda text: text + "x" * 1_200_000,
    ],
)
def test_malformed_proof_texts_are_refused(change: object) -> None:
    text = change(proof_of(3).encode())  # type: ignore[operator]
    with pytest.raises(TlogProofError):
        TlogProof.decode(text).verify(ENTRIES[3], LOG.verifier)
