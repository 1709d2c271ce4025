"""The histories of the gateway's stores; see `concordat_store.migration`."""

from collections.abc import Iterator

from concordat_gateway.store import control_tables, key_tables, signal_tables
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
EVIDENCE = History(
    "evidence",
    "concordat_gateway.store:migrations/evidence",
    "concordat serve",
    key_tables.EVIDENCE_METADATA,
)
LIVE_KEYS = History(
    "live_keys",
    "concordat_gateway.store:migrations/live_keys",
    "concordat serve",
    key_tables.LIVE_METADATA,
)


def upgrade_stores(
    control_url: str, signals_url: str, evidence_url: str, live_keys_url: str
) -> None:
    """Create or migrate the stores. Raises StoreError, also for a store of a newer build."""
    for history, database in _opened(control_url, signals_url, evidence_url, live_keys_url):
        upgrade(history, database)


def check_stores(control_url: str, signals_url: str, evidence_url: str, live_keys_url: str) -> None:
    """Raises StoreError unless all stores are exactly at this build's schema."""
    for history, database in _opened(control_url, signals_url, evidence_url, live_keys_url):
        check_current(history, database)


def _opened(*urls: str) -> Iterator[tuple[History, Database]]:
    histories = (CONTROL, SIGNALS, EVIDENCE, LIVE_KEYS)
    for history, url in zip(histories, urls, strict=True):
        database = Database.open(url)
        try:
            yield history, database
        finally:
            database.close()
