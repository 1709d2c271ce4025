"""Receipts, checkpoints and entries of the ledger."""

from dataclasses import dataclass

from concordat.errors import ReceiptInvalid
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint
from concordat_privacy.log.errors import LogError


@dataclass(frozen=True, slots=True)
class Receipt:
    """The gateway's signed word that an entry is in the ledger; keep it as evidence.

    The client has checked the signature, and that the entry is the calling member's and of the
    right kind; for lookups, questions, consents and contributions also that it carries this
    call's own request id, so that no older receipt can stand in for it. That the entry is in the
    tree is shown by `Client.verify_receipt`.
    """

    entry_index: int
    """Position in the ledger, from 0."""
    entry: bytes
    """The exact bytes, RFC 8785 JSON."""
    checkpoint: str
    """The signed checkpoint (C2SP signed note) of a tree that holds the entry."""

    @property
    def fields(self) -> dict[str, leaf.Json]:
        """The entry, parsed. Raises ReceiptInvalid for an entry not made by a gateway."""
        try:
            return leaf.check(self.entry)
        except LogError as error:
            raise ReceiptInvalid(f"the receipt's entry is malformed: {error}") from None


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A verified state of the ledger."""

    checkpoint: Checkpoint
    """Origin, size and root."""
    note: str
    """The signed text itself."""


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """A receipt whose entry was shown to be in the ledger."""

    entry_index: int
    fields: dict[str, leaf.Json]
    """The entry, parsed."""
    checkpoint: SignedCheckpoint
    """The ledger's newest state, which holds the entry and extends what was seen before."""


@dataclass(frozen=True, slots=True)
class LedgerTimestamp:
    """A time-stamping authority's answer (RFC 3161) about one checkpoint, not verified."""

    size: int
    """Of the checkpoint's tree."""
    response: bytes
    """TimeStampResp in DER, see `concordat_privacy.log.timestamp.verify_timestamp`."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One exported entry."""

    index: int
    entry: bytes
    items: tuple[bytes, ...]
    """The entry's items as canonical JSON, in order; empty for entries without items."""
    checkpoint: SignedCheckpoint
    """The signed state of the exported tree, the same for all entries of an export."""
