"""`concordat erasure ...`: requests to erase subjects, and what the operator makes of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import opened, profile_option, show_table
from concordat_gateway.commands._identifier import token_of

if TYPE_CHECKING:
    from concordat import Erasure, ErasureChange

_basis_option = click.option("--basis", required=True, help="Why; goes into the ledger.")
_erasure_argument = click.argument("erasure_id", metavar="ERASURE")
_ID_BYTES = 16


@click.group()
def erasure() -> None:
    """Erase persons. How it works and what stays: docs/erasure.md."""


@erasure.command()
@click.option(
    "--resident-id",
    required=True,
    metavar="-",
    help='Always "-": the number is read from standard input, or asked for.',
)
@click.option("--ground", required=True, help="Why the person may ask; goes into the ledger.")
@click.option(
    "--evidence",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The person's request; its hash goes into the ledger, the file stays here.",
)
@profile_option
def request(resident_id: str, ground: str, evidence: Path, profile: Path) -> None:
    """Pass a person's request on to the operator. For members."""
    with opened(profile) as client:
        digest = hashlib.sha256(evidence.read_bytes()).digest()
        token = token_of(client, resident_id)
        change = client.request_erasure(token, ground, digest)
    _show(change)


@erasure.command("list")
@click.option("--case", default="", help="Operator and auditor: what for; goes into the ledger.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@profile_option
def list_erasures(case: str, as_json: bool, profile: Path) -> None:
    """List requests: a member's own, or all for operator and auditor."""
    with opened(profile) as client:
        found = list(client.list_erasures(case=case))
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], indent=2))
        return
    if not found:
        click.echo("No requests for erasure.")
        return
    rows = [("erasure", "member", "state", "requested", "ground", "basis")]
    rows += [
        (
            one.erasure_id.hex(),
            one.member_id,
            one.state.name.lower(),
            one.requested_at.isoformat(timespec="seconds"),
            one.ground,
            one.basis or "",
        )
        for one in found
    ]
    show_table(rows)


@erasure.command()
@_erasure_argument
@_basis_option
@click.option("--yes", is_flag=True, help="Really erase the person; there is no way back.")
@profile_option
def execute(erasure_id: str, basis: str, yes: bool, profile: Path) -> None:
    """Erase the person of a request. For the operator."""
    wanted = _id(erasure_id)
    if not yes:
        raise click.UsageError("this erases a person for good: say --yes if that is meant")
    with opened(profile) as client:
        change = client.execute_erasure(wanted, basis)
    _show(change)


@erasure.command()
@_erasure_argument
@_basis_option
@profile_option
def refuse(erasure_id: str, basis: str, profile: Path) -> None:
    """Record that a request is not followed. For the operator."""
    wanted = _id(erasure_id)
    with opened(profile) as client:
        change = client.refuse_erasure(wanted, basis)
    _show(change)


def _id(text: str) -> bytes:
    try:
        erasure_id = bytes.fromhex(text)
    except ValueError:
        erasure_id = b""
    if len(erasure_id) != _ID_BYTES:
        raise click.BadParameter(f"{_ID_BYTES} bytes in hexadecimal", param_hint="ERASURE")
    return erasure_id


def _show(change: ErasureChange) -> None:
    found = change.erasure
    click.echo(f"Erasure {found.erasure_id.hex()}: {found.state.name.lower()}.")
    if change.receipt is not None:
        click.echo(f"Entry {change.receipt.entry_index} of the ledger.")
    else:
        click.echo("It was so before; nothing was recorded.")


def _plain(one: Erasure) -> dict[str, object]:
    return {
        "erasure": one.erasure_id.hex(),
        "member": one.member_id,
        "state": one.state.name.lower(),
        "ground": one.ground,
        "basis": one.basis,
        "requested_at": one.requested_at.isoformat(),
        "decided_at": one.decided_at.isoformat() if one.decided_at else None,
        "erased_at": one.erased_at.isoformat() if one.erased_at else None,
        "rows": one.rows,
        "consents": one.consents,
    }
