"""`concordat dispute ...`: a person says that what is held about it is wrong."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import opened, profile_option, show_table
from concordat_gateway.commands._identifier import token_of

if TYPE_CHECKING:
    from concordat import Dispute, DisputeChange

_ID_BYTES = 16
_dispute_argument = click.argument("dispute_id", metavar="DISPUTE")
_statement_option = click.option(
    "--statement",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The words; their SHA-256 goes into the ledger, the file stays here.",
)


@click.group()
def dispute() -> None:
    """Pass disputes on, and answer them in time."""


@dispute.command("open")
@click.option(
    "--resident-id",
    required=True,
    metavar="-",
    help='Always "-": the number is read from standard input, or asked for.',
)
@click.option(
    "--category",
    required=True,
    type=click.Choice(["credit_accounts", "inquiries", "spending", "trade"]),
)
@click.option(
    "--reason",
    required=True,
    type=click.Choice(["not_mine", "incorrect", "out_of_date", "other"]),
)
@_statement_option
@profile_option
def open_dispute(
    resident_id: str, category: str, reason: str, statement: Path, profile: Path
) -> None:
    """Pass on what a person disputes. Needs its consent for the purpose dispute."""
    from concordat import DataCategory, DisputeReason

    digest = hashlib.sha256(statement.read_bytes()).digest()
    with opened(profile) as client:
        change = client.open_dispute(
            token_of(client, resident_id),
            DataCategory[category.upper()],
            DisputeReason[reason.upper()],
            digest,
        )
    _show(change)


@dispute.command("list")
@click.option("--all", "with_resolved", is_flag=True, help="Also what is resolved.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@profile_option
def list_disputes(with_resolved: bool, as_json: bool, profile: Path) -> None:
    """Disputes that the member opened or is to answer; all for operator and auditor."""
    with opened(profile) as client:
        found = list(client.list_disputes(with_resolved=with_resolved))
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], indent=2))
        return
    if not found:
        click.echo(
            "No disputes." if with_resolved else "No disputes that are open (resolved ones: --all)."
        )
        return
    rows = [("dispute", "about", "opened", "answer by", "outcome", "to answer")]
    rows += [
        (
            one.dispute_id.hex(),
            f"{one.category.name.lower()}.{one.reason.name.lower()}",
            f"{one.opened_at:%Y-%m-%d}",
            f"{one.answer_by:%Y-%m-%d}{_late(one)}",
            one.outcome.name.lower() if one.outcome else "",
            "yes" if one.to_answer else "",
        )
        for one in found
    ]
    show_table(rows)


@dispute.command()
@_dispute_argument
@click.option("--outcome", required=True, type=click.Choice(["corrected", "deleted", "upheld"]))
@_statement_option
@profile_option
def answer(dispute_id: str, outcome: str, statement: Path, profile: Path) -> None:
    """Answer DISPUTE (hexadecimal id) for your own data."""
    from concordat import DisputeOutcome

    digest = hashlib.sha256(statement.read_bytes()).digest()
    wanted = _id(dispute_id)
    with opened(profile) as client:
        change = client.answer_dispute(wanted, DisputeOutcome[outcome.upper()], digest)
    _show(change)


@dispute.command()
@_dispute_argument
@profile_option
def extend(dispute_id: str, profile: Path) -> None:
    """Put the deadline of DISPUTE off, once, by what its jurisdiction allows."""
    wanted = _id(dispute_id)
    with opened(profile) as client:
        change = client.extend_dispute(wanted)
    _show(change)


def _show(change: DisputeChange) -> None:
    one = change.dispute
    click.echo(f"Dispute {one.dispute_id.hex()}, to be answered by {one.answer_by:%Y-%m-%d}.")
    if one.outcome is not None:
        click.echo(f"Outcome: {one.outcome.name.lower()}.")
    if change.receipt is None:
        click.echo("Nothing changed.")
    else:
        click.echo(f"Ledger entry {change.receipt.entry_index}.")


def _late(one: Dispute) -> str:
    return " (late)" if one.resolved_at is None and datetime.now(UTC) > one.answer_by else ""


def _id(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != _ID_BYTES:
        raise click.BadParameter(f"{2 * _ID_BYTES} hexadecimal digits wanted", param_hint="DISPUTE")
    return value


def _plain(one: Dispute) -> dict[str, object]:
    return {
        "dispute": one.dispute_id.hex(),
        "category": one.category.name.lower(),
        "reason": one.reason.name.lower(),
        "opened_at": one.opened_at.isoformat(),
        "answer_by": one.answer_by.isoformat(),
        "resolved_at": one.resolved_at.isoformat() if one.resolved_at else None,
        "outcome": one.outcome.name.lower() if one.outcome else None,
        "to_answer": one.to_answer,
        "statement_sha256": one.statement_sha256.hex(),
        "consents": [consent.hex() for consent in one.consent_ids],
    }
