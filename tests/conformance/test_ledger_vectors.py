"""Third-party vectors for the log: Merkle proofs, a golden log, malformed checkpoints, Ed25519.

The vectors lie beside the repository, in ../shared/conformance/ledger, and are not part of it.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concordat_privacy.log.checkpoint import Checkpoint, VerifierKey, open_note, parse_checkpoint
from concordat_privacy.log.cosignature import WitnessKey, cosignatures
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.merkle import (
    ProofError,
    Tree,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from concordat_privacy.log.proof import TlogProof
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.tiles import decode_bundle, decode_tile, write_export
from concordat_privacy.log.verify import verify_export
from concordat_privacy.log.witnessing import AddCheckpoint, Seen, Status, WitnessRefusal, judge

VECTORS = Path(__file__).parents[3] / "shared" / "conformance" / "ledger"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="../shared/conformance is missing")


def names(folder: str, pattern: str) -> list[str]:
    found = sorted(str(path.relative_to(VECTORS)) for path in (VECTORS / folder).rglob(pattern))
    return found or ["none"]


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def decoded(proof: list[str] | None) -> list[bytes]:
    return [base64.b64decode(digest) for digest in proof or []]


@pytest.mark.parametrize("name", names("merkle/inclusion", "*.json"))
def test_merkle_inclusion(name: str) -> None:
    vector = load(name)

    def check() -> None:
        verify_inclusion(
            base64.b64decode(vector["leafHash"]),
            vector["leafIdx"],
            vector["treeSize"],
            decoded(vector["proof"]),
            base64.b64decode(vector["root"]),
        )

    if not vector["wantErr"]:
        check()
        return
    with pytest.raises(ProofError):
        check()


@pytest.mark.parametrize("name", names("merkle/consistency", "*.json"))
def test_merkle_consistency(name: str) -> None:
    vector = load(name)

    def check() -> None:
        verify_consistency(
            vector["size1"],
            vector["size2"],
            base64.b64decode(vector["root1"]),
            base64.b64decode(vector["root2"]),
            decoded(vector["proof"]),
        )

    if not vector["wantErr"]:
        check()
        return
    with pytest.raises(ProofError):
        check()


def test_the_merkle_vectors_are_all_there() -> None:
    assert len(names("merkle/inclusion", "*.json")) == 98
    assert len(names("merkle/consistency", "*.json")) == 98


GOLDEN = VECTORS / "tessera"


def golden_key() -> VerifierKey:
    return VerifierKey.decode((GOLDEN / "log.vkey").read_text())


def golden_checkpoints() -> Iterator[Checkpoint]:
    for size in range(16):
        yield open_note((GOLDEN / f"log/checkpoint.{size}").read_text(), [golden_key()])


def golden_entries() -> list[bytes]:
    return decode_bundle((GOLDEN / "log/tile/entries/000.p/15").read_bytes(), 15)


def test_every_golden_checkpoint_verifies_and_has_the_root_of_its_entries() -> None:
    entries = golden_entries()
    for size, checkpoint in enumerate(golden_checkpoints()):
        assert checkpoint.size == size
        assert checkpoint.root == Tree.of(entries[:size]).root


def test_golden_partial_tiles_and_bundles_are_prefixes_of_the_log() -> None:
    entries = golden_entries()
    for width in range(1, 16):
        bundle = (GOLDEN / f"log/tile/entries/000.p/{width}").read_bytes()
        tile = (GOLDEN / f"log/tile/0/000.p/{width}").read_bytes()
        assert decode_bundle(bundle, width) == entries[:width]
        assert decode_tile(tile, width) == [leaf_hash(entry) for entry in entries[:width]]


def test_golden_checkpoints_are_consistent_with_one_another() -> None:
    entries = golden_entries()
    checkpoints = list(golden_checkpoints())
    for new in checkpoints[1:]:
        tree = Tree.of(entries[: new.size])
        for old in checkpoints[1 : new.size]:
            proof = tree.consistency_proof(old.size)
            verify_consistency(old.size, new.size, old.root, new.root, proof)


def test_an_export_of_the_golden_log_is_the_golden_log(tmp_path: Path) -> None:
    text = (GOLDEN / "log/checkpoint.15").read_text()
    write_export(tmp_path / "export", golden_entries(), text)
    for path in ("tile/0/000.p/15", "tile/entries/000.p/15", "checkpoint"):
        assert (tmp_path / "export" / path).read_bytes() == (GOLDEN / "log" / path).read_bytes()


def test_a_golden_checkpoint_fails_under_another_key() -> None:
    other = VerifierKey(golden_key().name, bytes(32))
    with pytest.raises(CheckpointError, match="not signed by its log"):
        open_note((GOLDEN / "log/checkpoint").read_text(), [other])


def test_a_witness_cosigns_every_golden_checkpoint_over_every_older_one() -> None:
    """From 0 too, from where the Merkle vectors know no proof."""
    entries, logs = golden_entries(), {golden_key().name: golden_key()}
    checkpoints = list(golden_checkpoints())
    for new in checkpoints:
        text = (GOLDEN / f"log/checkpoint.{new.size}").read_text()
        for old in checkpoints[: new.size + 1]:
            proof = Tree.of(entries[: new.size]).consistency_proof(old.size) if old.size else []
            request = AddCheckpoint.decode(AddCheckpoint(old.size, tuple(proof), text).encode())
            seen = {old.origin: Seen(old.size, old.root, "")}
            origin, kept = judge(request, logs, seen)
            assert (origin, kept.size, kept.root) == (new.origin, new.size, new.root)
            if old.size and old.size < new.size:
                wrong = AddCheckpoint(old.size, tuple(proof[:-1]), text)
                with pytest.raises(WitnessRefusal) as refusal:
                    judge(wrong, logs, seen)
                assert refusal.value.status is Status.NOT_CONSISTENT


def test_golden_entries_are_proven_by_files() -> None:
    entries = golden_entries()
    note = (GOLDEN / "log/checkpoint").read_text()
    tree = Tree.of(entries)
    for index, entry in enumerate(entries):
        proof = TlogProof.decode(
            TlogProof(index, tuple(tree.inclusion_proof(index)), note).encode()
        )
        assert proof.verify(entry, golden_key()).size == 15


def test_the_golden_export_leads_to_its_root(tmp_path: Path) -> None:
    """Its entries are no leaves of ours, which the verification says of each, and nothing else."""
    write_export(tmp_path / "export", golden_entries(), (GOLDEN / "log/checkpoint").read_text())
    report = verify_export(tmp_path / "export", golden_key())
    assert (report.size, len(report.problems)) == (15, 15)
    assert {problem.kind.value for problem in report.problems} == {"leaf"}


SIGSTORE = VECTORS / "sigstore"
ED25519_ACCEPTED = (
    "rekor2-checkpoint-cosigned",
    "rekor2-checkpoint-multiple-cosigs",
    "rekor2-checkpoint-origin-not-first",
    "rekor2-checkpoint-two-sigs-cosigned",
    "rekor2-checkpoint-two-sigs-from-origin",
)
ED25519_REFUSED = {
    "rekor2-checkpoint-missing-log-signature_fail": "no signature",
    "rekor2-checkpoint-missing-origin_fail": "does not verify",
    "rekor2-checkpoint-missing-root-hash_fail": "does not verify",
    "rekor2-checkpoint-missing-size_fail": "does not verify",
    "rekor2-checkpoint-no-matching-signature_fail": "not signed by its log",
}
MALFORMED = [folder for folder, reason in ED25519_REFUSED.items() if reason == "does not verify"]
# Rekor v1 signs with ECDSA, which a log of ours never does: such a signature is of an unknown
# key. What can be checked is that the text parses and that its content is held to the proof.
ECDSA = (
    "checkpoint-bad-keyhint_fail",
    "checkpoint-wrong-roothash_fail",
    "inclusion-proof-corrupted-hash_fail",
    "invalid-checkpoint-signature_fail",
)


def log_entry(folder: str) -> Any:
    bundle = load(f"sigstore/{folder}/bundle.sigstore.json")
    return bundle["verificationMaterial"]["tlogEntries"][0]


def envelope(folder: str) -> str:
    return str(log_entry(folder)["inclusionProof"]["checkpoint"]["envelope"])


def sigstore_key(folder: str) -> VerifierKey:
    """The log's Ed25519 key; a SubjectPublicKeyInfo of Ed25519 ends with the 32 bytes."""
    logs = load(f"sigstore/{folder}/trusted_root.json")["tlogs"]
    log = next(log for log in logs if log["publicKey"]["keyDetails"] == "PKIX_ED25519")
    name = log["baseUrl"].removeprefix("https://")
    return VerifierKey(name, base64.b64decode(log["publicKey"]["rawBytes"])[-32:])


