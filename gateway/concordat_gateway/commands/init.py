"""`concordat init`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--listen", default="127.0.0.1:7443", show_default=True, help="host:port to serve on."
)
@click.option(
    "--host",
    default="localhost",
    show_default=True,
    help="Name that clients verify in the gateway's certificate.",
)
@click.option(
    "--trust-domain",
    default="concordat.test",
    show_default=True,
    help="SPIFFE trust domain of the consortium.",
)
@click.option("--control-url", help="Control store; by default a SQLite file in FOLDER.")
@click.option("--signals-url", help="Signals store; by default a SQLite file in FOLDER.")
@click.option("--evidence-url", help="Evidence keys' store; by default a SQLite file in FOLDER.")
@click.option("--live-keys-url", help="Live keys' store; by default a SQLite file in FOLDER.")
@click.option(
    "--pool-epsilon",
    type=click.FloatRange(0.001, 100.0),
    default=10.0,
    show_default=True,
    help="Most that all answers together may reveal, as epsilon at delta 1e-6.",
)
@click.option(
    "--member-epsilon",
    type=click.FloatRange(0.001, 100.0),
    help="Most that the answers to one member may reveal; by default eight tenths of the pool's.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=2,
    show_default=True,
    help="Serving processes; one a core.",
)
def init(
    folder: Path,
    listen: str,
    host: str,
    trust_domain: str,
    control_url: str | None,
    signals_url: str | None,
    evidence_url: str | None,
    live_keys_url: str | None,
    pool_epsilon: float,
    member_epsilon: float | None,
    workers: int,
) -> None:
    """Make an installation in FOLDER: authority, keys, configuration, profiles.

    FOLDER must be missing or empty.
    """
    try:
        from concordat_gateway.installation import InstallationError, Wishes, install
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing: this needs the extra `server`"
            " (from a clone: pip install '.[server]')"
        ) from None
    from concordat_rpc.address import Address
    from concordat_rpc.peer import is_trust_domain

    try:
        address = Address.parse(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
    if not is_trust_domain(trust_domain):
        raise click.BadParameter("not a SPIFFE trust domain name", param_hint="--trust-domain")
    wishes = Wishes(
        folder=folder.absolute(),
        listen=address,
        host=host,
        trust_domain=trust_domain,
        control_url=control_url,
        signals_url=signals_url,
        evidence_url=evidence_url,
        live_keys_url=live_keys_url,
        pool_epsilon=pool_epsilon,
        member_epsilon=round(pool_epsilon * 0.8, 3) if member_epsilon is None else member_epsilon,
        workers=workers,
    )
    try:
        install(wishes, datetime.now(UTC))
    except InstallationError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Made {wishes.folder}, a development installation: it has the authority's key and")
    click.echo("the token key, so whoever runs it can guess identifiers. For production put the")
    click.echo("key-holder on a host of its own before anybody is invited (docs/keyholder.md).")
    click.echo("Serve it with:")
    click.echo(f"  concordat serve --config {wishes.folder / 'gateway.toml'}")
