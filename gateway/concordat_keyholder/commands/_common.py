"""What the commands share: options, errors as messages, moments, tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_privacy.moments import micros_of, moment_of
from concordat_privacy.shown import printable

if TYPE_CHECKING:
    from concordat_keyholder.config import KeyholderConfig
    from concordat_privacy.keylog import KeyLog
    from concordat_privacy.log.checkpoint import VerifierKey
    from concordat_store.database import Database

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="keyholder.toml, made by `concordat keyholder init`.",
)
log_key_option = click.option(
    "--log-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The key log's signing key, where the configuration does not name it.",
)
newest_log_option = click.option(
    "--log",
    "newest",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The newest key log, where the folder's own is an older one; copied from who serves.",
)
member_argument = click.argument("member_id", metavar="MEMBER")


def moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """An option's callback: a time with its zone, as microseconds since 1970."""
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time like 2026-11-22T00:00:00Z") from None
    if parsed.tzinfo is None:
        raise click.BadParameter(f"{value!r} has no zone, e.g. a final Z")
    return micros_of(parsed)


def shown(microseconds: int | None) -> str:
    """A moment as a person reads it; empty for none."""
    if microseconds is None:
        return ""
    return moment_of(microseconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def show_log(config: KeyholderConfig, log: KeyLog) -> None:
    """Say that the log is longer now, and who must get it."""
    click.echo(f"{config.key_log} has {len(log.entries)} entries now. Everybody who serves must")
    click.echo("get this log: the gateway, and each other key-holder (extend-log).")


def loaded(config_file: Path, log_key: Path | None = None) -> KeyholderConfig:
    """The configuration, with another signing key of the log if one is given."""
    from dataclasses import replace

    from concordat_keyholder.config import load_config

    config = load_config(config_file)
    return config if log_key is None else replace(config, log_key=log_key)


@contextmanager
def opened(config_file: Path) -> Iterator[tuple[KeyholderConfig, Database]]:
    """The configuration and its store; errors end the command with a message."""
    import os

    with errors_shown():
        from concordat_keyholder.store.migrate import opened_store

        # What the database writes is for this account alone.
        os.umask(0o077)
        config = loaded(config_file)
        with opened_store(config.store_url) as database:
            yield config, database


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show what an operator can mend as a message without a traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing: the key-holder needs the extra `server`"
            " (from a clone: pip install '.[server]')"
        ) from None
    except Exception as error:
        if isinstance(error, _mendable()):
            raise click.ClickException(str(error)) from None
        if isinstance(error, OSError):
            raise click.ClickException(f"{error.filename}: {error.strerror}") from None
        raise


def _mendable() -> tuple[type[Exception], ...]:
    from concordat_privacy.log.errors import LogError
    from concordat_privacy.oprf import OprfError
    from concordat_rpc.errors import Refusal
    from concordat_rpc.server import PortTaken
    from concordat_rpc.settings import SettingsError
    from concordat_store.engines import StoreError

    return (SettingsError, StoreError, PortTaken, OprfError, LogError, Refusal)


def show_verifier_key(key: VerifierKey) -> None:
    """Print the key that verifies the key log, as a member's people read it out."""
    click.echo(f"  {key.encode()}")
    click.echo(f"  SHA-256, first half: {key.fingerprint}")


def show_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows in aligned columns; the first row is the heading."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())
