"""`concordat serve`."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    required=True,
    help="gateway.toml, made by `concordat init`.",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Serving processes; one a core.")
def serve(config_file: Path, workers: int | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        from concordat_gateway import supervisor
        from concordat_gateway.children import ChildFailed
        from concordat_gateway.config import load_config
        from concordat_rpc import logs
        from concordat_rpc.errors import Refusal
        from concordat_rpc.server import PortTaken
        from concordat_rpc.settings import SettingsError
        from concordat_store.engines import StoreError
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing: serving needs the extra `server`"
            " (from a clone: pip install '.[server]')"
        ) from None

    logs.configure("supervisor")
    # What the databases write is for this account alone, wherever their files lie.
    os.umask(0o077)
    try:
        config = load_config(config_file)
        supervisor.serve(config, workers or config.workers)
    except (SettingsError, StoreError, PortTaken, ChildFailed, Refusal) as error:
        raise click.ClickException(str(error)) from None
