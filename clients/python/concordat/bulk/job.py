"""A bulk job: a file or a frame to banded rows at the gateway, and again after any failure."""

import csv
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Final, TypeAlias

from concordat._checks import checked_bytes, checked_integer, checked_type
from concordat.bulk._items import Item, Position, UnreadableRow
from concordat.bulk._journal import Journal, Reject, Span
from concordat.bulk._names import ROW_COLUMNS, NamedRows
from concordat.bulk._paths import checked_path
from concordat.bulk._pseudonyms import key_in
from concordat.bulk._sending import (
    MAX_ROWS,
    MAX_WITHDRAWALS,
    Contributing,
    Delivery,
    PreparedRow,
    Withdrawing,
    Work,
    request_id,
)
from concordat.bulk._tokens import Tokeniser, TokenStore
from concordat.bulk.errors import SourceError
from concordat.bulk.mapping import Mapped, Mapping, load_mapping
from concordat.bulk.sources import Source, no_rows, open_source
from concordat.client import Client
from concordat.errors import FailedPrecondition, InvalidInput
from concordat_privacy.catalogue.calendar import day_number
from concordat_privacy.catalogue.rows import AccountSnapshot, FieldProblem
from concordat_privacy.catalogue.rows import Row as Record

DEFAULT_BATCH_ROWS: Final = 10_000
REJECT_COLUMNS: Final = ("row", "field", "reason", "description", "refused_by")

_JOB_ID_BYTES: Final = 16
_SHA256_BYTES: Final = 32
_ATTEMPTS: Final = 4
_TOLD_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, over all its runs."""

    rows_read: int
    rows_accepted: int
    rows_refused: int
    offset: int
    """Of `size`, counted in `unit`."""
    size: int
    unit: str
    """"bytes" of a CSV file, else "rows"."""
    rows_per_second: float
    """Of this run."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a source's rows, over all runs of the job."""

    job_id: bytes
    rows_read: int
    rows_accepted: int
    rows_refused: int
    batches: int
    """Sent to the gateway, and answered."""
    identifiers_blinded: int
    """In this run; the others' tokens were in the cache."""
    entries: tuple[int, ...]
    """Ledger entries of the batches."""
    rejects: Path | None
    """The file that says why rows were refused; None where none was asked for."""
    rows: Path | None = None
    """The file that names the rows that were taken; None where none was asked for."""
    was_done: bool = False
    """Whether the job had ended before this run, which then sent nothing."""


Tell: TypeAlias = Callable[[Progress], None]


def upload(
    client: Client,
    source: object,
    mapping: str | os.PathLike[str] | Mapping,
    *,
    journal: str | os.PathLike[str],
    rejects: str | os.PathLike[str] | None = None,
    rows: str | os.PathLike[str] | None = None,
    encoding: str | None = None,
    batch_rows: int = DEFAULT_BATCH_ROWS,
    portfolio: bool = False,
    adverse_notice_sha256: bytes | None = None,
    progress: Tell | None = None,
    timeout: float | None = None,
) -> Report:
    """Contribute a file or a frame: band, tokenise and send its rows, batch by batch.

    The same call again goes on at the first batch that was not answered, whatever ended the one
    before; a finished job is not sent again. Raw values, account numbers and identifiers stay in
    this process and its files. Rows that are refused, here or by the gateway, are listed and do
    not keep the others back.

    Blocks for as long as it takes. With asyncio: `await asyncio.to_thread(upload, client, ...)`,
    with a Client, which threads may share.

    Args:
        source: a path (.csv, .txt, .tsv, .parquet), a `concordat.bulk.CsvFile`, or a table: pandas,
            polars or pyarrow. All but CSV need the extra `files`.
        mapping: a TOML file, the name of an included one, or what `load_mapping` returned.
        journal: the job's file, made on first use. Beside it lie `tokens.cache` and `cache.key`,
            which jobs share, and `account-ref.key` unless the mapping names another: keep that
            one for good, else accounts get new pseudonyms.
        rejects: a CSV file to write: row, field, reason, description, refused_by; no values.
        rows: a CSV file to write: row, entry, item, the name (RowRef) of each row that was taken,
            for corrections and withdrawals.
        encoding: of a CSV file; None: what the mapping says.
        batch_rows: rows of the source to a batch, 1 to 20,000.
        portfolio: charge the key-holder's portfolio allowance (see Client.tokenise).
        adverse_notice_sha256: of the notice that the subjects of adverse rows were given.
        progress: called by this thread while rows are read and after each batch.
        timeout: seconds for each request with its retries.

    Raises:
        MappingError, SourceError, InvalidInput: nothing was sent of what is wrong.
        JobChanged: the journal is of another source, mapping, key, notice or member.
        JobBusy: another process works on this job. JournalError: e.g. the disk is full.
        QuotaExhausted, TechnicalFault and others of Client.tokenise and Client.contribute.
        OSError: of the files that it writes.
    """
    checked_integer(batch_rows, "batch_rows", 1, MAX_ROWS)
    notice = b""
    if adverse_notice_sha256 is not None:
        notice = checked_bytes(adverse_notice_sha256, "adverse_notice_sha256", _SHA256_BYTES)
    return _run(
        client,
        source,
        mapping,
        Contributing(notice),
        batch_rows=batch_rows,
        journal=journal,
        encoding=encoding,
        written=_Written(rejects, rows),
        portfolio=portfolio,
        progress=progress,
        timeout=timeout,
    )


