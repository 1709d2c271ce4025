"""Engines for a store's URL, with everything durability rests on set and checked a connection.

SQLite runs through pysqlite3, whose bundled library is new enough: versions before 3.51.3 can
corrupt a database in WAL mode. Nothing here trusts a default: SQLAlchemy's and SQLite's are a
rollback journal, no foreign keys and a deferred BEGIN, which makes writers fail instead of wait.
"""

import importlib
import select
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url

SQLITE_MINIMUM = (3, 51, 3)
BUSY_TIMEOUT_SECONDS = 10
"""How long a writer waits for another process's transaction before it gives up."""
RECYCLE_SECONDS = 3_600
"""Age from which a connection to PostgreSQL is replaced instead of handed out."""
TEMPORARY = "concordat_temporary"
"""In a connection's `info`, once it may have temporary tables."""

WRITES = "concordat_writes"
"""Execution option of transactions that write: BEGIN IMMEDIATE on SQLite."""
BEGUN = "concordat_begun"
"""Execution option of a connection whose transactions the driver begins, beneath SQLAlchemy."""

_SQLITE_PRAGMAS = {
    # journal_mode first: the others are per connection, this one changes the file.
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "busy_timeout": BUSY_TIMEOUT_SECONDS * 1000,
    "trusted_schema": 0,
    # 64 MB: moving pages from the WAL to the database flushes twice, and a commit waits for it. A
    # process that writes much does it sooner, beside its commits, see `checkpoints`.
    "wal_autocheckpoint": 16_000,
    # 32 MB: rows come in the order of no key, and the 2 MB of the default hold few of their pages.
    "cache_size": -32_000,
}
_POSTGRESQL_SETTINGS = {
    "synchronous_commit": "on",
    "lock_timeout": f"{BUSY_TIMEOUT_SECONDS}s",
    # A worker that hangs inside a transaction must not hold the head row for ever.
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
}
_POSTGRESQL_CONNECT = {
    "connect_timeout": 5,
    "application_name": "concordat",
    # A server that vanished without a word is noticed within seconds, not hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


class StoreError(Exception):
    """A store cannot be served from: wrong URL, unsafe database, wrong schema. Fix and restart."""


def normalise_url(url: str) -> URL:
    """The URL with the driver that is used for its kind of database. Raises StoreError."""
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError:
        raise StoreError("store URL: sqlite:////absolute/path or postgresql://... wanted") from None
    match parsed.drivername:
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise StoreError("store URL: SQLite wants a file, sqlite:////absolute/path")
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise StoreError(f"store URL: {other!r} is neither sqlite nor postgresql")


def create_engine(url: str, *, pool_size: int = 16, erasing: bool = False) -> sa.Engine:
    """An engine on a store; connects at first use. Raises StoreError.

    `erasing`: SQLite overwrites what is deleted. A connection that does not have its settings
    after setting them raises StoreError too.
    """
    parsed = normalise_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = _sqlite_engine(parsed, pool_size, sqlite_module())
        if erasing:
            event.listen(engine, "connect", _erase_sqlite)
        return engine
    return _postgresql_engine(parsed, pool_size)


def sqlite_module() -> ModuleType:
    """The SQLite driver: pysqlite3, or the standard library's if it is new enough.

    Raises StoreError.
    """
    try:
        module = importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        module = importlib.import_module("sqlite3.dbapi2")
    require_sqlite(module.sqlite_version_info)
    return module


def require_sqlite(version: tuple[int, ...]) -> None:
    """Raises StoreError for a SQLite library that is not safe to keep a ledger in."""
    if version < SQLITE_MINIMUM:
        raise StoreError(
            f"SQLite {_dotted(version)} can corrupt a database in WAL mode; "
            f"{_dotted(SQLITE_MINIMUM)} or newer is needed (pip install pysqlite3)"
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _sqlite_engine(url: URL, pool_size: int, module: ModuleType) -> sa.Engine:
    directory = Path(str(url.database)).parent
    if not directory.is_dir():
        raise StoreError(f"store URL: {directory} is not a directory")
    engine = sa.create_engine(
        url,
        module=module,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=BUSY_TIMEOUT_SECONDS,
        # The connection that was used last has the pages that are wanted next.
        pool_use_lifo=True,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions of its own: _begin_sqlite does.
    connection.isolation_level = None
    for name, value in _SQLITE_PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}").close()
        [actual] = connection.execute(f"PRAGMA {name}").fetchone()
        if actual != value:
            raise StoreError(f"SQLite: {name} is {actual!r} after setting it to {value!r}")


def _erase_sqlite(connection: Any, _record: object) -> None:
    [actual] = connection.execute("PRAGMA secure_delete = ON").fetchone()
    if actual != 1:
        raise StoreError(f"SQLite: secure_delete is {actual!r} after setting it to 1")


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get(BEGUN, False):
        return
    # A deferred BEGIN that writes later fails when another process wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES, False) else "BEGIN")


def _postgresql_engine(url: URL, pool_size: int) -> sa.Engine:
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=BUSY_TIMEOUT_SECONDS,
        # A temporary table that stays holds back what the whole server may forget about old
        # transactions, and only its own connection can help that.
        pool_recycle=RECYCLE_SECONDS,
        connect_args=_POSTGRESQL_CONNECT,
    )
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "checkout", _require_open)
    return engine


def _require_open(connection: Any, _record: object, _proxy: object) -> None:
    """After a restart of the server the pool's old connections are replaced, not handed out."""
    if not is_open(connection):
        raise sa.exc.InvalidatePoolError


def is_open(connection: Any) -> bool:
    """Whether a connection to PostgreSQL that waits for a question still stands."""
    # A server that ends a connection says so or closes it; to one that waits for a question it
    # says nothing. So no round trip is needed to ask.
    if connection.closed:
        return False
    arrived = select.poll()
    arrived.register(connection.fileno(), select.POLLIN)
    return not arrived.poll(0)


def _prepare_postgresql(connection: Any, _record: object) -> None:
    autocommit, connection.autocommit = connection.autocommit, True
    with connection.cursor() as cursor:
        for name, value in _POSTGRESQL_SETTINGS.items():
            cursor.execute(f"SET {name} = '{value}'")
        for name in ("synchronous_commit", "fsync", "full_page_writes"):
            [actual] = cursor.execute(f"SHOW {name}").fetchone()
            if actual != "on":
                raise StoreError(f"PostgreSQL: {name} is {actual!r}; commits would not be durable")
    connection.autocommit = autocommit
