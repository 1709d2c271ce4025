"""Contributions: banded rows into the pool, each under a consent, all or nothing a batch.

Two stores, one order: rows are staged where nobody sees them; one control transaction asks for
every row's consent and records the batch; then the rows are published. A crash before the
transaction leaves staged rows that nobody will ever see, one after it leaves an accepted batch
that `resume` publishes.
"""

import logging
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules.intake import Candidate, Intake
from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.permits import Permit, member_number, permits
from concordat_gateway.rules.requests import Reply, Request, check_request_id, find, once
from concordat_gateway.rules.scopes import Purpose
from concordat_gateway.store.clock import Clock
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_gateway.store.control_tables import member as member_table
from concordat_gateway.store.signal_store import SignalStore, StagedRow
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.log.merkle import merkle_root
from concordat_rpc.errors import Refusal, not_found
from concordat_rpc.peer import Peer

BATCH_ID_BYTES = 16
ORPHAN_AGE_MICROSECONDS = 15 * 60 * 1_000_000
"""Age at which a staged batch without a decision is given up: longer than any call lasts, so that
no other process can still be about to decide on it."""

_log = logging.getLogger(__name__)


class BatchState(IntEnum):
    """Numbers as in `concordat.v1` (contribution.proto)."""

    ACCEPTED = 1
    PUBLISHED = 2


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a batch's rows."""

    rows_accepted: int
    refused: Sequence[ItemRefusal]
    """In the order of the rows."""
    entry: Entry


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """What became of a batch."""

    state: BatchState
    rows_accepted: int
    rows_refused: int
    entry_index: int
    accepted_at: int


def contribute(
    journal: Journal,
    signals: SignalStore,
    furnisher: Peer,
    intake: Intake,
    to_reply: Callable[[Accepted], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Take a complete batch: its good rows are in the pool when this returns.

    Where publishing fails the batch is accepted all the same; `resume`, or a repeated request,
    publishes it. Returns the bytes that `to_reply` made, now or when the same request came first.
    Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS (REQUEST_ID_REUSED), UNAVAILABLE,
    DEADLINE_EXCEEDED; a repeat with the same request_id then finds out what happened.
    """
    digest = intake.finish()
    request = Request(furnisher.spiffe_id, "Contribute", intake.header.request_id, digest)
    with journal.read() as connection:
        recorded = find(connection, request)
    if recorded is not None:
        _publish_accepted(journal, signals, furnisher, request.request_id)
        return Committed(recorded.body, journal.checkpoint())

    batch_id = os.urandom(BATCH_ID_BYTES)
    signals.stage(batch_id, [StagedRow(c.item, c.subject, c.content) for c in intake.candidates])

    def change(transaction: Transaction) -> bytes:
        return once(
            transaction,
            request,
            lambda: _record(transaction, furnisher, batch_id, intake, digest, to_reply),
        )

    # Nothing is discarded where this raises: the commit may have happened, or may still happen.
    committed = journal.write(change, timeout_seconds)
    _publish_accepted(journal, signals, furnisher, request.request_id, staged=batch_id)
    return committed


def get_batch(
    journal: Journal, signals: SignalStore, furnisher: Peer, request_id: bytes
) -> BatchStatus:
    """What became of a batch of the furnisher.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (BATCH_NOT_FOUND).
    """
    check_request_id(request_id)
    with journal.read() as connection:
        row = _find(connection, furnisher, request_id)
    if row is None:
        raise not_found("BATCH_NOT_FOUND", "the calling member has no batch with this request_id")
    published = signals.is_published(row.batch_id)
    return BatchStatus(
        BatchState.PUBLISHED if published else BatchState.ACCEPTED,
        row.rows_accepted,
        row.rows_refused,
        row.entry,
        row.accepted_at,
    )


def resume(journal: Journal, signals: SignalStore, clock: Clock) -> None:
    """Finish what a crash or a failing store interrupted. Run at start; safe at any time.

    Accepted batches are published; staged rows of batches that were never accepted are discarded
    once they are older than any call can be. Raises Refusal UNAVAILABLE where a store fails.
    """
    now = clock()
    for batch_id in signals.staged_before(now):
        with journal.read() as connection:
            row = connection.execute(_BY_ID, {"batch_id": batch_id}).one_or_none()
        if row is not None:
            signals.publish(batch_id, row.member_no, _unpacked(row.refused_rows))
            _log.info("published batch %s, accepted before", batch_id.hex())
    for batch_id in signals.staged_before(now - ORPHAN_AGE_MICROSECONDS):
        signals.discard(batch_id)
        _log.info("discarded batch %s, never accepted", batch_id.hex())
