"""tlog-proof files: written, parsed, verified."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.cosignature import Quorum, WitnessSigningKey
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.merkle import Tree
from concordat_privacy.log.proof import TlogProof, TlogProofError

LOG = SigningKey("concordat.example/ledger", bytes(range(32)))
WITNESS = WitnessSigningKey("witness.example/w1", bytes([1] * 32))
ENTRIES = [f"entry {number}".encode() for number in range(20)]
TREE = Tree.of(ENTRIES)
CHECKPOINT = Checkpoint(LOG.name, 20, TREE.root)
NOTE = sign(CHECKPOINT, LOG) + WITNESS.cosign(CHECKPOINT.body(), 1_679_315_147)
KEYS = (LOG.verifier, Quorum((WITNESS.verifier,), 1))


def proof_of(index: int, extra: bytes = b"") -> TlogProof:
    return TlogProof(index, tuple(TREE.inclusion_proof(index)), NOTE, extra)


def test_a_proof_has_the_lines_of_the_specification() -> None:
    proof = proof_of(7, b"context")
    hashes = [base64.b64encode(digest).decode() for digest in proof.hashes]
    lines = ["c2sp.org/tlog-proof@v1", "extra Y29udGV4dA==", "index 7", *hashes, "", ""]
    assert proof.encode() == "\n".join(lines) + NOTE
    assert proof_of(7).encode().startswith("c2sp.org/tlog-proof@v1\nindex 7\n")


@given(st.integers(0, 19), st.binary(max_size=50))
def test_every_entry_is_proven_by_its_file(index: int, extra: bytes) -> None:
    proof = TlogProof.decode(proof_of(index, extra).encode())
    assert proof == proof_of(index, extra)
    assert proof.verify(ENTRIES[index], *KEYS) == CHECKPOINT


def test_another_entry_or_index_is_not_proven() -> None:
    with pytest.raises(TlogProofError):
        proof_of(7).verify(ENTRIES[8], *KEYS)
    moved = TlogProof(8, proof_of(7).hashes, NOTE)
    with pytest.raises(TlogProofError):
        moved.verify(ENTRIES[7], *KEYS)
    with pytest.raises(TlogProofError):
        TlogProof(20, proof_of(7).hashes, NOTE).verify(ENTRIES[7], *KEYS)


def test_a_proof_without_the_wanted_witnesses_is_refused() -> None:
    with pytest.raises(TlogProofError, match="1 cosignatures are needed"):
        TlogProof(7, proof_of(7).hashes, sign(CHECKPOINT, LOG)).verify(ENTRIES[7], *KEYS)
    other = SigningKey(LOG.name, bytes(32)).verifier
    with pytest.raises(TlogProofError, match="not signed by its log"):
        proof_of(7).verify(ENTRIES[7], other)


def test_the_log_of_one_entry_has_an_empty_proof() -> None:
    only = Checkpoint(LOG.name, 1, Tree.of(ENTRIES[:1]).root)
    text = TlogProof(0, (), sign(only, LOG)).encode()
    assert text.startswith("c2sp.org/tlog-proof@v1\nindex 0\n\nconcordat.example/ledger\n1\n")
    assert TlogProof.decode(text).verify(ENTRIES[0], LOG.verifier) == only


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("tlog-proof@v1", "tlog-proof@v2", "first line"),
        ("index 7", "index 07", "index"),
        ("index 7", "index -7", "index"),
        ("index 7", "index 7 ", "index"),
        ("index 7\n", "", "index"),
        ("index 7", "index 99999999999999999999", "index"),
        ("extra Y29udGV4dA==", "extra Y29udGV4dA=", "base64"),
        ("extra Y29udGV4dA==", "extra Y29udGV4dB==", "canonical"),
        ("extra Y29udGV4dA==", "EXTRA Y29udGV4dA==", "index"),
        ("index 7\n", "index 7\nAAAA\n", "32 bytes"),
        ("index 7\n", "index 7\n" + f"{base64.b64encode(bytes(32)).decode()}\n" * 65, "64"),
        ("\n\n", "\n", "index|empty|hash|base64|first"),
    ],
)
def test_a_malformed_file_is_refused(old: str, new: str, reason: str) -> None:
    text = proof_of(7, b"context").encode()
    assert old in text
    with pytest.raises(TlogProofError, match=reason):
        TlogProof.decode(text.replace(old, new))


def test_a_file_longer_than_any_proof_is_not_read() -> None:
    with pytest.raises(TlogProofError):
        TlogProof.decode(proof_of(7).encode() + "x" * 1_200_000)


@given(st.data())
def test_a_changed_character_never_proves_another_claim(data: st.DataObject) -> None:
    text = proof_of(7).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters(codec="utf-8")) + text[at + 1 :]
    try:
        checkpoint = TlogProof.decode(changed).verify(ENTRIES[7], *KEYS)
    except LogError:
        return
    assert changed == text
    assert checkpoint == CHECKPOINT
