"""A receipt proves one entry with nothing but the log's public key."""

from dataclasses import replace

import pytest

from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint, CheckpointError, SigningKey, sign
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.leaf import LeafError
from concordat_privacy.log.merkle import ProofError, Tree
from concordat_privacy.log.receipt import Receipt, verify_inclusion_of, verify_receipt

KEY = SigningKey("concordat.example/ledger", bytes(32))
ENTRIES = [
    leaf.encode({"v": 1, "type": "test.entry", "time": "2026-01-01T00:00:00.000000Z", "n": n})
    for n in range(11)
]
TREE = Tree.of(ENTRIES)
CHECKPOINT = Checkpoint(KEY.name, TREE.size, TREE.root)
RECEIPT = Receipt(6, ENTRIES[6], sign(CHECKPOINT, KEY))
PROOF = TREE.inclusion_proof(6)


def test_a_receipt_verifies() -> None:
    verified = verify_receipt(RECEIPT, PROOF, KEY.verifier)
    assert verified.index == 6
    assert verified.fields["n"] == 6
    assert verified.checkpoint == CHECKPOINT


def test_every_entry_is_provable() -> None:
    for index, entry in enumerate(ENTRIES):
        verify_inclusion_of(entry, index, TREE.inclusion_proof(index), CHECKPOINT)


@pytest.mark.parametrize(
    ("receipt", "error"),
    [
        (replace(RECEIPT, index=5), ProofError),
        (replace(RECEIPT, index=11), ProofError),
        (replace(RECEIPT, leaf=ENTRIES[5]), ProofError),
        (replace(RECEIPT, leaf=ENTRIES[6] + b" "), LeafError),
        (replace(RECEIPT, checkpoint_text=RECEIPT.checkpoint_text[:-1]), CheckpointError),
    ],
)
def test_a_wrong_receipt_is_refused(receipt: Receipt, error: type[LogError]) -> None:
    with pytest.raises(error):
        verify_receipt(receipt, PROOF, KEY.verifier)


def test_a_receipt_of_another_log_is_refused() -> None:
    other = SigningKey(KEY.name, b"\1" * 32)
    with pytest.raises(CheckpointError):
        verify_receipt(RECEIPT, PROOF, other.verifier)
