"""Durable transactions one after another on one connection, for whoever makes many short ones.

SQLAlchemy takes 100 to 150 microseconds to check a connection out, begin, run three statements and
commit; the driver takes 15, and a disk may flush in as little. So the connection is kept, and the
driver begins, ends and runs what every transaction has. `connection` is the same connection to
SQLAlchemy, for whatever else a transaction does: as SQLAlchemy sees it, it is in one transaction
that never ends.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Any

import sqlalchemy as sa

from concordat_store.checkpoints import Checkpoints
from concordat_store.engines import BEGUN
from concordat_store.turns import Turns

Row = Sequence[Any]
Statement = tuple[str, Row | Mapping[str, Any]]
"""SQL with its parameters."""


_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_COMMIT: Statement = ("COMMIT", ())


class Writer:
    """Not thread-safe: one transaction at a time, of whatever thread."""

    def __init__(
        self,
        engine: sa.Engine,
        turns: Turns | None,
        checkpoints: Checkpoints | None,
        is_fault: Callable[[BaseException], bool],
        refusing_faults: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._engine = engine.execution_options(**{BEGUN: True})
        self._turns = turns
        self._checkpoints = checkpoints
        self._changes = 0
        """Of SQLite's connection, so far."""
        self._is_fault = is_fault
        self._refusing_faults = refusing_faults
        self._connection: sa.Connection | None = None
        self._driver: Any = None
        self._cursor: Any = None
        self._later: list[Statement] = []
        self._last: list[Statement] = []
        self._begun = False
        """Whether PostgreSQL has been told that a transaction begins."""
        self.is_sqlite = engine.dialect.name == "sqlite"

    def take_turn(self, wait: bool = True) -> bool:
        """Take the turn among the processes that write the store; `transaction` ends it.

        Always True with `wait`, and on PostgreSQL, where a lock that the transaction takes does it.
        """
        return self._turns is None or self._turns.take(wait)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A durable transaction, once it is this process's turn: committed at the block's end.

        Rolled back on an exception. Raises Refusal UNAVAILABLE where the store fails; the commit
        may then have happened.
        """
        try:
            with self._refusing_faults():
                try:
                    self._begin()
                    yield
                    self._commit()
                except BaseException as error:
                    self._undo(error)
                    raise
        finally:
            if self._turns is not None:
                self._turns.end()

    @property
    def connection(self) -> sa.Connection:
        """The transaction's connection, for SQLAlchemy's statements. Not to be committed there."""
        if self._connection is None:
            raise RuntimeError("only inside a transaction")
        self._catch_up()
        return self._connection

    def named(self, statement: str) -> str:
        """SQL with `:name` for parameters as the driver's own: they are a mapping then."""
        return statement if self.is_sqlite else _with_percents(statement)

    def run(
        self, statement: str, parameters: Row | Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement of the driver's own SQL; returns its rows, none if it has none."""
        if parameters is None and not self._begun:
            # In one round trip. The server takes several statements where none has parameters.
            self._cursor.execute(f"{_BEGIN}; {statement}")
            self._cursor.nextset()
            self._begun = True
        else:
            self._catch_up()
            self._cursor.execute(statement, *(() if parameters is None else (parameters,)))
        rows: list[tuple[Any, ...]] = []
        if self._has_rows():
            rows = self._cursor.fetchall()
        return rows

    def _has_rows(self) -> bool:
        # psycopg makes an object of each column where it is asked for a description.
        if self.is_sqlite:
            return self._cursor.description is not None
        return self._cursor.rownumber is not None

    def run_all(self, statements: Sequence[Statement]) -> None:
        """Run statements without rows, none of which needs another: all of them, or none.

        One that is a COMMIT comes last.
        """
        if self.is_sqlite:
            for statement, parameters in statements:
                self.run(statement, parameters)
            return
        self._catch_up()
        if statements[-1] != _COMMIT:
            self._cursor.execute(*_as_one(statements))
            return
        with self._driver.pipeline():
            self._cursor.execute(*_as_one(statements[:-1]))
            self._cursor.execute(*_COMMIT)

    def run_later(self, statements: Sequence[Statement]) -> None:
        """As `run_all`, but before whatever the transaction does next: a round trip less.

        What one fails with, that fails with.
        """
        if self.is_sqlite:
            self.run_all(statements)
        else:
            # Of two calls the second may need the first.
            self._catch_up()
            self._later = list(statements)

    def run_last(self, statement: str, parameters: Row) -> None:
        """Run a statement without rows at the transaction's end, or before.

        What it fails with, the commit fails with. Nothing else of the transaction may need it.
        """
        if self.is_sqlite:
            self.run(statement, parameters)
        else:
            self._last.append((statement, parameters))

    def run_first(self, statement: str) -> list[tuple[Any, ...]]:
        """As `run`, for a transaction's first: a connection lost since the last is replaced."""
        try:
            return self.run(statement)
        except Exception:
            # psycopg says so; a server that was restarted closed the connection that was kept.
            if not getattr(self._driver, "closed", False):
                raise
        self._discard()
        self._begin()
        return self.run(statement)

    def undo(self) -> None:
        """Roll back what the transaction did so far; its end commits nothing then."""
        self._later, self._last = [], []
        self._driver.rollback()

    def close(self) -> None:
        """Give the connection back."""
        connection, driver, self._connection = self._connection, self._driver, None
        self._driver = self._cursor = None
        if connection is not None:
            if not self.is_sqlite and not driver.closed:
                driver.autocommit = False
            connection.close()

    def _begin(self) -> None:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._driver = self._connection.connection.driver_connection
            self._cursor = self._driver.cursor()
            if not self.is_sqlite:
                # Or the driver would begin transactions itself, with a round trip of its own.
                self._driver.autocommit = True
        if self.is_sqlite:
            # A deferred BEGIN fails when another process wrote meanwhile.
            self._cursor.execute("BEGIN IMMEDIATE")
        self._begun = self.is_sqlite

    def _catch_up(self) -> None:
        """Run what goes before whatever comes next."""
        if not self._begun:
            self._cursor.execute(_BEGIN)
            self._begun = True
        if self._later:
            later, self._later = self._later, []
            self.run_all(later)

    def _commit(self) -> None:
        last, self._later, self._last = [*self._later, *self._last], [], []
        if last:
            self.run_all([*last, _COMMIT])
        else:
            self._driver.commit()
        self._begun = self.is_sqlite
        if self._checkpoints is not None:
            changes = self._driver.total_changes
            self._checkpoints.changed(changes - self._changes)
            self._changes = changes

    def _undo(self, error: BaseException) -> None:
        if self._connection is None:
            return
        try:
            self.undo()
        except Exception as second:
            if not self._is_fault(second):
                raise
            self._discard()
        else:
            if self._is_fault(error):
                self._discard()

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        self._driver = self._cursor = None
        self._changes = 0
        if connection is not None:
            with suppress(Exception):
                connection.invalidate()
            with suppress(Exception):
                connection.close()


def _as_one(statements: Sequence[Statement]) -> Statement:
    """PostgreSQL's one statement for some that change rows of their own.

    To hand a statement over takes the driver longer than it takes the server to run it.
    """
    *others, (last, values) = (_by_position(*statement) for statement in statements)
    if not others:
        return last, values
    beside = ", ".join(f"_{number} AS ({text})" for number, (text, _) in enumerate(others))
    return f"WITH {beside} {last}", [one for _, row in others for one in row] + [*values]


def _by_position(statement: str, parameters: Row | Mapping[str, Any]) -> tuple[str, Row]:
    if not isinstance(parameters, Mapping):
        return statement, parameters
    text, names = _without_names(statement)
    return text, [parameters[name] for name in names]


@cache
def _without_names(statement: str) -> tuple[str, Sequence[str]]:
    return _NAMED.sub("%s", statement), _NAMED.findall(statement)


_NAMED = re.compile(r"%\((\w+)\)s")


@cache
def _with_percents(statement: str) -> str:
    return re.sub(r":(\w+)", r"%(\1)s", statement)
