"""Retention: adverse items leave after the law's years, each month of a history by itself."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    ProductClass,
    SpikeBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.calendar import day_number, month_number
from concordat_privacy.catalogue.relations import Relation, merge
from concordat_privacy.catalogue.retention import Cutoffs, kept
from concordat_privacy.catalogue.rows import ADVERSE_STATUSES, AccountSnapshot, problems
from tests.relations import relation as built

TODAY = date(2026, 11, 26)
MONTH = month_number(TODAY)
CHINA = Cutoffs.at(MONTH, day_number(TODAY), 5)
AMERICA = Cutoffs.at(MONTH, day_number(TODAY), 7)
FCRA = Cutoffs.at(MONTH, day_number(TODAY), 7, from_delinquency=True)


def began(year: int, month: int) -> int:
    return month_number(date(year, month, 1))


def relation(status: AccountStatus, as_of: date, profile: bytes = b"", **bands: int) -> Relation:
    return built(
        status=status,
        as_of_month=month_number(as_of),
        profile=profile.ljust(24, b"\0"),
        **bands,
    )


@pytest.mark.parametrize(
    ("status", "as_of", "in_china", "in_america"),
    [
        # Five years from November 2021 end in November 2026; a row tells its month only.
        (AccountStatus.CHARGED_OFF, date(2021, 11, 1), True, True),
        (AccountStatus.CHARGED_OFF, date(2021, 10, 1), False, True),
        (AccountStatus.SETTLED_LESS, date(2019, 11, 1), False, True),
        (AccountStatus.SETTLED_LESS, date(2019, 10, 1), False, False),
        # The catalogue: 24 months after the last report, whatever the place.
        (AccountStatus.OPEN, date(2024, 11, 1), True, True),
        (AccountStatus.OPEN, date(2024, 10, 1), False, False),
        (AccountStatus.CLOSED, date(2024, 10, 1), False, False),
    ],
)
def test_rows_leave_with_the_month_in_which_their_time_ends(
    status: AccountStatus, as_of: date, in_china: bool, in_america: bool
) -> None:
    row = relation(status, as_of)
    assert (kept(row, CHINA) is not None, kept(row, AMERICA) is not None) == (in_china, in_america)


def test_every_month_of_a_history_ages_on_its_own() -> None:
    """Charged off in March 2023, with arrears reported for each of the 23 months before."""
    row = relation(AccountStatus.CHARGED_OFF, date(2023, 3, 1), bytes([7]) * 24)
    remaining = kept(row, CHINA)
    assert remaining is not None
    # November 2021 to March 2023 are 17 months; April to October 2021 are past their time.
    assert remaining.profile == bytes([7]) * 17 + bytes(7)
    assert kept(row, AMERICA) == row


def test_applications_leave_after_two_years() -> None:
    assert CHINA.inquiry_day == day_number(date(2024, 11, 26))


@given(
    status=st.sampled_from(AccountStatus),
    age=st.integers(0, 120),
    profile=st.binary(min_size=24, max_size=24).map(lambda raw: bytes(b % 8 for b in raw)),
    years=st.sampled_from([5, 7]),
)
def test_nothing_older_stays_and_nothing_younger_is_touched(
    status: AccountStatus, age: int, profile: bytes, years: int
) -> None:
    adverse = status in (AccountStatus.CHARGED_OFF, AccountStatus.SETTLED_LESS)
    row = relation(status, date(2000, 1, 1), profile)
    cutoffs = Cutoffs.at(row.as_of_month + age, 30 * (row.as_of_month + age), years)
    remaining = kept(row, cutoffs)
    assert (remaining is not None) == (age <= (12 * years if adverse else 24))
    if remaining is None:
        return
    assert kept(remaining, cutoffs) == remaining
    for position, (before, after) in enumerate(zip(profile, remaining.profile, strict=True)):
        assert after == (before if age + position <= 12 * years else 0)


@pytest.mark.parametrize(("as_of", "stays"), [(date(2026, 5, 1), True), (date(2026, 4, 1), False)])
def test_what_tells_of_behaviour_goes_after_six_months_and_the_account_stays(
    as_of: date, stays: bool
) -> None:
    spending = relation(
        AccountStatus.OPEN,
        as_of,
        balance=AmountBand.UNDER_1K,
        spend_spike=SpikeBand.OVER_300,
        spend_volatility=VolatilityBand.OVER_100,
        order_volatility=VolatilityBand.OVER_100,
    )
    remaining = kept(spending, CHINA)
    account = relation(AccountStatus.OPEN, as_of, balance=AmountBand.UNDER_1K)
    assert remaining == (spending if stays else account)


@pytest.mark.parametrize("status", [AccountStatus.CHARGED_OFF, AccountStatus.SETTLED_LESS])
@pytest.mark.parametrize(
    ("first", "as_of", "stays"),
    [
        # 180 days from May 2019 end in November 2019, and seven years from then in November 2026.
        (began(2019, 5), date(2026, 11, 1), True),
        (began(2019, 5), date(2019, 5, 1), True),
        # A month more, and the report of this month does not keep it.
        (began(2019, 4), date(2026, 11, 1), False),
        (began(2019, 4), date(2019, 12, 1), False),
        (began(2010, 1), date(2026, 11, 1), False),
        # Not known when it began: from the newest report.
        (0, date(2019, 11, 1), True),
        (0, date(2019, 10, 1), False),
    ],
)
def test_in_america_an_ending_ages_from_its_first_delinquency(
    status: AccountStatus, first: int, as_of: date, stays: bool
) -> None:
    row = relation(status, as_of, first_delinquency_month=first)
    assert (kept(row, FCRA) is not None) == stays


@pytest.mark.parametrize("status", [AccountStatus.OPEN, AccountStatus.SOLD, AccountStatus.CLOSED])
def test_what_is_no_adverse_ending_ages_from_its_newest_report(status: AccountStatus) -> None:
    row = relation(status, date(2026, 11, 1), first_delinquency_month=began(2010, 1))
    assert kept(row, FCRA) == row
    old = relation(status, date(2024, 10, 1), first_delinquency_month=began(2024, 9))
    assert kept(old, FCRA) is None


def test_late_payments_age_each_by_itself_while_the_charge_off_that_they_led_to_stays() -> None:
    row = relation(
        AccountStatus.CHARGED_OFF,
        date(2020, 3, 1),
        bytes([7, 6, 5, 4, 3, 2, 2, 2, 2, 2, 2]),
        first_delinquency_month=began(2019, 5),
    )
    remaining = kept(row, FCRA)
    assert remaining is not None
    # March 2020 to November 2019 are within seven years; May to October 2019 are not.
    assert remaining.profile == bytes([7, 6, 5, 4, 3]).ljust(24, b"\0")
    assert (remaining.status, remaining.first_delinquency_month) == (row.status, began(2019, 5))


@given(
    status=st.sampled_from(sorted(ADVERSE_STATUSES)),
    first=st.integers(300, 400),
    reports=st.lists(st.integers(400, 520), min_size=1, max_size=5),
    month=st.integers(400, 520),
    years=st.sampled_from([5, 7]),
)
def test_no_report_gives_an_ending_more_than_its_years(
    status: AccountStatus, first: int, reports: list[int], month: int, years: int
) -> None:
    """However often and late it is reported again: six months, then the years, then it is gone."""
    cutoffs = Cutoffs.at(month, 30 * month, years, from_delinquency=True)
    rows = [
        built(status=status, as_of_month=report, first_delinquency_month=first)
        for report in reports
    ]
    stays = first + 6 + 12 * years >= month
    assert {kept(row, cutoffs) is not None for row in rows} == {stays}


endings = st.builds(
    AccountSnapshot,
    account_ref=st.just(bytes(16)),
    as_of_month=st.integers(MONTH - 86, MONTH + 1),
    status=st.sampled_from([s for s in AccountStatus if s]),
    product=st.just(ProductClass.REVOLVING),
    opened_quarter=st.just(150),
    first_delinquency_month=st.just(0) | st.integers(MONTH - 100, MONTH + 1),
)


@given(row=endings, years=st.sampled_from([5, 7]), from_delinquency=st.booleans())
def test_what_intake_takes_retention_keeps(
    row: AccountSnapshot, years: int, from_delinquency: bool
) -> None:
    """And of what it refuses for its age, retention may keep the rows of the longer years alone."""
    today = day_number(TODAY)
    cutoffs = Cutoffs.at(MONTH, today, years, from_delinquency=from_delinquency)
    refused = {p.field for p in problems(row, today, cutoffs.delinquency_month)}
    stays = kept(merge(None, row), cutoffs) is not None
    if not refused:
        assert stays
    elif stays and row.first_delinquency_month <= row.as_of_month <= MONTH:
        assert refused == {"account.as_of_month"}
        assert MONTH - row.as_of_month > 60
