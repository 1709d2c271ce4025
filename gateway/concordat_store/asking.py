"""Connections for single questions, kept beside SQLAlchemy's pool.

To take a connection from the pool and to give it back takes as long as SQLite takes to answer, as
it is looked after each time: its transaction is ended, its events are told. One that only asks has
no transaction and is left as it was.
"""

from collections import deque

import sqlalchemy as sa
from sqlalchemy.pool import PoolProxiedConnection

from concordat_store.engines import TEMPORARY, is_open


class AskingConnections:
    """Thread-safe. The connections count as taken from the engine's pool."""

    def __init__(self, engine: sa.Engine, keep: int) -> None:
        """`keep` at most while nobody asks: the pool is everybody's."""
        self._engine = engine
        self._keep = keep
        self._kept: deque[PoolProxiedConnection] = deque()
        self._is_sqlite = engine.dialect.name == "sqlite"

    def take(self) -> PoolProxiedConnection:
        """A connection each of whose statements is a transaction."""
        while self._kept:
            try:
                kept = self._kept.pop()
            except IndexError:
                # Another thread was faster.
                break
            if self._is_sqlite or is_open(kept.driver_connection):
                return kept
            kept.invalidate()
        fresh = self._engine.raw_connection()
        if not self._is_sqlite:
            _set_autocommit(fresh, True)
            if fresh.info.pop(TEMPORARY, False):
                # It may be kept for as long as the process lives, see `engines`.
                fresh.cursor().execute("DISCARD TEMP")
        return fresh

    def put(self, connection: PoolProxiedConnection) -> None:
        """Give a connection back that did what it was to do."""
        if len(self._kept) < self._keep:
            self._kept.append(connection)
        else:
            self.discard(connection)

    def discard(self, connection: PoolProxiedConnection) -> None:
        """Give a connection back to the pool, which looks after it."""
        if not self._is_sqlite:
            if not is_open(connection.driver_connection):
                connection.invalidate()
                return
            _set_autocommit(connection, False)
        connection.close()

    def close(self) -> None:
        """Give all of them back to the pool."""
        while self._kept:
            self.discard(self._kept.pop())


def _set_autocommit(connection: PoolProxiedConnection, on: bool) -> None:
    driver = connection.driver_connection
    assert driver is not None
    driver.autocommit = on
