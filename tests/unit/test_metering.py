"""Quotas as pure functions: never more in any window than they say, and a retry that is exact."""

import calendar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from concordat_privacy.metering import (
    Exhausted,
    Meter,
    Quota,
    Scope,
    arrival_after,
    check,
    day_number,
    first_day_of_month,
    seconds_to_next_day,
    seconds_to_next_month,
)

SECOND = 1_000_000
DAY = 86_400 * SECOND
ZERO = datetime(1970, 1, 1, tzinfo=UTC)
WIDE = Quota(daily=10**9, monthly=10**9, per_second=10.0, burst=100)

moments = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(
    lambda moment: (moment.replace(tzinfo=UTC) - ZERO) // timedelta(microseconds=1)
)


def micros(moment: datetime) -> int:
    return (moment.replace(tzinfo=UTC) - ZERO) // timedelta(microseconds=1)


# A rate whose span of one unit is a whole number of microseconds, so that a model can be exact.
quotas = st.builds(
    lambda daily, more, per_second, burst: Quota(
        daily=daily, monthly=daily + more, per_second=float(per_second), burst=burst
    ),
    st.integers(1, 200),
    st.integers(0, 1000),
    st.sampled_from([1, 2, 5, 10, 100, 1000]),
    st.integers(1, 50),
)


@dataclass
class Account:
    """A meter kept as a store keeps it, and all that was let through."""

    quota: Quota
    arrival: int = 0
    let_through: list[tuple[int, int]] = field(default_factory=list)
    """(moment, amount)."""

    def meter(self, now: int) -> Meter:
        day, month = day_number(now), first_day_of_month(now)
        return Meter(
            sum(amount for at, amount in self.let_through if day_number(at) == day),
            sum(amount for at, amount in self.let_through if month <= day_number(at) <= day),
            self.arrival,
        )

    def ask(self, amount: int, now: int) -> Exhausted | None:
        meter = self.meter(now)
        over = check(meter, self.quota, amount, now)
        if over is None:
            self.arrival = arrival_after(meter, self.quota, amount, now)
            self.let_through.append((now, amount))
        return over


class NeverMoreThanTheQuota(RuleBasedStateMachine):
    """Whatever is asked whenever, no window has more than its limit."""

    @initialize(quota=quotas, now=moments)
    def begin(self, quota: Quota, now: int) -> None:
        self.account = Account(quota)
        self.now = now

    @rule(micros=st.integers(0, 5 * SECOND))
    def moments_pass(self, micros: int) -> None:
        self.now += micros

    @rule(days=st.integers(1, 40))
    def days_pass(self, days: int) -> None:
        self.now += days * DAY

    @rule(amount=st.integers(1, 60))
    def ask(self, amount: int) -> None:
        self.account.ask(amount, self.now)

    @rule(amount=st.integers(1, 60))
    def ask_again_when_told_to(self, amount: int) -> None:
        over = self.account.ask(amount, self.now)
        if over is not None and over.retry_seconds is not None:
            self.now += round(over.retry_seconds * SECOND)
            again = self.account.ask(amount, self.now)
            # Only a limit that lasts less long can be met now.
            order = [Scope.MONTH, Scope.DAY, Scope.RATE]
            assert again is None or order.index(again.scope) > order.index(over.scope)

    @invariant()
    def every_window_holds(self) -> None:
        quota, passed = self.account.quota, self.account.let_through
        days: dict[int, int] = {}
        months: dict[tuple[int, int], int] = {}
        for at, amount in passed:
            moment = ZERO + timedelta(microseconds=at)
            days[day_number(at)] = days.get(day_number(at), 0) + amount
            key = (moment.year, moment.month)
            months[key] = months.get(key, 0) + amount
        assert all(amount <= quota.daily for amount in days.values())
        assert all(amount <= quota.monthly for amount in months.values())
        for first in range(len(passed)):
            total = 0
            for at, amount in passed[first:]:
                total += amount
                span = at - passed[first][0]
                assert total <= quota.burst + quota.per_second * span / SECOND + 1e-9


NeverMoreThanTheQuota.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
TestNeverMoreThanTheQuota = NeverMoreThanTheQuota.TestCase


@given(
    now=moments,
    ahead=st.integers(0, 20 * SECOND),
    amount=st.integers(1, 100),
    rate=st.floats(0.01, 1e5),
)
def test_a_retry_succeeds_when_it_says_and_not_a_microsecond_before(
    now: int, ahead: int, amount: int, rate: float
) -> None:
    quota = Quota(daily=10**9, monthly=10**9, per_second=rate, burst=100)
    meter = Meter(0, 0, now + ahead)
    over = check(meter, quota, amount, now)
    if over is None:
        return
    assert over.scope is Scope.RATE
    assert over.retry_seconds is not None
    then = now + round(over.retry_seconds * SECOND)
    assert check(meter, quota, amount, then) is None
    assert check(meter, quota, amount, then - 1) is not None


