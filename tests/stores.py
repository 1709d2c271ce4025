"""Stores for tests: the same test runs on SQLite and on PostgreSQL, each time on fresh stores.

A migrated pair is made once a session and kind of database. On SQLite every test gets a copy of
it, on PostgreSQL the same one, emptied.
"""

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, finalize

import pytest
import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subject_keys import SubjectKeys
from concordat_privacy.log.checkpoint import SigningKey
from concordat_store.database import Database
from concordat_store.direct import Asked
from concordat_store.writer import Statement, Writer
from tests.postgresql import Cluster

ORIGIN = "concordat.test/ledger"
EVIDENCE_SECRET = bytes(range(32))
LIVE_SECRET = bytes(range(32, 64))
START_MICROS = 1_795_000_000_000_000
"""2026-11-18 in microseconds since the epoch: when the tests' clocks start."""


@dataclass(frozen=True)
class StoreUrls:
    """Migrated, empty stores."""

    kind: str
    """Which database: "sqlite" or "postgresql"."""
    control_url: str
    signals_url: str
    evidence_url: str
    live_keys_url: str

    @property
    def all(self) -> tuple[str, str, str, str]:
        """In the order in which they are migrated."""
        return self.control_url, self.signals_url, self.evidence_url, self.live_keys_url


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, microseconds: int = START_MICROS) -> None:
        self.microseconds = microseconds

    def __call__(self) -> int:
        return self.microseconds

    def advance(self, seconds: float) -> None:
        """Move the clock; backwards too."""
        self.microseconds += round(seconds * 1_000_000)


def ledger_key_of_tests(name: str = ORIGIN) -> SigningKey:
    """The ledger key of the tests: the same in every process."""
    return SigningKey.generate(name, lambda count: bytes(range(count)))


def sqlite_urls(directory: Path) -> StoreUrls:
    """URLs of SQLite files in a directory, whether they exist or not."""
    names = ("control", "signals", "evidence", "live-keys")
    return StoreUrls("sqlite", *(f"sqlite:///{directory.resolve()}/{name}.db" for name in names))


def postgresql_urls(cluster: Cluster, database: str) -> StoreUrls:
    """URLs of all stores in one PostgreSQL database."""
    url = cluster.url(database)
    return StoreUrls("postgresql", url, url, url, url)


def copy_sqlite(template: StoreUrls, directory: Path) -> StoreUrls:
    """Copies of closed SQLite stores."""
    copies = sqlite_urls(directory)
    for source, target in zip(template.all, copies.all, strict=True):
        shutil.copyfile(source.removeprefix("sqlite:///"), target.removeprefix("sqlite:///"))
    return copies


@contextmanager
def database_of(cluster: Cluster) -> Iterator[StoreUrls]:
    """A database without tables that exists as long as the block."""
    name = cluster.create_database()
    try:
        yield postgresql_urls(cluster, name)
    finally:
        cluster.drop_database(name)


@contextmanager
def open_journal(
    urls: StoreUrls, clock: Callable[[], int], key: SigningKey | None = None
) -> Iterator[Journal]:
    """A journal on the control store, closed at the end."""
    database = Database.open(urls.control_url)
    try:
        journal = Journal(database, key or ledger_key_of_tests(), clock)
        try:
            yield journal
        finally:
            journal.close()
    finally:
        database.close()


@contextmanager
def open_signals(urls: StoreUrls, clock: Callable[[], int]) -> Iterator[SignalStore]:
    """The signals store, closed at the end."""
    database = Database.open(urls.signals_url)
    try:
        yield SignalStore(database, clock)
    finally:
        database.close()


def subject_keys_beside(url: str, clock: Callable[[], int]) -> SubjectKeys:
    """The stores of subjects' keys that belong to a control store of the tests, by its URL."""
    if url.startswith("sqlite"):
        urls = sqlite_urls(Path(url.partition("///")[2]).parent)
        evidence_url, live_keys_url = urls.evidence_url, urls.live_keys_url
    else:
        evidence_url = live_keys_url = url
    return SubjectKeys.of(
        Database.open(evidence_url, pool_size=4),
        Database.open(live_keys_url, pool_size=4, erasing=True),
        EVIDENCE_SECRET,
        LIVE_SECRET,
        clock,
    )


_KEYS: WeakKeyDictionary[Journal, SubjectKeys] = WeakKeyDictionary()


def subject_keys_of(journal: Journal, clock: Callable[[], int]) -> SubjectKeys:
    """The stores of subjects' keys beside a journal's; closed when the journal is gone."""
    keys = _KEYS.get(journal)
    if keys is None:
        # Private: only tests go from one store to the others.
        url = journal._database._engine.url.render_as_string(hide_password=False)
        keys = _KEYS[journal] = subject_keys_beside(url.replace("+pysqlite", ""), clock)
        finalize(journal, keys.close)
    return keys


