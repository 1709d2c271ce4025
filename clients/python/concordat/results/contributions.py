"""Contributions."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime

from concordat.enums import BatchState
from concordat.errors import InvalidInput
from concordat.requests import RequestId
from concordat.results.items import ItemRefusal
from concordat.results.ledger import Receipt
from concordat_privacy.catalogue.rows import RowRef


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """One batch of a contribution."""

    request_id: RequestId
    """Names the batch, see `Client.get_batch`."""
    first_row: int
    """Number of its first row, from 0."""
    rows_accepted: int
    receipt: Receipt
    rows: int = 0
    """Number of its rows, those that were not taken among them."""
    not_taken: tuple[int, ...] = ()
    """Numbers of its rows that were refused, in order."""
    not_sent: tuple[int, ...] = ()
    """Those of them that were refused before it was sent."""

    def row(self, number: int) -> RowRef:
        """The name of one of its rows, by the row's number: for a correction or a withdrawal.

        Raises InvalidInput for a row that is not in the batch, or was not taken.
        """
        at = bisect_left(self.not_taken, number)
        if number in self.not_taken[at : at + 1] or not 0 <= number - self.first_row < self.rows:
            raise InvalidInput.field("number", "no row of this batch that was taken")
        unsent = bisect_left(self.not_sent, number)
        return RowRef(self.receipt.entry_index, number - self.first_row - unsent)


@dataclass(frozen=True, slots=True)
class ContributionResult:
    """What became of the rows passed to `contribute`."""

    request_id: RequestId
    """Pass it again with the same rows to go on after a failure: batches that were taken are
    answered from the record."""
    rows_accepted: int
    refused: tuple[ItemRefusal, ...]
    """In order of row; `item` is the row's number, from 0."""
    batches: tuple[BatchReceipt, ...]

    def row(self, number: int) -> RowRef:
        """The name of a row that was taken, by its number: for a correction or a withdrawal.

        Raises InvalidInput for a row that was not taken.
        """
        for batch in self.batches:
            if 0 <= number - batch.first_row < batch.rows:
                return batch.row(number)
        raise InvalidInput.field("number", "no row that was taken")


@dataclass(frozen=True, slots=True)
class RowWithdrawalResult:
    """What became of the rows passed to `withdraw_rows`."""

    request_id: RequestId
    """Pass it again with the same rows to go on after a failure."""
    rows_withdrawn: int
    """Accounts and applications that left the pool."""
    refused: tuple[ItemRefusal, ...]
    """In order of row; `item` is the row's number, from 0."""
    receipts: tuple[Receipt, ...]
    """One for up to 1,000 rows."""


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """What became of one batch."""

    state: BatchState
    rows_accepted: int
    rows_refused: int
    entry_index: int
    accepted_at: datetime
