"""Turns for the processes that write one SQLite file.

SQLite alone lets a waiting writer poll, ever more rarely: next to a busy process it can miss its
chance for half a second. The kernel wakes whoever waits for a file lock as soon as it is free. The
lock only hands out turns; what keeps writers apart is still BEGIN IMMEDIATE.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """A lock file beside the database. The kernel drops the lock of a process that dies."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(f"{database.name}-turn")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # One open file has one lock, which would not keep this process's threads apart.
        self._threads = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for this caller's turn, and ends it with the block."""
        with self._threads:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file. It stays in place: another process may be waiting on it."""
        os.close(self._file)
