"""Alembic's entry for the key-holder's store; see `concordat_store.migration`."""

from concordat_keyholder.store.migrate import KEYHOLDER
from concordat_store.migration import run_history

run_history(KEYHOLDER)
