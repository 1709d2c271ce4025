"""The names of rows that were taken, read back from the file that a job wrote."""

import hashlib
from array import array
from bisect import bisect_left
from pathlib import Path
from typing import Final, Self

from concordat.bulk._items import opening
from concordat.bulk.errors import SourceError
from concordat_privacy.catalogue.rows import RowRef

ROW_COLUMNS: Final = ("row", "entry", "item")
"""The heading of a list of rows that were taken: `_runs.TakenRow` is a line of it."""
_MAX_NUMBER: Final = 2**63 - 1
_MAX_ITEM: Final = 2**32 - 1
_LINE_BYTES: Final = 100
"""More than any line needs: three numbers of 19 digits and what is between them."""


class NamedRows:
    """Rows of a source by number, and the name that each was taken under. 24 bytes a row."""

    def __init__(self) -> None:
        """None yet."""
        self._numbers = array("Q")
        self._entries = array("Q")
        self._items = array("Q")
        self.digest = b""
        """SHA-256 of the file."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The rows that a file names. Raises SourceError, which names the line."""
        named, hasher = cls(), hashlib.sha256()
        with opening(path) as file:
            heading = file.readline(_LINE_BYTES)
            hasher.update(heading)
            if heading.decode("utf-8-sig", "replace").strip() != ",".join(ROW_COLUMNS):
                raise SourceError(f"{path}: the heading {','.join(ROW_COLUMNS)} is wanted")
            line = 1
            while data := file.readline(_LINE_BYTES):
                line += 1
                hasher.update(data)
                if len(data) == _LINE_BYTES:
                    raise SourceError(f"{path}, line {line}: too long")
                text = data.decode("utf-8", "replace").strip()
                if text:
                    named._add(path, line, text)
        if not named:
            raise SourceError(f"{path}: names no row; lines below its heading are wanted")
        named.digest = hasher.digest()
        return named

    def __len__(self) -> int:
        """How many."""
        return len(self._numbers)

    def find(self, number: int) -> RowRef | None:
        """The name of a row; None for one that is not there."""
        at = bisect_left(self._numbers, number)
        if at == len(self._numbers) or self._numbers[at] != number:
            return None
        return RowRef(self._entries[at], self._items[at])

    def _add(self, path: Path, line: int, text: str) -> None:
        fields = text.split(",")
        if len(fields) != len(ROW_COLUMNS) or not all(
            field.isascii() and field.isdigit() and int(field) <= _MAX_NUMBER for field in fields
        ):
            raise SourceError(f"{path}, line {line}: three numbers are wanted")
        number, entry, item = map(int, fields)
        if self._numbers and number <= self._numbers[-1]:
            raise SourceError(f"{path}, line {line}: rows must be in order, each once")
        if item > _MAX_ITEM:
            raise SourceError(f"{path}, line {line}: no such item")
        self._numbers.append(number)
        self._entries.append(entry)
        self._items.append(item)
