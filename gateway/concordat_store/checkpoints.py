"""Moves SQLite's write-ahead log into the database beside whoever commits, not in their way.

SQLite itself does it in the commit that makes the log long: that commit waits for two flushes and
for every page that was changed since. A thread that does it earlier, while others go on, leaves
commits their own flush alone. Where it does not come to it, a commit does, see `engines`.
"""

import logging
import threading
from contextlib import closing
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from concordat_store.turns import Turns

ROWS = 4_000
"""Changed since the last time; rows in the order of no key change about a page each."""
LONG_LOG_PAGES = 16_000
"""64 MB: a log this long is begun anew by force."""
_DRAIN_MILLISECONDS = 200
"""How long writers may have to wait then, until readers have left the log."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """Thread-safe. The thread starts when it is first needed; close it."""

    def __init__(self, engine: sa.Engine, turns: Turns) -> None:
        self._engine = engine
        self._turns = turns
        self._mutex = threading.Lock()
        self._changed = 0
        self._wanted = threading.Event()
        self.moving = threading.Lock()
        """Held while the log is moved: SQLite refuses to do it twice at once."""
        self._closed = False
        self._thread: threading.Thread | None = None

    def changed(self, rows: int) -> None:
        """Say that a commit changed rows."""
        with self._mutex:
            self._changed += rows
            if self._changed < ROWS or self._closed:
                return
            self._changed = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        """Wait for what is under way, and do no more."""
        with self._mutex:
            self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        connection: Any = None
        while self._wanted.wait() and not self._closed:
            self._wanted.clear()
            try:
                if connection is None:
                    connection = self._engine.raw_connection()
                    _set_patience(connection, _DRAIN_MILLISECONDS)
                self._move_with(connection)
            except (exc.SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as error:
                # Nothing is lost: the log has all of it, and where this goes on failing, commits
                # move it.
                _log.warning("moving the write-ahead log failed: %s", error)
                _give_up(connection)
                connection = None
        _give_up(connection)

    def _move_with(self, connection: Any) -> None:
        with closing(connection.cursor()) as cursor:
            with self.moving:
                length, moved = _move(cursor, "PASSIVE")
            if length > LONG_LOG_PAGES > length - moved:
                # Readers that come one after another never leave the log while something in it is
                # not in the database, and a writer that goes on sees to that. For one that stays
                # nobody waits: much of the log is not moved then.
                with self._turns.turn(), self.moving:
                    _move(cursor, "RESTART")


def _give_up(connection: Any) -> None:
    """Close a connection that is not for the pool: it has no patience."""
    if connection is not None:
        connection.invalidate()
        connection.close()


def _move(cursor: Any, how: str) -> tuple[int, int]:
    """Move the log: its pages and how many are in the database; -1 where somebody else does it."""
    [(_, length, moved)] = cursor.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
    return length, moved


def _set_patience(connection: Any, milliseconds: int) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {milliseconds}").fetchall()
