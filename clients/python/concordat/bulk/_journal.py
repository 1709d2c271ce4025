"""A job's journal: what was prepared, sent and answered, on disk before the next step.

A batch is written down before it is sent, so that whatever is sent again is the same bytes: the
day, the key epoch and the code may have changed meanwhile.
"""

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from concordat.bulk._database import connect, faults, transaction
from concordat.bulk._items import Position
from concordat.bulk._runs import TakenRow, pack_runs, taken_of, unpack_runs
from concordat.bulk._sending import Delivery, LastPart, Parcel
from concordat.bulk.errors import JobChanged, JournalError

_FORMAT: Final = b"concordat/bulk-journal/v2"
_BY_CALLS_ALONE: Final = b"concordat/bulk-journal/v1"
"""Of a version that knew no uploads; it cannot read the journals of now, and says so."""
_FACTS: Final = {
    "pseudonym_key": "key of pseudonyms",
    "source": "source file or table",
    "withdrawn": "list of rows to withdraw",
}
"""What a fact of a job is called, where its own name does not say it."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (
    sequence INTEGER PRIMARY KEY,
    request_id BLOB,
    part INTEGER,
    epoch INTEGER,
    catalogue_version INTEGER,
    rows BLOB,
    numbers BLOB,
    after_offset INTEGER NOT NULL,
    after_row INTEGER NOT NULL,
    rows_read INTEGER NOT NULL,
    refused_here INTEGER NOT NULL,
    is_answered INTEGER NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    refused_there INTEGER NOT NULL DEFAULT 0,
    entry_index INTEGER
);
CREATE TABLE IF NOT EXISTS taken (
    sequence INTEGER PRIMARY KEY,
    entry_index INTEGER NOT NULL,
    runs BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS reject (
    sequence INTEGER NOT NULL,
    row INTEGER NOT NULL,
    place INTEGER NOT NULL,
    refused_by TEXT NOT NULL,
    field TEXT NOT NULL,
    reason TEXT NOT NULL,
    description TEXT NOT NULL,
    PRIMARY KEY (row, place, refused_by, sequence)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a row was refused; a row can have several."""

    row: int
    field: str
    reason: str
    description: str
    refused_by: str = "file"
    """"file": here, before anything was sent. "gateway"."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive rows of the source, and what is to be sent of them."""

    sequence: int
    parcel: Parcel | None
    """None where no row of the span can be sent."""
    after: Position
    rows_read: int
    refused_here: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all spans."""

    rows_read: int
    rows_accepted: int
    rows_refused: int
    batches: int


class Journal:
    """The journal of one job. One process at a time has it open."""

    def __init__(self, file: Path) -> None:
        """Opens or makes it. Raises JobBusy, JournalError, OSError."""
        self._file = file
        self._connection = connect(file, wait_seconds=0)
        with faults(file):
            # Kept until the file is closed, also by a process that is killed.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            try:
                self._connection.execute("BEGIN EXCLUSIVE")
                for statement in _TABLES.split(";"):
                    self._connection.execute(statement)
                if self._fact("format") == _BY_CALLS_ALONE:
                    self._connection.execute("ALTER TABLE batch DROP COLUMN attempt")
                    self._connection.execute("ALTER TABLE batch ADD COLUMN part INTEGER")
                    self._connection.execute("DELETE FROM fact WHERE name = 'format'")
                self._connection.execute(
                    "INSERT OR IGNORE INTO fact VALUES ('format', ?)", (_FORMAT,)
                )
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.close()
                raise
        if self._fact("format") != _FORMAT:
            self._connection.close()
            raise JournalError(f"{file}: is a journal of another version")

    def close(self) -> None:
        """Close it, and let others in."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, facts: Mapping[str, bytes], job_id: bytes) -> bytes:
        """The job's id: `job_id` for a new job. Raises JobChanged unless the facts are its own.

        A job is new until a batch of it was prepared: what failed before can be mended.
        """
        with transaction(self._connection, self._file) as connection:
            begun = connection.execute("SELECT 1 FROM batch LIMIT 1").fetchone()
            if begun is None and not self.is_done:
                connection.executemany(
                    "INSERT OR REPLACE INTO fact VALUES (?, ?)",
                    [*facts.items(), ("job_id", job_id)],
                )
        for name, value in facts.items():
            if self._fact(name) != value:
                raise JobChanged(
                    f"{self._file}: this job was begun with another "
                    f"{_FACTS.get(name, name)}; rows that it has not sent can go as a job of their "
                    "own: a file of those alone, and another name (--job NAME, or from Python "
                    "journal=)",
                    what=name,
                )
        known = self._fact("job_id")
        assert known is not None
        return known

    @property
    def is_done(self) -> bool:
        """Whether the source was read to its end and every batch answered."""
        return self._fact("done") is not None

    def finish(self) -> None:
        """Note that there is nothing left to do."""
        with transaction(self._connection, self._file) as connection:
            connection.execute("INSERT OR IGNORE INTO fact VALUES ('done', x'01')")

    def last(self) -> Span | None:
        """The newest span; its parcel is None too if it was answered."""
        with faults(self._file):
            row = self._connection.execute(f"{_SPANS} ORDER BY sequence DESC LIMIT 1").fetchone()
        return None if row is None else _span(row)

    def unanswered(self) -> list[Span]:
        """The spans whose parcels were prepared and not answered, in order."""
        with faults(self._file):
            rows = self._connection.execute(f"{_SPANS} WHERE NOT is_answered ORDER BY sequence")
            return [_span(row) for row in rows]

    def forget_unanswered(self) -> None:
        """Forget the first span that was not answered and all after it: they are read again."""
        with transaction(self._connection, self._file) as connection:
            [[first]] = connection.execute("SELECT min(sequence) FROM batch WHERE NOT is_answered")
            connection.execute("DELETE FROM batch WHERE sequence >= ?", (first,))
            connection.execute("DELETE FROM reject WHERE sequence >= ?", (first,))

    def last_part(self) -> LastPart | None:
        """The newest part of an upload; None where none was prepared."""
        with faults(self._file):
            row = self._connection.execute(
                "SELECT request_id, part, epoch, catalogue_version FROM batch "
                "WHERE part IS NOT NULL ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
        return None if row is None else LastPart(*row)

    def prepare(self, span: Span, rejects: Iterable[Reject]) -> None:
        """Write a span down, in the place of what was written of it before."""
        sent = span.parcel
        parcel: tuple[object, ...] = (None,) * 6
        if sent is not None:
            numbers = struct.pack(f">{len(sent.numbers)}Q", *sent.numbers)
            parcel = (
                *(sent.request_id, sent.part, sent.epoch, sent.catalogue_version),
                *(sent.rows, numbers),
            )
        with transaction(self._connection, self._file) as connection:
            connection.execute("DELETE FROM reject WHERE sequence = ?", (span.sequence,))
            connection.execute(
                "INSERT OR REPLACE INTO batch (sequence, request_id, part, epoch, "
                "catalogue_version, rows, numbers, after_offset, after_row, rows_read, "
                "refused_here, is_answered) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(span.sequence, *parcel),
                    *(span.after.offset, span.after.row, span.rows_read, span.refused_here),
                    sent is None,
                ),
            )
            _insert_rejects(connection, span.sequence, rejects)

    def answer(
        self, span: Span, sent: Parcel, delivery: Delivery, rejects: Iterable[Reject]
    ) -> None:
        """Write down what became of a span's parcel. The parcel itself is forgotten."""
        sequence = span.sequence
        with transaction(self._connection, self._file) as connection:
            if delivery.entry_index is not None and delivery.names_refused:
                taken = taken_of(sent.numbers, (one.item for one in delivery.refused))
                connection.execute(
                    "INSERT OR REPLACE INTO taken (sequence, entry_index, runs) VALUES (?, ?, ?)",
                    (sequence, delivery.entry_index, pack_runs(taken)),
                )
            connection.execute(
                "UPDATE batch SET is_answered = 1, rows = NULL, numbers = NULL, accepted = ?, "
                "refused_there = ?, entry_index = ? WHERE sequence = ?",
                (
                    delivery.rows_accepted,
                    delivery.rows_refused,
                    delivery.entry_index,
                    sequence,
                ),
            )
            _insert_rejects(connection, sequence, rejects)

    def totals(self) -> Totals:
        """Sums over what was answered."""
        with faults(self._file):
            row = self._connection.execute(
                "SELECT coalesce(sum(rows_read), 0), coalesce(sum(accepted), 0), "
                "coalesce(sum(refused_here + refused_there), 0), count(request_id) "
                "FROM batch WHERE is_answered"
            ).fetchone()
        return Totals(*row)

    def entries(self) -> tuple[int, ...]:
        """The ledger entries of the job's batches, in order."""
        with faults(self._file):
            rows = self._connection.execute(
                "SELECT entry_index FROM batch WHERE entry_index IS NOT NULL ORDER BY sequence"
            )
            return tuple(index for (index,) in rows)

    def taken(self) -> Iterator[TakenRow]:
        """Which row of the gateway's each row became, in order. Read while the journal is open.

        Left out are batches of which the gateway only remembered how many rows it refused.
        """
        with faults(self._file), closing(self._connection.cursor()) as cursor:
            cursor.execute("SELECT entry_index, runs FROM taken ORDER BY sequence")
            for entry_index, runs in cursor:
                yield from unpack_runs(entry_index, runs)

    def rejects(self) -> Iterator[Reject]:
        """Why rows were refused, in order of row. Read while the journal is open."""
        with faults(self._file), closing(self._connection.cursor()) as cursor:
            cursor.execute(
                "SELECT row, field, reason, description, refused_by FROM reject ORDER BY row, place"
            )
            for row in cursor:
                yield Reject(*row)

    def _fact(self, name: str) -> bytes | None:
        with faults(self._file):
            row = self._connection.execute(
                "SELECT value FROM fact WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else row[0]


_SPANS: Final = (
    "SELECT sequence, request_id, part, epoch, catalogue_version, rows, numbers, after_offset, "
    "after_row, rows_read, refused_here, is_answered FROM batch"
)


def _span(row: Sequence[Any]) -> Span:
    sequence, named, part, epoch, version, rows, numbers, *rest = row
    offset, next_row, rows_read, refused_here, is_answered = rest
    sent = None
    if not is_answered:
        sent = Parcel(sequence, named, part, epoch, version, rows, _unpacked(numbers))
    return Span(sequence, sent, Position(offset, next_row), rows_read, refused_here)


def _insert_rejects(
    connection: sqlite3.Connection, sequence: int, rejects: Iterable[Reject]
) -> None:
    connection.executemany(
        "INSERT INTO reject (sequence, row, place, refused_by, field, reason, description) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (sequence, one.row, place, one.refused_by, one.field, one.reason, one.description)
            for place, one in enumerate(rejects)
        ),
    )


def _unpacked(numbers: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(numbers) // 8}Q", numbers)
