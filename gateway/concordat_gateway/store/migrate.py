"""The histories of the gateway's two stores; see `concordat_store.migration`."""

from concordat_gateway.store import control_tables, signal_tables
from concordat_store.database import Database
from concordat_store.migration import History, check_current, upgrade

CONTROL = History(
    "control",
    "concordat_gateway.store:migrations/control",
    "concordat serve",
    control_tables.METADATA,
)
SIGNALS = History(
    "signals",
    "concordat_gateway.store:migrations/signals",
    "concordat serve",
    signal_tables.METADATA,
)


def upgrade_stores(control_url: str, signals_url: str) -> None:
    """Create or migrate both stores. Raises StoreError, also for a store of a newer build."""
    for history, url in ((CONTROL, control_url), (SIGNALS, signals_url)):
        database = Database.open(url)
        try:
            upgrade(history, database)
        finally:
            database.close()


def check_stores(control_url: str, signals_url: str) -> None:
    """Raises StoreError unless both stores are exactly at this build's schema."""
    for history, url in ((CONTROL, control_url), (SIGNALS, signals_url)):
        database = Database.open(url)
        try:
            check_current(history, database)
        finally:
            database.close()
