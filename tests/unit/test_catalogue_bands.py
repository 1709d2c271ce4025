"""Bands: the contract's numbers, and boundaries worked out from the contract's comments."""

import datetime
import math
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat.v1 import bands_pb2, common_pb2, signal_pb2
from concordat_privacy.catalogue.bands import (
    BAND_LABELS,
    AccountStatus,
    AmountBand,
    DataCategory,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
    amount_band,
    days_past_due_band,
    spending_volatility,
    utilisation_band,
    volatility_band,
)
from concordat_privacy.catalogue.calendar import (
    day_number,
    month_number,
    month_of_day,
    quarter_number,
    quarter_of_month,
)
from concordat_privacy.catalogue.signals import Coverage, SignalStatus

CONTRACT: list[tuple[type[IntEnum], Any, str]] = [
    (AccountStatus, bands_pb2.AccountStatus, "ACCOUNT_STATUS_"),
    (ProductClass, bands_pb2.ProductClass, "PRODUCT_CLASS_"),
    (AmountBand, bands_pb2.AmountBand, "AMOUNT_BAND_"),
    (DaysPastDueBand, bands_pb2.DaysPastDueBand, "DAYS_PAST_DUE_BAND_"),
    (UtilisationBand, bands_pb2.UtilisationBand, "UTILISATION_BAND_"),
    (VolatilityBand, bands_pb2.VolatilityBand, "VOLATILITY_BAND_"),
    (DataCategory, common_pb2.DataCategory, "DATA_CATEGORY_"),
    (SignalStatus, signal_pb2.SignalStatus, "SIGNAL_STATUS_"),
    (Coverage, signal_pb2.Coverage, "COVERAGE_"),
]


@pytest.mark.parametrize(("ours", "theirs", "prefix"), CONTRACT, ids=lambda v: str(v)[:30])
def test_names_and_numbers_are_those_of_the_contract(
    ours: type[IntEnum], theirs: Any, prefix: str
) -> None:
    def spelled(band: IntEnum) -> str:
        # A Python name cannot begin with a digit, so ours say "from ... to".
        return band.name.removeprefix("FROM_").replace("_TO_", "_")

    contract = {
        value.name.removeprefix(prefix).removesuffix("_PLUS"): value.number
        for value in theirs.DESCRIPTOR.values
    }
    assert {spelled(band): band.value for band in ours} == contract


@pytest.mark.parametrize(("kind", "labels"), BAND_LABELS.items())
def test_every_band_has_its_own_label(kind: type[IntEnum], labels: tuple[str, ...]) -> None:
    assert len(labels) == len(set(labels)) == len(kind) - 1


@pytest.mark.parametrize(
    ("amount", "band"),
    [
        (None, AmountBand.UNSPECIFIED),
        (0, AmountBand.ZERO),
        (0.01, AmountBand.UNDER_1K),
        (Decimal("999.99"), AmountBand.UNDER_1K),
        (1_000, AmountBand.FROM_1K_TO_3K),
        (2_999, AmountBand.FROM_1K_TO_3K),
        (3_000, AmountBand.FROM_3K_TO_5K),
        (5_000, AmountBand.FROM_5K_TO_10K),
        (10_000, AmountBand.FROM_10K_TO_20K),
        (20_000, AmountBand.FROM_20K_TO_50K),
        (49_999.5, AmountBand.FROM_20K_TO_50K),
        (50_000, AmountBand.FROM_50K_TO_100K),
        (100_000, AmountBand.OVER_100K),
        (10**12, AmountBand.OVER_100K),
    ],
)
def test_amounts(amount: float | None, band: AmountBand) -> None:
    assert amount_band(amount) is band


@pytest.mark.parametrize(
    ("days", "band"),
    [
        (None, 0),
        (0, 1),
        (1, 2),
        (7, 2),
        (8, 3),
        (29, 3),
        (30, 4),
        (59, 4),
        (60, 5),
        (89, 5),
        (90, 6),
        (179, 6),
        (180, 7),
        (5_000, 7),
    ],
)
def test_days_past_due(days: int | None, band: int) -> None:
    assert days_past_due_band(days) == band


@pytest.mark.parametrize(
    ("percent", "band"),
    [
        (None, 0),
        (0, 1),
        (0.5, 2),
        (9.99, 2),
        (10, 3),
        (30, 4),
        (50, 5),
        (75, 6),
        (90, 7),
        (100, 7),
        (100.01, 8),
        (900, 8),
    ],
)
def test_utilisation(percent: float | None, band: int) -> None:
    assert utilisation_band(percent) == band


@pytest.mark.parametrize(
    ("coefficient", "band"),
    [(None, 0), (0, 1), (0.249, 1), (0.25, 2), (0.5, 3), (0.999, 3), (1, 4), (7, 4)],
)
def test_volatility(coefficient: float | None, band: int) -> None:
    assert volatility_band(coefficient) == band


@pytest.mark.parametrize(
    "banding", [amount_band, days_past_due_band, utilisation_band, volatility_band]
)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf])
def test_what_is_no_measure_is_refused(banding: Any, value: float) -> None:
    with pytest.raises(ValueError, match="wanted"):
        banding(value)


@pytest.mark.parametrize(
    "banding", [amount_band, days_past_due_band, utilisation_band, volatility_band]
)
@pytest.mark.parametrize("value", [AmountBand.FROM_1K_TO_3K, DaysPastDueBand.CURRENT, True, "20k"])
def test_a_band_is_no_measure_to_be_banded_again(banding: Any, value: object) -> None:
    with pytest.raises(TypeError):
        banding(value)


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_is_never_a_lower_band(one: float, other: float) -> None:
    low, high = sorted((one, other))
    for banding in (amount_band, utilisation_band, volatility_band):
        assert banding(low) <= banding(high)


def test_spending_volatility_is_the_coefficient_of_variation_of_six_months() -> None:
    # mean 100, deviations 50: standard deviation 50
    assert spending_volatility([50, 150, 50, 150, 50, 150]) == pytest.approx(0.5)
    assert spending_volatility([50, 150, 50, 150, 50, 150, 9_999]) == pytest.approx(0.5)
    assert spending_volatility([80, 80, 80]) == 0


@pytest.mark.parametrize("spending", [[], [10.0, 20.0], [0.0, 0.0, 0.0]])
def test_too_little_spending_has_no_pattern(spending: list[float]) -> None:
    assert spending_volatility(spending) is None


def test_calendar_numbers() -> None:
    assert day_number(datetime.date(1970, 1, 1)) == 0
    assert day_number(datetime.date(2026, 11, 22)) == 20_779
    assert month_number(datetime.date(1970, 12, 31)) == 11
    assert month_number(datetime.date(2026, 11, 22)) == 682
    assert quarter_number(datetime.date(2026, 11, 22)) == 227
    assert quarter_of_month(0) == quarter_of_month(2) == 0


@given(st.dates(datetime.date(1970, 1, 1), datetime.date(2200, 1, 1)))
def test_a_day_lies_in_its_month(day: datetime.date) -> None:
    assert month_of_day(day_number(day)) == month_number(day)
