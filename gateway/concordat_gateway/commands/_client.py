"""What the client commands share: opening a profile, turning errors into messages, tables."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.profiles import KEY_LOG
from concordat_privacy.shown import printable

if TYPE_CHECKING:
    import concordat

_CHECKPOINT = "checkpoint"

profile_option = click.option(
    "--profile",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder with the caller's identity and the gateway's address.",
)


class Shown(click.ClickException):
    """An error of the SDK, or of a file, as a message; what it was is `cause`."""

    def __init__(self, message: str, cause: Exception) -> None:
        super().__init__(message)
        self.cause = cause


@contextmanager
def opened(profile: Path) -> Iterator[concordat.Client]:
    """The SDK's client of a profile; its errors, in the block too, end the command with code 1.

    The profile's folder remembers the newest checkpoint seen, from one command to the next. A
    ledger that does not extend it was rewritten or rolled back: the command ends with that error
    after the block, so show what the block learned only then. A key log that the block learned,
    which extends the pinned one, is pinned in its place, also where the block fails.
    """
    import concordat

    memory = profile / _CHECKPOINT
    with errors_shown():
        known = memory.read_text(encoding="utf-8") if memory.exists() else None
        with concordat.Client.open(profile, known_checkpoint=known) as client:
            try:
                yield client
            finally:
                _pin_key_log(profile, client)
            newest = client.checkpoint().note
        if newest != known:
            replace_file(memory, newest)


def _pin_key_log(profile: Path, client: concordat.Client) -> None:
    newest, pinned = client.key_log, client.profile.key_log
    if newest is not None and pinned is not None and newest != pinned.text:
        replace_file(profile / KEY_LOG, newest)


def replace_file(file: Path, text: str) -> None:
    """Write a file whole or not at all, also where two commands end at once. Raises OSError."""
    from concordat_rpc import files

    unfinished = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    try:
        files.replace_file(file, text.encode(), 0o600, unfinished)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an error of the SDK, or of a file, as a message without a traceback."""
    import concordat
    from concordat_rpc.settings import SettingsError

    try:
        yield
    except (concordat.ConcordatError, SettingsError) as error:
        raise Shown(printable(str(error)), error) from None
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        raise Shown(printable(f"{where}{error.strerror}"), error) from None


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns; the first row is the heading. Cells stay in their line."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
