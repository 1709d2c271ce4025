"""The one way to change the control store: group commit with one ledger, one fence, one signature.

A durable commit costs a disk flush. Callers queue their changes; one writer thread a process takes
all that wait, runs them in one transaction, integrates their entries into the Merkle tree, signs
one checkpoint, commits and only then wakes the callers. Several processes share one store: the
locked head row (PostgreSQL) or BEGIN IMMEDIATE (SQLite) puts their groups one after another.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import sqlalchemy as sa

from concordat_gateway.ledger import tree
from concordat_gateway.ledger.proofs import Prover
from concordat_gateway.ledger.transaction import Entry, Group, Item, Transaction
from concordat_gateway.ledger.tree import Head
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_privacy.log import checkpoint as checkpoints
from concordat_privacy.log.checkpoint import Checkpoint, CheckpointError, SigningKey
from concordat_privacy.log.merkle import Frontier
from concordat_rpc.errors import Refusal, deadline_exceeded, unavailable
from concordat_store.clock import Clock
from concordat_store.database import Database, describe, store_unavailable
from concordat_store.engines import StoreError

__all__ = ["Committed", "Entry", "Item", "Journal", "Transaction"]

T = TypeVar("T")

MAX_GROUP_CHANGES = 256
MAX_GROUP_ENTRIES = 4_096
_PAGE_ENTRIES = 1_000
_PAGE_ITEMS = 10_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Committed(Generic[T]):
    """What a change returned, now durable, and the signed tree head that covers its entries."""

    value: T
    checkpoint: str


class Journal:
    """Writer and reader of the control store. Thread-safe; make one a process."""

    def __init__(self, database: Database, key: SigningKey, clock: Clock) -> None:
        """Open the ledger, starting it where there is none; key.name is its origin.

        Raises StoreError where the ledger is not key's, Refusal UNAVAILABLE where the store fails.
        """
        self._database = database
        self._key = key
        self._clock = clock
        self._prover = Prover(database)
        self._open_ledger()
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._carried: list[_Pending] = []
        self._admission = threading.Lock()
        self._closed = False
        self._writer = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._writer.start()

    def write(
        self, change: Callable[[Transaction], T], timeout_seconds: float = 30.0
    ) -> Committed[T]:
        """Run a change and wait until it is durable.

        The change runs in the writer's thread, after all that were queued before it: it must not
        block and must not call the journal. What it raises is raised here, and undoes it alone.

        Raises:
            Refusal: UNAVAILABLE, STORE_UNAVAILABLE: the commit failed; the change is gone, or, if
                the connection broke during the commit, may have happened.
                DEADLINE_EXCEEDED: not durable in time; it may still become so if it had started.
        """
        if threading.current_thread() is self._writer:
            raise RuntimeError("a change cannot write through the journal that runs it")
        pending = _Pending(change)
        with self._admission:
            if self._closed:
                raise unavailable("SHUTTING_DOWN", "the gateway is shutting down")
            self._queue.put(pending)
        if not pending.wait(timeout_seconds):
            # A change that has not started now never will.
            pending.claim()
            raise deadline_exceeded()
        if pending.error is not None:
            raise pending.error
        return Committed(cast(T, pending.value), pending.checkpoint)

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that sees one snapshot of the control store and writes nothing."""
        return self._database.read()

    def close(self) -> None:
        """Refuse new changes, finish the queued ones, stop the writer."""
        with self._admission:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._writer.join()

    def checkpoint(self) -> str:
        """The newest signed checkpoint, as a note."""
        with self.read() as connection:
            return tree.read_head(connection).checkpoint

    @property
    def size(self) -> int:
        """Number of entries."""
        with self.read() as connection:
            return tree.read_head(connection).frontier.size

    @property
    def pool_version(self) -> int:
        """Number of changes to the pool so far: the snapshot that a question is asked of."""
        with self.read() as connection:
            return tree.read_head(connection).pool_version

    @property
    def tokens_epoch(self) -> int:
        """Key epoch under which the stores name subjects; 0 while they are moved to the next."""
        with self.read() as connection:
            return tree.read_tokens_epoch(connection)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """As `Prover.inclusion_proof`."""
        return self._prover.inclusion_proof(index, size)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """As `Prover.consistency_proof`."""
        return self._prover.consistency_proof(old, new)

    def entries(self, start: int, stop: int) -> Iterator[tuple[int, bytes, tuple[bytes, ...]]]:
        """(index, leaf, items' canonical bytes) of the entries start..stop-1, as far as there are.

        Read in pages, each a transaction of its own: a slow reader holds no lock.
        """
        while start < stop:
            end = min(start + _PAGE_ENTRIES, stop)
            with self.read() as connection:
                page = list(tree.read_entries(connection, start, end, _PAGE_ITEMS))
            if not page:
                return
            yield from page
            start = page[-1][0] + 1

    def _open_ledger(self) -> None:
        empty = Frontier()
        start = Head(empty, self._sign(empty), self._clock(), 0, FIRST_EPOCH)
        with self._database.write() as connection:
            tree.create_head(connection, start)
            head = tree.lock_head(connection)
        try:
            signed = checkpoints.open_note(head.checkpoint, [self._key.verifier])
        except CheckpointError as error:
            raise StoreError(f"the ledger is not signed with this gateway's key: {error}") from None
        if (signed.size, signed.root) != (head.frontier.size, head.frontier.root):
            raise StoreError("the ledger's head is damaged: checkpoint and frontier disagree")

    def _sign(self, frontier: Frontier) -> str:
        return checkpoints.sign(Checkpoint(self._key.name, frontier.size, frontier.root), self._key)

    def _run(self) -> None:
        # Only the end in the queue stops the writer: what was admitted lies before it.
        ended = False
        while self._carried or not ended:
            group, ends = self._take_group()
            ended = ended or ends
            if group:
                self._write_group(group)

    def _take_group(self) -> tuple[list["_Pending"], bool]:
        """The changes that wait now, at least one before the queue's end; whether it ended."""
        group, self._carried = self._carried, []
        while len(group) < MAX_GROUP_CHANGES:
            try:
                pending = self._queue.get(block=not group)
            except queue.Empty:
                return group, False
            if pending is None:
                return group, True
            group.append(pending)
        return group, False

    def _write_group(self, group: list["_Pending"]) -> None:
        try:
            checkpoint = self._commit(group)
        except Refusal as refusal:
            fault = describe(refusal.__cause__) if refusal.__cause__ else refusal.message
            _log.error("the store failed a group of %d changes: %s", len(group), fault)
            _fail(group)
            return
        except BaseException:  # noqa: BLE001 - the writer outlives any fault of a group
            _log.exception("a group of %d changes failed", len(group))
            _fail(group)
            return
        for pending in group:
            pending.finish(checkpoint)

    def _commit(self, group: list["_Pending"]) -> str:
        with self._database.write() as connection:
            head = tree.lock_head(connection)
            gathered = Group(connection, head, self._clock)
            for position, pending in enumerate(group):
                if gathered.entries >= MAX_GROUP_ENTRIES:
                    self._carried = group[position:]
                    del group[position:]
                    break
                if pending.claim():
                    pending.run(
                        Transaction(gathered, savepoint=len(group) > 1), self._database.is_fault
                    )
            if len(group) == 1 and group[0].error is not None:
                connection.rollback()
                return head.checkpoint
            frontier = gathered.extend()
            unchanged = frontier.size == head.frontier.size
            checkpoint = head.checkpoint if unchanged else self._sign(frontier)
            gathered.close(frontier, checkpoint)
        return checkpoint


