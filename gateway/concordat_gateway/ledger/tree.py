"""The Merkle tree's rows: the head that fences writers, leaves with the tree's nodes, items.

Nodes never change once written: every complete subtree is stored once, with the entry that
completed it, so any inclusion or consistency proof of any size is a handful of lookups.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from concordat_gateway.store.bulk import write_rows
from concordat_gateway.store.control_tables import ledger_entry, ledger_head, ledger_item
from concordat_privacy.log.merkle import HASH_BYTES, Frontier, peaks_of
from concordat_rpc.errors import Kind, Refusal
from concordat_store.writer import Writer


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
    witnessed_size: int = 0
    """Largest tree that as many witnesses as the policy wants have seen."""
    unwitnessed_since: int | None = None
    """Time of the first entry beyond it, in microseconds; None where there is none."""


# Columns of the head, in the order of `_head` and `_head_values`.
_HEAD = (
    "frontier",
    "checkpoint",
    "time",
    "pool_version",
    "tokens_epoch",
    "witnessed_size",
    "unwitnessed_since",
    "size",
)
_SELECT_HEAD = sa.select(*(ledger_head.c[name] for name in _HEAD))
_SELECT_TOKENS_EPOCH = sa.select(ledger_head.c.tokens_epoch)
_CREATE_HEAD = sa.text(
    f"INSERT INTO ledger_head (id, {', '.join(_HEAD)})"  # noqa: S608 - names of this module
    f" VALUES (1, {', '.join(f':{name}' for name in _HEAD)}) ON CONFLICT DO NOTHING"
)
# What every group of changes runs is the driver's own SQL.
_LOCK_HEAD = f"SELECT {', '.join(_HEAD)} FROM ledger_head"  # noqa: S608
_UPDATE_HEAD = "UPDATE ledger_head SET {}"
_UPDATE_HEAD_SQLITE = _UPDATE_HEAD.format(", ".join(f"{name} = ?" for name in _HEAD))
_UPDATE_HEAD_POSTGRESQL = _UPDATE_HEAD.format(", ".join(f"{name} = %s" for name in _HEAD))
_SELECT_LAST = sa.select(sa.func.max(ledger_entry.c.entry_index))
_SELECT_HASHES = "SELECT entry_index, hashes FROM ledger_entry WHERE entry_index"
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
    connection.execute(_CREATE_HEAD, dict(zip(_HEAD, _head_values(head), strict=True)))


def read_head(connection: sa.Connection) -> Head:
    """The committed head."""
    return _head(connection.execute(_SELECT_HEAD).one())


def read_tokens_epoch(connection: sa.Connection) -> int:
    """The committed head's `tokens_epoch`, alone."""
    return int(connection.execute(_SELECT_TOKENS_EPOCH).scalar_one())


def lock_head(writer: Writer) -> Head:
    """The head, locked to the end of the transaction: no other process appends meanwhile.

    To be the transaction's first statement.
    """
    # SQLite knows no FOR UPDATE: BEGIN IMMEDIATE is the lock.
    [row] = writer.run_first(_LOCK_HEAD if writer.is_sqlite else f"{_LOCK_HEAD} FOR UPDATE")
    return _head(row)


def save_head(writer: Writer, head: Head) -> None:
    """Replace the head."""
    statement = _UPDATE_HEAD_SQLITE if writer.is_sqlite else _UPDATE_HEAD_POSTGRESQL
    writer.run_last(statement, _head_values(head))


def insert_entries(
    writer: Writer, start: int, leaves: Sequence[bytes], hashes: Sequence[bytes]
) -> None:
    """Store leaves as the entries from `start` on, with what `Frontier.complete` gave for each."""
    entries = range(start, start + len(leaves))
    write_rows(writer, ledger_entry, list(zip(entries, hashes, leaves, strict=True)))


def insert_items(writer: Writer, items: Sequence[tuple[int, Sequence[bytes]]]) -> None:
    """Store the items of entries, given as (entry index, items)."""
    rows = [
        (entry_index, number, item)
        for entry_index, of_entry in items
        for number, item in enumerate(of_entry)
    ]
    write_rows(writer, ledger_item, rows)


