"""Uploads: parts, how far one has come, rows that were refused."""

from dataclasses import dataclass
from datetime import datetime

from concordat.enums import UploadState
from concordat.errors import InvalidInput
from concordat.requests import RequestId
from concordat.results.items import ItemRefusal
from concordat.results.ledger import Receipt
from concordat_privacy.catalogue.rows import RowRef

ROWS_PER_PART = 4_000
"""Rows that `contribute_stream` sends together."""


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """Some consecutive rows of an upload, durable and visible to lookups."""

    upload_id: RequestId
    """Pass it again with the same rows to go on after a failure, in this process or another."""
    sequence: int
    """Number of the part, from 1."""
    first_row: int
    """Number of its first row, from 0."""
    rows_accepted: int
    refused: tuple[ItemRefusal, ...]
    """In order of row; `item` is the row's number in the upload, from 0."""
    receipt: Receipt

    def row(self, number: int) -> RowRef:
        """The name of one of its rows, by the row's number in the upload: for a correction or a
        withdrawal. Raises InvalidInput for a row that is not in the part, or was not taken."""
        not_taken = {refusal.item for refusal in self.refused}
        item = number - self.first_row
        if number in not_taken or not 0 <= item < self.rows_accepted + len(not_taken):
            raise InvalidInput.field("number", "no row of this part that was taken")
        return RowRef(self.receipt.entry_index, item)


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """How far an upload has come, as the gateway has it."""

    acknowledged_sequence: int
    """Number of the last part that was taken, from 1."""
    rows_accepted: int
    rows_refused: int
    first_entry_index: int
    """Ledger entry of the first part."""
    last_entry_index: int
    last_accepted_at: datetime
    complete: bool = False
    """Whether it was ended: then it has no further parts."""
    end_entry_index: int | None = None
    """Ledger entry of its end; None while it is not complete."""
    state: UploadState | None = None
    """None: a gateway of before, which does not say."""
    answered_until: datetime | None = None
    """From then on it may expire, unless another part comes."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row of an upload that was refused, and why."""

    sequence: int
    """Number of its part, from 1."""
    item: int
    """Position in the part, from 0."""
    field: str
    """Path of the field at fault within the row."""
    reason: str
    """Stable upper-case word, e.g. NO_CONSENT: those of the contract's ItemRefusal."""
    description: str
    """Explanation for a person."""

    @property
    def row(self) -> int:
        """The row's number in an upload that `contribute_stream` made, from 0."""
        return (self.sequence - 1) * ROWS_PER_PART + self.item
