"""`concordat jobs ...`: what the gateway does by itself at intervals, done now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import show_table

if TYPE_CHECKING:
    from concordat_gateway.jobs import Job

_config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="gateway.toml.",
)


@click.group()
def jobs() -> None:
    """List the gateway's scheduled jobs, or run one now."""


@jobs.command("list")
@_config_option
def list_jobs(config_file: Path) -> None:
    """Which jobs there are, and how often a serving gateway runs them."""
    with _opened(config_file) as found:
        show_table([("job", "every"), *((job.name, f"{job.every_seconds:g} s") for job in found)])


@jobs.command()
@click.argument("name")
@_config_option
def run(name: str, config_file: Path) -> None:
    """Run the job NAME once, while the gateway serves or not.

    What a serving gateway has done already is not done again.
    """
    with _opened(config_file) as found:
        by_name = {job.name: job for job in found}
        if name not in by_name:
            raise click.BadParameter(
                f"no job {name!r}; there are {', '.join(sorted(by_name))}", param_hint="NAME"
            )
        done = by_name[name].run()
    click.echo(f"{name}: {done} done.")


@contextmanager
def _opened(config_file: Path) -> Iterator[list[Job]]:
    """The jobs of a gateway's stores; errors, in the block too, end the command with code 1."""
    try:
        from concordat_gateway.config import load_config
        from concordat_gateway.server import opened_stores
        from concordat_gateway.store.migrate import check_stores
        from concordat_gateway.supervisor import scheduled_jobs
        from concordat_rpc.errors import Refusal
        from concordat_rpc.settings import SettingsError
        from concordat_store.engines import StoreError
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing: jobs need the extra `server`"
            " (from a clone: pip install '.[server]')"
        ) from None
    # What the databases write is for this account alone, as when serving.
    os.umask(0o077)
    try:
        config = load_config(config_file)
        check_stores(*config.stores.all)
        with opened_stores(config) as (journal, signals):
            yield scheduled_jobs(config, journal, signals)
    except (SettingsError, StoreError, Refusal) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
