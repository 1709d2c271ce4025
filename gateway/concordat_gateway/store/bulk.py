"""Many rows at once, the way each database takes them fastest.

SQLAlchemy's own executemany costs three times the driver's per row. SQLite takes some hundred rows
a statement, best in the order of the key. PostgreSQL takes one array a column (`unnest`) up to
some hundred rows, binary COPY beyond; COPY knows no ON CONFLICT, so upserts go through a temporary
table.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain, islice
from typing import Any

import sqlalchemy as sa
from psycopg.types.string import BytesBinaryDumper

from concordat_store.engines import TEMPORARY
from concordat_store.writer import Writer

Rows = Sequence[tuple[Any, ...]]
"""Values in the order of the table's columns."""

_COPY_FROM_ROWS = 1_000
_SQLITE_ROWS = (500, 100, 20, 5, 1)
"""A statement: few sizes, as the driver keeps statements, and few statements, as between two of
them Python's other threads may take a while to give way. 32,766 parameters are its limit."""


def insert_rows(connection: sa.Connection, table: sa.Table, rows: Rows) -> None:
    """Insert rows of bytes and integers, none of them there yet."""
    if not rows:
        return
    if _is_sqlite(connection):
        _insert_on_sqlite(connection.exec_driver_sql, table, rows)
    elif len(rows) < _COPY_FROM_ROWS:
        arrays = tuple(list(column) for column in zip(*rows, strict=True))
        connection.exec_driver_sql(_unnest_insert(table), arrays)
    else:
        _copy(connection, table, table.name, rows)


def write_rows(writer: Writer, table: sa.Table, rows: Rows) -> None:
    """As `insert_rows`, for a writer's transaction, of rows that are not read in it."""
    if not rows:
        return
    if writer.is_sqlite:
        _insert_on_sqlite(writer.run, table, rows)
    elif len(rows) < _COPY_FROM_ROWS:
        columns = [list(column) for column in zip(*rows, strict=True)]
        writer.run_last(_unnest_insert(table), columns)
    else:
        _copy(writer.connection, table, table.name, rows)


def upsert_rows(connection: sa.Connection, table: sa.Table, rows: Rows) -> None:
    """Insert rows, replacing those with the same primary key. Rows must be in key order.

    At most once a transaction and table.
    """
    if not rows:
        return
    if _is_sqlite(connection):
        _insert_on_sqlite(connection.exec_driver_sql, table, rows, _on_conflict(table))
        return
    arriving = f"arriving_{table.name}"
    connection.info[TEMPORARY] = True
    connection.exec_driver_sql(_temporary(table, arriving))
    _copy(connection, table, arriving, rows)
    connection.exec_driver_sql(_move(table, arriving))


def _insert_on_sqlite(
    run: Callable[[str, tuple[Any, ...]], object], table: sa.Table, rows: Rows, ending: str = ""
) -> None:
    if len(rows) == 1:
        run(f"{_sqlite_insert(table, 1)} {ending}", rows[0])
        return
    columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
    for at in _bytes_at(table):
        # The driver looks for an adapter of every bytes it is given, which takes it as long as to
        # insert the row; of a bytearray it knows that there is none.
        columns[at] = map(bytearray, columns[at])
    values = zip(*columns, strict=True)
    left = len(rows)
    for size in _SQLITE_ROWS:
        statement = f"{_sqlite_insert(table, size)} {ending}"
        for _ in range(left // size):
            run(statement, tuple(chain.from_iterable(islice(values, size))))
        left %= size


def _copy(connection: sa.Connection, table: sa.Table, target: str, rows: Rows) -> None:
    driver: Any = connection.connection.driver_connection
    command = f"COPY {target} ({_names(table)}) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor:
        # In C, unlike the one that also takes the DB-API's Binary, which would be in its place.
        cursor.adapters.register_dumper(bytes, BytesBinaryDumper)
        _copy_rows(cursor.copy(command), _types(table), rows)


def _copy_rows(copying: Any, types: Sequence[str], rows: Rows) -> None:
    with copying as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _is_sqlite(connection: sa.Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _names(table: sa.Table) -> str:
    return ", ".join(column.name for column in table.columns)


def _key(table: sa.Table) -> str:
    return ", ".join(column.name for column in table.primary_key.columns)


@cache
def _types(table: sa.Table) -> tuple[str, ...]:
    return tuple(_type_of(column) for column in table.columns)


def _type_of(column: sa.Column[Any]) -> str:
    match column.type:
        case sa.LargeBinary():
            return "bytea"
        case sa.BigInteger():
            return "bigint"
        case sa.SmallInteger():
            return "smallint"
        case sa.Integer():
            return "integer"
        case other:
            raise TypeError(f"{column}: no bulk path for {other!r}")


# The statements below are made of table and column names of this package, never of input.


@cache
def _bytes_at(table: sa.Table) -> tuple[int, ...]:
    return tuple(
        at
        for at, column in enumerate(table.columns)
        if isinstance(column.type, sa.LargeBinary) and not column.nullable
    )


@cache
def _sqlite_insert(table: sa.Table, rows: int) -> str:
    row = f"({', '.join('?' for _ in table.columns)})"
    return f"INSERT INTO {table.name} ({_names(table)}) VALUES {', '.join([row] * rows)}"  # noqa: S608


@cache
def _unnest_insert(table: sa.Table) -> str:
    arrays = ", ".join(f"%b::{kind}[]" for kind in _types(table))
    return f"INSERT INTO {table.name} ({_names(table)}) SELECT * FROM unnest({arrays})"  # noqa: S608


@cache
def _temporary(table: sa.Table, name: str) -> str:
    columns = zip(table.columns, _types(table), strict=True)
    definition = ", ".join(f"{column.name} {kind}" for column, kind in columns)
    # Kept for the connection's next: to make one takes a row of the catalogue for each column.
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({definition}) ON COMMIT DELETE ROWS"


@cache
def _move(table: sa.Table, source: str) -> str:
    names = _names(table)
    ordered = f"SELECT {names} FROM {source} ORDER BY {_key(table)}"  # noqa: S608
    return f"INSERT INTO {table.name} ({names}) {ordered} {_on_conflict(table)}"


@cache
def _on_conflict(table: sa.Table) -> str:
    key = {column.name for column in table.primary_key.columns}
    state = [column.name for column in table.columns if column.name not in key]
    updates = ", ".join(f"{name} = excluded.{name}" for name in state)
    return f"ON CONFLICT ({_key(table)}) DO UPDATE SET {updates}"
