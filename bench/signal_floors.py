"""What the databases take for the same by themselves: load rows, read subjects, commit durably.

A floor is a store of the same tables, filled with the rows of the measured one. The drivers are
used as they are: no SQLAlchemy, no consents, nothing computed.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg
import sqlalchemy as sa

from concordat_gateway.store.migrate import SIGNALS
from concordat_gateway.store.signal_store import BUCKETS
from concordat_gateway.store.signal_tables import inquiry, relation
from concordat_gateway.store.subjects import bucket_bounds
from concordat_store.database import Database
from concordat_store.engines import sqlite_module
from concordat_store.migration import upgrade

TABLES = (relation, inquiry)
Rows = list[tuple[Any, ...]]
LEAF = b"x" * 405
"""As large as an entry."""
_ROWS_A_CHUNK = 1_000_000


class Floor(Protocol):
    """A database by itself."""

    load: str
    """How `load_seconds` loads, in words."""

    def load_seconds(self, table: sa.Table, rows: Rows) -> float:
        """Load rows in any order, durably; how long it took."""

    other_load: str
    """How `other_load_seconds` loads, in words."""

    def other_load_seconds(self, table: sa.Table, rows: Rows) -> float:
        """As `load_seconds`, in a quicker way, into a table that nothing reads."""

    def look_up(self, subject: bytes) -> int:
        """Read a subject's relations by the key, and commit something; how many there were."""

    def read(self, subjects: Sequence[bytes]) -> int:
        """Read the relations of subjects; how many there were."""

    def close(self) -> None:
        """Disconnect."""


def rows_by_chunk(signals_url: str, table: sa.Table) -> Iterator[Rows]:
    """All rows of a store's table, some million at a time."""
    span = sa.select(table).where(table.c.subject.between(sa.bindparam("a"), sa.bindparam("b")))
    database = Database.open(signals_url)
    try:
        chunk: Rows = []
        for bucket in range(BUCKETS):
            first, last = bucket_bounds(bucket)
            with database.read() as connection:
                rows = connection.execute(span, {"a": first, "b": last})
                chunk += [tuple(map(_plain, row)) for row in rows]
            if len(chunk) >= _ROWS_A_CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
    finally:
        database.close()


class OnSqlite:
    """Two files: the rows', and one to commit to, as the gateway has."""

    load = "sorted executemany, a million in a transaction"
    other_load = "the same, bytes handed over as bytearrays"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "signals.db"
        self.url = f"sqlite:///{self.path}"
        _migrated(self.url)
        other = folder / "other.db"
        _migrated(f"sqlite:///{other}")
        self._signals, self._other = _sqlite(self.path), _sqlite(other)
        self._control = _sqlite(folder / "control.db")
        self._control.execute("CREATE TABLE entry (entry_index INTEGER PRIMARY KEY, leaf BLOB)")
        self._size = 0

    def load_seconds(self, table: sa.Table, rows: Rows) -> float:
        started = time.perf_counter()
        _insert(self._signals, table, sorted(rows))
        return time.perf_counter() - started

    def other_load_seconds(self, table: sa.Table, rows: Rows) -> float:
        started = time.perf_counter()
        _insert(self._other, table, [tuple(map(_unadapted, row)) for row in sorted(rows)])
        return time.perf_counter() - started

    def look_up(self, subject: bytes) -> int:
        statement = "SELECT * FROM relation WHERE subject = ?"
        found = len(self._signals.execute(statement, (subject,)).fetchall())
        self._control.execute("BEGIN IMMEDIATE")
        self._control.execute("INSERT INTO entry VALUES (?, ?)", (self._size, LEAF))
        self._control.execute("COMMIT")
        self._size += 1
        return found

    def read(self, subjects: Sequence[bytes]) -> int:
        marks = ", ".join("?" for _ in subjects)
        statement = f"SELECT * FROM relation WHERE subject IN ({marks})"
        return len(self._signals.execute(statement, sorted(subjects)).fetchall())

    def close(self) -> None:
        self._signals.close()
        self._other.close()
        self._control.close()


