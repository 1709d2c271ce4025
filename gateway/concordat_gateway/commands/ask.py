"""`concordat ask ...` and `concordat budget`: differentially private questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concordat_gateway.commands._client import opened, profile_option, show_table

if TYPE_CHECKING:
    from concordat import Dimension

_DIMENSIONS = ("product", "status", "days_past_due", "balance", "limit", "utilisation")


@click.group()
def ask() -> None:
    """Ask about the whole pool, against the privacy budget."""


@ask.command()
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="DIMENSION=BAND,...",
    help=f"Bands that an account must lie in; dimensions: {', '.join(_DIMENSIONS)}.",
)
@click.option("--group-by", type=click.Choice(_DIMENSIONS), help="Count each band of this one.")
@click.option(
    "--epsilon",
    type=click.FloatRange(0.001, 3.0),
    default=0.1,
    show_default=True,
    help="Privacy loss to spend, of a budget that never grows; see `concordat budget`.",
)
@click.option(
    "--cells-per-person",
    type=click.IntRange(1, 4),
    default=1,
    show_default=True,
    help="Bands that one person may count in.",
)
@profile_option
def count(
    conditions: Sequence[str],
    group_by: str | None,
    epsilon: float,
    cells_per_person: int,
    profile: Path,
) -> None:
    """Count the persons in a cohort.

    Bands are numbers; a wrong one is answered with the list.
    """
    from concordat import Dimension

    where = dict(_condition(text) for text in conditions)
    if len(where) < len(conditions):
        raise click.BadParameter("one condition a dimension", param_hint="--where")
    with opened(profile) as client:
        answer = client.count(
            where,
            Dimension[group_by.upper()] if group_by else None,
            epsilon=epsilon,
            cells_per_person=cells_per_person,
        )
    if group_by:
        rows = [(group_by, "persons")]
        rows += [(cell.band_label, str(cell.count)) for cell in answer.cells]
        show_table(rows)
        click.echo(f"Each person counts in at most {cells_per_person} of these cells.")
        counted = "Each true count, so bounded,"
    else:
        click.echo(f"{answer.cells[0].count} persons")
        counted = "The true count"
    click.echo(
        f"{counted} is within {answer.error_95} of it with probability of at "
        f"least 95 % ({answer.mechanism}); charged rho {answer.charged_rho:.6f}, "
        f"ledger entry {answer.receipt.entry_index}."
    )


@click.command()
@profile_option
def budget(profile: Path) -> None:
    """Show what is left of the privacy budget."""
    with opened(profile) as client:
        budgets = client.budget()
    rows = [("scope", "rho spent", "rho left", "rho cap", "epsilon spent at delta 1e-6")]
    rows += [
        (
            found.scope,
            f"{found.spent_rho:.6f}",
            f"{found.left_rho:.6f}",
            f"{found.cap_rho:.6f}",
            f"{found.spent_epsilon:.3f}",
        )
        for found in budgets
    ]
    show_table(rows)
    click.echo("A question at epsilon e costs rho e * e / 2.")


def _condition(text: str) -> tuple[Dimension, set[int]]:
    from concordat import Dimension

    name, separator, bands = text.partition("=")
    if not separator or name not in _DIMENSIONS:
        raise click.BadParameter(
            f"{text!r}: one of {', '.join(_DIMENSIONS)}, then = and bands wanted",
            param_hint="--where",
        )
    dimension = Dimension[name.upper()]
    known = {str(number): number for number in range(1, len(dimension.labels) + 1)}
    wanted = [band.strip() for band in bands.split(",")]
    if not known.keys() >= set(wanted):
        listed = ", ".join(f"{n} ({label})" for n, label in enumerate(dimension.labels, start=1))
        raise click.BadParameter(f"{text!r}: bands are {listed}", param_hint="--where")
    return dimension, {known[band] for band in wanted}