def withdraw(
    client: Client,
    source: object,
    mapping: str | os.PathLike[str] | Mapping,
    rows: str | os.PathLike[str],
    *,
    journal: str | os.PathLike[str],
    rejects: str | os.PathLike[str] | None = None,
    encoding: str | None = None,
    portfolio: bool = False,
    progress: Tell | None = None,
    timeout: float | None = None,
) -> Report:
    """Withdraw accounts, with all their months, and applications that a job has contributed.

    A job of its own, which goes on as `upload` does. Of the source only identifiers and references
    are used. Rows that the pool holds no more, or holds from a later row, are refused
    (ALREADY_REPLACED, OTHER_ROW) and listed. In `Report`, rows that were taken are those that left
    the pool. Where a key epoch ended before an answer came, rows that had left already are listed
    as refused with ALREADY_REPLACED.

    Args:
        source, mapping: what was contributed, unchanged: rows are known by their number.
        rows: which rows of it: what `upload` wrote as `rows`, or lines of that, in order, with its
            heading.
        journal, rejects, encoding, portfolio, progress, timeout: as in `upload`.

    Raises:
        As `upload`; SourceError also for a wrong line of `rows`, before anything is sent, and, once
            the others were, for rows that the source does not have.
    """
    return _run(
        client,
        source,
        mapping,
        Withdrawing(NamedRows.read(checked_path(rows, "rows"))),
        batch_rows=MAX_WITHDRAWALS,
        journal=journal,
        encoding=encoding,
        written=_Written(rejects, None),
        names=rows,
        portfolio=portfolio,
        progress=progress,
        timeout=timeout,
    )


@dataclass(frozen=True, slots=True)
class _Written:
    """The files that a job writes beside its journal."""

    rejects: str | os.PathLike[str] | None
    rows: str | os.PathLike[str] | None

    def check(self, used: Iterable[tuple[str, object]], own_folder: Path) -> None:
        """Raise InvalidInput where one cannot be written, or would destroy a file that is used.

        Asked before anything is sent, as they are written at the end. `used`: what each file is,
        and its path; what is no path is passed over. `own_folder` is made by the job.
        """
        kept = [(what, Path(file)) for what, file in used if isinstance(file, str | os.PathLike)]
        for name, file in (("rejects", self.rejects), ("rows", self.rows)):
            if file is None:
                continue
            folder = checked_path(file, name).absolute().parent
            if Path(file).is_dir():
                raise InvalidInput.field(name, f"{file}: a file wanted, not a folder")
            if not folder.is_dir() and folder != own_folder.absolute():
                raise InvalidInput.field(name, f"{folder} is no folder; make it first")
            for what, other in kept:
                if _is_same(Path(file), other):
                    raise InvalidInput.field(name, f"{what} itself; another file wanted")
            kept.append((f"the file of {name}", Path(file)))

    def clear(self) -> None:
        """Remove the list of refused rows of an earlier run: it is no word about this one."""
        if self.rejects is not None:
            Path(self.rejects).unlink(missing_ok=True)

    def write(self, book: Journal) -> None:
        """Write them, of all that is known so far."""
        if self.rejects is not None:
            _write(Path(self.rejects), REJECT_COLUMNS, map(_reject_columns, book.rejects()))
        if self.rows is not None:
            _write(Path(self.rows), ROW_COLUMNS, book.taken())


