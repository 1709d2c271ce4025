"""The control store's journal: durable appends and proofs, on SQLite.

Disks differ a hundredfold and change from minute to minute, so each figure and its reference take
turns in short rounds on the same disk.
"""

import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.harness import Figure
from concordat_gateway.ledger.journal import Entry, Journal, Transaction
from concordat_gateway.store.migrate import CONTROL
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.log.leaf import Json
from concordat_privacy.log.merkle import Frontier, Tree, leaf_hash
from concordat_store.clock import system_clock
from concordat_store.database import Database
from concordat_store.engines import sqlite_module
from concordat_store.migration import upgrade

ROUNDS = 12
SINGLE_APPENDS = 40
GROUP = 256
GROUPS = 3
PROOF_SECONDS = 1.5
SINGLE_TARGET = 0.9
GROUP_TARGET = 0.5

_ACTOR = "spiffe://bench.example/member/lender-1"
_FIELDS: dict[str, Json] = {
    "categories": ["accounts", "inquiries"],
    "commitment": "0f" * 32,
    "consent": "5a" * 16,
    "evidence": "3c" * 32,
    "notice": "2026-1",
    "purposes": ["underwriting"],
}


def run() -> list[Figure]:
    """Measure the group: about 15 seconds on two cores."""
    with tempfile.TemporaryDirectory() as folder, _journal(Path(folder)) as journal:
        return [_single(journal, Path(folder)), *_grouped(journal, Path(folder)), _proofs(journal)]


@contextmanager
def _journal(folder: Path) -> Iterator[Journal]:
    database = Database.open(f"sqlite:///{folder}/control.db")
    upgrade(CONTROL, database)
    journal = Journal(database, SigningKey.generate("bench.example/ledger"), system_clock)
    try:
        yield journal
    finally:
        journal.close()
        database.close()


def _append(transaction: Transaction) -> Entry:
    return transaction.append("consent.granted", _ACTOR, _FIELDS)


@dataclass
class _Rates:
    """Two kinds of work that take turns: how much of each was done, in how many seconds."""

    done: tuple[int, int]
    seconds: tuple[float, float]

    @property
    def value(self) -> float:
        return self.done[0] / self.seconds[0]

    @property
    def reference(self) -> float:
        return self.done[1] / self.seconds[1]


def _in_turns(ours: Callable[[], int], theirs: Callable[[], int]) -> _Rates:
    """Rounds of both, after one of each that does not count. Each returns how much it did."""
    ours()
    theirs()
    done, seconds = [0, 0], [0.0, 0.0]
    for _ in range(ROUNDS):
        for at, work in enumerate((ours, theirs)):
            started = time.perf_counter()
            done[at] += work()
            seconds[at] += time.perf_counter() - started
    return _Rates((done[0], done[1]), (seconds[0], seconds[1]))


def _single(journal: Journal, folder: Path) -> Figure:
    def append() -> int:
        for _ in range(SINGLE_APPENDS):
            journal.write(_append)
        return SINGLE_APPENDS

    # A commit adds some pages to the WAL; the reference writes and flushes as much.
    block = os.urandom(4 * 4096)
    file = os.open(folder / "flushed", os.O_WRONLY | os.O_CREAT)
    flush: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

    def write_and_flush() -> int:
        for number in range(SINGLE_APPENDS):
            os.pwrite(file, block, number * len(block))
            flush(file)
        return SINGLE_APPENDS

    rates = _in_turns(append, write_and_flush)
    os.close(file)
    microseconds = 1e6 * (1 / rates.value - 1 / rates.reference)
    return _figure(
        "ledger.append_single_vs_fsync",
        rates,
        SINGLE_TARGET,
        "one caller, one durable entry at a time: leaf, tree, signature, commit. Reference: write "
        f"16 KiB and flush. {microseconds:.0f} µs an entry are not the flush: the slower the disk, "
        "the nearer to 1",
    )


def _grouped(journal: Journal, folder: Path) -> list[Figure]:
    bare = _BareInserts(folder / "bare.db")
    rates = _in_turns(lambda: _append_from_threads(journal), bare.insert)
    callers = _figure(
        "ledger.append_group256_vs_insert",
        rates,
        GROUP_TARGET,
        "256 threads that each wait for their own entry. Reference: the driver inserts the same "
        "leaves and node hashes, ready made, 256 entries a durable transaction",
    )

    def many(transaction: Transaction) -> int:
        for _ in range(GROUP):
            _append(transaction)
        return GROUP

    rates = _in_turns(lambda: sum(journal.write(many).value for _ in range(GROUPS)), bare.insert)
    batch = _figure(
        "ledger.append_batch256_vs_insert",
        rates,
        GROUP_TARGET,
        "one caller whose change appends 256 entries, as a batch of consents does. Same reference",
    )
    bare.close()
    return [callers, batch]


def _append_from_threads(journal: Journal) -> int:
    def append() -> None:
        for _ in range(GROUPS):
            journal.write(_append)

    threads = [threading.Thread(target=append) for _ in range(GROUP)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return GROUP * GROUPS


class _BareInserts:
    """What SQLite itself takes to keep the same bytes as durably."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite_module().connect(str(path), isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = wal",
            "PRAGMA synchronous = full",
            "PRAGMA wal_autocheckpoint = 4000",
            "CREATE TABLE entry (entry_index INTEGER PRIMARY KEY, leaf BLOB NOT NULL)",
            "CREATE TABLE node (level INTEGER, node_index INTEGER, hash BLOB NOT NULL,"
            " PRIMARY KEY (level, node_index)) WITHOUT ROWID",
        ):
            self._connection.execute(statement)
        self._frontier = Frontier()
        self._leaf = b"x" * 405

    def insert(self) -> int:
        """Insert some groups."""
        for _ in range(GROUPS):
            start = self._frontier.size
            self._frontier, nodes = self._frontier.extend([leaf_hash(self._leaf)] * GROUP)
            entries = [(start + number, self._leaf) for number in range(GROUP)]
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO entry VALUES (?, ?)", entries)
            self._connection.executemany("INSERT INTO node VALUES (?, ?, ?)", nodes)
            self._connection.execute("COMMIT")
        return GROUP * GROUPS

    def close(self) -> None:
        self._connection.close()


def _proofs(journal: Journal) -> Figure:
    size = journal.size
    draw = random.Random(1)
    in_memory = Tree.of(leaf for _, leaf, _ in journal.entries(0, size))
    stored = _per_second(lambda: journal.inclusion_proof(draw.randrange(size), size))
    memory = _per_second(lambda: in_memory.inclusion_proof(draw.randrange(size)))
    return Figure(
        name="ledger.proofs_per_second",
        value=stored,
        unit="proofs/s",
        reference=memory,
        ratio=stored / memory,
        target="",
        holds=None,
        note=(
            f"inclusion proofs of random entries of {size:,}, one thread, most nodes read from the "
            "store. Reference: the same proofs from a tree in memory"
        ),
    )


def _per_second(work: Callable[[], object]) -> float:
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < PROOF_SECONDS:
        work()
        done += 1
    return done / elapsed


def _figure(name: str, rates: _Rates, target: float, note: str) -> Figure:
    ratio = rates.value / rates.reference
    return Figure(
        name=name,
        value=rates.value,
        unit="entries/s",
        reference=rates.reference,
        ratio=ratio,
        target=f">= {target}",
        holds=ratio >= target,
        note=note,
    )
