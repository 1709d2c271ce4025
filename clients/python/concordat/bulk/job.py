"""A bulk job: a file or a frame to banded rows at the gateway, and again after any failure."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from concordat._checks import checked_bytes, checked_integer, checked_type
from concordat.bulk._contributing import MAX_ROWS, Contributing
from concordat.bulk._journal import Journal
from concordat.bulk._lists import Lists
from concordat.bulk._names import NamedRows
from concordat.bulk._paths import checked_path
from concordat.bulk._progress import Tell, Teller
from concordat.bulk._pseudonyms import key_in
from concordat.bulk._reading import Reader, open_mapped
from concordat.bulk._running import Run
from concordat.bulk._sending import Line, Work
from concordat.bulk._tokens import Tokeniser, TokenStore
from concordat.bulk._withdrawing import MAX_WITHDRAWALS, Withdrawing
from concordat.bulk.mapping import Mapping, load_mapping
from concordat.client import Client

DEFAULT_BATCH_ROWS: Final = MAX_ROWS

_MOST_BATCH_ROWS: Final = 20_000
_JOB_ID_BYTES: Final = 16
_SHA256_BYTES: Final = 32


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
    """Contribute a file or a frame: band, tokenise and send its rows, batch by batch, as an upload.

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
        batch_rows: rows of the source to a batch, 1 to 20,000; more than 4,000 go as 4,000.
        portfolio: charge the key-holder's portfolio allowance (see Client.tokenise).
        adverse_notice_sha256: of the notice that the subjects of adverse rows were given.
        progress: called by this thread while rows are read and after each batch.
        timeout: seconds for each answer, with what is tried again.

    Raises:
        MappingError, SourceError, InvalidInput: nothing was sent of what is wrong.
        JobChanged: the journal is of another source, mapping, key, notice or member.
        JobBusy: another process works on this job. JournalError: e.g. the disk is full.
        QuotaExhausted, TechnicalFault and others of Client.tokenise and Client.contribute.
        OSError: of the files that it writes.
    """
    checked_integer(batch_rows, "batch_rows", 1, _MOST_BATCH_ROWS)
    notice = b""
    if adverse_notice_sha256 is not None:
        notice = checked_bytes(adverse_notice_sha256, "adverse_notice_sha256", _SHA256_BYTES)
    return _run(
        client,
        source,
        mapping,
        Contributing(notice),
        batch_rows=min(batch_rows, MAX_ROWS),
        journal=journal,
        encoding=encoding,
        written=Lists(rejects, rows),
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
        written=Lists(rejects, None),
        names=rows,
        portfolio=portfolio,
        progress=progress,
        timeout=timeout,
    )


def _run(
    client: Client,
    source: object,
    mapping: str | os.PathLike[str] | Mapping,
    work: Work,
    *,
    batch_rows: int,
    journal: str | os.PathLike[str],
    encoding: str | None,
    written: Lists,
    names: str | os.PathLike[str] | None = None,
    portfolio: bool,
    progress: Tell | None,
    timeout: float | None,
) -> Report:
    checked_type(client, Client, "client", "of an AsyncClient's profile, open a Client")
    checked = load_mapping(mapping)
    opened = open_mapped(source, checked, encoding)
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
        utc_now = client._context.environment.utc_now
        run = Run(
            work,
            Reader(opened, checked, key, work, batch_rows, utc_now),
            Line(client, job_id, timeout),
            book,
            tokeniser,
            Teller(progress, book, opened),
        )
        try:
            run.to_the_end()
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
