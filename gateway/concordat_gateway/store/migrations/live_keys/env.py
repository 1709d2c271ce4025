"""Alembic's entry for the live-key store; see `concordat_store.migration`."""

from concordat_gateway.store.migrate import LIVE_KEYS
from concordat_store.migration import run_history

run_history(LIVE_KEYS)
