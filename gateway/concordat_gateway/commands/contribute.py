"""`concordat contribute` and `withdraw-rows`: whole files, in jobs that can be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concordat_gateway.commands._jobs import (
    FILE,
    NotDone,
    end_with_refused,
    job,
    journal_of,
    of_a_job,
    say_was_done,
    shown,
)

if TYPE_CHECKING:
    from concordat.bulk import Report


@click.command()
@of_a_job
@click.option(
    "--rows-out",
    type=FILE,
    help="Write a CSV file that names each row that was taken: number, entry and item.",
)
@click.option(
    "--adverse-notice",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The notice that the subjects of adverse rows were given: its SHA-256 is recorded, the "
    "file stays here.",
)
@click.option("--adverse-notice-sha256", metavar="HEX", help="In its place: the notice's SHA-256.")
@click.option(
    "--batch-rows",
    type=int,
    default=None,
    help="Rows to a batch, 1 to 4,000; more are taken as 4,000, as without it.",
)
def contribute(
    file: Path,
    mapping: str,
    identifier: str | None,
    profile: Path,
    job_name: str | None,
    rows_out: Path | None,
    adverse_notice: Path | None,
    adverse_notice_sha256: str | None,
    batch_rows: int | None,
    **shared: Any,
) -> None:
    """Contribute the rows of FILE (.csv or .parquet): banded here, tokenised, sent as an upload.

    Ends with 0 if all rows were taken, 1 if some were refused, 2 if it is not done: run the same
    command again, and it goes on at the first batch that was not answered. The job's journal is
    in the folder "bulk" of the profile, and so is account-ref.key, which makes the pseudonyms of
    accounts: keep a copy of it.
    """
    from concordat import bulk

    notice = _digest(adverse_notice, adverse_notice_sha256)
    journal = journal_of(profile, job_name or file.name)
    with (
        job(profile, mapping, identifier) as (client, checked),
        _new_key_told(checked.key_beside(journal)),
    ):
        report = bulk.upload(
            *(client, file, checked),
            journal=journal,
            rows=rows_out,
            batch_rows=bulk.DEFAULT_BATCH_ROWS if batch_rows is None else batch_rows,
            adverse_notice_sha256=notice,
            progress=shown("taken"),
            **shared,
        )
    _tell(report, "taken", shared["rejects"])


@click.command()
@of_a_job
@click.option(
    "--rows-in",
    type=FILE,
    required=True,
    help="Which rows of FILE: what `contribute --rows-out` wrote, or lines of it under its "
    "heading.",
)
def withdraw_rows(
    file: Path,
    mapping: str,
    identifier: str | None,
    profile: Path,
    job_name: str | None,
    rows_in: Path,
    **shared: Any,
) -> None:
    """Take accounts, with all their months, and applications of FILE out of the pool.

    FILE and --mapping are those that were contributed, unchanged. A job of its own, which ends
    and goes on as `contribute` does.
    """
    from concordat import bulk

    journal = journal_of(profile, job_name or f"{file.name}.withdrawal")
    with job(profile, mapping, identifier) as (client, checked):
        key_file = checked.key_beside(journal)
        if not key_file.exists():
            raise NotDone(
                f"{key_file}: is not there; rows are known by the key that they were contributed "
                "under"
            )
        report = bulk.withdraw(
            *(client, file, checked, rows_in),
            journal=journal,
            progress=shown("withdrawn"),
            **shared,
        )
    _tell(report, "withdrawn", shared["rejects"])


@contextmanager
def _new_key_told(key_file: Path) -> Iterator[None]:
    """Say where a key of pseudonyms was made in the block, also where the block fails."""
    was_there = key_file.exists()
    try:
        yield
    finally:
        if not was_there and key_file.exists():
            click.echo(
                f"Made {key_file}, the key of the accounts' pseudonyms. Keep it, and a copy of "
                "it: without it the pool takes the accounts of your next file for new ones.",
                err=True,
            )


def _tell(report: Report, done: str, rejects: Path | None) -> None:
    if report.was_done:
        say_was_done()
    click.echo(
        f"{report.rows_read:,} rows read, {report.rows_accepted:,} {done}, "
        f"{report.rows_refused:,} refused; {report.batches:,} batches."
    )
    if report.entries:
        click.echo(f"Ledger entries {report.entries[0]} to {report.entries[-1]}.")
    end_with_refused(report.rows_refused, rejects)


def _digest(notice: Path | None, text: str | None) -> bytes | None:
    if notice is not None and text is not None:
        raise click.UsageError("--adverse-notice or --adverse-notice-sha256, not both")
    if notice is not None:
        with notice.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    if text is None:
        return None
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise click.BadParameter(
            "64 hexadecimal digits wanted", param_hint="--adverse-notice-sha256"
        )
    return digest
