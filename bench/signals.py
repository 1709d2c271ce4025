"""The pool at a consortium's size: contributing, looking up, and what a row takes on the disk.

A real gateway of one worker takes the rows over mutual TLS from the SDK; each figure stands beside
what the same database takes for the same rows by itself, in the same run. As many rows as
`python -m bench --only signals --rows N` says (a million unless it does), on SQLite and on
PostgreSQL, which is started as the tests start it. Lookups and their floor take turns.
"""

import gc
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import signal_floors, signal_pool
from bench.harness import ROWS, ROWS_VARIABLE, Figure
from bench.lookups import Lookups
from bench.signal_floors import TABLES, Floor, OnPostgresql, OnSqlite
from bench.signal_pool import ASKER, ROWS_A_PERSON, Contributed, Pool, token_of
from concordat import Purpose
from concordat_gateway.config import load_config
from concordat_gateway.keyfiles import load_ledger_key
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.lookups import MAX_SUBJECTS
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.worker import collect_seldom
from concordat_privacy.catalogue.signals import SIGNALS
from concordat_store.clock import system_clock
from concordat_store.database import Database
from tests.postgresql import (
    URL_VARIABLE,
    Cluster,
    NoServer,
    find_programs,
    running_server,
    scratch_directory,
)

ROWS_A_CALL = 1_000_000
"""Of one contribution: so many are in this process's memory at a time."""
LOOKUPS = 600
TLS_LOOKUPS = 200
BATCHES = 6
WARM_UP = 50
SEED = 20_261_118

CONTRIBUTE_TARGET = 0.3
MEMORY_TARGET = 1.25
LOOKUP_TARGET = 2.0
BATCH_TARGET = 0.4


@dataclass(frozen=True)
class _Store:
    """A kind of database that is measured."""

    kind: str
    control_url: str | None
    signals_url: str | None
    floor: OnSqlite | OnPostgresql
    size: Callable[[str], int]


def run() -> list[Figure]:
    """Measure the group: about three minutes a million rows and kind of database on two cores."""
    rows = int(os.environ.get(ROWS_VARIABLE, ROWS))
    figures = figures_on_sqlite(rows)
    try:
        figures += figures_on_postgresql(rows)
    except NoServer as error:
        print(f"no PostgreSQL, its figures are left out: {error}", file=sys.stderr)
    return figures


def figures_on_sqlite(rows: int) -> list[Figure]:
    """The figures of a pool of some rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(OnSqlite(folder / "floor")) as floor:
            store = _Store("sqlite", None, None, floor, signal_floors.bytes_on_sqlite)
            return _measure(store, folder, rows)


def figures_on_postgresql(rows: int) -> list[Figure]:
    """The figures of a pool of some rows, on a server that is started for it. Raises NoServer."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cluster = _cluster(stack)
        names = [cluster.create_database() for _ in range(2)]
        for name in names:
            stack.callback(cluster.drop_database, name)
        url, floor_url = map(cluster.url, names)
        floor = stack.enter_context(closing(OnPostgresql(floor_url)))
        store = _Store("postgresql", url, url, floor, signal_floors.bytes_on_postgresql)
        return _measure(store, Path(folder), rows)


def _cluster(stack: ExitStack) -> Cluster:
    if url := os.environ.get(URL_VARIABLE):
        return Cluster(url)
    programs = find_programs(stack.enter_context(scratch_directory()))
    return stack.enter_context(running_server(programs)).cluster


