"""Quotas as pure functions: what a count and a clock say to one more request.

Three limits hold together: so many a calendar day (UTC), so many a calendar month, and a rate with
a burst. The rate is GCRA, the generic cell rate algorithm (ITU-T I.371): one number, the
theoretical arrival time, says how far ahead of its rate a caller is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

_SECOND: Final = 1_000_000
_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Scope(Enum):
    """Which limit was met."""

    RATE = "rate"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one member may do of one kind of thing.

    Raises:
        ValueError: a limit below 1, or a month below a day.
    """

    daily: int
    monthly: int
    per_second: float
    """Sustained rate."""
    burst: int
    """How many may come at once; the largest single request must fit."""

    def __post_init__(self) -> None:
        if self.daily < 1 or self.burst < 1 or self.per_second <= 0:
            raise ValueError("quota: every limit is at least 1, and the rate above 0")
        if self.monthly < self.daily:
            raise ValueError(f"quota: {self.monthly} a month is less than {self.daily} a day")


@dataclass(frozen=True, slots=True)
class Meter:
    """What was used until now."""

    today: int
    this_month: int
    arrival: int
    """GCRA's theoretical arrival time, in microseconds since 1970; 0: never asked."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A limit that one more request would pass."""

    scope: Scope
    limit: int
    retry_seconds: float | None
    """When the same request can succeed; None: never, it is larger than the limit itself."""


def check(meter: Meter, quota: Quota, amount: int, now: int) -> Exhausted | None:
    """Which limit, if any, `amount` more would pass at `now` (microseconds since 1970).

    The limit that lasts longest is named.
    """
    if meter.this_month + amount > quota.monthly:
        retry = seconds_to_next_month(now) if amount <= quota.monthly else None
        return Exhausted(Scope.MONTH, quota.monthly, retry)
    if meter.today + amount > quota.daily:
        retry = seconds_to_next_day(now) if amount <= quota.daily else None
        return Exhausted(Scope.DAY, quota.daily, retry)
    if amount > quota.burst:
        return Exhausted(Scope.RATE, quota.burst, None)
    early = arrival_after(meter, quota, amount, now) - _span(quota.burst, quota) - now
    if early > 0:
        return Exhausted(Scope.RATE, quota.burst, early / _SECOND)
    return None


def arrival_after(meter: Meter, quota: Quota, amount: int, now: int) -> int:
    """The theoretical arrival time once `amount` more was let through at `now`."""
    return max(meter.arrival, now) + _span(amount, quota)


def day_number(now: int) -> int:
    """Days since 1970-01-01, UTC."""
    return now // (86_400 * _SECOND)


def first_day_of_month(now: int) -> int:
    """Number of the first day of the month that `now` is in."""
    return (_moment(now).replace(day=1) - _ZERO).days


def seconds_to_next_day(now: int) -> float:
    """Until midnight UTC."""
    return ((day_number(now) + 1) * 86_400 * _SECOND - now) / _SECOND


def seconds_to_next_month(now: int) -> float:
    """Until the first of the next month, UTC."""
    first = _moment(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return (following - _moment(now)).total_seconds()


def _span(amount: int, quota: Quota) -> int:
    return round(amount * _SECOND / quota.per_second)


def _moment(now: int) -> datetime:
    return _ZERO + timedelta(microseconds=now)
