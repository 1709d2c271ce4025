"""Fixtures of the integration tests."""

from collections.abc import Iterator

import pytest

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.signal_store import SignalStore
from tests.services import Consortium, serving
from tests.stores import ManualClock


@pytest.fixture
def consortium(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> Iterator[Consortium]:
    """A gateway of three members on fresh stores, once on each kind of database."""
    with serving(journal, signal_store, clock) as running:
        yield running