def test_a_whole_burst_is_let_through_at_once_and_no_more() -> None:
    now = micros(datetime(2031, 5, 16, 12))
    assert check(Meter(0, 0, 0), WIDE, 100, now) is None
    assert check(Meter(0, 0, 0), WIDE, 101, now) == Exhausted(Scope.RATE, 100, None)
    used = Meter(100, 100, arrival_after(Meter(0, 0, 0), WIDE, 100, now))
    # Ten a second: one more in a tenth of a second.
    assert check(used, WIDE, 1, now) == Exhausted(Scope.RATE, 100, 0.1)
    assert check(used, WIDE, 100, now) == Exhausted(Scope.RATE, 100, 10.0)
    assert check(used, WIDE, 100, now + 10 * SECOND) is None


def test_rest_does_not_save_up_more_than_a_burst() -> None:
    now = micros(datetime(2031, 5, 16, 12))
    rested = Meter(0, 0, now - 3600 * SECOND)
    assert check(rested, WIDE, 100, now) is None
    after = Meter(100, 100, arrival_after(rested, WIDE, 100, now))
    assert check(after, WIDE, 1, now) is not None


def test_a_clock_that_was_ahead_once_shuts_nobody_out() -> None:
    now = micros(datetime(2031, 5, 16, 12))
    # Charged while the clock was a year ahead; a whole burst lasts ten seconds.
    ahead = Meter(0, 0, now + 366 * DAY)
    assert check(ahead, WIDE, 100, now) is None
    after = Meter(100, 100, arrival_after(ahead, WIDE, 100, now))
    assert check(after, WIDE, 1, now) == Exhausted(Scope.RATE, 100, 0.1)


def test_clocks_that_differ_a_little_give_no_second_burst() -> None:
    now = micros(datetime(2031, 5, 16, 12))
    # Another process, whose clock is five minutes ahead, has just let a whole burst through.
    spent = Meter(100, 100, now + 300 * SECOND + 10 * SECOND)
    assert check(spent, WIDE, 1, now) == Exhausted(Scope.RATE, 100, 300.1)


def test_no_rate_is_so_fast_that_it_costs_nothing() -> None:
    fastest = Quota(daily=10, monthly=10, per_second=1e6, burst=1)
    assert arrival_after(Meter(0, 0, 0), fastest, 1, 5) == 6
    for rate in (1e6 + 1, 4e6, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="quota"):
            Quota(daily=10, monthly=10, per_second=rate, burst=1)


def test_the_limit_that_lasts_longest_is_named() -> None:
    quota = Quota(daily=10, monthly=20, per_second=1.0, burst=5)
    now = micros(datetime(2031, 5, 16, 12))
    busy = now + 100 * SECOND
    assert check(Meter(10, 20, busy), quota, 1, now) == Exhausted(
        Scope.MONTH, 20, (12 + 15 * 24) * 3600
    )
    assert check(Meter(10, 19, busy), quota, 1, now) == Exhausted(Scope.DAY, 10, 12 * 3600)
    assert check(Meter(9, 19, busy), quota, 1, now) == Exhausted(Scope.RATE, 5, 96.0)


@pytest.mark.parametrize(("amount", "scope"), [(21, Scope.MONTH), (11, Scope.DAY), (6, Scope.RATE)])
def test_more_than_a_limit_itself_can_never_succeed(amount: int, scope: Scope) -> None:
    quota = Quota(daily=10, monthly=20, per_second=1.0, burst=5)
    now = micros(datetime(2031, 5, 16, 12))
    over = check(Meter(0, 0, 0), quota, amount, now)
    assert over is not None
    assert (over.scope, over.retry_seconds) == (scope, None)


@given(now=moments)
def test_days_and_months_are_the_calendar_s(now: int) -> None:
    moment = ZERO + timedelta(microseconds=now)
    assert day_number(now) == moment.date().toordinal() - ZERO.date().toordinal()
    first = moment.date().replace(day=1)
    assert first_day_of_month(now) == first.toordinal() - ZERO.date().toordinal()

    midnight = now + round(seconds_to_next_day(now) * SECOND)
    assert midnight == (day_number(now) + 1) * DAY
    length = calendar.monthrange(moment.year, moment.month)[1]
    month_end = now + round(seconds_to_next_month(now) * SECOND)
    assert month_end == (first_day_of_month(now) + length) * DAY


@pytest.mark.parametrize(
    ("daily", "monthly", "per_second", "burst"),
    [(0, 5, 1.0, 1), (5, 4, 1.0, 1), (5, 5, 0.0, 1), (5, 5, -1.0, 1), (5, 5, 1.0, 0)],
)
def test_quotas_that_make_no_sense_are_refused(
    daily: int, monthly: int, per_second: float, burst: int
) -> None:
    with pytest.raises(ValueError, match="quota"):
        Quota(daily=daily, monthly=monthly, per_second=per_second, burst=burst)
