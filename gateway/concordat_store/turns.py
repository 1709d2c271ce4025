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
        self.take()
        try:
            yield
        finally:
            self.end()

    def take(self, wait: bool = True) -> bool:
        """Begin a turn, to `end` by the same thread; without `wait`, only if it is free now."""
        if not self._threads.acquire(blocking=wait):
            return False
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BaseException as error:
            self._threads.release()
            if isinstance(error, BlockingIOError):
                return False
            raise
        return True

    def end(self) -> None:
        """End the turn."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Close the lock file. It stays in place: another process may be waiting on it."""
        os.close(self._file)
