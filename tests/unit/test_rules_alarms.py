"""Alarms: which counts raise which, at the edges of the thresholds."""

from collections.abc import Mapping

import pytest

from concordat_gateway.rules.alarms import Alarm, AlarmKind, Counts, Thresholds, alarms_of
from concordat_gateway.rules.counters import UsageKind

# 2026-11-18, the eighteenth day of its month.
TODAY = 20_775
FIRST = 20_758

LOOKUPS = UsageKind.LOOKUPS
REFUSED = UsageKind.LOOKUPS_REFUSED
EVALUATIONS = UsageKind.EVALUATIONS
CONSENTS = UsageKind.CONSENTS


def raised(days: Mapping[tuple[UsageKind, int], int]) -> dict[AlarmKind, str]:
    alarms = alarms_of(Counts(days, TODAY, FIRST))
    assert {alarm.day for alarm in alarms} <= {TODAY}
    return {alarm.kind: alarm.description for alarm in alarms}


def test_a_quiet_member_raises_nothing() -> None:
    assert raised({}) == {}
    usual = {
        (kind, day): 40
        for kind in (LOOKUPS, EVALUATIONS, CONSENTS)
        for day in range(FIRST, TODAY + 1)
    }
    assert raised({**usual, (REFUSED, TODAY): 2}) == {}


@pytest.mark.parametrize(
    ("lookups", "refused", "alarm"),
    [(50, 26, True), (50, 25, False), (49, 49, False), (51, 26, True), (400, 200, False)],
)
def test_more_than_half_of_a_days_lookups_refused(lookups: int, refused: int, alarm: bool) -> None:
    # As many consents as lookups: nothing else is to be noticed.
    found = raised({(LOOKUPS, TODAY): lookups, (REFUSED, TODAY): refused})
    assert (AlarmKind.REFUSED_SHARE in found) == alarm


def test_refusals_of_another_day_do_not_count_today() -> None:
    days = {(LOOKUPS, TODAY - 1): 100, (REFUSED, TODAY - 1): 100, (LOOKUPS, TODAY): 60}
    assert AlarmKind.REFUSED_SHARE not in raised(days)


@pytest.mark.parametrize(
    ("evaluations", "consents", "lookups", "alarm"),
    [
        (1_001, 0, 0, True),
        (1_000, 0, 0, False),
        (5_000, 600, 400, False),
        (5_001, 600, 400, True),
        (50_000, 10_000, 0, False),
    ],
)
def test_tokens_that_were_never_used(
    evaluations: int, consents: int, lookups: int, alarm: bool
) -> None:
    # Over the whole month, on whichever day each was.
    days = {
        (EVALUATIONS, FIRST): evaluations - 500,
        (EVALUATIONS, TODAY): 500,
        (CONSENTS, FIRST + 3): consents,
        (LOOKUPS, TODAY - 1): lookups,
    }
    assert (AlarmKind.UNUSED_TOKENS in raised(days)) == alarm


def test_evaluations_of_the_month_before_do_not_count() -> None:
    assert AlarmKind.UNUSED_TOKENS not in raised({(EVALUATIONS, FIRST - 1): 10_000})


@pytest.mark.parametrize(
    ("kind", "alarm"),
    [(LOOKUPS, AlarmKind.LOOKUP_SURGE), (EVALUATIONS, AlarmKind.EVALUATION_SURGE)],
)
def test_a_day_far_above_the_members_own_past(kind: UsageKind, alarm: AlarmKind) -> None:
    # Active every third day, reaching back into the last month; the mean of the last seven is 200.
    past = {(kind, TODAY - 3 * n): amount for n, amount in enumerate([50, 350] * 3 + [200], 1)}
    before = {(kind, TODAY - 40): 9_000_000}
    assert alarm in raised({**past, **before, (kind, TODAY): 1_001})
    assert alarm not in raised({**past, **before, (kind, TODAY): 1_000})


def test_a_surge_needs_a_volume_and_a_past() -> None:
    assert AlarmKind.LOOKUP_SURGE not in raised({(LOOKUPS, TODAY): 5_000})
    assert AlarmKind.LOOKUP_SURGE not in raised({(LOOKUPS, TODAY - 1): 1, (LOOKUPS, TODAY): 500})
    assert AlarmKind.LOOKUP_SURGE in raised({(LOOKUPS, TODAY - 1): 1, (LOOKUPS, TODAY): 501})


def test_an_exhausted_quota_is_an_alarm_of_its_day() -> None:
    exhausted = (UsageKind.QUOTA_EXHAUSTED, TODAY)
    assert raised({exhausted: 1, (LOOKUPS, TODAY): 40, (LOOKUPS, FIRST): 8}) == {
        AlarmKind.QUOTA_EXHAUSTED: "a quota refused lookups today, after 40 today and 48 this month"
    }
    assert raised({(UsageKind.QUOTA_EXHAUSTED, TODAY - 1): 1}) == {}


def test_descriptions_tell_the_figures() -> None:
    found = raised(
        {
            (LOOKUPS, TODAY - 1): 20,
            (LOOKUPS, TODAY): 600,
            (REFUSED, TODAY): 590,
            (EVALUATIONS, TODAY): 7_000,
            (CONSENTS, TODAY): 10,
        }
    )
    assert found == {
        AlarmKind.REFUSED_SHARE: "590 of 600 lookups today were refused for want of a consent",
        AlarmKind.UNUSED_TOKENS: "7000 evaluations this month, but 10 consents recorded "
        "and 620 lookups",
        AlarmKind.LOOKUP_SURGE: "600 lookups today; the mean of the last 1 active days is 20.0",
    }


def test_thresholds_can_be_others() -> None:
    counts = Counts({(LOOKUPS, TODAY): 10, (REFUSED, TODAY): 2}, TODAY, FIRST)
    strict = Thresholds(refused_lookups=10, refused_share=0.1)
    assert alarms_of(counts, strict) == [
        Alarm(
            AlarmKind.REFUSED_SHARE,
            TODAY,
            "2 of 10 lookups today were refused for want of a consent",
        )
    ]
