"""The control store's journal: durable appends and proofs, on SQLite.

Disks differ a hundredfold and change from minute to minute, so each figure and its reference take
turns in short rounds on the same disk. The journal has run for a while before: SQLite's WAL file
has its full length then, and a flush need not record that it grew.
"""

import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.harness import Figure, best_seconds
from concordat_gateway.ledger.journal import Entry, Journal, Pending, Transaction
from concordat_gateway.store.migrate import CONTROL
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.log.leaf import Json
from concordat_privacy.log.merkle import HASH_BYTES, Tree
from concordat_store.clock import rfc3339, system_clock
from concordat_store.database import Database
from concordat_store.engines import sqlite_module
from concordat_store.migration import upgrade

ROUNDS = 12
SINGLE_APPENDS = 40
GROUP = 256
GROUPS = 3
WARM_GROUPS = 150
"""More than the 4,000 pages after which SQLite begins its WAL anew."""
THREADS = 4
PROOF_SECONDS = 1.5
SINGLE_TARGET = 0.9
GROUP_TARGET = 0.5
PROOF_TARGET = 3_600
SLOW_FLUSHES = 320
"""Flushes a second of the disk that the single append's target was set on."""

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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _journal(folder) as journal, _bare_inserts(folder) as bare:
            for _ in range(WARM_GROUPS):
                journal.write(_append_group)
                bare.insert(GROUP)
            return [
                _single(journal, bare, folder),
                *_grouped(journal, bare),
                _proofs(journal),
            ]


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


def _append_group(transaction: Transaction) -> int:
    for _ in range(GROUP):
        _append(transaction)
    return GROUP


def _in_turns(*works: Callable[[], int]) -> list[float]:
    """How much a second each does, in rounds of all; each call returns how much it did.

    The first round does not count.
    """
    done, seconds = [0] * len(works), [0.0] * len(works)
    for number in range(ROUNDS + 1):
        for at, work in enumerate(works):
            started = time.perf_counter()
            did = work()
            if number:
                done[at] += did
                seconds[at] += time.perf_counter() - started
    return [much / long for much, long in zip(done, seconds, strict=True)]


def _single(journal: Journal, bare: "_BareInserts", folder: Path) -> Figure:
    def append() -> int:
        for _ in range(SINGLE_APPENDS):
            journal.write(_append)
        return SINGLE_APPENDS

    def insert() -> int:
        for _ in range(SINGLE_APPENDS):
            bare.insert(1)
        return SINGLE_APPENDS

    # A commit writes two pages to the WAL, each with a header of 24 bytes: the entry's, the head's.
    block = os.urandom(2 * (24 + 4096))
    file = os.open(folder / "flushed", os.O_WRONLY | os.O_CREAT)
    flush: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

    def write_and_flush() -> int:
        for number in range(SINGLE_APPENDS):
            os.pwrite(file, block, number * len(block))
            flush(file)
        return SINGLE_APPENDS

    appends, flushes, inserts = _in_turns(append, write_and_flush, insert)
    os.close(file)
    seconds = 1 / appends - 1 / flushes
    on_slow_disk = 1 / (1 + seconds * SLOW_FLUSHES)
    sqlite_alone = inserts / flushes
    verdict = f": {SINGLE_TARGET} is out of reach on it" if sqlite_alone < SINGLE_TARGET else ""
    return _figure(
        "ledger.append_single_vs_fsync",
        appends,
        flushes,
        SINGLE_TARGET,
        "one caller, one durable entry at a time: leaf, tree, signature, commit. Reference: write "
        f"as many bytes and flush, {1e6 / flushes:.0f} µs on this disk. {1e6 * seconds:.0f} µs an "
        f"entry are not the flush; a disk of {SLOW_FLUSHES} flushes/s would make the ratio "
        f"{on_slow_disk:.2f}. SQLite alone, the same rows ready made and nothing signed, comes to "
        f"{sqlite_alone:.2f} of this disk's rate{verdict}",
    )


def _grouped(journal: Journal, bare: "_BareInserts") -> list[Figure]:
    share = GROUP // THREADS

    def insert() -> int:
        for _ in range(GROUPS):
            bare.insert(GROUP)
        return GROUP * GROUPS

    def submit() -> set[str]:
        checkpoints = set()
        ahead: list[Pending[Entry]] = []
        for number in range(GROUPS * 4 + 1):
            before = ahead
            last = number == GROUPS * 4
            ahead = [] if last else [journal.submit(_append) for _ in range(share)]
            checkpoints |= {pending.result().checkpoint for pending in before}
        return checkpoints

    def append_batches() -> int:
        return sum(journal.write(_append_group).value for _ in range(GROUPS))

    def wait_for_each() -> None:
        for _ in range(GROUPS * 4):
            journal.write(_append)

    with _Crew(THREADS, submit) as crew:
        submitting, reference = _in_turns(lambda: crew.work(GROUPS * 4 * share), insert)
        groups = set[str]().union(*crew.results)
        mean_group = GROUPS * 4 * GROUP / len(groups)
    submitted = _figure(
        "ledger.append_group256_vs_insert",
        submitting,
        reference,
        GROUP_TARGET,
        f"{THREADS} threads submit {share} changes each, and the next as many before they wait "
        f"for them; a group had {mean_group:.0f} changes in the mean. Reference: the driver "
        f"inserts the same rows, ready made, {GROUP} a durable transaction, in "
        f"{1e6 / reference:.1f} µs each; to encode and check a leaf alone takes Python "
        f"{1e6 * _seconds_to_encode():.1f} µs here",
    )
    batches, reference = _in_turns(append_batches, insert)
    batch = _figure(
        "ledger.append_batch256_vs_insert",
        batches,
        reference,
        GROUP_TARGET,
        f"one caller whose change appends {GROUP} entries, as a batch of consents does. Same "
        "reference",
    )
    with _Crew(GROUP, wait_for_each) as crew:
        waiting, reference = _in_turns(lambda: crew.work(GROUPS * 4), insert)
    waking = _seconds_to_wake()
    waiters = _figure(
        "ledger.append_threads256_vs_insert",
        waiting,
        reference,
        GROUP_TARGET,
        f"{GROUP} threads that each wait for their own entry before they append the next. Same "
        f"reference. To put a thread to sleep and wake it takes {1e6 * waking:.0f} µs here, and "
        f"the reference {1e6 / reference:.0f} µs an entry: Python's threads share one lock, which "
        "each waking thread must get",
    )
    return [submitted, batch, waiters]


