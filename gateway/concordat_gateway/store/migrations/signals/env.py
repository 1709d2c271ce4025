"""Alembic's entry for the signals store; see `concordat_store.migration`."""

from concordat_gateway.store.migrate import SIGNALS
from concordat_store.migration import run_history

run_history(SIGNALS)
