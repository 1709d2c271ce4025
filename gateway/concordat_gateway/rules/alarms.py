"""Alarms: patterns that guessing leaves in counts, as pure functions of the counts.

They judge volume, speed and what became of what was asked for. They cannot see whom somebody asks
about: blinded elements are uniformly random and tokens look it, so a list of consecutive birth
dates looks like any other list. See docs/usage.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from concordat_gateway.rules.counters import UsageKind


class AlarmKind(IntEnum):
    """Numbers as in `concordat.v1` (usage.proto)."""

    REFUSED_SHARE = 1
    UNUSED_TOKENS = 2
    LOOKUP_SURGE = 3
    EVALUATION_SURGE = 4
    QUOTA_EXHAUSTED = 5
    NOTICE_OVERDUE = 6
    """Raised by `rules.notices`, not by counts."""
    DISPUTE_OVERDUE = 7
    """Raised by `rules.dispute_deadlines`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When a pattern is an alarm. Each needs a least volume, below which shares say nothing."""

    refused_lookups: int = 50
    """Lookups a day from which their share of refusals counts."""
    refused_share: float = 0.5
    """More than this share refused is an alarm."""
    unused_evaluations: int = 1_000
    """More evaluations a month than this, and"""
    unused_factor: float = 5.0
    """more than so many times the consents recorded and lookups made, is an alarm."""
    surge_amount: int = 500
    """More of a kind a day than this, and"""
    surge_factor: float = 5.0
    """more than so many times the mean of earlier days, is an alarm."""
    surge_days: int = 7
    """How many of the member's active days before today the mean is of."""


THRESHOLDS = Thresholds()

HORIZON_DAYS = 92
"""How far back active days are looked for."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The counters of one member as of a day."""

    days: Mapping[tuple[UsageKind, int], int]
    """(kind, day) -> amount, at least of this month and the days of the horizon."""
    today: int
    """Days since 1970-01-01."""
    first_of_month: int

    def of_today(self, kind: UsageKind) -> int:
        """Since midnight."""
        return self.days.get((kind, self.today), 0)

    def of_month(self, kind: UsageKind) -> int:
        """Since the first of the month."""
        span = range(self.first_of_month, self.today + 1)
        return sum(self.days.get((kind, day), 0) for day in span)

    def active_days(self, kind: UsageKind, most: int) -> Sequence[int]:
        """The amounts of the newest days before today on which there was any, newest first."""
        span = range(self.today - 1, self.today - 1 - HORIZON_DAYS, -1)
        amounts = [self.days.get((kind, day), 0) for day in span]
        return [amount for amount in amounts if amount][:most]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A pattern that was seen."""

    kind: AlarmKind
    day: int
    description: str
    """In words, with the figures."""


def alarms_of(counts: Counts, thresholds: Thresholds = THRESHOLDS) -> list[Alarm]:
    """The alarms that one member's counters raise today, by kind."""
    seen = (
        (AlarmKind.REFUSED_SHARE, _refused_share(counts, thresholds)),
        (AlarmKind.UNUSED_TOKENS, _unused_tokens(counts, thresholds)),
        (AlarmKind.LOOKUP_SURGE, _surge(counts, thresholds, UsageKind.LOOKUPS)),
        (AlarmKind.EVALUATION_SURGE, _surge(counts, thresholds, UsageKind.EVALUATIONS)),
        (AlarmKind.QUOTA_EXHAUSTED, _quota_exhausted(counts)),
    )
    return [Alarm(kind, counts.today, description) for kind, description in seen if description]


def _refused_share(counts: Counts, thresholds: Thresholds) -> str:
    lookups = counts.of_today(UsageKind.LOOKUPS)
    refused = counts.of_today(UsageKind.LOOKUPS_REFUSED)
    few = lookups < thresholds.refused_lookups
    if few or refused <= thresholds.refused_share * lookups:
        return ""
    return f"{refused} of {lookups} lookups today were refused for want of a consent"


def _unused_tokens(counts: Counts, thresholds: Thresholds) -> str:
    evaluations = counts.of_month(UsageKind.EVALUATIONS)
    consents = counts.of_month(UsageKind.CONSENTS)
    lookups = counts.of_month(UsageKind.LOOKUPS)
    few = evaluations <= thresholds.unused_evaluations
    if few or evaluations <= thresholds.unused_factor * (consents + lookups):
        return ""
    return (
        f"{evaluations} evaluations this month, but {consents} consents recorded "
        f"and {lookups} lookups"
    )


def _surge(counts: Counts, thresholds: Thresholds, kind: UsageKind) -> str:
    amount = counts.of_today(kind)
    past = counts.active_days(kind, thresholds.surge_days)
    if amount <= thresholds.surge_amount or not past:
        # Of somebody without a past the quota and the shares must tell.
        return ""
    mean = sum(past) / len(past)
    if amount <= thresholds.surge_factor * mean:
        return ""
    what = kind.name.lower()
    return f"{amount} {what} today; the mean of the last {len(past)} active days is {mean:.1f}"


def _quota_exhausted(counts: Counts) -> str:
    if not counts.of_today(UsageKind.QUOTA_EXHAUSTED):
        return ""
    today, month = counts.of_today(UsageKind.LOOKUPS), counts.of_month(UsageKind.LOOKUPS)
    return f"a quota refused lookups today, after {today} today and {month} this month"
