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

ROWS = 4_000
"""Changed since the last time; rows in the order of no key change about a page each."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """Thread-safe. The thread starts when it is first needed; close it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
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
        try:
            while self._wanted.wait() and not self._closed:
                self._wanted.clear()
                if connection is None:
                    connection = self._engine.raw_connection()
                with self.moving, closing(connection.cursor()) as cursor:
                    cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except (exc.SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as error:
            # Nothing is lost: the log has all of it, and commits move it from now on.
            _log.warning("moving the write-ahead log failed, commits do it now: %s", error)
        finally:
            if connection is not None:
                connection.close()
