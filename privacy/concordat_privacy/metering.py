"""Quotas as pure functions: what a count and a clock say to one more request.

Three limits hold together: so many a calendar day (UTC), so many a calendar month, and a rate with
a burst. The rate is GCRA, the generic cell rate algorithm (ITU-T I.371): one number, the
theoretical arrival time, says how far ahead of its rate a caller is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

MAX_PER_SECOND: Final = 1_000_000
"""Fastest rate: one a microsecond, the meters' unit of time. A faster one would cost nothing."""

_SECOND: Final = 1_000_000
# Processes that share a meter may differ by this much, and wait this long for the meter's lock,
# before one takes the other's number for a wrong clock's and gives its member a burst again.
_CLOCKS_APART: Final = 300 * _SECOND
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
        ValueError: a limit below 1, a month below a day, or a rate above MAX_PER_SECOND.
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
        if not self.per_second <= MAX_PER_SECOND:
            raise ValueError(f"quota: {self.per_second:g} a second is above {MAX_PER_SECOND:,}")
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
    """The theoretical arrival time once `amount` more was let through at `now`.

    What was let through leaves nobody further ahead than a whole burst. A number far beyond that
    was kept by a clock that was wrong, or for another quota, and would shut the member out until
    that time comes: it counts as if there were none.
    """
    furthest = now + _span(quota.burst, quota) + _CLOCKS_APART
    arrival = 0 if meter.arrival > furthest else meter.arrival
    return max(arrival, now) + _span(amount, quota)


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
