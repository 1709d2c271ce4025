"""Alembic's entry for the control store; see `concordat_store.migration`."""

from concordat_gateway.store.migrate import CONTROL
from concordat_store.migration import run_history

run_history(CONTROL)