class _Crew:
    """Threads that all do the same once for each call of `work`. They outlive the calls."""

    def __init__(self, size: int, task: Callable[[], object]) -> None:
        self._size = size
        self._task = task
        self._start = threading.Barrier(size + 1)
        # The last to finish tells it: to wake all once more would disturb what is measured next.
        self._finished = threading.Semaphore(0)
        self._counting = threading.Lock()
        self._working = 0
        self._ended = False
        self.results: list[Any] = []
        """Of the last call: what the task returned, once a thread."""
        self._threads = [threading.Thread(target=self._run) for _ in range(size)]

    def __enter__(self) -> "_Crew":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._start.wait()
        for thread in self._threads:
            thread.join()

    def work(self, each: int) -> int:
        """Let every thread do its task; `each` is how much that is. Returns how much all did."""
        self.results = []
        self._working = self._size
        self._start.wait()
        self._finished.acquire()
        if len(self.results) != self._size:
            raise RuntimeError("a thread failed")
        return each * self._size

    def _run(self) -> None:
        while True:
            self._start.wait()
            if self._ended:
                return
            try:
                self.results.append(self._task())
            finally:
                with self._counting:
                    self._working -= 1
                    if not self._working:
                        self._finished.release()


def _seconds_to_encode() -> float:
    fields: dict[str, Json] = {
        **_FIELDS,
        "v": leaf.VERSION,
        "type": "consent.granted",
        "time": rfc3339(system_clock()),
        "actor": _ACTOR,
    }
    return best_seconds(lambda: [leaf.encode(fields) for _ in range(5_000)]) / 5_000


def _seconds_to_wake() -> float:
    """What waking costs alone: threads that sleep on a lock each, and do nothing else."""
    rounds = 20
    gates = [threading.Lock() for _ in range(GROUP)]
    awake = threading.Semaphore(0)
    for gate in gates:
        gate.acquire()

    def sleep(gate: threading.Lock) -> None:
        for _ in range(rounds):
            gate.acquire()
        awake.release()

    threads = [threading.Thread(target=sleep, args=(gate,)) for gate in gates]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    for _ in range(rounds):
        for gate in gates:
            while not gate.locked():
                time.sleep(0)
            gate.release()
    for _ in gates:
        awake.acquire()
    seconds = time.perf_counter() - started
    for thread in threads:
        thread.join()
    return seconds / (rounds * GROUP)


class _BareInserts:
    """What SQLite itself takes to keep the same bytes as durably: an entry's row, ready made."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite_module().connect(str(path), isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = wal",
            "PRAGMA synchronous = full",
            "PRAGMA wal_autocheckpoint = 4000",
            "CREATE TABLE entry"
            " (entry_index INTEGER PRIMARY KEY, hashes BLOB NOT NULL, leaf BLOB NOT NULL)",
        ):
            self._connection.execute(statement)
        self._size = 0
        self._leaf = b"x" * 405
        # By how many subtrees an entry completes, its own leaf among them.
        self._hashes = [b"h" * HASH_BYTES * count for count in range(64)]

    def insert(self, entries: int) -> None:
        """Insert some entries in one durable transaction."""
        rows = []
        for index in range(self._size, self._size + entries):
            completed = (~index & (index + 1)).bit_length()
            rows.append((index, self._hashes[completed], self._leaf))
        self._size += entries
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _bare_inserts(folder: Path) -> Iterator[_BareInserts]:
    bare = _BareInserts(folder / "bare.db")
    try:
        yield bare
    finally:
        bare.close()


def _proofs(journal: Journal) -> Figure:
    size = journal.size
    draw = random.Random(1)
    in_memory = Tree.of(data for _, data, _ in journal.entries(0, size))
    stored = _per_second(lambda: journal.inclusion_proof(draw.randrange(size), size))
    memory = _per_second(lambda: in_memory.inclusion_proof(draw.randrange(size)))
    return Figure(
        name="ledger.proofs_per_second",
        value=stored,
        unit="proofs/s",
        reference=memory,
        ratio=stored / memory,
        target=f">= {PROOF_TARGET}",
        holds=stored >= PROOF_TARGET,
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


def _figure(name: str, rate: float, reference: float, target: float, note: str) -> Figure:
    return Figure(
        name=name,
        value=rate,
        unit="entries/s",
        reference=reference,
        ratio=rate / reference,
        target=f">= {target}",
        holds=rate / reference >= target,
        note=note,
    )
