"""Parquet files and Arrow tables; pandas and polars frames are Arrow tables here.

pyarrow is the extra `files`. Nothing else of the SDK imports it.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from concordat.bulk._items import (
    Item,
    Position,
    SourceRow,
    UnreadableRow,
    file_digest,
    file_state,
)
from concordat.bulk.errors import SourceError
from concordat.errors import InvalidInput

_ROWS_AT_ONCE: Final = 2_000
_UNREADABLE: Final = object()


class ParquetFile:
    """A Parquet file. Rows are numbered from 1."""

    unit = "rows"

    def __init__(self, path: Path) -> None:
        """Raises SourceError where it is none, or pyarrow is missing."""
        self._path = path
        self._opened = file_state(path)
        with _reading(str(path)), self._open() as parquet:
            self._rows: int = parquet.metadata.num_rows

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def size(self) -> int:
        """Rows of the file."""
        return self._rows

    def digest(self, columns: Sequence[str]) -> bytes:  # noqa: ARG002  Source's
        """Of the file's bytes."""
        return file_digest(self._path, "parquet")

    def rows(self, columns: Sequence[str], start: Position | None = None) -> Iterator[Item]:
        """See Source. Whole groups of rows before `start` are passed over unread."""
        skipped = 0 if start is None else start.offset
        with _reading(str(self._path)), self._open() as parquet:
            _check_columns(columns, parquet.schema_arrow.names, str(self._path))
            groups: list[int] = []
            before = 0
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                if not groups and before + rows <= skipped:
                    before += rows
                else:
                    groups.append(group)
            batches = parquet.iter_batches(_ROWS_AT_ONCE, groups, list(columns))
            yield from _items(batches, columns, before, skipped)

    def check_unchanged(self) -> None:
        """See Source."""
        if file_state(self._path) != self._opened:
            raise SourceError(f"{self._path}: was written to while it was read")

    def _open(self) -> Any:
        _pyarrow()
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(self._path, pre_buffer=False)


class Table:
    """Anything in memory that gives an Arrow stream each time it is asked. Rows count from 1."""

    unit = "rows"

    def __init__(self, table: Any) -> None:
        """Raises InvalidInput for what can be read once only, or does not say how long it is."""
        pyarrow = _pyarrow()
        if isinstance(table, pyarrow.RecordBatchReader):
            raise InvalidInput.field(
                "source", "a stream can be read once only; a table wanted, or a file"
            )
        self._table = table
        try:
            self._rows = len(table)
        except TypeError:
            raise InvalidInput.field(
                "source", f"{type(table).__name__} has no length; collect it to a table first"
            ) from None

    @property
    def size(self) -> int:
        """Rows of the table."""
        return self._rows

    def digest(self, columns: Sequence[str]) -> bytes:
        """Of the values of these columns. Buffers would differ where the values do not."""
        hasher = hashlib.sha256(repr(list(columns)).encode())
        for item in self.rows(columns):
            if isinstance(item, SourceRow):
                hasher.update(repr(list(item.values.values())).encode() + b"\0")
        return hasher.digest()

    def rows(self, columns: Sequence[str], start: Position | None = None) -> Iterator[Item]:
        """See Source."""
        pyarrow = _pyarrow()
        with _reading(type(self._table).__name__):
            reader = pyarrow.RecordBatchReader.from_stream(self._table)
            _check_columns(columns, reader.schema.names, type(self._table).__name__)
            parts = (
                batch.select(list(columns)).slice(first, _ROWS_AT_ONCE)
                for batch in reader
                for first in range(0, batch.num_rows, _ROWS_AT_ONCE)
            )
            yield from _items(parts, columns, 0, 0 if start is None else start.offset)

    def check_unchanged(self) -> None:
        """A table in memory is the caller's own to leave alone."""


def _items(
    batches: Iterator[Any], columns: Sequence[str], before: int, skipped: int
) -> Iterator[Item]:
    for batch in batches:
        first, before = before, before + batch.num_rows
        if before <= skipped:
            continue
        values = [_values(batch.column(name)) for name in columns]
        for at in range(max(skipped - first, 0), batch.num_rows):
            row = first + at + 1
            after = Position(row, row + 1)
            held = {name: column[at] for name, column in zip(columns, values, strict=True)}
            wrong = next((name for name, value in held.items() if value is _UNREADABLE), None)
            if wrong is None:
                yield SourceRow(row, held, after)
            else:
                yield UnreadableRow(row, "MALFORMED", f"column {wrong!r} is not readable", after)


def _values(column: Any) -> list[object]:
    try:
        found: list[object] = column.to_pylist()
        return found
    except (ValueError, OverflowError):
        # A text that is no UTF-8, or a time that no calendar has: that row's fault alone.
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> object:
    try:
        found: object = scalar.as_py()
        return found
    except (ValueError, OverflowError):
        return _UNREADABLE


def _check_columns(columns: Sequence[str], names: Sequence[str], what: str) -> None:
    for name in columns:
        if list(names).count(name) != 1:
            fault = "has no column" if name not in names else "has more than one column"
            raise SourceError(f"{what}: {fault} {name!r}, which is to be read")


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn what pyarrow raises for unreadable data into a SourceError, without the data."""
    pyarrow = _pyarrow()
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        errno = getattr(error, "errno", None)
        why = type(error).__name__ if errno is None else os.strerror(errno)
        raise SourceError(f"{what}: cannot be read ({why})") from None


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise SourceError(
            "Parquet files and frames need pyarrow: pip install 'concordat[files]'"
        ) from None
    return pyarrow
