"""One entry, tied to one checkpoint: what a caller keeps as evidence of what was logged."""

from collections.abc import Sequence
from dataclasses import dataclass

from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint, VerifierKey, open_note
from concordat_privacy.log.merkle import leaf_hash, verify_inclusion


@dataclass(frozen=True, slots=True)
class Receipt:
    """The entry at `index` is `leaf`, says the log that signed `checkpoint_text`."""

    index: int
    leaf: bytes
    checkpoint_text: str


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """An entry that is in a log, with its fields, and the checkpoint that it is in."""

    index: int
    fields: dict[str, leaf.Json]
    checkpoint: Checkpoint


def verify_receipt(receipt: Receipt, proof: Sequence[bytes], key: VerifierKey) -> VerifiedEntry:
    """Check a receipt with nothing but the log's public key.

    Raises CheckpointError (not signed by this log), LeafError (not a leaf) or ProofError (not in
    the tree of the checkpoint); all are LogError.
    """
    checkpoint = open_note(receipt.checkpoint_text, [key])
    fields = leaf.parse(receipt.leaf)
    verify_inclusion_of(receipt.leaf, receipt.index, proof, checkpoint)
    return VerifiedEntry(receipt.index, fields, checkpoint)


def verify_inclusion_of(
    data: bytes, index: int, proof: Sequence[bytes], checkpoint: Checkpoint
) -> None:
    """Check that the leaf `data` is entry `index` of an opened checkpoint. Raises ProofError."""
    verify_inclusion(leaf_hash(data), index, checkpoint.size, proof, checkpoint.root)