def _run(
    client: Client,
    source: object,
    mapping: str | os.PathLike[str] | Mapping,
    work: Work,
    *,
    batch_rows: int,
    journal: str | os.PathLike[str],
    encoding: str | None,
    written: _Written,
    names: str | os.PathLike[str] | None = None,
    portfolio: bool,
    progress: Tell | None,
    timeout: float | None,
) -> Report:
    checked_type(client, Client, "client", "of an AsyncClient's profile, open a Client")
    checked = load_mapping(mapping)
    opened = open_source(
        source,
        encoding=encoding or checked.encoding,
        delimiter=checked.delimiter,
        quoted=checked.quoted,
        columns=checked.heading,
    )
    file = checked_path(journal, "journal")
    folder = file.parent
    key_file = checked.key_beside(file)
    written.check(
        [
            ("the source", getattr(source, "path", source)),
            ("the mapping", mapping),
            ("the list of rows", names),
            *(("the journal", file), ("the pseudonyms' key", key_file)),
            *(("the tokens' cache", folder / name) for name in ("tokens.cache", "cache.key")),
        ],
        own_folder=folder,
    )
    written.clear()
    with (
        Journal(file) as book,
        TokenStore(folder / "tokens.cache", key_in(folder / "cache.key")) as store,
    ):
        key = key_in(key_file)
        facts = {
            "member": client.profile.spiffe_id.encode(),
            "mapping": checked.digest,
            "source": opened.digest(checked.columns),
            "pseudonym_key": hashlib.sha256(b"concordat/bulk/key" + key).digest(),
            **work.facts,
        }
        job_id = book.begin(facts, secrets.token_bytes(_JOB_ID_BYTES))
        tokeniser = Tokeniser(client, store, portfolio, timeout)
        was_done = book.is_done
        job = _Job(client, opened, checked, key, work, book, job_id, tokeniser, batch_rows, timeout)
        teller = _Teller(progress, book, opened)
        try:
            job.run(teller)
        finally:
            written.write(book)
        totals = book.totals()
        return Report(
            job_id,
            totals.rows_read,
            totals.rows_accepted,
            totals.rows_refused,
            totals.batches,
            tokeniser.blinded,
            book.entries(),
            None if written.rejects is None else Path(written.rejects),
            None if written.rows is None else Path(written.rows),
            was_done,
        )


@dataclass(slots=True)
class _Teller:
    """Calls the caller's progress function."""

    tell: Tell | None
    book: Journal
    source: Source
    _began: float = 0.0
    _first: int = 0
    _offset: int = -1

    def begin(self) -> None:
        self._began = time.monotonic()
        self._first = self.book.totals().rows_read

    def at(self, position: Position | None, more_read: int, more_refused: int) -> None:
        """Tell where the job is: `more` were read and not answered yet."""
        if self.tell is None:
            return
        self._offset = 0 if position is None else position.offset
        totals = self.book.totals()
        read = totals.rows_read + more_read
        seconds = max(time.monotonic() - self._began, 1e-6)
        self.tell(
            Progress(
                read,
                totals.rows_accepted,
                totals.rows_refused + more_refused,
                self._offset,
                self.source.size,
                self.source.unit,
                (read - self._first) / seconds,
            )
        )

    def end(self) -> None:
        """Tell that the source was read to its end, which may be after the last row."""
        if self._offset != self.source.size:
            self.at(Position(self.source.size, 0), 0, 0)


@dataclass(frozen=True, slots=True)
class _Read:
    """Rows of one span, mapped."""

    rows: list[tuple[int, Mapped]]
    rejects: list[Reject]
    after: Position
    rows_read: int
    refused: int


