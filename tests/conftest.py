"""Fixtures that all tests share: fresh stores of both kinds, a clock, a ledger key."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.migrate import upgrade_stores
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.log.checkpoint import SigningKey
from tests.postgresql import (
    URL_VARIABLE,
    Cluster,
    NoServer,
    find_programs,
    running_server,
    scratch_directory,
)
from tests.stores import (
    ManualClock,
    StoreUrls,
    copy_sqlite,
    database_of,
    ledger_key_of_tests,
    open_journal,
    open_signals,
    sqlite_urls,
)

pytest_plugins = ["tests.gateways", "tests.peer_clients"]

_NOT_TESTED = "PostgreSQL was NOT tested"


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until the test moves it."""
    return ManualClock()


@pytest.fixture
def ledger_key() -> SigningKey:
    """The key of the tests' ledgers."""
    return ledger_key_of_tests()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> StoreUrls:
    """Migrated SQLite stores, closed, to copy from."""
    urls = sqlite_urls(tmp_path_factory.mktemp("sqlite-template"))
    upgrade_stores(*urls.all)
    return urls


@pytest.fixture(scope="session")
def postgresql_programs() -> Iterator[Path]:
    """Where initdb and postgres are, for tests that start and kill a server of their own."""
    with scratch_directory() as scratch:
        try:
            programs = find_programs(scratch)
        except NoServer as error:
            pytest.skip(f"{_NOT_TESTED}: {error}")
        yield programs


@pytest.fixture(scope="session")
def postgresql_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A PostgreSQL server: the environment's, else one of this test process."""
    if url := os.environ.get(URL_VARIABLE):
        yield Cluster(url)
        return
    programs: Path = request.getfixturevalue("postgresql_programs")
    with running_server(programs) as server:
        yield server.cluster


@pytest.fixture(scope="session")
def postgresql_database(postgresql_cluster: Cluster) -> Iterator[StoreUrls]:
    """A database with both stores migrated. Use it through `postgresql_stores`."""
    with database_of(postgresql_cluster) as urls:
        upgrade_stores(*urls.all)
        yield urls


@pytest.fixture
def sqlite_stores(sqlite_template: StoreUrls, tmp_path: Path) -> StoreUrls:
    """Fresh stores on SQLite."""
    return copy_sqlite(sqlite_template, tmp_path)


@pytest.fixture
def postgresql_stores(postgresql_database: StoreUrls) -> StoreUrls:
    """Empty stores on PostgreSQL, both in one database. A test may not change their schema."""
    Cluster.clean(postgresql_database.control_url)
    return postgresql_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_urls(request: pytest.FixtureRequest) -> StoreUrls:
    """Fresh stores; a test that uses them runs once on each kind of database."""
    urls: StoreUrls = request.getfixturevalue(f"{request.param}_stores")
    return urls


@pytest.fixture
def journal(store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey) -> Iterator[Journal]:
    """The journal of a fresh control store."""
    with open_journal(store_urls, clock, ledger_key) as opened:
        yield opened


@pytest.fixture
def signal_store(store_urls: StoreUrls, clock: ManualClock) -> Iterator[SignalStore]:
    """A fresh signals store."""
    with open_signals(store_urls, clock) as opened:
        yield opened


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say loudly that half of the promise was left out."""
    reasons = {
        report.longrepr[2]
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and _NOT_TESTED in report.longrepr[2]
    }
    for reason in sorted(reasons):
        terminalreporter.write_sep("!", _NOT_TESTED, red=True, bold=True)
        terminalreporter.write_line(reason.removeprefix("Skipped: "))