def check_sigstore_inclusion(folder: str) -> None:
    entry = log_entry(folder)
    proof = entry["inclusionProof"]
    verify_inclusion(
        leaf_hash(base64.b64decode(entry["canonicalizedBody"])),
        int(proof["logIndex"]),
        int(proof["treeSize"]),
        decoded(proof["hashes"]),
        base64.b64decode(proof["rootHash"]),
    )


@pytest.mark.parametrize("folder", ED25519_ACCEPTED)
def test_sigstore_checkpoints_with_foreign_signatures_are_accepted(folder: str) -> None:
    checkpoint = open_note(envelope(folder), [sigstore_key(folder)])
    proof = log_entry(folder)["inclusionProof"]
    assert checkpoint.size == int(proof["treeSize"])
    assert checkpoint.root == base64.b64decode(proof["rootHash"])
    check_sigstore_inclusion(folder)


COSIGNED = {
    "rekor2-checkpoint-cosigned": ["witness.example"],
    "rekor2-checkpoint-multiple-cosigs": ["witness.example/w1", "witness.example/w2"],
    "rekor2-checkpoint-two-sigs-cosigned": ["witness.example"],
}


@pytest.mark.parametrize(("folder", "names"), COSIGNED.items())
def test_sigstore_cosignatures_are_of_the_form_and_of_no_known_witness(
    folder: str, names: list[str]
) -> None:
    """The vectors do not publish their witnesses' keys: what can be checked is the form."""
    note = parse_note(envelope(folder))
    timestamped = [line for line in note.signatures if line.name.startswith("witness.")]
    assert [line.name for line in timestamped] == names
    stranger = WitnessKey(names[0], golden_key().public)
    assert cosignatures(envelope(folder), [stranger]) == {}
    for line in timestamped:
        assert len(line.signature) == 8 + 64
        made_in_2025 = int.from_bytes(line.signature[:8], "big")
        assert 1_735_689_600 <= made_in_2025 < 1_767_225_600


