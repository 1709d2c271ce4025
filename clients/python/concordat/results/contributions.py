"""Contributions."""

from dataclasses import dataclass
from datetime import datetime

from concordat.enums import BatchState
from concordat.requests import RequestId
from concordat.results.items import ItemRefusal
from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """One batch of a contribution."""

    request_id: RequestId
    """Names the batch, see `Client.get_batch`."""
    first_row: int
    """Number of its first row, from 0."""
    rows_accepted: int
    receipt: Receipt


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


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """What became of one batch."""

    state: BatchState
    rows_accepted: int
    rows_refused: int
    entry_index: int
    accepted_at: datetime
