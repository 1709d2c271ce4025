"""`concordat lookup`: what all members together know of one consenting applicant."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from concordat_gateway.commands._client import opened, profile_option, show_table

_PURPOSES = ("underwriting", "portfolio_review", "dispute")


@click.command()
@click.option(
    "--resident-id",
    required=True,
    metavar="-",
    help='Always "-": the number is read from standard input, or asked for. On a command line '
    "every user of the machine could read it.",
)
@click.option("--purpose", type=click.Choice(_PURPOSES), required=True)
@click.option(
    "--max-age",
    type=click.IntRange(1, 120),
    metavar="MONTHS",
    help="Show signals older than this as STALE, beside those that the catalogue makes so.",
)
@profile_option
def lookup(resident_id: str, purpose: str, max_age: int | None, profile: Path) -> None:
    """Look one applicant up. Recorded in the ledger as a use of data."""
    import concordat

    if resident_id != "-":
        raise click.BadParameter(
            'only "-": numbers do not belong on a command line', param_hint="--resident-id"
        )
    try:
        applicant = concordat.ResidentId(_read_number())
    except concordat.IdentifierInvalid as error:
        raise click.ClickException(str(error)) from None
    with opened(profile) as client:
        [token] = client.tokenise([applicant])
        result = client.lookup(token, concordat.Purpose[purpose.upper()], max_age_months=max_age)
    if result.status is concordat.SubjectStatus.NO_CONSENT:
        click.echo("No live consent for this purpose. This says nothing about the applicant.")
    else:
        rows = [("signal", "status", "band", "as of", "coverage")]
        rows += [
            (
                signal.name,
                signal.status.name,
                signal.band_label,
                "" if signal.as_of is None else f"{signal.as_of:%Y-%m}",
                signal.coverage.name,
            )
            for signal in result
        ]
        show_table(rows)
    click.echo(f"Ledger entry {result.receipt.entry_index}.")


def _read_number() -> str:
    if sys.stdin.isatty():
        number: str = click.prompt("Resident id", hide_input=True)
        return number
    return sys.stdin.readline().strip()
