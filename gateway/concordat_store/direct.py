"""Prebuilt questions, asked of the driver, past most of SQLAlchemy.

To bind the parameters of a statement with a list in it and to look at what its result has for
columns takes SQLAlchemy longer than SQLite takes to answer. So statements are written for
SQLAlchemy, and their text is what it makes of them, once; the driver runs it and its rows are used
as they come.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

Rows = Sequence[tuple[Any, ...]]


class Among(sa.ColumnElement[bool]):
    """Whether a column has one of the values of a list, which is the parameter of a name.

    PostgreSQL takes a longer list as one value: to plan for thousands of values takes it longer
    than to find them. For statements that `rows_of` runs.
    """

    inherit_cache = False

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        self.column = column
        self.name = name


@compiles(Among, "sqlite")
def _in_list(element: Among, compiler: SQLCompiler, **options: Any) -> str:
    condition = element.column.in_(sa.bindparam(element.name, expanding=True))
    return compiler.process(condition, **options)


@compiles(Among, "postgresql")
def _in_array(element: Among, compiler: SQLCompiler, **options: Any) -> str:
    kind = element.column.type
    condition = (
        element.column == sa.bindparam(element.name, type_=kind)
        if options.get(_ONE_EACH)
        else element.column == sa.any_(sa.bindparam(element.name, type_=ARRAY(kind)))
    )
    return compiler.process(condition, **options)


_ONE_EACH = "one_each"
"""Option of the compiler: no list has more than one value."""


class Asked:
    """A store's connection as the driver has it, for questions alone."""

    def __init__(self, driver: Any, dialect: sa.Dialect) -> None:
        self._driver = driver
        self.dialect = dialect
        # As text PostgreSQL sends every byte as two digits, each to be read again.
        self._options = {"binary": True} if dialect.name == "postgresql" else {}

    def run(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Rows:
        """All rows of a statement of the driver's own SQL."""
        cursor = self._driver.cursor()
        try:
            rows: Rows = cursor.execute(statement, parameters, **self._options).fetchall()
            return rows
        finally:
            cursor.close()


def rows_of(
    connection: sa.Connection | Asked,
    statement: sa.Select[Any] | sa.CompoundSelect[Any],
    parameters: Mapping[str, Any],
) -> Rows:
    """All rows of a prebuilt statement, whose columns the driver must give as they are wanted.

    Bytes, text and integers are. The statement must be one that lives as long as the program.
    """
    if isinstance(connection, sa.Connection):
        connection = Asked(connection.connection.driver_connection, connection.dialect)
    lengths = tuple(
        [(name, _rounded(len(v))) for name, v in parameters.items() if isinstance(v, list)]
    )
    prepared = _prepared(statement, connection.dialect, tuple(parameters), lengths)
    values = {**prepared.constants, **parameters}
    for name in prepared.single:
        [values[name]] = values[name]
    if prepared.order is None:
        for name, numbered in prepared.expanded.items():
            values.update(zip(numbered, _padded(values.pop(name)), strict=True))
        return connection.run(prepared.text, values)
    given: list[Any] = []
    for name in prepared.order:
        if name in prepared.expanded:
            given += _bound(_padded(values[name]))
        else:
            given.append(values[name])
    return connection.run(prepared.text, given)


class _Prepared(NamedTuple):
    text: str
    """The driver's SQL."""
    order: Sequence[str] | None
    """Its parameters, if they have no names there; a list's name once."""
    expanded: Mapping[str, Sequence[str]]
    """For each list that takes a parameter a value, their names."""
    single: Sequence[str]
    """The lists of which the one value is taken, as it is."""
    constants: Mapping[str, Any]
    """Parameters that the statement gives itself."""


@lru_cache(maxsize=256)
def _prepared(
    statement: sa.Select[Any] | sa.CompoundSelect[Any],
    dialect: sa.Dialect,
    names: tuple[str, ...],
    lengths: tuple[tuple[str, int], ...],
) -> _Prepared:
    one_each = all(length == 1 for _, length in lengths)
    compiled = statement.compile(dialect=dialect, compile_kwargs={_ONE_EACH: one_each})
    assert isinstance(compiled, SQLCompiler)
    # What the values are does not matter, but there must be one for each.
    some = {**dict.fromkeys(names), **{name: [None] * length for name, length in lengths}}
    state = compiled.construct_expanded_state(some)
    constants = {name: value for name, value in compiled.params.items() if name not in some}
    order = None
    if state.positiontup is not None:
        expanded = state.parameter_expansion.items()
        first_of = {numbered[0]: name for name, numbered in expanded if numbered}
        others = {one for _, numbered in expanded for one in numbered[1:]}
        order = [first_of.get(name, name) for name in state.positiontup if name not in others]
    single = [name for name, _ in lengths if one_each and name not in state.parameter_expansion]
    return _Prepared(state.statement, order, state.parameter_expansion, single, constants)


def _padded(values: list[Any]) -> list[Any]:
    """The values, the last so often that there are as many as the statement wants."""
    return values + values[-1:] * (_rounded(len(values)) - len(values))


def _bound(values: list[Any]) -> Iterable[Any]:
    """The values as SQLite's driver takes them fastest.

    It looks for an adapter of every bytes that it is given, which takes it as long as to find a
    row by it; of a bytearray it knows that there is none.
    """
    return map(bytearray, values) if values and isinstance(values[0], bytes) else values


def _rounded(length: int) -> int:
    """The power of two from a length on: lists of any length make few different statements."""
    return 1 << (length - 1).bit_length() if length else 0
