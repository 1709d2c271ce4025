"""Files that hold keys: read only where nobody else can read them."""

from __future__ import annotations

import os
from pathlib import Path

from concordat_rpc.files import replace_file, sync_folder
from concordat_rpc.settings import SettingsError

_OTHERS = 0o077


def read_secret(file: Path) -> bytes:
    """The content of a key file; raises SettingsError for one that others may read or change."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode & 0o777
            if mode & _OTHERS:
                raise SettingsError(
                    f"{file}: others may read or change it (mode {mode:04o}); run: chmod 600 {file}"
                )
            return opened.read()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None


def write_secret(file: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, durably; raises FileExistsError.

    Whoever is killed in it may leave an empty file; see `replace_secret`.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    sync_folder(file.parent)


def replace_secret(file: Path, content: bytes) -> None:
    """Write such a file, new or over another one, durably: at any time the old or the new one."""
    replace_file(file, content, 0o600)
