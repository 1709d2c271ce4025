"""Publication: what the control store accepted becomes visible to lookups, each batch once.

The batches of one member are published in the order of their entries, whoever publishes them: so
the pool is what the ledger says in its order, and a correction or a withdrawal always meets what
was accepted before it.
"""

import logging
import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.erased_stores import erase_signals
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_gateway.store.control_tables import member as member_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_store.chunks import in_chunks
from concordat_store.direct import Among, Asked, rows_of

BATCH_ID_BYTES = 16
_IDS_A_QUERY = 500
_ROW_NUMBER_BYTES = 4

_log = logging.getLogger(__name__)


class RecordedBatch(NamedTuple):
    """An accepted batch, as the control store has it and its member's number."""

    batch_id: bytes
    member_id: str
    member_no: int
    entry: int
    rows_accepted: int
    rows_refused: int
    refused_rows: bytes
    """As `packed` packs their numbers."""
    accepted_at: int
    sequence: int | None
    """Of a part of an upload, as the next two."""
    content_sha256: bytes | None
    refusals: bytes | None


def publish(
    journal: Journal, signals: SignalStore, batch: RecordedBatch, staged: bytes | None = None
) -> None:
    """Publish an accepted batch; give up `staged` if that is another one.

    Raises Refusal UNAVAILABLE: then it is accepted all the same, and is to be published again.
    """
    # What was accepted after an erasure must not be erased with what was before.
    erase_signals(journal, signals)
    # Staged before they were accepted, and accepted before this one: all of them are found.
    earlier = set(signals.staged()) - {batch.batch_id}
    for found in _accepted(journal, earlier):
        if found.member_id == batch.member_id and found.entry < batch.entry:
            _publish(signals, found)
    _publish(signals, batch)
    if staged is not None and staged != batch.batch_id:
        signals.discard(staged)


def publish_accepted(journal: Journal, signals: SignalStore) -> list[bytes]:
    """Publish every batch that is accepted by now; returns those that are staged, but not accepted.

    Safe beside whoever else publishes the same batch. Raises Refusal UNAVAILABLE where a store
    fails.
    """
    erase_signals(journal, signals)
    staged = signals.staged()
    accepted = _accepted(journal, staged)
    for batch in accepted:
        publish(journal, signals, batch)
        _log.info("published batch %s, accepted before", batch.batch_id.hex())
    found = {batch.batch_id for batch in accepted}
    return [batch_id for batch_id in staged if batch_id not in found]


def settle(journal: Journal, signals: SignalStore, member_id: str) -> None:
    """Publish what was accepted of one member by now. Raises Refusal UNAVAILABLE."""
    for batch in _accepted(journal, signals.staged()):
        if batch.member_id == member_id:
            publish(journal, signals, batch)


def packed(items: Sequence[int]) -> bytes:
    """Numbers of rows as a batch's record keeps them."""
    return struct.pack(f">{len(items)}I", *items)


def unpacked(items: bytes) -> tuple[int, ...]:
    """The numbers that `packed` packed."""
    return struct.unpack(f">{len(items) // _ROW_NUMBER_BYTES}I", items)


def _publish(signals: SignalStore, batch: RecordedBatch) -> None:
    signals.publish(batch.batch_id, batch.member_no, unpacked(batch.refused_rows), batch.entry)


def _accepted(journal: Journal, batch_ids: Collection[bytes]) -> list[RecordedBatch]:
    """Those of some staged batches that are accepted, in the order of their entries."""
    found: list[RecordedBatch] = []
    for ids in in_chunks(list(batch_ids), _IDS_A_QUERY):
        # A batch that is accepted in between is one that is accepted later.
        with journal.ask() as connection:
            found += map(RecordedBatch._make, rows_of(connection, _BY_IDS, {"ids": ids}))
    return sorted(found, key=lambda batch: batch.entry)


def recorded_batch(
    connection: sa.Connection | Asked, statement: sa.Select[Any], parameters: Mapping[str, Any]
) -> RecordedBatch | None:
    """The one batch of a prebuilt statement that narrows RECORDED_BATCHES."""
    rows = rows_of(connection, statement, parameters)
    return RecordedBatch._make(rows[0]) if rows else None


RECORDED_BATCHES = sa.select(
    *(
        member_table.c.member_no if name == "member_no" else batch_table.c[name]
        for name in RecordedBatch._fields
    )
).join(member_table, member_table.c.member_id == batch_table.c.member_id)
"""Batches, in the order of RecordedBatch."""
_BY_IDS = RECORDED_BATCHES.where(Among(batch_table.c.batch_id, "ids"))
