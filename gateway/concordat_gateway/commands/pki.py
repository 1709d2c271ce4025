"""`concordat pki`: certificates that the installation's authority issues by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click


@click.group()
def pki() -> None:
    """Issue certificates by the installation's authority."""


@pki.command("issue-keyholder", short_help="Certify a key-holder's key.")
@click.argument("name")
@click.option("--host", required=True, help="Name or address that gateways verify: server_name.")
@click.option(
    "--csr",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="request.csr, made by `concordat keyholder init` or `request`.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="gateway.toml, which names the authority.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for cert.pem and ca.pem, to be brought to the key-holder.",
)
def issue_keyholder(name: str, host: str, csr: Path, config_file: Path, out: Path) -> None:
    """Certify the key in a request as key-holder NAME. The key itself stays where it is.

    Ask the key-holder over another way whether the request is its own.
    """
    from concordat_gateway.commands._client import errors_shown
    from concordat_gateway.config import load_config
    from concordat_gateway.installation import PROCESS_LIFETIME
    from concordat_gateway.keyfiles import load_authority
    from concordat_gateway.pki import Names, certificate_pem, read_request
    from concordat_rpc.errors import Refusal
    from concordat_rpc.peer import Role, spiffe_id

    with errors_shown():
        config = load_config(config_file)
        try:
            identity = spiffe_id(config.trust_domain, Role.KEYHOLDER, name)
        except ValueError:
            raise click.BadParameter("not a name for a SPIFFE id", param_hint="NAME") from None
        authority = load_authority(config.identity.ca, config.membership.ca_key)
        try:
            key = read_request(csr.read_bytes(), str(csr))
        except Refusal as refusal:
            raise click.ClickException(refusal.message) from None
        try:
            certificate = authority.issue(
                key, Names(identity, (host,)), datetime.now(UTC), PROCESS_LIFETIME
            )
        except ValueError:
            raise click.BadParameter("not a host name", param_hint="--host") from None
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file, content in (
            (out / "cert.pem", certificate_pem(certificate)),
            (out / "ca.pem", certificate_pem(authority.certificate)),
        ):
            with file.open("xb") as new:
                new.write(content)
    click.echo(f"Certified {identity} for {host} until {certificate.not_valid_after_utc:%Y-%m-%d}.")
    click.echo(f"Bring cert.pem and ca.pem in {out} to the key-holder's folder.")
