"""Fixtures of the integration tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.signal_store import SignalStore
from tests.postgresql import Cluster
from tests.services import Consortium, serving
from tests.stores import ManualClock, StoreUrls, database_of, sqlite_urls


@pytest.fixture
def consortium(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> Iterator[Consortium]:
    """A gateway of three members on fresh stores, once on each kind of database."""
    with serving(journal, signal_store, clock) as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def empty_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreUrls]:
    """Stores without any table."""
    if request.param == "sqlite":
        yield sqlite_urls(tmp_path)
        return
    cluster: Cluster = request.getfixturevalue("postgresql_cluster")
    with database_of(cluster) as urls:
        yield urls
