"""Retention: adverse items leave after the law's years, each month of a history by itself."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    SpikeBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.calendar import day_number, month_number
from concordat_privacy.catalogue.relations import Relation
from concordat_privacy.catalogue.retention import Cutoffs, kept
from tests.relations import relation as built

TODAY = date(2026, 11, 26)
MONTH = month_number(TODAY)
CHINA = Cutoffs.at(MONTH, day_number(TODAY), 5)
AMERICA = Cutoffs.at(MONTH, day_number(TODAY), 7)


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
