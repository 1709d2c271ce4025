"""SQLite files of a job, for their owner alone."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from concordat.bulk.errors import JobBusy, JournalError


def connect(file: Path, *, wait_seconds: float) -> sqlite3.Connection:
    """Open or make a database with mode 0600. What is committed is on disk.

    With a rollback journal: it needs no memory shared between processes, and no newer SQLite.
    Raises JobBusy, JournalError.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        what = "is a folder; a file wanted" if file.is_dir() else f"{error.strerror}"
        raise JournalError(f"{file}: {what}") from None
    with faults(file):
        connection = sqlite3.connect(
            file, timeout=wait_seconds, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        # What was deleted held tokens.
        connection.execute("PRAGMA secure_delete = ON")
    return connection


@contextmanager
def faults(file: Path) -> Iterator[None]:
    """Turn SQLite's errors into JobBusy and JournalError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise JobBusy(f"{file}: another process works with it") from None
        raise JournalError(f"{file}: {error}{_advice(error)}") from None
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{file}: {error}") from None


def _advice(error: sqlite3.OperationalError) -> str:
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return "; nothing is lost: with room on the disk the same job goes on where it stopped"
    return ""


@contextmanager
def transaction(connection: sqlite3.Connection, file: Path) -> Iterator[sqlite3.Connection]:
    """All or nothing of the block, on disk when it ends."""
    with faults(file):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
