"""The one way to change the control store: group commit with one ledger, one fence, one signature.

A durable commit costs a disk flush. While one group of changes is written, others queue; then all
that wait are run in one transaction, their entries integrated into the Merkle tree, one checkpoint
signed, committed, and only then are the callers woken. A caller that finds nobody writing writes
its change itself, if it need not wait for another process first: handing it to a thread and being
woken costs as much as a fast disk's flush. Everything else is the writer thread's, one a process.
Several processes share one store: the locked head row (PostgreSQL) or BEGIN IMMEDIATE (SQLite) puts
their groups one after another.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import sqlalchemy as sa

from concordat_gateway.ledger import tree
from concordat_gateway.ledger.pending import Committed, Pending
from concordat_gateway.ledger.proofs import Prover
from concordat_gateway.ledger.transaction import Entry, Group, Item, Transaction
from concordat_gateway.ledger.tree import Head
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_privacy.log import checkpoint as checkpoints
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.merkle import Frontier
from concordat_rpc.errors import Refusal, unavailable
from concordat_store.clock import Clock
from concordat_store.database import Database, describe, store_unavailable
from concordat_store.direct import Asked
from concordat_store.engines import StoreError

__all__ = ["Committed", "Entry", "Item", "Journal", "Pending", "Transaction"]

T = TypeVar("T")

MAX_GROUP_CHANGES = 256
MAX_GROUP_ENTRIES = 4_096
_PAGE_ENTRIES = 1_000
_PAGE_ITEMS = 10_000

_log = logging.getLogger(__name__)


class Journal:
    """Writer and reader of the control store. Thread-safe; make one a process."""

    def __init__(
        self, database: Database, key: SigningKey, clock: Clock, grace: int | None = None
    ) -> None:
        """Open the ledger, starting it where there is none; key.name is its origin.

        `grace` is how long an entry may wait for its witnesses, in microseconds, before uses of
        data are refused; None: no witness is waited for.
        Raises StoreError where the ledger is not key's, or where what is stored at its end does
        not fit the size and root that it signed; Refusal UNAVAILABLE where the store fails.
        """
        self._database = database
        self._key = key
        self._clock = clock
        self._grace = grace
        self._prover = Prover(database)
        self._open_ledger()
        self._writer = database.writer()
        # Guards the four that follow.
        self._mutex = threading.Lock()
        self._waiting: deque[Pending[Any]] = deque()
        self._busy = False
        """Whether some thread writes, or has been woken to; it looks after what waits."""
        self._closed = False
        self._wake = threading.Lock()
        """Held while the writer thread has nothing to do. Released by whoever makes it busy."""
        self._wake.acquire()
        self._running: int | None = None
        """The thread that runs changes now."""
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def write(
        self, change: Callable[[Transaction], T], timeout_seconds: float = 30.0
    ) -> Committed[T]:
        """Run a change and wait until it is durable.

        The change runs in whatever thread writes, after all that were queued before it: it must not
        block and must not call the journal. What it raises is raised here, and undoes it alone.

        Raises:
            Refusal: UNAVAILABLE, STORE_UNAVAILABLE: the commit failed; the change is gone, or, if
                the connection broke during the commit, may have happened.
                DEADLINE_EXCEEDED: not durable in time; it may still become so if it had started.
        """
        pending = Pending(change)
        # PostgreSQL's lock is waited for without regard to this caller's deadline.
        if self._admit(pending, at_once=self._writer.is_sqlite):
            self._write_at_once(pending)
        return pending.result(timeout_seconds)

    def submit(self, change: Callable[[Transaction], T]) -> Pending[T]:
        """Queue a change as `write` does, and wait for it later: `result` of what is returned."""
        pending = Pending(change)
        self._admit(pending, at_once=False)
        return pending

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that sees one snapshot of the control store and writes nothing."""
        return self._database.read()

    def ask(self) -> AbstractContextManager[Asked]:
        """As `read`, where one statement asks all: its snapshot needs no transaction."""
        return self._database.ask()

    def close(self) -> None:
        """Refuse new changes, finish the queued ones, stop the writer."""
        with self._mutex:
            self._closed = True
            if not self._busy:
                self._wake_thread()
        self._thread.join()
        self._writer.close()

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

    def checkpoint_of(self, size: int) -> str:
        """The signed checkpoint of the tree of the first `size` entries, the same note each time.

        Raises Refusal OUT_OF_RANGE (beyond the ledger).
        """
        checkpoint = Checkpoint(self._key.name, size, self._prover.root(size))
        return checkpoints.sign(checkpoint, self._key)

    def entries(self, start: int, stop: int) -> Iterator[tuple[int, bytes, tuple[bytes, ...]]]:
        """(index, leaf, items' canonical bytes) of the entries start..stop-1, as far as there are.

        Read in pages, each a transaction of its own: a slow reader holds no lock.

        Raises Refusal INTERNAL (LEDGER_DAMAGED), naming the first entry that the store lacks.
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
        # One snapshot: other processes may be appending.
        with self._database.read() as connection:
            head = tree.read_head(connection)
            faults = tree.faults_at_edge(connection, head)
        try:
            signed = checkpoints.open_note(head.checkpoint, [self._key.verifier])
        except CheckpointError as error:
            raise StoreError(f"the ledger is not signed with this gateway's key: {error}") from None
        if (signed.size, signed.root) != (head.frontier.size, head.frontier.root):
            raise StoreError("the ledger's head is damaged: checkpoint and frontier disagree")
        if faults:
            # To append here would sign a tree that nobody can be shown any more.
            raise StoreError(f"the ledger's entries are damaged: {'; '.join(faults)}")

    def _sign(self, frontier: Frontier) -> str:
        return checkpoints.sign(Checkpoint(self._key.name, frontier.size, frontier.root), self._key)

    def _admit(self, pending: Pending[Any], at_once: bool) -> bool:
        """Queue a change; or, `at_once`, let the caller write it if nobody is writing."""
        if threading.get_ident() == self._running:
            raise RuntimeError("a change cannot write through the journal that runs it")
        with self._mutex:
            if self._closed:
                raise unavailable("SHUTTING_DOWN", "the gateway is shutting down")
            if at_once and not self._busy:
                # Then nothing waits either.
                self._busy = True
                return True
            self._waiting.append(pending)
            if not self._busy:
                self._wake_thread()
        return False

    def _write_at_once(self, pending: Pending[Any]) -> None:
        """Write the change in its caller's thread, unless another process has the turn."""
        if not self._writer.take_turn(wait=False):
            with self._mutex:
                self._waiting.appendleft(pending)
                self._wake_thread()
            return
        try:
            self._write_group([pending], has_turn=True)
        finally:
            with self._mutex:
                self._busy = False
                if self._waiting or self._closed:
                    self._wake_thread()

    def _wake_thread(self) -> None:
        self._busy = True
        self._wake.release()

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            while group := self._next_group():
                self._write_group(group, has_turn=False)
            if group is None:
                return

    def _next_group(self) -> list[Pending[Any]] | None:
        """The changes that wait now; none, and the thread sleeps; None, and it has ended."""
        with self._mutex:
            if not self._waiting:
                self._busy = self._closed
                return None if self._closed else []
            size = min(len(self._waiting), MAX_GROUP_CHANGES)
            return [self._waiting.popleft() for _ in range(size)]

    def _write_group(self, group: list[Pending[Any]], has_turn: bool) -> None:
        try:
            checkpoint = self._commit(group, has_turn)
        except Refusal as refusal:
            fault = describe(refusal.__cause__) if refusal.__cause__ else refusal.message
            _log.error("the store failed a group of %d changes: %s", len(group), fault)
            _fail(group)
            return
        except BaseException as error:
            _log.exception("a group of %d changes failed", len(group))
            _fail(group)
            # The writer thread outlives any fault of a group; a caller's own must see its end.
            if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
                raise
            return
        for pending in group:
            pending.settle(checkpoint)
        for pending in group:
            pending.wake()

    def _commit(self, group: list[Pending[Any]], has_turn: bool) -> str:
        if not has_turn:
            self._writer.take_turn()
        with self._writer.transaction():
            head = tree.lock_head(self._writer)
            gathered = Group(self._writer, head, self._clock, self._grace)
            self._run_changes(group, gathered)
            if len(group) == 1 and group[0].failed:
                # Nothing else is in the transaction: to undo it costs no flush.
                self._writer.undo()
                return head.checkpoint
            frontier = gathered.extend()
            unchanged = frontier.size == head.frontier.size
            checkpoint = head.checkpoint if unchanged else self._sign(frontier)
            gathered.close(frontier, checkpoint)
        return checkpoint

    def _run_changes(self, group: list[Pending[Any]], gathered: Group) -> None:
        """Run the changes; those that come after very many entries go back to the queue."""
        self._running = threading.get_ident()
        try:
            for position, pending in enumerate(group):
                if gathered.entries >= MAX_GROUP_ENTRIES:
                    with self._mutex:
                        self._waiting.extendleft(reversed(group[position:]))
                    del group[position:]
                    return
                if pending.claim():
                    transaction = Transaction(gathered, savepoint=len(group) > 1)
                    pending.run(transaction, self._database.is_fault)
        finally:
            self._running = None


def _fail(group: list[Pending[Any]]) -> None:
    for pending in group:
        # One exception each: every waiter adds its own traceback.
        pending.fail(store_unavailable())
    for pending in group:
        pending.wake()
