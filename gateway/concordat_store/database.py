"""One store: transactions that read, transactions that write, and what its faults become."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from concordat_rpc.errors import Kind, Refusal
from concordat_store.asking import AskingConnections
from concordat_store.checkpoints import Checkpoints
from concordat_store.direct import Asked
from concordat_store.engines import WRITES, StoreError, create_engine
from concordat_store.turns import Turns
from concordat_store.writer import Writer

RETRY_AFTER_SECONDS = 1.0


class Database:
    """A connected store. Thread-safe; make one a process, after it was spawned."""

    def __init__(self, engine: sa.Engine, pool_size: int, writing: sa.Engine | None = None) -> None:
        """`writing`: what `write` takes its connections from; `engine`, unless it is given."""
        self._engine = engine
        self._own_writing = writing
        self._writing = (writing or engine).execution_options(**{WRITES: True})
        self._reading = engine
        if engine.dialect.name == "postgresql":
            # One snapshot for all statements of a read, as SQLite gives.
            self._reading = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        # Kept while idle, they are nobody else's: most of the pool stays for transactions.
        self._asking = AskingConnections(engine, keep=pool_size // 4)
        self._turns: Turns | None = None
        self._checkpoints: Checkpoints | None = None
        if self.is_sqlite:
            self._turns = Turns(Path(str(engine.url.database)))
            self._checkpoints = Checkpoints(engine, self._turns)

    @classmethod
    def open(cls, url: str, *, pool_size: int = 16, erasing: bool = False) -> "Database":
        """Connect to the store at url. Raises StoreError where it cannot be served from.

        `erasing`: for a store of which nothing that was deleted may be left in a SQLite file.
        """
        engine = create_engine(url, pool_size=pool_size, erasing=erasing)
        writing = None
        if engine.dialect.name == "sqlite":
            # Whose turn it is writes on the one connection that also wrote last: the pages that it
            # holds are still right, and SQLite gives up those of every other connection.
            writing = create_engine(url, pool_size=1, erasing=erasing)
        database = cls(engine, pool_size, writing)
        try:
            with database._engine.connect():
                return database
        except exc.DBAPIError as error:
            database.close()
            raise StoreError(f"cannot open {database._engine.url!r}: {error.orig}") from error

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine; otherwise a PostgreSQL server."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one snapshot and writes nothing.

        Raises Refusal UNAVAILABLE where the store fails.
        """
        with self.refusing_faults(), self._reading.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def ask(self) -> Iterator[Asked]:
        """For statements that write nothing, each of which sees a snapshot of its own.

        To begin a transaction and to end it are two round trips more, as dear as the question.
        Raises Refusal UNAVAILABLE where the store fails.
        """
        with self.refusing_faults():
            kept = self._asking.take()
            try:
                yield Asked(kept.driver_connection, self._engine.dialect)
            except BaseException:
                self._asking.discard(kept)
                raise
            self._asking.put(kept)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A durable transaction: committed at the end, rolled back on an exception.

        Raises Refusal UNAVAILABLE where the store fails; the commit may then have happened.
        """
        turn = self._turns.turn() if self._turns else nullcontext()
        with self.refusing_faults(), turn, self._writing.connect() as connection:
            driver: Any = connection.connection.driver_connection
            before = driver.total_changes if self._checkpoints else 0
            with connection.begin():
                yield connection
            if self._checkpoints:
                self._checkpoints.changed(driver.total_changes - before)

    def writer(self) -> Writer:
        """A writer of its own connection, for many short durable transactions. Close it."""
        return Writer(
            self._engine, self._turns, self._checkpoints, self.is_fault, self.refusing_faults
        )

    def forget_deleted(self) -> bool:
        """Empty SQLite's write-ahead log, where what was deleted still stands; whether it was.

        A reader may be in the way: then try again. Nothing to do on PostgreSQL, whose log and
        dead rows are the server's. Raises Refusal UNAVAILABLE where the store fails.
        """
        if not self.is_sqlite:
            return True
        turn = self._turns.turn() if self._turns else nullcontext()
        moving = self._checkpoints.moving if self._checkpoints else nullcontext()
        with self.refusing_faults(), turn, moving:
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                [busy, *_] = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                cursor.close()
                return not busy
            finally:
                connection.close()

    def is_fault(self, error: BaseException) -> bool:
        """Whether an exception says that the store failed, not that a statement was wrong.

        A store that is down, full, locked or corrupt; not a constraint or a malformed value.
        """
        if isinstance(error, exc.TimeoutError):
            return True
        # COPY runs on the driver's own cursor, whose errors SQLAlchemy does not wrap.
        original = error.orig if isinstance(error, exc.DBAPIError) else error
        driver: Any = self._engine.dialect.loaded_dbapi
        if not isinstance(original, driver.Error):
            return False
        if isinstance(original, driver.OperationalError):
            return True
        if isinstance(original, driver.InternalError):
            # SQLSTATE class 25: the transaction is in the wrong state, which is a caller's mistake.
            return not str(getattr(original, "sqlstate", "")).startswith("25")
        lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
        # SQLite reports a corrupt file as a plain DatabaseError.
        return lost or type(original) is driver.DatabaseError

    @contextmanager
    def refusing_faults(self) -> Iterator[None]:
        """Turns a fault of the store inside the block into Refusal UNAVAILABLE."""
        try:
            yield
        except Exception as error:
            if self.is_fault(error):
                raise store_unavailable() from error
            raise

    def close(self) -> None:
        """Close the pooled connections."""
        if self._checkpoints:
            self._checkpoints.close()
        self._asking.close()
        self._engine.dispose()
        if self._own_writing is not None:
            self._own_writing.dispose()
        if self._turns:
            self._turns.close()
            self._turns = None


def describe(error: BaseException) -> str:
    """A fault of a store for the operator's log: the driver's first line, never a row's values."""
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    # PostgreSQL's further lines can quote the row.
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    text = primary or str(original).partition("\n")[0]
    return f"{type(original).__name__}: {text}"


def store_unavailable() -> Refusal:
    """The refusal a caller gets while the store fails. It names nothing of the database."""
    return Refusal(
        Kind.UNAVAILABLE,
        "STORE_UNAVAILABLE",
        "the gateway's store cannot be used now; repeat the call with the same request_id",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