def read_nodes(
    connection: sa.Connection, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """The hashes at (level, node index); places without a node are left out."""
    entry_of = {(level, index): last_entry_under(level, index) for level, index in places}
    hashes = _read_hashes(connection, {*entry_of.values()})
    nodes = {}
    for (level, index), entry in entry_of.items():
        start = level * HASH_BYTES
        digest = hashes.get(entry, b"")[start : start + HASH_BYTES]
        if digest:
            nodes[level, index] = digest
    return nodes


def _read_hashes(connection: sa.Connection, entries: Collection[int]) -> dict[int, bytes]:
    # The driver's SQL: to expand a Core statement takes longer than to run it.
    if connection.dialect.name == "sqlite":
        marks = ",".join("?" * len(entries))
        rows = connection.exec_driver_sql(f"{_SELECT_HASHES} IN ({marks})", tuple(entries))
    else:
        rows = connection.exec_driver_sql(f"{_SELECT_HASHES} = ANY(%s)", (list(entries),))
    return {row[0]: row[1] for row in rows}


def read_entries(
    connection: sa.Connection, start: int, stop: int, most_items: int
) -> Iterator[tuple[int, bytes, tuple[bytes, ...]]]:
    """(index, leaf, contents of the items) of the entries start..stop-1, in order.

    As far as there are. Ends before the entry whose items would make more than `most_items`, but
    never before the first. Raises Refusal INTERNAL (LEDGER_DAMAGED) at an entry that is missing.
    """
    stop = min(stop, read_head(connection).frontier.size)
    span = {"start": start, "stop": stop}
    beyond = connection.execute(_SELECT_ENTRY_OF_ITEM, {**span, "items": most_items}).scalar()
    if beyond is not None:
        span["stop"] = max(beyond, start + 1)
    contents: dict[int, list[bytes]] = {}
    for entry_index, content in connection.execute(_SELECT_ITEMS, span):
        contents.setdefault(entry_index, []).append(content)
    due = start
    for entry_index, leaf in connection.execute(_SELECT_ENTRIES, span):
        if entry_index != due:
            raise lacks_entry(due)
        yield entry_index, leaf, tuple(contents.get(entry_index, ()))
        due += 1
    if due < span["stop"]:
        raise lacks_entry(due)


def faults_at_edge(connection: sa.Connection, head: Head) -> list[str]:
    """What is wrong where the next entry would go, in words; none where all is as it must be.

    Looks at the last entry and at the nodes that the frontier is made of, not at all entries.
    """
    frontier = head.frontier
    last = connection.execute(_SELECT_LAST).scalar()
    stored = 0 if last is None else last + 1
    if stored > frontier.size:
        return [f"entry {last} is stored in a tree of {frontier.size}"]
    if stored < frontier.size:
        first, end = stored, frontier.size - 1
        return [
            f"entry {end} is missing" if first == end else f"entries {first} to {end} are missing"
        ]
    places = peaks_of(frontier.size)
    nodes = read_nodes(connection, places) if places else {}
    faults = []
    for (level, index), peak in zip(places, frontier.peaks, strict=True):
        entry = last_entry_under(level, index)
        if (level, index) not in nodes:
            faults.append(f"entry {entry}, or what is stored with it, is missing")
        elif nodes[level, index] != peak:
            faults.append(f"what is stored with entry {entry} was changed")
    return faults


def last_entry_under(level: int, index: int) -> int:
    """The entry that completes the node (level, index), and that it is stored with."""
    return ((index + 1) << level) - 1


def lacks_entry(entry_index: int) -> Refusal:
    """What readers are told where the store lacks an entry, or nodes stored with it."""
    return Refusal(
        Kind.INTERNAL,
        "LEDGER_DAMAGED",
        f"the ledger's store lacks entry {entry_index}, or what is stored with it",
    )


def _head(row: Sequence[Any]) -> Head:
    frontier, *rest, _size = row
    return Head(Frontier.from_bytes(frontier), *rest)


def _head_values(head: Head) -> tuple[object, ...]:
    return (
        head.frontier.to_bytes(),
        head.checkpoint,
        head.time,
        head.pool_version,
        head.tokens_epoch,
        head.witnessed_size,
        head.unwitnessed_since,
        head.frontier.size,
    )
