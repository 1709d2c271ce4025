"""Alembic's entry for the signals store; see `concordat_gateway.store.migrate`."""

from concordat_gateway.store.migrate import SIGNALS, run_history

run_history(SIGNALS)
