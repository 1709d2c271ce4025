"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(file: Path, content: bytes, mode: int, unfinished: Path | None = None) -> None:
    """Write a file in the place of an older one, or a new one, durably. Raises OSError.

    Whoever reads it, also after a power failure, finds the old content or the new.

    Args:
        mode: of the new file, whatever the umask.
        unfinished: where in the same folder the content is written first; a killed process leaves
            it there. By default the file's name and ".new", which the next one overwrites: for
            callers that take turns.
    """
    new = file.with_name(f"{file.name}.new") if unfinished is None else unfinished
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as out:
        os.fchmod(out.fileno(), mode)
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: they are its content. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
