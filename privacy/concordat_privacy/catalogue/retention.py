"""When contributed rows must be gone: adverse items by law, others by the catalogue.

A snapshot's clock starts with the month that it describes. The years of an adverse ending (charged
off, settled for less) are counted as the law of the place says. Either from the same month, in
which the adverse act ended or was last reported (China's regulation on the credit reporting
industry, art. 16). Or from 180 days, here six months, after the delinquency began that led to the
ending, however often it is reported again (in the US FCRA 605(c)); where no report named that
month, from the newest report, as it is all that is known.

Each month of a payment profile ages on its own, under either clock: a late payment is an item of
its own (FCRA 605(a)(5)), and a month's number does not change with later reports. So the first
months of a delinquency can be gone while the charge-off that it led to stays. What tells of
behaviour (class B of the catalogue) goes after six months, and the account stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from concordat_privacy.catalogue.definitions import BANDS, Keep
from concordat_privacy.catalogue.relations import PROFILE_MONTHS, Positions, Relation
from concordat_privacy.catalogue.rows import (
    ADVERSE_RETENTION_MONTHS,
    ADVERSE_STATUSES,
    BEHAVIOUR_RETENTION_MONTHS,
    INQUIRY_RETENTION_DAYS,
    RETENTION_MONTHS,
)

DELINQUENCY_MONTHS: Final = 6
"""From the beginning of a delinquency to the beginning of its years: 180 days in FCRA 605(c)."""


def oldest_delinquency(month: int, adverse_years: int) -> int:
    """The first month whose delinquencies are within their retention in `month`, where they count
    from their beginning."""
    return month - 12 * adverse_years - DELINQUENCY_MONTHS


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What lies before these is past its retention."""

    adverse_month: int
    """Snapshots of adverse endings unless `delinquency_month` decides, and months of any profile;
    counted from 1970-01."""
    positive_month: int
    """All other snapshots."""
    inquiry_day: int
    """Applications; counted from 1970-01-01."""
    behaviour_month: int
    """Bands of behaviour."""
    delinquency_month: int = 0
    """Adverse endings whose first delinquency is known: that month, not their newest report's, is
    compared with this. 0: no such clock."""

    @classmethod
    def at(
        cls, month: int, day: int, adverse_years: int, *, from_delinquency: bool = False
    ) -> Cutoffs:
        """The cutoffs on a day, which lies in `month`, where adverse items stay for so long.

        `from_delinquency`: counted from 180 days after their first delinquency began, where that
        is known.
        """
        return cls(
            adverse_month=month - 12 * adverse_years,
            positive_month=month - RETENTION_MONTHS,
            inquiry_day=day - INQUIRY_RETENTION_DAYS,
            behaviour_month=month - BEHAVIOUR_RETENTION_MONTHS,
            delinquency_month=oldest_delinquency(month, adverse_years) if from_delinquency else 0,
        )

    @classmethod
    def unnamed(cls, month: int, day: int) -> Cutoffs:
        """Those of where no policy is named: five years from the newest report."""
        return cls.at(month, day, ADVERSE_RETENTION_MONTHS // 12)


BEHAVIOUR: Final = tuple(
    at for at, attribute in enumerate(BANDS) if attribute.keep is Keep.BEHAVIOUR
)
"""Where in the packed bands those of behaviour lie."""


_BEHAVIOUR: Final = Positions(BEHAVIOUR)


def kept(relation: Relation, cutoffs: Cutoffs) -> Relation | None:
    """What may be kept of a relation: itself, one that says less, or nothing."""
    return None if _is_past(relation, cutoffs) else trimmed(relation, cutoffs)


def trimmed(relation: Relation, cutoffs: Cutoffs) -> Relation:
    """A relation that is kept without what of it is past its retention."""
    if relation.as_of_month < cutoffs.behaviour_month:
        relation = relation.without(_BEHAVIOUR)
    # Position 0 is as_of_month: what lies this far behind it is too old.
    months = max(0, relation.as_of_month - cutoffs.adverse_month + 1)
    if months >= PROFILE_MONTHS or not any(relation.profile[months:]):
        return relation
    profile = relation.profile[:months].ljust(len(relation.profile), b"\0")
    return replace(relation, profile=profile)


def _is_past(relation: Relation, cutoffs: Cutoffs) -> bool:
    if relation.status not in ADVERSE_STATUSES:
        return relation.as_of_month < cutoffs.positive_month
    if cutoffs.delinquency_month and relation.first_delinquency_month:
        return relation.first_delinquency_month < cutoffs.delinquency_month
    return relation.as_of_month < cutoffs.adverse_month
