"""Files that are replaced whole or not at all, and folders whose files change by turns."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from concordat_rpc import files
from concordat_rpc.settings import SettingsError

SECRET = 0o600
PUBLIC = 0o644


def replace_file(file: Path, content: bytes, mode: int) -> None:
    """Write a file in the place of an older one, durably.

    Whoever reads it, also after a power failure, finds the old content or the new. Callers hold
    :func:`turn`. Raises SettingsError.
    """
    try:
        files.replace_file(file, content, mode)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None


def replace_for_good(file: Path, content: bytes, mode: int) -> None:
    """Replace a file as :func:`replace_file`, and overwrite what it held before.

    As far as that goes: a disk that writes elsewhere (flash, copy-on-write, a journal), a snapshot
    or a backup keeps the old content. Whoever reads the old file at that moment reads it spoilt,
    and has to read again. Raises SettingsError; the new content may then be there already.
    """
    try:
        with file.open("r+b") as old:
            replace_file(file, content, mode)
            old.write(os.urandom(os.fstat(old.fileno()).st_size))
            old.flush()
            os.fsync(old.fileno())
    except OSError as error:
        raise SettingsError(f"{file}: what it held is not overwritten: {error.strerror}") from None


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """One command at a time changes a folder's files. Raises SettingsError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}") from None
    try:
        # The lock ends with the descriptor, also when the process is killed.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def new_folder(folder: Path) -> None:
    """Make a folder for this account alone, or take an empty one. Raises SettingsError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SettingsError(f"{folder} is not empty; nothing was changed")
        folder.chmod(0o700)
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}") from None