@dataclass(frozen=True, slots=True)
class _Job:
    client: Client
    source: Source
    mapping: Mapping
    key: bytes
    work: Work
    book: Journal
    job_id: bytes
    tokeniser: Tokeniser
    batch_rows: int
    timeout: float | None

    def run(self, teller: _Teller) -> None:
        teller.begin()
        if self.book.is_done:
            return
        position, sequence = self._resumed(teller)
        items = self.source.rows(self.mapping.columns, position)
        while (read := self._read(items, teller)) is not None:
            # What was read may be of another content than what the digest was made of.
            self.source.check_unchanged()
            sequence += 1
            span = self._prepared(sequence, 0, read)
            if span.parcel is not None:
                self._sent(span, read)
            teller.at(read.after, 0, 0)
        self.source.check_unchanged()
        self._check_all_found()
        self.book.finish()
        teller.end()

    def _check_all_found(self) -> None:
        """Raise SourceError where there are no rows, or not those that were named."""
        found = self.book.totals().rows_read
        if not found and self.work.awaited is None:
            raise no_rows(self.source)
        if self.work.awaited is not None and found != self.work.awaited:
            raise SourceError(
                f"{self.work.awaited - found} of the {self.work.awaited} named rows are not in the "
                "source; all others were sent: name rows by their numbers in the source that was "
                "contributed"
            )

    def _resumed(self, teller: _Teller) -> tuple[Position | None, int]:
        """Send what an earlier run prepared; where to go on, and the last sequence."""
        last = self.book.last()
        if last is None:
            return None, 0
        if last.parcel is not None:
            self._sent(last, None)
        teller.at(last.after, 0, 0)
        return last.after, last.sequence

    def _read(self, items: Iterator[Item], teller: _Teller) -> _Read | None:
        """The next rows, up to a batch; None at the end."""
        today = day_number(self.client._context.environment.utc_now().astimezone(UTC).date())
        rows: list[tuple[int, Mapped]] = []
        rejects: list[Reject] = []
        read = refused = 0
        after = None
        for item in items:
            if not self.work.wants(item.number):
                continue
            read += 1
            after = item.after
            mapped = self._mapped(item, today)
            if isinstance(mapped, Mapped):
                rows.append((item.number, mapped))
            else:
                refused += 1
                rejects += [
                    Reject(item.number, one.field, one.reason, one.description) for one in mapped
                ]
            if read % _TOLD_ROWS == 0:
                teller.at(after, read, refused)
            if read == self.batch_rows:
                break
        if after is None:
            return None
        return _Read(rows, rejects, after, read, refused)

    def _mapped(self, item: Item, today: int) -> Mapped | list[FieldProblem]:
        if isinstance(item, UnreadableRow):
            return [FieldProblem("", item.reason, item.description)]
        mapped = self.mapping.map(item.values, self.key)
        if isinstance(mapped, Mapped):
            return self.work.faults(mapped, today) or mapped
        return mapped

    def _prepared(self, sequence: int, attempt: int, read: _Read) -> Span:
        tokens = self.tokeniser.tokens([mapped.identifier for _, mapped in read.rows])
        rows: list[PreparedRow] = []
        rejects = list(read.rejects)
        refused = read.refused
        seen: dict[tuple[object, ...], int] = {}
        for (number, mapped), token in zip(read.rows, tokens, strict=True):
            what, key = _identity(mapped.record)
            first = seen.setdefault((token.value, *key), number)
            if first == number:
                rows.append(self.work.row(number, token, mapped))
            else:
                refused += 1
                rejects.append(Reject(number, "", "DUPLICATE", f"the same {what} as row {first}"))
        sent = None
        if rows:
            sent = self.work.parcel(sequence, request_id(self.job_id, sequence, attempt), rows)
        span = Span(sequence, attempt, sent, read.after, read.rows_read, refused)
        self.book.prepare(span, rejects)
        return span

    def _sent(self, span: Span, read: _Read | None) -> None:
        """Send a span's parcel, under a newer key epoch where its own has ended."""
        while span.parcel is not None:
            delivery = self.work.deliver(self.client, span.parcel, self.timeout)
            if delivery is not None:
                self.book.answer(span, span.parcel, delivery, _gateway_rejects(span, delivery))
                return
            if span.attempt + 1 >= _ATTEMPTS:
                raise FailedPrecondition(
                    "the gateway takes none of the key epochs that its key log has in use",
                    reason="EPOCH_NOT_ACTIVE",
                )
            self.tokeniser.refuse(span.parcel.epoch)
            if read is None:
                read = self._read_again(span)
            span = self._prepared(span.sequence, span.attempt + 1, read)

    def _read_again(self, span: Span) -> _Read:
        """The rows of a span that an earlier run prepared."""
        start = self.book.after(span.sequence - 1)
        items = self.source.rows(self.mapping.columns, start)
        job = replace(self, batch_rows=span.rows_read)
        read = job._read(items, _Teller(None, self.book, self.source))
        if read is None or read.after != span.after:
            raise SourceError("the source has other rows than before")
        return read


def _identity(record: Record) -> tuple[str, tuple[object, ...]]:
    """What makes two rows of one subject the same, as the gateway has it."""
    if isinstance(record, AccountSnapshot):
        return "account and month", (record.account_ref, record.as_of_month)
    return "application", (record.application_ref,)


def _gateway_rejects(span: Span, delivery: Delivery) -> list[Reject]:
    found = [
        Reject(one.item, one.field, one.reason, one.description, "gateway")
        for one in delivery.refused
    ]
    if delivery.rows_refused and not found:
        assert span.parcel is not None
        first, last = span.parcel.numbers[0], span.parcel.numbers[-1]
        text = (
            f"{delivery.rows_refused} rows of {first} to {last}: the reasons were lost with the "
            "connection, and the key epoch has ended since"
        )
        found.append(Reject(first, "", "UNKNOWN", text, "gateway"))
    return found


def _reject_columns(one: Reject) -> tuple[object, ...]:
    return one.row, one.field, one.reason, one.description, one.refused_by


def _is_same(file: Path, other: Path) -> bool:
    """Whether two paths are of one file, which need not be there yet."""
    if file.exists() and other.exists():
        return file.samefile(other)
    return file.resolve() == other.resolve()


def _write(file: Path, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file in the place of what is there, whole or not at all."""
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with unfinished.open("x", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(heading)
            writer.writerows(rows)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
