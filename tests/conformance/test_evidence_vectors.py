"""The third-party vectors of the log, held against the evidence verifier's own functions.

The vectors lie beside the repository, in ../shared/conformance/ledger, and are not part of it.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from concordat_privacy.log.merkle import Tree
from concordat_privacy.log.tiles import decode_bundle
from concordat_privacy.verifier import verify

VECTORS = Path(__file__).parents[3] / "shared" / "conformance" / "ledger"
GOLDEN = VECTORS / "tessera"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="../shared/conformance is missing")


def vectors(folder: str) -> list[dict[str, Any]]:
    files = sorted((VECTORS / "merkle" / folder).rglob("*.json"))
    assert len(files) == 98
    return [json.loads(file.read_text()) for file in files]


def decoded(proof: list[str] | None) -> list[bytes]:
    return [base64.b64decode(digest) for digest in proof or []]


def passes(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except verify.Fault:
        return False
    return True


def test_merkle_inclusion() -> None:
    for vector in vectors("inclusion"):
        right = passes(
            verify.check_inclusion,
            base64.b64decode(vector["leafHash"]),
            vector["leafIdx"],
            vector["treeSize"],
            decoded(vector["proof"]),
            base64.b64decode(vector["root"]),
        )
        assert right is not vector["wantErr"], vector["desc"]


def test_merkle_consistency() -> None:
    for vector in vectors("consistency"):
        right = passes(
            verify.check_consistency,
            vector["size1"],
            vector["size2"],
            base64.b64decode(vector["root1"]),
            base64.b64decode(vector["root2"]),
            decoded(vector["proof"]),
        )
        assert right is not vector["wantErr"], vector["desc"]


def test_the_golden_log() -> None:
    key = verify.read_key((GOLDEN / "log.vkey").read_text(), 1)
    entries = decode_bundle((GOLDEN / "log/tile/entries/000.p/15").read_bytes(), 15)
    notes = [
        verify.read_note((GOLDEN / f"log/checkpoint.{size}").read_bytes()) for size in range(16)
    ]
    for new in notes:
        verify.check_log_signature(new, key)
        tree = Tree.of(entries[: new.size])
        for index in range(new.size):
            digest = verify.leaf_hash(entries[index])
            verify.check_inclusion(
                digest, index, new.size, tree.inclusion_proof(index), new.root
            )  # fmt: skip
        for old in notes[1 : new.size]:
            proof = tree.consistency_proof(old.size)
            verify.check_consistency(old.size, new.size, old.root, new.root, proof)
    other = verify.Key(key.name, 1, bytes(32))
    assert not passes(verify.check_log_signature, notes[15], other)


def sigstore(folder: str) -> tuple[bytes, verify.Key]:
    found = VECTORS / "sigstore" / folder
    bundle = json.loads((found / "bundle.sigstore.json").read_text())
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    logs = json.loads((found / "trusted_root.json").read_text())["tlogs"]
    log = next(log for log in logs if log["publicKey"]["keyDetails"] == "PKIX_ED25519")
    public = base64.b64decode(log["publicKey"]["rawBytes"])[-32:]
    name = log["baseUrl"].removeprefix("https://")
    note = entry["inclusionProof"]["checkpoint"]["envelope"].encode()
    return note, verify.Key(name, 1, public)


@pytest.mark.parametrize(
    ("folder", "right"),
    [
        ("cosigned", True),
        ("multiple-cosigs", True),
        ("origin-not-first", True),
        ("two-sigs-cosigned", True),
        ("two-sigs-from-origin", True),
        ("missing-log-signature_fail", False),
        ("missing-origin_fail", False),
        ("missing-root-hash_fail", False),
        ("missing-size_fail", False),
        ("no-matching-signature_fail", False),
    ],
)
def test_sigstore_checkpoints(folder: str, right: bool) -> None:
    data, key = sigstore(f"rekor2-checkpoint-{folder}")

    def check() -> None:
        verify.check_log_signature(verify.read_note(data), key)

    assert passes(check) is right


def test_ed25519_edge_cases_are_judged_as_by_the_ledger() -> None:
    found = json.loads((VECTORS / "cctv" / "ed25519vectors.json").read_text())
    accepted = 0
    for vector in found:
        key = verify.Key("cctv", 1, bytes.fromhex(vector["key"]))
        note = verify.Checkpoint(
            "cctv", 0, b"", vector["msg"], [("cctv", key.key_id, bytes.fromhex(vector["sig"]))]
        )
        accepted += passes(verify.check_log_signature, note, key)
    assert (len(found), accepted) == (914, 208)
