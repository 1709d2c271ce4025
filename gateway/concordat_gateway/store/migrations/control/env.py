"""Alembic's entry for the control store; see `concordat_gateway.store.migrate`."""

from concordat_gateway.store.migrate import CONTROL, run_history

run_history(CONTROL)
