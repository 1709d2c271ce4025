"""The history of the key-holder's store; see `concordat_store.migration`."""

from collections.abc import Iterator
from contextlib import contextmanager

from concordat_keyholder.store.tables import METADATA
from concordat_store.database import Database
from concordat_store.migration import History, upgrade

KEYHOLDER = History(
    "keyholder",
    "concordat_keyholder.store:migrations/keyholder",
    "concordat keyholder serve",
    METADATA,
)


@contextmanager
def opened_store(url: str) -> Iterator[Database]:
    """The store, created or brought to this build's schema; closed at the end of the block.

    Raises StoreError, also for a store of a newer build.
    """
    database = Database.open(url)
    try:
        upgrade(KEYHOLDER, database)
        yield database
    finally:
        database.close()
