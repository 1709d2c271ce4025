"""Brings a store to the schema of this build, and refuses to serve from any other.

A history is the migrations of one store. Each has a version table of its own, so that several may
live in one PostgreSQL database. A migration is one transaction on both kinds of database: it is
done or it left nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from alembic import command, context
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import exc

from concordat_rpc.errors import Refusal
from concordat_store.database import Database, describe
from concordat_store.engines import StoreError


@dataclass(frozen=True, slots=True)
class History:
    """The migrations of one store."""

    name: str
    scripts: str
    """Where they are: ``package:folder``."""
    serve_command: str
    """The command that migrates the store at its start, for the operator."""
    metadata: sa.MetaData = field(repr=False)

    @property
    def version_table(self) -> str:
        """Where Alembic keeps its revision: several stores may be in one database."""
        return f"alembic_version_{self.name}"

    def config(self) -> Config:
        """Alembic's configuration, with the scripts that ship in the package."""
        config = Config()
        config.set_main_option("script_location", self.scripts)
        return config

    def head(self) -> str:
        """The revision that this build's tables are at. Raises StoreError for none."""
        head = ScriptDirectory.from_config(self.config()).get_current_head()
        if head is None:
            raise StoreError(f"no migrations of the {self.name} store are installed")
        return head


def upgrade(history: History, database: Database) -> None:
    """Create or migrate one store. Raises StoreError for a store of a newer build."""
    config = history.config()
    with _naming_the_store(history), database.write() as connection:
        found = _revision(history, connection)
        if found is not None and found not in _known(history):
            raise _newer(history, found)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_current(history: History, database: Database) -> None:
    """Raises StoreError unless a store is exactly at this build's schema."""
    with _naming_the_store(history), database.read() as connection:
        found = _revision(history, connection)
    if found == history.head():
        return
    if found is not None and found not in _known(history):
        raise _newer(history, found)
    state = "has no tables yet" if found is None else f"is at revision {found}"
    raise StoreError(
        f"the {history.name} store {state}, this build needs {history.head()}; "
        f"start `{history.serve_command}` once to migrate it"
    )


def run_history(history: History) -> None:
    """Run migrations as Alembic's command asks for. Called by the env.py of each history."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=history.metadata,
        version_table=history.version_table,
        # SQLite's DDL is transactional when BEGIN is sent, which Database.write does.
        transactional_ddl=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _revision(history: History, connection: sa.Connection) -> str | None:
    options: dict[str, Any] = {"version_table": history.version_table}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _known(history: History) -> frozenset[str]:
    scripts = ScriptDirectory.from_config(history.config())
    return frozenset(script.revision for script in scripts.walk_revisions())


@contextmanager
def _naming_the_store(history: History) -> Iterator[None]:
    """At a start there is no caller to refuse, but an operator to tell."""
    try:
        yield
    except (Refusal, exc.DBAPIError) as error:
        fault = describe(
            error.__cause__ if isinstance(error, Refusal) and error.__cause__ else error
        )
        raise StoreError(f"the {history.name} store cannot be migrated: {fault}") from error


def _newer(history: History, found: str) -> StoreError:
    return StoreError(
        f"the {history.name} store is at revision {found}, which this build does not know: "
        "a newer build made it; serve it with that build"
    )
