"""`concordat manager ...`: consent managers, whose signatures are evidence of consents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import opened, profile_option
from concordat_gateway.commands._consent_view import plain, show_managers

if TYPE_CHECKING:
    from concordat import ConsentManagerChange

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def manager() -> None:
    """Register, disable and list consent managers."""


@manager.command()
@click.argument("manager_id")
@click.option("--name", required=True, help="For people.")
@click.option(
    "--jwk",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="File with its public key as a JSON Web Key: Ed25519 or P-256.",
)
@_json_option
@profile_option
def register(manager_id: str, name: str, jwk: Path, as_json: bool, profile: Path) -> None:
    """Take evidence that MANAGER_ID signs. For the operator.

    Get the key over a way that nobody else has a hand in: whoever has it makes consents.
    """
    try:
        text = jwk.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise click.BadParameter("not text", param_hint="--jwk") from None
    with opened(profile) as client:
        change = client.register_consent_manager(manager_id, name, text)
    _show_change(change, "registered", as_json=as_json)


@manager.command()
@click.argument("manager_id")
@_json_option
@profile_option
def disable(manager_id: str, as_json: bool, profile: Path) -> None:
    """Take no more evidence of MANAGER_ID, for good. For the operator.

    Consents that it signed before stay as they are.
    """
    with opened(profile) as client:
        change = client.disable_consent_manager(manager_id)
    _show_change(change, "disabled", as_json=as_json)


@manager.command("list")
@_json_option
@profile_option
def list_managers(as_json: bool, profile: Path) -> None:
    """List all consent managers, disabled ones too."""
    with opened(profile) as client:
        found = client.list_consent_managers()
    show_managers(found, as_json=as_json)


def _show_change(change: ConsentManagerChange, word: str, *, as_json: bool) -> None:
    entry = None if change.receipt is None else change.receipt.entry_index
    if as_json:
        click.echo(json.dumps({"manager": plain(change.manager), "entry": entry}, indent=2))
    elif entry is None:
        click.echo(f"{change.manager.manager_id} was {word} before: nothing changed.")
    else:
        click.echo(f"{change.manager.manager_id} is {word} now, ledger entry {entry}.")
        click.echo(f"SHA-256 thumbprint of its key (RFC 7638):\n  {change.manager.key.hex()}")
