"""Reads statements the way a database that distributes the signals by subject has to.

Such a database sends a statement to the one machine that holds the subject, or to each with the
slice of subjects it holds. It cannot move a row in place, nor lock rows on several machines.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import sqlglot
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlglot import exp

from concordat_gateway.store.signal_tables import METADATA

WHERE_ROWS_LIE = frozenset(("subject", "bucket"))
KEYED = {name: WHERE_ROWS_LIE for name, table in METADATA.tables.items() if "subject" in table.c}
"""Tables that have a subject, and the columns one of which every statement on them must fix."""

_DIALECTS = {"sqlite": SQLiteDialect_pysqlite(), "postgresql": PGDialect_psycopg()}  # type: ignore[no-untyped-call]
_PARSED_AS = {"sqlite": "sqlite", "postgresql": "postgres"}
_COPY = re.compile(r"COPY (\w+)\s*(?:\(([^)]*)\))? FROM STDIN", re.IGNORECASE)
_SCOPES = (exp.Select, exp.Insert, exp.Update, exp.Delete)


def faults(statement: str, kind: str) -> list[str]:
    """What would keep a statement of a kind of database from running on distributed signals."""
    if not any(re.search(rf"\b{name}\b", statement, re.IGNORECASE) for name in KEYED):
        return []
    copied = _COPY.match(statement)
    if copied:
        columns = {name.strip() for name in (copied[2] or "").split(",")}
        return list(_unfilled(copied[1], columns))
    found = []
    for tree in sqlglot.parse(_plain(statement), dialect=_PARSED_AS[kind]):
        if not isinstance(tree, (*_SCOPES, exp.Union)):
            found.append("neither reads nor writes rows")
            continue
        for table in tree.find_all(exp.Table):
            if table.name in KEYED:
                found += _faults_of_table(table)
    return found


def normalised(statement: str) -> str:
    """The statement without its values, however many of them a list has."""
    text = re.sub(r"\s+", " ", _plain(statement)).strip()
    text = re.sub(r"\(__\[POSTCOMPILE_\w+\]\)", "(0)", text)
    text = re.sub(r"(?:\bX)?'(?:[^']|'')*'|\bNULL\b|\b[0-9]+\b|\?", "0", text, flags=re.IGNORECASE)
    text = re.sub(r"\b0::\w+(?:\[\])?", "0", text)
    return re.sub(r"\(0(?:, 0)*\)", "(0)", text)


def compiled(statement: sa.Executable, kind: str) -> str:
    """A prebuilt statement as it is sent."""
    assert isinstance(statement, sa.ClauseElement)
    return normalised(str(statement.compile(dialect=_DIALECTS[kind])))


@contextmanager
def at_the_drivers() -> Iterator[set[str]]:
    """All SQL, normalised, that reaches a driver on connections opened in the block."""
    seen: set[str] = set()

    def trace_sqlite(connection: Any, _record: object) -> None:
        if hasattr(connection, "set_trace_callback"):
            connection.set_trace_callback(lambda statement: seen.add(normalised(statement)))

    def watched(name: str) -> Any:
        original = getattr(psycopg.Cursor, name)

        def method(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            seen.add(normalised(query if isinstance(query, str) else query.as_string(None)))
            return original(self, query, *arguments, **options)

        return method

    sa.event.listen(sa.pool.Pool, "connect", trace_sqlite)
    try:
        with pytest.MonkeyPatch.context() as patched:
            for name in ("execute", "executemany", "copy", "stream"):
                patched.setattr(psycopg.Cursor, name, watched(name))
            yield seen
    finally:
        sa.event.remove(sa.pool.Pool, "connect", trace_sqlite)


def _plain(statement: str) -> str:
    """With a number for each of the driver's placeholders."""
    return re.sub(r"%\(\w+\)[sbt]|%[sbt]", "0", statement)


def _faults_of_table(table: exp.Table) -> Iterator[str]:
    scope = table.find_ancestor(*_SCOPES)
    assert scope is not None
    if isinstance(scope, exp.Insert):
        into = scope.this
        columns = {one.name for one in into.expressions} if isinstance(into, exp.Schema) else set()
        yield from _unfilled(table.name, columns)
        yield from _faults_of_conflict(table.name, scope.args.get("conflict"))
        return
    fixed = _fixed(scope, table)
    if not fixed & KEYED[table.name]:
        yield f"{table.name}: any row of any subject"
    if isinstance(scope, exp.Update):
        yield from _moved(table.name, scope.expressions)
    if scope.args.get("locks") and "subject" not in fixed:
        yield f"{table.name}: locks rows of several subjects"


def _faults_of_conflict(table: str, conflict: exp.Expression | None) -> Iterator[str]:
    if conflict is None:
        return
    if "subject" not in {
        one.name for keys in conflict.args["conflict_keys"] for one in _columns(keys)
    }:
        yield f"{table}: in conflict with rows of other subjects"
    yield from _moved(table, conflict.expressions)


def _moved(table: str, assignments: list[exp.Expression]) -> Iterator[str]:
    for assignment in assignments:
        if assignment.this.name in KEYED[table]:
            yield f"{table}: changes {assignment.this.name} in place"


def _unfilled(table: str, columns: set[str]) -> Iterator[str]:
    if table in KEYED and not columns >= KEYED[table]:
        yield f"{table}: rows are written without {', '.join(sorted(KEYED[table] - columns))}"


def _fixed(scope: exp.Expression, table: exp.Table) -> set[str]:
    """The table's columns that a condition of the scope, which every row must meet, gives values.

    A condition on another column's value gives none: it says nothing about where to look.
    """
    where = scope.args.get("where")
    if where is None:
        return set()
    tables = [t for t in scope.find_all(exp.Table) if t.find_ancestor(*_SCOPES) is scope]
    names = {table.alias_or_name} if len(tables) > 1 else {table.alias_or_name, ""}
    fixed = set()
    for condition in _conjuncts(where.this):
        column = condition.this
        if (
            isinstance(condition, exp.EQ | exp.In)
            and isinstance(column, exp.Column)
            and column.table in names
            and len(list(_columns(condition))) == 1
        ):
            fixed.add(column.name)
    return fixed


def _conjuncts(condition: exp.Expression) -> Iterator[exp.Expression]:
    if isinstance(condition, exp.Paren):
        yield from _conjuncts(condition.this)
    elif isinstance(condition, exp.And):
        yield from _conjuncts(condition.this)
        yield from _conjuncts(condition.expression)
    else:
        yield condition


def _columns(expression: exp.Expression) -> Iterator[exp.Column]:
    yield from expression.find_all(exp.Column)
