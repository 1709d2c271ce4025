"""Alembic's entry for the evidence store; see `concordat_store.migration`."""

from concordat_gateway.store.migrate import EVIDENCE
from concordat_store.migration import run_history

run_history(EVIDENCE)
