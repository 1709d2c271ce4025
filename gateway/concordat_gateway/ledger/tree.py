"""The Merkle tree's rows: the head that fences writers, leaves, items and nodes.

Nodes never change once written: every complete subtree is stored once, so any inclusion or
consistency proof of any size is a handful of lookups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from concordat_gateway.store.bulk import insert_rows
from concordat_gateway.store.control_tables import (
    ledger_entry,
    ledger_head,
    ledger_item,
    ledger_node,
)
from concordat_privacy.log.merkle import Frontier, Node


@dataclass(frozen=True, slots=True)
class Head:
    """The ledger between two groups of changes."""

    frontier: Frontier
    checkpoint: str
    """Signed note of the frontier's tree."""
    time: int
    """Microseconds; no later entry is earlier."""
    pool_version: int
    tokens_epoch: int
    """Key epoch under which the stores name subjects; 0 while they are moved to the next."""


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One item of an entry: its canonical bytes, and what opens its subject commitment."""

    content: bytes
    subject: bytes | None
    salt: bytes | None


_SELECT_HEAD = sa.select(
    ledger_head.c.frontier,
    ledger_head.c.checkpoint,
    ledger_head.c.time,
    ledger_head.c.pool_version,
    ledger_head.c.tokens_epoch,
)
_SELECT_TOKENS_EPOCH = sa.select(ledger_head.c.tokens_epoch)
# SQLite knows no FOR UPDATE, and SQLAlchemy writes none there: BEGIN IMMEDIATE is the lock.
_LOCK_HEAD = _SELECT_HEAD.with_for_update()
_CREATE_HEAD = sa.text(
    "INSERT INTO ledger_head (id, size, frontier, checkpoint, time, pool_version, tokens_epoch)"
    " VALUES (1, :size, :frontier, :checkpoint, :time, :pool_version, :tokens_epoch)"
    " ON CONFLICT DO NOTHING"
)
_UPDATE_HEAD = sa.update(ledger_head)
_SELECT_NODES = sa.select(ledger_node).where(
    sa.tuple_(ledger_node.c.level, ledger_node.c.node_index).in_(
        sa.bindparam("places", expanding=True)
    )
)
_SELECT_ENTRIES = (
    sa.select(ledger_entry.c.entry_index, ledger_entry.c.leaf)
    .where(
        ledger_entry.c.entry_index >= sa.bindparam("start"),
        ledger_entry.c.entry_index < sa.bindparam("stop"),
    )
    .order_by(ledger_entry.c.entry_index)
)
_SELECT_ENTRY_OF_ITEM = (
    sa.select(ledger_item.c.entry_index)
    .where(
        ledger_item.c.entry_index >= sa.bindparam("start"),
        ledger_item.c.entry_index < sa.bindparam("stop"),
    )
    .order_by(ledger_item.c.entry_index, ledger_item.c.item)
    .limit(1)
    .offset(sa.bindparam("items"))
)
_SELECT_ITEMS = (
    sa.select(ledger_item.c.entry_index, ledger_item.c.content)
    .where(
        ledger_item.c.entry_index >= sa.bindparam("start"),
        ledger_item.c.entry_index < sa.bindparam("stop"),
    )
    .order_by(ledger_item.c.entry_index, ledger_item.c.item)
)


def create_head(connection: sa.Connection, head: Head) -> None:
    """Write the head of a ledger that has none; leaves an existing one alone."""
    connection.execute(_CREATE_HEAD, _head_values(head))


def read_head(connection: sa.Connection) -> Head:
    """The committed head."""
    return _head(connection.execute(_SELECT_HEAD).one())


def read_tokens_epoch(connection: sa.Connection) -> int:
    """The committed head's `tokens_epoch`, alone."""
    return int(connection.execute(_SELECT_TOKENS_EPOCH).scalar_one())


def lock_head(connection: sa.Connection) -> Head:
    """The head, locked to the end of the transaction: no other process appends meanwhile."""
    return _head(connection.execute(_LOCK_HEAD).one())


def save_head(connection: sa.Connection, head: Head) -> None:
    """Replace the head."""
    connection.execute(_UPDATE_HEAD, _head_values(head))


def insert_entries(connection: sa.Connection, start: int, leaves: Sequence[bytes]) -> None:
    """Store leaves as the entries from `start` on."""
    insert_rows(connection, ledger_entry, list(enumerate(leaves, start)))


def insert_nodes(connection: sa.Connection, nodes: Sequence[Node]) -> None:
    """Store the hashes of subtrees that became complete."""
    insert_rows(connection, ledger_node, nodes)


def insert_items(
    connection: sa.Connection, items: Sequence[tuple[int, Sequence[StoredItem]]]
) -> None:
    """Store the items of entries, given as (entry index, items)."""
    rows = [
        (entry_index, number, item.content, item.subject, item.salt)
        for entry_index, of_entry in items
        for number, item in enumerate(of_entry)
    ]
    insert_rows(connection, ledger_item, rows)


def read_nodes(
    connection: sa.Connection, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """The hashes at (level, node index); places without a node are left out."""
    rows = connection.execute(_SELECT_NODES, {"places": list(places)})
    return {(level, node_index): digest for level, node_index, digest in rows}


def read_entries(
    connection: sa.Connection, start: int, stop: int, most_items: int
) -> Iterator[tuple[int, bytes, tuple[bytes, ...]]]:
    """(index, leaf, contents of the items) of the entries start..stop-1, in order.

    Ends before the entry whose items would make more than `most_items`, but never before the first.
    """
    span = {"start": start, "stop": stop}
    beyond = connection.execute(_SELECT_ENTRY_OF_ITEM, {**span, "items": most_items}).scalar()
    if beyond is not None:
        span["stop"] = max(beyond, start + 1)
    contents: dict[int, list[bytes]] = {}
    for entry_index, content in connection.execute(_SELECT_ITEMS, span):
        contents.setdefault(entry_index, []).append(content)
    for entry_index, leaf in connection.execute(_SELECT_ENTRIES, span):
        yield entry_index, leaf, tuple(contents.get(entry_index, ()))


def _head(row: sa.Row[*tuple[Any, ...]]) -> Head:
    return Head(
        Frontier.from_bytes(row.frontier),
        row.checkpoint,
        row.time,
        row.pool_version,
        row.tokens_epoch,
    )


def _head_values(head: Head) -> dict[str, object]:
    return {
        "size": head.frontier.size,
        "frontier": head.frontier.to_bytes(),
        "checkpoint": head.checkpoint,
        "time": head.time,
        "pool_version": head.pool_version,
        "tokens_epoch": head.tokens_epoch,
    }
