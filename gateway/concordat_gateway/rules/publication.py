"""Publication: what the control store accepted becomes visible to lookups, each batch once.

The batches of one member are published in the order of their entries, whoever publishes them: so
the pool is what the ledger says in its order, and a correction or a withdrawal always meets what
was accepted before it.
"""

import logging
import struct
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.erased_stores import erase_signals
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_gateway.store.control_tables import member as member_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_store.chunks import in_chunks

BATCH_ID_BYTES = 16
_IDS_A_QUERY = 500
_ROW_NUMBER_BYTES = 4

_log = logging.getLogger(__name__)


def publish(journal: Journal, signals: SignalStore, batch: sa.Row[Any], staged: bytes) -> None:
    """Publish an accepted batch, a row of BATCHES; give up `staged` if that is another one.

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
    if staged and staged != batch.batch_id:
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
        publish(journal, signals, batch, b"")
        _log.info("published batch %s, accepted before", batch.batch_id.hex())
    found = {batch.batch_id for batch in accepted}
    return [batch_id for batch_id in staged if batch_id not in found]


def settle(journal: Journal, signals: SignalStore, member_id: str) -> None:
    """Publish what was accepted of one member by now. Raises Refusal UNAVAILABLE."""
    for batch in _accepted(journal, signals.staged()):
        if batch.member_id == member_id:
            publish(journal, signals, batch, b"")


def packed(items: Sequence[int]) -> bytes:
    """Numbers of rows as a batch's record keeps them."""
    return struct.pack(f">{len(items)}I", *items)


def unpacked(items: bytes) -> tuple[int, ...]:
    """The numbers that `packed` packed."""
    return struct.unpack(f">{len(items) // _ROW_NUMBER_BYTES}I", items)


def _publish(signals: SignalStore, batch: sa.Row[Any]) -> None:
    signals.publish(batch.batch_id, batch.member_no, unpacked(batch.refused_rows), batch.entry)


def _accepted(journal: Journal, batch_ids: Collection[bytes]) -> list[sa.Row[Any]]:
    """Those of some staged batches that are accepted, in the order of their entries."""
    if not batch_ids:
        return []
    found: list[sa.Row[Any]] = []
    with journal.read() as connection:
        for ids in in_chunks(list(batch_ids), _IDS_A_QUERY):
            found += connection.execute(_BY_IDS, {"ids": ids}).all()
    return sorted(found, key=lambda batch: int(batch.entry))


BATCHES = sa.select(batch_table, member_table.c.member_no).join(
    member_table, member_table.c.member_id == batch_table.c.member_id
)
"""Batches as `publish` takes them."""
_BY_IDS = BATCHES.where(batch_table.c.batch_id.in_(sa.bindparam("ids", expanding=True)))
