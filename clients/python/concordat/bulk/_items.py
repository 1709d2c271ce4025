"""What every source gives, and how the files below it are read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final, NamedTuple, TypeAlias

from concordat.bulk.errors import SourceError

_HASHED_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two rows."""

    offset: int
    """Bytes of a CSV file, rows of a table."""
    row: int
    """Number of the next row: lines of a CSV file, its heading the first; rows of a table, from
    1."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row as the source holds it. `values` has every column that was asked for."""

    number: int
    values: dict[str, object]
    after: Position


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that is none. The description never repeats what it holds."""

    number: int
    reason: str
    description: str
    after: Position


Item: TypeAlias = SourceRow | UnreadableRow


def opening(path: Path) -> BinaryIO:
    """A file, to be read from. Raises SourceError."""
    try:
        return path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None


class FileState(NamedTuple):
    """What differs once a file was written to, or another is in its place."""

    size: int
    """Bytes."""
    changed_ns: int
    """Time of the last change, in nanoseconds since the epoch."""
    device: int
    number: int
    """Of the file on its device."""


def file_state(path: Path) -> FileState:
    """The state of a file now. Raises SourceError."""
    try:
        stat = path.stat()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None
    if not S_ISREG(stat.st_mode):
        # A pipe is there once, and a source is read again; a device may have no end.
        raise SourceError(f"{path}: is no regular file")
    return FileState(stat.st_size, stat.st_mtime_ns, stat.st_dev, stat.st_ino)


def file_digest(path: Path, how: str) -> bytes:
    """SHA-256 of a file and of how it is read. Raises SourceError."""
    hasher = hashlib.sha256(how.encode() + b"\0")
    with opening(path) as file:
        while data := file.read(_HASHED_BYTES):
            hasher.update(data)
    return hasher.digest()