def test_every_sigstore_folder_that_must_fail_is_held_to_it() -> None:
    folders = {path.name for path in SIGSTORE.iterdir() if path.name.endswith("_fail")}
    proofs = {"inclusion-proof-corrupted-hash_fail", "invalid-inclusion-proof_fail"}
    assert folders == {*ED25519_REFUSED, *ECDSA, *proofs}
    accepted = {path.name for path in SIGSTORE.iterdir()} - folders
    assert accepted == set(ED25519_ACCEPTED)


@pytest.mark.parametrize(("folder", "reason"), ED25519_REFUSED.items())
def test_sigstore_malformed_checkpoints_are_refused(folder: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        open_note(envelope(folder), [sigstore_key(folder)])


@pytest.mark.parametrize("folder", MALFORMED)
def test_sigstore_checkpoint_bodies_without_a_line_do_not_parse(folder: str) -> None:
    """Also without their signatures, which were made over the whole text, they are refused."""
    body = parse_note(envelope(folder)).text
    with pytest.raises(CheckpointError, match="a line each"):
        parse_checkpoint(body)


@pytest.mark.parametrize("folder", ECDSA)
def test_sigstore_ecdsa_checkpoints_parse_but_are_signed_by_no_known_key(folder: str) -> None:
    text = envelope(folder)
    assert parse_checkpoint(parse_note(text).text).origin.startswith("rekor.sigstore.dev - ")
    known = VerifierKey("rekor.sigstore.dev", bytes(32))
    with pytest.raises(CheckpointError, match="not signed by its log"):
        open_note(text, [known])


def test_sigstore_checkpoint_of_another_tree_does_not_prove_the_entry() -> None:
    folder = "checkpoint-wrong-roothash_fail"
    checkpoint = parse_checkpoint(parse_note(envelope(folder)).text)
    entry = log_entry(folder)
    with pytest.raises(ProofError):
        verify_inclusion(
            leaf_hash(base64.b64decode(entry["canonicalizedBody"])),
            int(entry["inclusionProof"]["logIndex"]),
            checkpoint.size,
            decoded(entry["inclusionProof"]["hashes"]),
            checkpoint.root,
        )


@pytest.mark.parametrize(
    "folder", ["inclusion-proof-corrupted-hash_fail", "invalid-inclusion-proof_fail"]
)
def test_sigstore_wrong_inclusion_proofs_are_refused(folder: str) -> None:
    with pytest.raises(ProofError):
        check_sigstore_inclusion(folder)


def test_sigstore_key_hint_differs_from_the_logs_key() -> None:
    folder = "checkpoint-bad-keyhint_fail"
    (line,) = parse_note(envelope(folder)).signatures
    assert line.key_id != base64.b64decode(log_entry(folder)["logId"]["keyId"])[:4]


def test_ed25519_edge_cases_are_judged_as_pinned() -> None:
    """The library checks without the cofactor and compares R byte for byte, as RFC 8032 allows.

    Which edge cases pass is the library's doing; a change would make verifiers disagree.
    """
    vectors = load("cctv/ed25519vectors.json")
    accepted = {
        vector["number"]
        for vector in vectors
        if VerifierKey("cctv", bytes.fromhex(vector["key"])).verify(
            vector["msg"].encode(), bytes.fromhex(vector["sig"])
        )
    }
    refused = {"low_order_residue", "non_canonical_R"}
    assert len(vectors) == 914
    assert len(accepted) == 208
    assert accepted == {v["number"] for v in vectors if not refused & set(v["flags"] or [])}
