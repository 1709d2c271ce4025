"""Stores for tests: the same test runs on SQLite and on PostgreSQL, each time on fresh stores.

A migrated pair is made once a session and kind of database. On SQLite every test gets a copy of
it, on PostgreSQL the same one, emptied.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.log.checkpoint import SigningKey
from concordat_store.database import Database
from tests.postgresql import Cluster

ORIGIN = "concordat.test/ledger"
START_MICROS = 1_795_000_000_000_000
"""2026-11-18 in microseconds since the epoch: when the tests' clocks start."""


@dataclass(frozen=True)
class StoreUrls:
    """A migrated, empty pair of stores."""

    kind: str
    """Which database: "sqlite" or "postgresql"."""
    control_url: str
    signals_url: str


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
    """URLs of two SQLite files in a directory, whether they exist or not."""
    return StoreUrls(
        "sqlite",
        f"sqlite:///{directory.resolve()}/control.db",
        f"sqlite:///{directory.resolve()}/signals.db",
    )


def postgresql_urls(cluster: Cluster, database: str) -> StoreUrls:
    """URLs of both stores in one PostgreSQL database."""
    url = cluster.url(database)
    return StoreUrls("postgresql", url, url)


def copy_sqlite(template: StoreUrls, directory: Path) -> StoreUrls:
    """Copies of closed SQLite stores."""
    copies = sqlite_urls(directory)
    for source, target in (
        (template.control_url, copies.control_url),
        (template.signals_url, copies.signals_url),
    ):
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


@contextmanager
def statements() -> Iterator[list[str]]:
    """All SQL that this process runs in the block."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    with listening(note):
        yield seen


@contextmanager
def listening(note: Callable[..., None]) -> Iterator[None]:
    """Calls `note` before every statement of the block."""
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
