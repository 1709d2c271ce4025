"""`concordat keyholder init`, `request` and `serve`."""

from __future__ import annotations

from pathlib import Path

import click

from concordat_keyholder.commands._common import (
    config_option,
    errors_shown,
    loaded,
    show_verifier_key,
)


@click.command(short_help="Make a key-holder's folder.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--trust-domain", required=True, help="SPIFFE trust domain of the consortium.")
@click.option(
    "--listen", default="127.0.0.1:7444", show_default=True, help="host:port to serve on."
)
@click.option(
    "--store-url",
    default="sqlite:///keyholder.db",
    show_default=True,
    help="The meters' database; a relative SQLite file lies in FOLDER.",
)
@click.option(
    "--passphrase",
    help='Seal the keys by a passphrase: "prompt", "environment:NAME" or "file:PATH".'
    " By default by a key-file in FOLDER.",
)
@click.option(
    "--development",
    is_flag=True,
    help="Generous quotas, and whoever has a certificate of the authority is a member.",
)
def init(
    folder: Path,
    trust_domain: str,
    listen: str,
    store_url: str,
    passphrase: str | None,
    development: bool,
) -> None:
    """Make a key-holder's FOLDER: the first token key, sealed, the key log, the configuration.

    Its TLS key is made too, unless key.pem is there; the operator's authority certifies it
    (request.csr).
    """
    with errors_shown():
        from concordat_keyholder.config import Admission
        from concordat_keyholder.installation import CONFIG, REQUEST, Wishes, install
        from concordat_keyholder.sealing import absolute_source, is_passphrase_source
        from concordat_privacy.log.checkpoint import VerifierKey
        from concordat_rpc.address import Address
        from concordat_rpc.peer import is_trust_domain
        from concordat_store.clock import system_clock

        try:
            address = Address.parse(listen)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--listen") from None
        if not is_trust_domain(trust_domain):
            raise click.BadParameter("not a SPIFFE trust domain name", param_hint="--trust-domain")
        if passphrase is not None:
            if not is_passphrase_source(passphrase):
                raise click.BadParameter("not a source of one", param_hint="--passphrase")
            passphrase = absolute_source(passphrase, Path.cwd())
        wishes = Wishes(
            folder=folder.absolute(),
            trust_domain=trust_domain,
            listen=address,
            admission=Admission.AUTHORITY if development else Admission.ROSTER,
            passphrase=passphrase,
            store_url=store_url,
            is_development=development,
        )
        install(wishes, system_clock())
        key_log_key = VerifierKey.decode((wishes.folder / "log.vkey").read_text())
    click.echo(f"Made {wishes.folder}. Members and gateways pin its key log, keys.log, and")
    show_verifier_key(key_log_key)
    click.echo("Tell members this key over a way that the gateway has no hand in.")
    if (wishes.folder / REQUEST).exists():
        click.echo(f"Have the operator certify {wishes.folder / REQUEST}:")
        click.echo("  concordat pki issue-keyholder NAME --host HOST --csr request.csr ...")
    click.echo("Put the cert.pem and ca.pem that it makes there, then serve with:")
    click.echo(f"  concordat keyholder serve --config {wishes.folder / CONFIG}")


@click.command(short_help="Make a request to certify its TLS key.")
@config_option
def request(config_file: Path) -> None:
    """Write request.csr for the operator's authority, and the TLS key where there is none.

    For a dealt folder, and before a certificate ends.
    """
    with errors_shown():
        from concordat_keyholder.files import turn
        from concordat_keyholder.identity import make_key, write_request
        from concordat_keyholder.installation import REQUEST

        config = loaded(config_file)
        with turn(config.folder):
            make_key(config.private_key)
            write_request(config.private_key, config.folder / REQUEST)
    click.echo(f"Have the operator certify {config.folder / REQUEST}:")
    click.echo("  concordat pki issue-keyholder NAME --host HOST --csr request.csr ...")
    click.echo("and put the cert.pem and ca.pem that it makes there.")


@click.command()
@config_option
@click.option("--port", type=click.IntRange(0, 65535), help="Instead of the configured port.")
@click.option("--with-parent", is_flag=True, hidden=True)
def serve(config_file: Path, port: int | None, with_parent: bool) -> None:
    """Serve gateways until SIGTERM or SIGINT."""
    import os
    import resource

    with errors_shown():
        from concordat_keyholder import server
        from concordat_rpc import logs

        logs.configure("keyholder")
        # What the database writes is for this account alone.
        os.umask(0o077)
        # The open keys are in this process's memory: a crash must not write it to a file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        config = loaded(config_file)
        server.serve(config, config.listen.port if port is None else port, with_parent=with_parent)