class _Pending:
    """One queued change and what became of it."""

    __slots__ = ("_change", "_claim", "_gate", "checkpoint", "error", "value")

    def __init__(self, change: Callable[[Transaction], Any]) -> None:
        self._change = change
        self._claim = threading.Lock()
        # A held lock costs a third of an Event, and each waiter has exactly one to wait for.
        self._gate = threading.Lock()
        self._gate.acquire()
        self.value: Any = None
        self.error: BaseException | None = None
        self.checkpoint = ""

    def claim(self) -> bool:
        """Whether the calling thread is the first to claim the change: to run it or to drop it."""
        return self._claim.acquire(blocking=False)

    def wait(self, timeout_seconds: float) -> bool:
        """Whether the outcome is there in time."""
        return self._gate.acquire(timeout=timeout_seconds)

    def run(self, transaction: Transaction, is_fault: Callable[[BaseException], bool]) -> None:
        """Run the change; a fault of the store goes up, anything else is the caller's to see."""
        try:
            with transaction.atomic():
                self.value = self._change(transaction)
        except Exception as error:
            if is_fault(error):
                raise
            self.error = error

    def finish(self, checkpoint: str) -> None:
        """Wake the waiter: its change is durable, or was undone alone."""
        self.checkpoint = checkpoint
        self._gate.release()

    def fail(self, error: BaseException) -> None:
        """Wake the waiter: nothing of its group is durable."""
        if self.error is None:
            self.error = error
        self._gate.release()


def _fail(group: list[_Pending]) -> None:
    for pending in group:
        # One exception each: every waiter adds its own traceback.
        pending.fail(store_unavailable())