class OnPostgresql:
    """A database of its own on the measured one's server."""

    load = (
        "COPY to a temporary table and INSERT SELECT ORDER BY key ON CONFLICT, a million in a"
        " transaction"
    )
    other_load = "bare COPY into a table that is not partitioned"

    def __init__(self, url: str) -> None:
        self.url = url
        _migrated(url)
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("CREATE TABLE entry (entry_index bigint PRIMARY KEY, leaf bytea)")
        for table in TABLES:
            self._connection.execute(
                f"CREATE TABLE bare_{table.name} (LIKE {table.name} INCLUDING ALL)"
            )
        self._size = 0

    def load_seconds(self, table: sa.Table, rows: Rows) -> float:
        name, key = table.name, [column.name for column in table.primary_key]
        updates = ", ".join(
            f"{column.name} = excluded.{column.name}"
            for column in table.columns
            if column.name not in key
        )
        started = time.perf_counter()
        with self._connection.transaction():
            self._connection.execute(f"CREATE TEMPORARY TABLE load (LIKE {name}) ON COMMIT DROP")
            self._copy("load", table, rows)
            self._connection.execute(
                f"INSERT INTO {name} ({_names(table)})"
                f" SELECT {_names(table)} FROM load ORDER BY {', '.join(key)}"
                f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {updates}"
            )
        return time.perf_counter() - started

    def other_load_seconds(self, table: sa.Table, rows: Rows) -> float:
        started = time.perf_counter()
        with self._connection.transaction():
            self._copy(f"bare_{table.name}", table, rows)
        return time.perf_counter() - started

    def look_up(self, subject: bytes) -> int:
        # psycopg prepares what it runs for the fifth time.
        statement = "SELECT * FROM relation WHERE subject = %b AND bucket = %s"
        found = len(self._connection.execute(statement, (subject, subject[0])).fetchall())
        self._connection.execute("INSERT INTO entry VALUES (%s, %b)", (self._size, LEAF))
        self._size += 1
        return found

    def read(self, subjects: Sequence[bytes]) -> int:
        statement = "SELECT * FROM relation WHERE subject = ANY(%b)"
        cursor = self._connection.execute(statement, (sorted(subjects),), binary=True)
        return len(cursor.fetchall())

    def close(self) -> None:
        self._connection.close()

    def _copy(self, target: str, table: sa.Table, rows: Rows) -> None:
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {target} ({_names(table)}) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types([_type_of(column) for column in table.columns])
            for row in rows:
                copy.write_row(row)


def bytes_on_sqlite(url: str) -> int:
    """How large a store's file is once it was vacuumed."""
    path = Path(url.removeprefix("sqlite:///"))
    with closing(_sqlite(path)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path.stat().st_size


def bytes_on_postgresql(url: str) -> int:
    """How large the tables of rows are, with their keys, once they were vacuumed."""
    with psycopg.connect(url, autocommit=True) as connection:
        total = 0
        for table in TABLES:
            connection.execute(f"VACUUM (ANALYZE) {table.name}")
            [size] = connection.execute(
                "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(%s::regclass)",
                (table.name,),
            ).fetchone() or (0,)
            total += int(size)
    return total


def _migrated(url: str) -> None:
    database = Database.open(url)
    upgrade(SIGNALS, database)
    database.close()


def _sqlite(path: Path) -> Any:
    connection = sqlite_module().connect(str(path), isolation_level=None)
    for setting in ("journal_mode = wal", "synchronous = full", "wal_autocheckpoint = 4000"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def _insert(connection: Any, table: sa.Table, rows: Rows) -> None:
    marks = ", ".join("?" for _ in table.columns)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(f"INSERT INTO {table.name} ({_names(table)}) VALUES ({marks})", rows)
    connection.execute("COMMIT")


def _unadapted(value: Any) -> Any:
    return bytearray(value) if isinstance(value, bytes) else value


def _names(table: sa.Table) -> str:
    return ", ".join(column.name for column in table.columns)


def _type_of(column: sa.Column[Any]) -> str:
    match column.type:
        case sa.LargeBinary():
            return "bytea"
        case sa.SmallInteger():
            return "smallint"
        case sa.BigInteger():
            return "bigint"
        case _:
            return "integer"


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