def _measure(store: _Store, folder: Path, rows: int) -> list[Figure]:
    persons = max(1, rows // ROWS_A_PERSON)
    draw = random.Random(SEED)
    with signal_pool.serving(folder, persons, store.control_url, store.signals_url) as pool:
        batched = persons // 5
        streams, batches = (
            signal_pool.contribute(pool, some, ROWS_A_CALL, send)
            for some, send in (
                (range(persons - batched), signal_pool.by_stream),
                (range(persons - batched, persons), signal_pool.by_batches),
            )
        )
        over_tls = _tls_lookups(pool, draw)
        pool.gateway.stop()
        loaded = _load(store.floor, pool, draw)
        figures = [
            _contributing(store, streams, batches, loaded),
            *_memory(store, streams.memory),
        ]
        with _lookups(pool) as lookups:
            figures += [
                _single(store, pool, lookups, over_tls, draw),
                _batch(store, pool, lookups, draw),
            ]
        return [*figures, _size(store, pool)]


@dataclass
class _Loaded:
    """How long the floor took to load all rows."""

    seconds: float = 0.0
    other_seconds: float = 0.0
    """In the quicker way."""


def _load(floor: OnSqlite | OnPostgresql, pool: Pool, draw: random.Random) -> _Loaded:
    loaded, rows = _Loaded(), 0
    for table in TABLES:
        for chunk in signal_floors.rows_by_chunk(pool.signals_url, table):
            # As a furnisher would send them: in no order of the key.
            draw.shuffle(chunk)
            rows += len(chunk)
            loaded.seconds += floor.load_seconds(table, chunk)
            loaded.other_seconds += floor.other_load_seconds(table, chunk)
    if rows != pool.persons * ROWS_A_PERSON:
        raise RuntimeError(f"the store has {rows} rows, {pool.persons * ROWS_A_PERSON} wanted")
    return loaded


def _contributing(
    store: _Store, streams: Contributed, batches: Contributed, loaded: _Loaded
) -> Figure:
    rows = streams.rows + batches.rows
    rate, reference = streams.rows / streams.seconds, rows / loaded.seconds
    note = (
        f"{rows:,} rows, {ROWS_A_PERSON} a person: {streams.rows:,} by `Client.contribute_stream`, "
        "a million a stream, over mutual TLS to a gateway of one worker, until they are published; "
        "rows, tokens and consents were made before (consents straight into the control store). "
        f"Reference: the rows read back, shuffled and loaded by {store.floor.load}, into an equal "
        "store"
    )
    if batches.rows:
        note += f". The rest, by `Client.contribute`: {batches.rows / batches.seconds:,.0f} rows/s"
    note += (
        f". Quicker than it, {store.floor.other_load}: {rows / loaded.other_seconds:,.0f} rows/s"
    )
    return Figure(
        name=f"signals.contribute_vs_bulk.{store.kind}",
        value=rate,
        unit="rows/s",
        reference=reference,
        ratio=rate / reference,
        target=f">= {CONTRIBUTE_TARGET}",
        holds=rate / reference >= CONTRIBUTE_TARGET,
        note=note,
    )


def _memory(store: _Store, samples: Sequence[int]) -> list[Figure]:
    """The gateway's memory in the last quarter of the run beside the first; none without /proc."""
    quarter = len(samples) // 4
    if not quarter:
        return []
    early, late = max(samples[:quarter]) / 1e6, max(samples[-quarter:]) / 1e6
    return [
        Figure(
            name=f"signals.contribute_memory.{store.kind}",
            value=late,
            unit="MB",
            reference=early,
            ratio=late / early,
            target=f"<= {MEMORY_TARGET}",
            holds=late / early <= MEMORY_TARGET,
            note=(
                "resident memory of the gateway's worker while it takes the rows, sampled every "
                "50 ms: the peak of the last quarter of the run. Reference: of the first quarter"
            ),
        )
    ]


@contextmanager
def _lookups(pool: Pool) -> Iterator[Lookups]:
    """The rules on the stopped gateway's stores, in this process."""
    with (
        closing(Database.open(pool.control_url)) as control,
        closing(Database.open(pool.signals_url)) as signals,
    ):
        key = load_ledger_key(load_config(pool.gateway.config).ledger_key)
        with closing(Journal(control, key, system_clock)) as journal, _collecting_as_workers_do():
            yield Lookups(journal, SignalStore(signals, system_clock))


@contextmanager
def _collecting_as_workers_do() -> Iterator[None]:
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _tls_lookups(pool: Pool, draw: random.Random) -> list[float]:
    """Seconds of single lookups by the SDK, one at a time."""
    numbers = [draw.randrange(pool.persons) for _ in range(TLS_LOOKUPS + WARM_UP)]
    with pool.client(ASKER) as client:
        seconds = []
        for number in numbers:
            started = time.perf_counter()
            client.lookup(token_of(number), Purpose.UNDERWRITING)
            seconds.append(time.perf_counter() - started)
    return seconds[WARM_UP:]


def _single(
    store: _Store, pool: Pool, lookups: Lookups, over_tls: Sequence[float], draw: random.Random
) -> Figure:
    floor: Floor = store.floor
    numbers = [draw.randrange(pool.persons) for _ in range(LOOKUPS + WARM_UP)]
    ours, bare = [], []
    for subject in pool.subjects(numbers):
        started = time.perf_counter()
        [result] = lookups.look_up([subject], signals=()).value.results
        between = time.perf_counter()
        found = floor.look_up(subject)
        ended = time.perf_counter()
        if not result.permitted or found != ROWS_A_PERSON - 1:
            raise RuntimeError("a lookup that must find a person's accounts did not")
        ours.append(between - started)
        bare.append(ended - between)
    ours, bare = ours[WARM_UP:], bare[WARM_UP:]
    value, reference = _micros(ours, 50), _micros(bare, 50)
    return Figure(
        name=f"signals.lookup_vs_floor.{store.kind}",
        value=value,
        unit="µs",
        reference=reference,
        ratio=value / reference,
        target=f"<= {LOOKUP_TARGET}",
        holds=value / reference <= LOOKUP_TARGET,
        note=(
            f"p50 of {LOOKUPS} lookups, one at a time, of a person with {ROWS_A_PERSON} rows of "
            f"{pool.persons * ROWS_A_PERSON:,}: all {len(SIGNALS)} signals, through the rules, the "
            "entry durable. Reference, in turns with it: one read by the key of relations, one "
            f"durable commit of an entry's {len(signal_floors.LEAF)} bytes, by the driver. "
            f"p99: {_micros(ours, 99):,.0f} µs, reference {_micros(bare, 99):,.0f} µs. By the SDK "
            f"over mutual TLS: p50 {_micros(over_tls, 50):,.0f} µs, p99 "
            f"{_micros(over_tls, 99):,.0f} µs"
        ),
    )


def _batch(store: _Store, pool: Pool, lookups: Lookups, draw: random.Random) -> Figure:
    floor: Floor = store.floor
    size = min(MAX_SUBJECTS, pool.persons)
    ours, bare = [], []
    for _ in range(BATCHES + 1):
        subjects = pool.subjects(draw.sample(range(pool.persons), size))
        started = time.perf_counter()
        results = lookups.look_up(subjects, signals=()).value.results
        between = time.perf_counter()
        found = floor.read(subjects)
        ended = time.perf_counter()
        if not all(one.permitted for one in results) or found != size * (ROWS_A_PERSON - 1):
            raise RuntimeError("a batch that must find every person's accounts did not")
        ours.append(between - started)
        bare.append(ended - between)
    value, reference = (size / statistics.median(seconds[1:]) for seconds in (ours, bare))
    return Figure(
        name=f"signals.batch_lookup_vs_floor.{store.kind}",
        value=value,
        unit="subjects/s",
        reference=reference,
        ratio=value / reference,
        target=f">= {BATCH_TARGET}",
        holds=value / reference >= BATCH_TARGET,
        note=(
            f"median of {BATCHES} batches of {size:,} persons: all {len(SIGNALS)} signals, through "
            "the rules, one durable entry with an item each. Reference, in turns with it: one read "
            "of the same persons' relations by the key, by the driver, nothing computed or recorded"
        ),
    )


def _size(store: _Store, pool: Pool) -> Figure:
    rows = pool.persons * ROWS_A_PERSON
    value = store.size(pool.signals_url) / rows
    reference = store.size(store.floor.url) / rows
    whole = {
        "sqlite": "the file, vacuumed",
        "postgresql": "pg_total_relation_size of the rows' tables, vacuumed",
    }[store.kind]
    return Figure(
        name=f"signals.bytes_per_row.{store.kind}",
        value=value,
        unit="bytes",
        reference=reference,
        ratio=value / reference,
        target="",
        holds=None,
        note=(
            f"{whole}, by {rows:,} rows, of which {ROWS_A_PERSON - 1} of {ROWS_A_PERSON} are "
            "accounts with 24 months of history. Reference: the store that was loaded in bulk"
        ),
    )


def _micros(seconds: Sequence[float], percent: int) -> float:
    ordered = sorted(seconds)
    return 1e6 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
