"""What a change of the control store is given: a connection, the time, and a ledger to append to.

Many changes share one durable transaction. Each sees what those before it wrote; one that fails
leaves nothing behind, neither rows nor entries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from concordat_gateway.ledger import tree
from concordat_gateway.ledger.tree import Head
from concordat_privacy.log import leaf
from concordat_privacy.log.leaf import Json
from concordat_privacy.log.merkle import Frontier, leaf_hash, merkle_root
from concordat_rpc.errors import unavailable
from concordat_store.clock import Clock, rfc3339
from concordat_store.writer import Statement, Writer

T = TypeVar("T")

_WITNESS_RETRY_SECONDS = 5.0
_RESERVED = frozenset({"v", "type", "time", "actor", "items", "items_root"})


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger. Durable only once the journal's write has returned."""

    index: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an entry."""

    content: Mapping[str, Json]
    encoded: bytes | None = None
    """Its canonical form, where the caller has made it: while others wait, of thousands at once, a
    fixed form is filled in ten times faster than any object is encoded."""


class Transaction:
    """One change in the making. Valid only inside the function that `Journal.write` calls."""

    def __init__(self, group: "Group", savepoint: bool) -> None:
        self._group = group
        self._savepoint = savepoint
        self._guarded = False
        self.now = group.advance_clock()
        """Microseconds since the epoch; never earlier than any earlier entry."""

    @property
    def connection(self) -> sa.Connection:
        """The control store. What is written here commits with the entries, or not at all."""
        self._guard()
        return self._group.writer.connection

    def query(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """As on `connection`, SQL with `:name` for parameters: for what every lookup runs.

        SQLAlchemy takes longer than the databases take for such statements.
        """
        self._guard()
        writer = self._group.writer
        return writer.run(writer.named(statement), parameters)

    def execute(self, statements: Sequence[Statement]) -> None:
        """As `query`, for statements without rows, none of which needs another of the same call.

        They are run, all or none, before whatever follows on the store, the commit at the latest.
        """
        self._guard()
        writer = self._group.writer
        writer.run_later([(writer.named(text), parameters) for text, parameters in statements])

    def _guard(self) -> None:
        if self._savepoint and not self._guarded:
            # Only now: most of a savepoint's cost is two statements, and some changes only append.
            self._group.writer.run("SAVEPOINT change")
            self._guarded = True

    @property
    def pool_version(self) -> int:
        """Number of changes to the pool so far, those of this change included."""
        return self._group.pool_version

    @property
    def tokens_epoch(self) -> int:
        """Key epoch under which the stores name subjects; 0 while they are moved to the next.

        Read under the head's lock: a change that names subjects compares it with the epoch that it
        named them under, and so never commits under names of another.
        """
        return self._group.tokens_epoch

    @tokens_epoch.setter
    def tokens_epoch(self, epoch: int) -> None:
        self._group.tokens_epoch = epoch

    @property
    def witnessed_size(self) -> int:
        """Largest tree that as many witnesses as the policy wants have seen."""
        return self._group.witnessed_size

    @property
    def unwitnessed_since(self) -> int | None:
        """Time of the first entry that is not witnessed, in microseconds; None: all are.

        Entries of changes that are not durable yet do not count.
        """
        return self._group.unwitnessed_since

    def require_witnessed(self) -> None:
        """Refuse a use of data while the witnesses have been missing for longer than is allowed.

        Raises Refusal UNAVAILABLE (LEDGER_NOT_WITNESSED).
        """
        since, grace = self._group.unwitnessed_since, self._group.grace
        if grace is not None and since is not None and self.now - since >= grace:
            raise unavailable(
                "LEDGER_NOT_WITNESSED",
                "the ledger's witnesses have not cosigned it for too long; no data is used until "
                "they do",
                _WITNESS_RETRY_SECONDS,
            )

    def witnessed(self, size: int, next_time: int | None) -> None:
        """Record that a tree is witnessed; `next_time` is that of the entry after it, if any."""
        self._group.witnessed_size, self._group.unwitnessed_since = size, next_time

    def append(
        self,
        type: str,
        actor: str,
        fields: Mapping[str, Json],
        items: Sequence[Item] = (),
        changes_pool: bool = False,
    ) -> Entry:
        """Append an entry.

        Args:
            type: what happened, such as "consent.granted".
            actor: SPIFFE id of whoever caused it.
            fields: the entry's own fields; `v`, `type`, `time`, `actor` and the two about items
                are added here.
            items: kept beside the entry, which carries their number and Merkle root.
            changes_pool: whether answers about the whole pool may differ from now on.

        Raises:
            LeafError: the fields or an item break a rule of the ledger's form.
        """
        if not _RESERVED.isdisjoint(fields):
            raise ValueError(f"fields that every entry has: {sorted(_RESERVED & fields.keys())}")
        content: dict[str, Json] = {
            **fields,
            "v": leaf.VERSION,
            "type": type,
            "time": self._group.time_text,
            "actor": actor,
        }
        stored = [
            leaf.encode_item(item.content) if item.encoded is None else item.encoded
            for item in items
        ]
        if stored:
            content["items"] = len(stored)
            content["items_root"] = merkle_root(stored).hex()
        return self._group.add(leaf.encode(content), stored, changes_pool)

    def run(self, change: Callable[["Transaction"], T]) -> T:
        """Run the change: all that it does is kept, or nothing if it raises."""
        mark = self._group.mark()
        try:
            value = change(self)
            if self._guarded:
                self._group.writer.run("RELEASE SAVEPOINT change")
        except Exception:
            self._group.reset(mark)
            if self._guarded:
                self._group.writer.run("ROLLBACK TO SAVEPOINT change")
                self._group.writer.run("RELEASE SAVEPOINT change")
            raise
        return value


class _Mark(NamedTuple):
    entries: int
    items: int
    pool_version: int
    tokens_epoch: int
    witnessed_size: int
    unwitnessed_since: int | None


class Group:
    """The entries of one durable transaction, gathered before they are integrated together."""

    def __init__(self, writer: Writer, head: Head, clock: Clock, grace: int | None) -> None:
        self.writer = writer
        self.grace = grace
        """Longest that an entry may wait for its witnesses, in microseconds; None: for ever."""
        self.pool_version = head.pool_version
        self.tokens_epoch = head.tokens_epoch
        self.witnessed_size = head.witnessed_size
        self.unwitnessed_since = head.unwitnessed_since
        self._head = head
        self._clock = clock
        self._time = head.time
        self._time_text = ""
        self._second = -1
        self._second_text = ""
        self._leaves: list[bytes] = []
        self._first_time = 0
        """Of the first of them."""
        self._items: list[tuple[int, list[bytes]]] = []

    @property
    def entries(self) -> int:
        """Number of entries gathered."""
        return len(self._leaves)

    def advance_clock(self) -> int:
        """The time for the next change: the clock's, but never before an earlier change's."""
        now = self._clock()
        if now > self._time:
            self._time = now
            self._time_text = ""
        return self._time

    @property
    def time_text(self) -> str:
        """The time of `advance_clock` as entries carry it."""
        if not self._time_text:
            second, micros = divmod(self._time, 1_000_000)
            if second != self._second:
                # A group's times differ in their microseconds, which are cheap to write.
                self._second, self._second_text = second, rfc3339(second * 1_000_000)[:-7]
            self._time_text = f"{self._second_text}{micros:06}Z"
        return self._time_text

    def add(self, data: bytes, items: list[bytes], changes_pool: bool) -> Entry:
        """Gather one encoded entry."""
        entry = Entry(self._head.frontier.size + len(self._leaves), data)
        if not self._leaves:
            self._first_time = self._time
        self._leaves.append(data)
        if items:
            self._items.append((entry.index, items))
        if changes_pool:
            self.pool_version += 1
        return entry

    def mark(self) -> _Mark:
        """A point to `reset` to."""
        return _Mark(
            len(self._leaves),
            len(self._items),
            self.pool_version,
            self.tokens_epoch,
            self.witnessed_size,
            self.unwitnessed_since,
        )

    def reset(self, mark: _Mark) -> None:
        """Forget what was gathered after mark."""
        del self._leaves[mark.entries :]
        del self._items[mark.items :]
        self.pool_version = mark.pool_version
        self.tokens_epoch = mark.tokens_epoch
        self.witnessed_size = mark.witnessed_size
        self.unwitnessed_since = mark.unwitnessed_since

    def extend(self) -> Frontier:
        """Write entries with nodes, and items, to the transaction; returns the tree's new edge."""
        if not self._leaves:
            return self._head.frontier
        frontier, hashes = self._head.frontier.complete(map(leaf_hash, self._leaves))
        tree.insert_entries(self.writer, self._head.frontier.size, self._leaves, hashes)
        if self._items:
            tree.insert_items(self.writer, self._items)
        return frontier

    def close(self, frontier: Frontier, checkpoint: str) -> None:
        """Write the head, as the last thing before the commit."""
        since = self.unwitnessed_since
        if since is None and self._leaves:
            since = self._first_time
        head = Head(
            frontier,
            checkpoint,
            self._time,
            self.pool_version,
            self.tokens_epoch,
            self.witnessed_size,
            since,
        )
        tree.save_head(self.writer, head)