@contextmanager
def table_missing(urls: StoreUrls, table: str) -> Iterator[None]:
    """A block in which the signals store lacks a table: a store that fails."""
    _rename(urls, table, f"{table}_away")
    try:
        yield
    finally:
        _rename(urls, f"{table}_away", table)


def _rename(urls: StoreUrls, old: str, new: str) -> None:
    with closing(Database.open(urls.signals_url)) as database, database.write() as connection:
        connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))


@contextmanager
def statements() -> Iterator[list[str]]:
    """All SQL that this process runs in the block."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        # The writer's connection numbers its savepoints from its beginning on.
        seen.append(re.sub(r"sa_savepoint_[0-9]+", "sa_savepoint", statement))

    with listening(note):
        yield seen


@dataclass(frozen=True)
class Traced:
    """What somebody who watches the database sees of one statement."""

    text: str
    parameters: tuple[tuple[int, ...], ...]
    """For each row of parameters the size of each: bytes and texts by length, others as 0."""
    rows: int
    """Fetched; 0 for a statement that returns none."""


@contextmanager
def traced() -> Iterator[list[Traced]]:
    """All SQL that this process runs in the block, with the sizes of what goes in and out."""
    seen: list[Traced] = []

    def note(
        connection: sa.Connection,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        executemany: bool,
    ) -> None:
        rows = 0
        if statement.startswith("SELECT"):
            # Asked again, within the transaction: the first cursor is not ours to read.
            driver: Any = connection.connection.driver_connection
            cursor = driver.cursor()
            rows = len(cursor.execute(statement, parameters).fetchall())
            cursor.close()
        given = parameters if executemany else [parameters]
        seen.append(Traced(statement, tuple(map(_sizes, given)), rows))

    def note_driver(asked: Writer | Asked, statement: str, rows: Sequence[Any]) -> None:
        fetched = len(asked.run(statement, *rows)) if statement.startswith("SELECT") else 0
        seen.append(Traced(statement, tuple(map(_sizes, rows)), fetched))

    sa.event.listen(sa.Engine, "after_cursor_execute", note)
    try:
        with _watching_drivers(note_driver):
            yield seen
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", note)


def shape_of(run: Sequence[Traced]) -> list[Traced]:
    """A run without what the number of entries before it decides: the tree's shape."""
    return [
        replace(one, parameters=[(0, 0, *row[2:]) for row in one.parameters])
        if "ledger_entry" in one.text
        else replace(one, parameters=())
        if "ledger_head" in one.text
        else one
        for one in run
    ]


def _sizes(parameters: Any) -> tuple[int, ...]:
    values = parameters.values() if isinstance(parameters, dict) else parameters
    # psycopg's dialect wraps bytes.
    plain = [getattr(value, "obj", value) for value in values]
    return tuple(len(value) if isinstance(value, bytes | str | list) else 0 for value in plain)


@contextmanager
def listening(note: Callable[..., None]) -> Iterator[None]:
    """Calls `note` before every statement of the block."""

    def note_driver(_asked: Writer | Asked, statement: str, rows: Sequence[Any]) -> None:
        note(None, None, statement, rows[0] if rows else (), None, len(rows) > 1)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        with _watching_drivers(note_driver):
            yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


@contextmanager
def _watching_drivers(
    note: Callable[[Writer | Asked, str, Sequence[Any]], None],
) -> Iterator[None]:
    """Calls `note` for the statements that go to the driver past SQLAlchemy."""
    run, run_all, ask = Writer.run, Writer.run_all, Asked.run
    noting = threading.local()

    def noted(writer: Writer | Asked, statement: str, rows: Sequence[Any]) -> None:
        # What `note` asks itself is not to be noted.
        if not getattr(noting, "now", False):
            noting.now = True
            try:
                note(writer, statement, rows)
            finally:
                noting.now = False

    def watched_run(self: Writer, statement: str, parameters: Any = None) -> list[Any]:
        rows = run(self, statement, parameters)
        noted(self, statement, () if parameters is None else (parameters,))
        return rows

    def watched_run_all(self: Writer, statements: Sequence[Statement]) -> None:
        run_all(self, statements)
        if not self.is_sqlite:
            # There each is run by itself, and was noted.
            for statement, parameters in statements:
                noted(self, statement, (parameters,))

    def watched_ask(self: Asked, statement: str, parameters: Any) -> Any:
        rows = ask(self, statement, parameters)
        noted(self, statement, (parameters,))
        return rows

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Asked, "run", watched_ask)
        patched.setattr(Writer, "run", watched_run)
        patched.setattr(Writer, "run_all", watched_run_all)
        yield
