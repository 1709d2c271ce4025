"""Where rows come from: CSV and Parquet files, Arrow tables, pandas and polars frames.

A source gives its rows in one order, as often as it is asked, from any position that it gave.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from concordat.bulk import _csv, _tables
from concordat.bulk._items import (
    Item,
    Position,
    SourceRow,
    UnreadableRow,
    file_digest,
    file_state,
    opening,
)
from concordat.bulk._paths import checked_path
from concordat.bulk.errors import SourceError
from concordat.errors import InvalidInput

_CSV_SUFFIXES: Final = frozenset({".csv", ".txt", ".tsv"})
_PARQUET_SUFFIXES: Final = frozenset({".parquet", ".pq"})


class Source(Protocol):
    """Rows to contribute."""

    @property
    def size(self) -> int:
        """What `Position.offset` is at the end."""

    @property
    def unit(self) -> str:
        """What `size` counts: "bytes" or "rows"."""

    def digest(self, columns: Sequence[str]) -> bytes:
        """SHA-256 that changes with whatever the rows hold. Reads the source once."""

    def rows(self, columns: Sequence[str], start: Position | None = None) -> Iterator[Item]:
        """The rows from a position on, with these columns.

        Raises SourceError where a column is missing or there twice, or the source cannot be read.
        """

    def check_unchanged(self) -> None:
        """Raise SourceError if the source was written to since it was opened."""


class CsvFile:
    """A CSV file with a heading, or with `columns` given for one that has none."""

    unit = "bytes"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: str = "utf-8",
        delimiter: str = ",",
        quoted: bool = True,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Raises InvalidInput; SourceError where there is no such file."""
        if encoding not in _csv.ENCODINGS:
            raise InvalidInput.field("encoding", f"one of {', '.join(_csv.ENCODINGS)} wanted")
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
            raise InvalidInput.field("delimiter", "one ASCII character wanted, and no quote")
        self._path = checked_path(path, "source")
        self._dialect = _csv.Dialect(encoding, delimiter, quoted)
        self._columns = None if columns is None else list(columns)
        self._opened = file_state(self._path)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._opened.size

    def digest(self, columns: Sequence[str]) -> bytes:  # noqa: ARG002  Source's
        """Of the file's bytes, and of how they are read."""
        return file_digest(self._path, repr((self._dialect, self._columns)))

    def rows(self, columns: Sequence[str], start: Position | None = None) -> Iterator[Item]:
        """See Source. A row of another number of fields than the heading is unreadable."""
        with opening(self._path) as file:
            heading, first = self._heading(file)
            places = _places(columns, heading, self._path)
            position = first if start is None else start
            file.seek(position.offset)
            for record in _csv.records(file, self._dialect, position.row):
                yield _csv_item(record, places, len(heading))

    def check_unchanged(self) -> None:
        """See Source."""
        if file_state(self._path) != self._opened:
            raise SourceError(f"{self._path}: was written to while it was read")

    def _heading(self, file: BinaryIO) -> tuple[list[str], Position]:
        if self._columns is not None:
            return self._columns, Position(0, 1)
        record = next(_csv.records(file, self._dialect), None)
        if record is None:
            raise SourceError(f"{self._path}: is empty")
        if isinstance(record.fields, _csv.Fault):
            raise SourceError(
                f"{self._path}: the heading: {record.fields.description}; read with the encoding "
                f"{self._dialect.encoding} (the mapping's [file] encoding, or --encoding)"
            )
        return [name.strip() for name in record.fields], Position(record.end, record.next_line)


def no_rows(source: Source) -> SourceError:
    """The error of a source that holds none: nearly always the wrong file."""
    named = getattr(source, "path", "the source")
    return SourceError(f"{named}: has no rows, so there is nothing to send")


def _csv_item(record: _csv.Record, places: dict[str, int], width: int) -> Item:
    after = Position(record.end, record.next_line)
    if isinstance(record.fields, _csv.Fault):
        fault = record.fields
        return UnreadableRow(record.line, fault.reason, fault.description, after)
    if len(record.fields) != width:
        return UnreadableRow(
            record.line, "MALFORMED", f"{len(record.fields)} columns, {width} wanted", after
        )
    values: dict[str, object] = {name: record.fields[at] for name, at in places.items()}
    return SourceRow(record.line, values, after)


def open_source(
    source: object,
    *,
    encoding: str = "utf-8",
    delimiter: str = ",",
    quoted: bool = True,
    columns: Sequence[str] | None = None,
) -> Source:
    """The source of a file by its name (.csv, .txt, .tsv, .parquet), or of a table.

    A table is anything with the Arrow stream interface: a pyarrow Table, a pandas or a polars
    frame. The settings are a CSV file's. Raises InvalidInput, SourceError.
    """
    if isinstance(source, CsvFile | _tables.ParquetFile | _tables.Table):
        return source
    if isinstance(source, str | os.PathLike):
        path = checked_path(source, "source")
        suffix = path.suffix.lower()
        if suffix in _PARQUET_SUFFIXES:
            return _tables.ParquetFile(path)
        if suffix in _CSV_SUFFIXES:
            return CsvFile(
                path, encoding=encoding, delimiter=delimiter, quoted=quoted, columns=columns
            )
        known = ", ".join(sorted(_CSV_SUFFIXES | _PARQUET_SUFFIXES))
        raise InvalidInput.field("source", f"{path.name}: a name that ends in {known} wanted")
    if hasattr(source, "__arrow_c_stream__"):
        return _tables.Table(source)
    raise InvalidInput.field(
        "source",
        f"a file's name or a table with __arrow_c_stream__ wanted, {type(source).__name__} given",
    )


def _places(columns: Sequence[str], heading: Sequence[str], path: Path) -> dict[str, int]:
    for name in columns:
        if heading.count(name) != 1:
            what = "has no column" if name not in heading else "has more than one column"
            raise SourceError(f"{path}: {what} {name!r}, which is to be read")
    return {name: heading.index(name) for name in columns}
