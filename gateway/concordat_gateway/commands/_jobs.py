"""What the commands share that work through a whole file, in jobs that can be resumed."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import Shown, opened, profile_option

if TYPE_CHECKING:
    from concordat import Client
    from concordat.bulk import Mapping, Progress

ALL_TAKEN, SOME_REFUSED, NOT_DONE = 0, 1, 2
FILE = click.Path(path_type=Path, dir_okay=False)

_MAX_JOB_NAME = 100
_JOB_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{_MAX_JOB_NAME - 1}}}")
_TOLD_EVERY_SECONDS = 1.0


class NotDone(click.ClickException):
    """A job that is not at its end."""

    exit_code = NOT_DONE


_OPTIONS = (
    click.argument("file", type=FILE),
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
        "job_name",
        metavar="NAME",
        help="Name of the job; by default the file's. The same job again goes on where it ended.",
    ),
    click.option(
        "--rejects",
        type=FILE,
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


def of_a_job(command: Callable[..., None]) -> Callable[..., None]:
    """The options that jobs share."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def journal_of(profile: Path, name: str | None, default: str) -> Path:
    """The journal of the job of that name, or of the one that is named after its file."""
    job = default if name is None else name
    if not _JOB_NAME.fullmatch(job):
        wanted = (
            f"{_MAX_JOB_NAME} characters at most wanted: A-Z, a-z, 0-9, dots, dashes, underscores"
        )
        if name is None:
            wanted = f"{job!r} cannot name the job; give it a name with --job: {wanted}"
        raise click.BadParameter(wanted, param_hint="FILE" if name is None else "--job")
    return profile / "bulk" / f"{job}.journal"


@contextmanager
def job(profile: Path, mapping: str, identifier: str | None) -> Iterator[tuple[Client, Mapping]]:
    """The client and the checked mapping of a job; whatever keeps it from its end is said."""
    from concordat import bulk

    try:
        with opened(profile) as client:
            checked = bulk.load_mapping(mapping)
            if identifier is not None:
                kind, _, column = identifier.partition(":")
                checked = checked.with_identifier(kind, column or None)
            yield client, checked
    except click.UsageError:
        raise
    except Shown as error:
        raise NotDone(error.message + _advice(error.cause)) from None
    except KeyboardInterrupt:
        raise NotDone("stopped; the same command goes on from here") from None


def _advice(error: Exception) -> str:
    """How to go on after a fault that may be over the next time."""
    from concordat import ProtocolViolation, QuotaExhausted, TechnicalFault

    if isinstance(error, ProtocolViolation):
        return ""
    if isinstance(error, TechnicalFault | QuotaExhausted):
        return "\nNothing is lost: run the same command again, and it goes on where it stopped."
    return ""


def say_was_done(next_time: str) -> None:
    """Say that a job had ended before this run of it. `next_time`: how to send more."""
    click.echo(
        "This job had ended before: nothing was sent now, and this is what became of it then. "
        + next_time,
        err=True,
    )


def end_with_refused(refused: int, rejects: Path | None) -> None:
    """End the command with code 1 where rows were refused."""
    if refused:
        if rejects is None:
            click.echo("The same command with --rejects FILE lists them.", err=True)
        sys.exit(SOME_REFUSED)


def shown(done: str) -> Callable[[Progress], None]:
    """Shows progress on standard error: in one line of a terminal, else a line now and then.

    `done`: what becomes of rows, e.g. "taken".
    """
    next_at = 0.0

    def show(progress: Progress) -> None:
        nonlocal next_at
        is_end = progress.offset >= progress.size
        if time.monotonic() < next_at and not is_end:
            return
        next_at = time.monotonic() + _TOLD_EVERY_SECONDS
        part = progress.offset / progress.size if progress.size else 1
        text = (
            f"{part:4.0%}  {progress.rows_read:,} read, {progress.rows_accepted:,} {done}, "
            f"{progress.rows_refused:,} refused, {progress.offset:,} of {progress.size:,} "
            f"{progress.unit}, {progress.rows_per_second:,.0f} rows/s"
        )
        if sys.stderr.isatty():
            click.echo(f"\r{text}", err=True, nl=is_end)
        else:
            click.echo(text, err=True)

    return show
