"""`concordat contribute` and `withdraw-rows`: whole files, in jobs that can be resumed."""

from __future__ import annotations

import hashlib
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concordat_gateway.commands._client import opened, profile_option

if TYPE_CHECKING:
    from concordat.bulk import Progress, Report

ALL_TAKEN, SOME_REFUSED, NOT_DONE = 0, 1, 2
_JOB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_TOLD_EVERY_SECONDS = 1.0


class _NotDone(click.ClickException):
    exit_code = NOT_DONE


_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.argument("file", type=_FILE),
    click.option(
        "--mapping",
        required=True,
        metavar="FILE|metro2|pboc2",
        help="Which column gives which attribute: a TOML file, or an included mapping by its name.",
    ),
    click.option(
        "--identifier",
        metavar="KIND[:COLUMN]",
        help="Instead of the mapping's: e.g. cn-resident-id/1, or phone/1:Mobile.",
    ),
    profile_option,
    click.option(
        "--job",
        metavar="NAME",
        help="Name of the job; by default the file's. The same job again goes on where it ended.",
    ),
    click.option(
        "--rejects",
        type=_FILE,
        help="Write a CSV file of the refused rows: number, field and reason, no values.",
    ),
    click.option("--encoding", help="Of a CSV file, instead of the mapping's: utf-8, gb18030."),
    click.option("--portfolio", is_flag=True, help="Charge the key-holder's portfolio allowance."),
    click.option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="For each request with its retries; by default 120 for a batch, 10 for others.",
    ),
)


def _of_a_job(command: Callable[..., None]) -> Callable[..., None]:
    """The options that jobs share."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_of_a_job
@click.option(
    "--rows",
    type=_FILE,
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
    job: str | None,
    rows: Path | None,
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
    report = _finished(
        partial(
            bulk.upload,
            rows=rows,
            batch_rows=bulk.DEFAULT_BATCH_ROWS if batch_rows is None else batch_rows,
            adverse_notice_sha256=notice,
            **shared,
        ),
        *(profile, _journal(profile, job or file.name), file, mapping, identifier),
    )
    _tell(report, "taken", shared["rejects"])


@click.command()
@_of_a_job
@click.option(
    "--rows",
    type=_FILE,
    required=True,
    help="Which rows of FILE: what `contribute --rows` wrote, or lines of it under its heading.",
)
def withdraw_rows(
    file: Path,
    mapping: str,
    identifier: str | None,
    profile: Path,
    job: str | None,
    rows: Path,
    **shared: Any,
) -> None:
    """Take accounts, with all their months, and applications of FILE out of the pool.

    FILE and --mapping are those that were contributed, unchanged. A job of its own, which ends
    and goes on as `contribute` does.
    """
    from concordat import bulk

    named = _journal(profile, job or f"{file.name}.withdrawal")
    report = _finished(
        partial(bulk.withdraw, rows=rows, **shared),
        *(profile, named, file, mapping, identifier),
    )
    _tell(report, "withdrawn", shared["rejects"])


def _journal(profile: Path, job: str) -> Path:
    if not _JOB_NAME.fullmatch(job):
        raise click.BadParameter(
            "letters, digits, dots, dashes and underscores wanted", param_hint="--job"
        )
    return profile / "bulk" / f"{job}.journal"


def _finished(
    run: Callable[..., Report],
    profile: Path,
    journal: Path,
    file: Path,
    mapping: str,
    identifier: str | None,
) -> Report:
    """Run a job; whatever keeps it from its end is said in a line."""
    from concordat import bulk

    try:
        with opened(profile) as client:
            checked = bulk.load_mapping(mapping)
            if identifier is not None:
                kind, _, column = identifier.partition(":")
                checked = checked.with_identifier(kind, column or None)
            shown = _shown(time.monotonic)
            return run(client, file, checked, journal=journal, progress=shown)
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise _NotDone(error.message) from None
    except KeyboardInterrupt:
        raise _NotDone("stopped; the same command goes on from here") from None


def _tell(report: Report, done: str, rejects: Path | None) -> None:
    if report.was_done:
        click.echo(
            "This job had ended before: nothing was sent now, and this is what became of it then. "
            "To send the file again, give it another --job NAME.",
            err=True,
        )
    click.echo(
        f"{report.rows_read:,} rows read, {report.rows_accepted:,} {done}, "
        f"{report.rows_refused:,} refused; {report.batches:,} batches."
    )
    if report.entries:
        click.echo(f"Ledger entries {report.entries[0]} to {report.entries[-1]}.")
    if report.rows_refused:
        if rejects is None:
            click.echo("The same command with --rejects FILE lists them.", err=True)
        sys.exit(SOME_REFUSED)


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


def _shown(monotonic: Callable[[], float]) -> Callable[[Progress], None]:
    """Shows progress on standard error: in one line of a terminal, else a line now and then."""
    next_at = 0.0

    def show(progress: Progress) -> None:
        nonlocal next_at
        is_end = progress.offset >= progress.size
        if monotonic() < next_at and not is_end:
            return
        next_at = monotonic() + _TOLD_EVERY_SECONDS
        part = progress.offset / progress.size if progress.size else 1
        text = (
            f"{part:4.0%}  {progress.rows_read:,} read, {progress.rows_accepted:,} taken, "
            f"{progress.rows_refused:,} refused, {progress.offset:,} of {progress.size:,} "
            f"{progress.unit}, {progress.rows_per_second:,.0f} rows/s"
        )
        if sys.stderr.isatty():
            click.echo(f"\r{text}", err=True, nl=is_end)
        else:
            click.echo(text, err=True)

    return show
