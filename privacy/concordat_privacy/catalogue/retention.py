"""When contributed rows must be gone: adverse items by law, others by the catalogue.

A snapshot's clock starts with the month that it describes. For an adverse ending (charged off,
settled for less) that is the month in which the adverse act ended or was last reported; the law's
years run from there (China's regulation on the credit reporting industry, art. 16; in the US FCRA
605, which counts from the first delinquency: a furnisher that reports a charge-off again starts
the clock again, so it must not). Each month of a payment profile ages on its own; what tells of
behaviour (class B of the catalogue) goes after six months, and the account stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from concordat_privacy.catalogue.definitions import BANDS, Keep
from concordat_privacy.catalogue.relations import Positions, Relation
from concordat_privacy.catalogue.rows import (
    ADVERSE_STATUSES,
    BEHAVIOUR_RETENTION_MONTHS,
    INQUIRY_RETENTION_DAYS,
    RETENTION_MONTHS,
)


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What lies before these is past its retention."""

    adverse_month: int
    """Snapshots of adverse endings, and months of any profile; counted from 1970-01."""
    positive_month: int
    """All other snapshots."""
    inquiry_day: int
    """Applications; counted from 1970-01-01."""
    behaviour_month: int
    """Bands of behaviour."""

    @classmethod
    def at(cls, month: int, day: int, adverse_years: int) -> Cutoffs:
        """The cutoffs on a day, which lies in `month`, where adverse items stay for so long."""
        return cls(
            adverse_month=month - 12 * adverse_years,
            positive_month=month - RETENTION_MONTHS,
            inquiry_day=day - INQUIRY_RETENTION_DAYS,
            behaviour_month=month - BEHAVIOUR_RETENTION_MONTHS,
        )


BEHAVIOUR: Final = tuple(
    at for at, attribute in enumerate(BANDS) if attribute.keep is Keep.BEHAVIOUR
)
"""Where in the packed bands those of behaviour lie."""


_BEHAVIOUR: Final = Positions(BEHAVIOUR)


def kept(relation: Relation, cutoffs: Cutoffs) -> Relation | None:
    """What may be kept of a relation: itself, one that says less, or nothing."""
    adverse = relation.status in ADVERSE_STATUSES
    if relation.as_of_month < (cutoffs.adverse_month if adverse else cutoffs.positive_month):
        return None
    if relation.as_of_month < cutoffs.behaviour_month:
        relation = relation.without(_BEHAVIOUR)
    # Position 0 is as_of_month: what lies this far behind it is too old.
    months = max(0, relation.as_of_month - cutoffs.adverse_month + 1)
    if not any(relation.profile[months:]):
        return relation
    profile = relation.profile[:months].ljust(len(relation.profile), b"\0")
    return replace(relation, profile=profile)
