"""Bands: the vocabulary of contributed attributes, and how raw values fall into them.

The numbers equal those of `concordat.v1` (bands.proto, common.proto), never change their meaning,
and 0 always means "unknown". Unknown is never scored as bad. Lower bounds are inclusive.

The banding functions run in the member's own process, so that raw amounts never leave it. Each
takes None for "not held" and gives the unknown band back. What is no number, a band too, raises
TypeError.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum, IntEnum

Number = int | float | Decimal


class DataCategory(IntEnum):
    """Kind of data that a consent covers."""

    UNSPECIFIED = 0
    CREDIT_ACCOUNTS = 1
    INQUIRIES = 2
    SPENDING = 3


class AccountStatus(IntEnum):
    """State of an account (catalogue C01)."""

    UNSPECIFIED = 0
    OPEN = 1
    CLOSED = 2
    SETTLED_LESS = 3
    CHARGED_OFF = 4
    SOLD = 5
    RESTRUCTURED = 6
    DISPUTED = 7


class ProductClass(IntEnum):
    """Kind of credit (catalogue C02)."""

    UNSPECIFIED = 0
    PAY_IN_N = 1
    CASH_INSTALMENT = 2
    REVOLVING = 3
    MERCHANT_INSTALMENT = 4
    SUPPLY_CHAIN = 5
    GUARANTEE = 6
    MORTGAGE = 7


class AmountBand(IntEnum):
    """Amount in whole units of the consortium's currency (catalogue C04)."""

    UNSPECIFIED = 0
    ZERO = 1
    UNDER_1K = 2
    FROM_1K_TO_3K = 3
    FROM_3K_TO_5K = 4
    FROM_5K_TO_10K = 5
    FROM_10K_TO_20K = 6
    FROM_20K_TO_50K = 7
    FROM_50K_TO_100K = 8
    OVER_100K = 9


class DaysPastDueBand(IntEnum):
    """Days past due (catalogue C08)."""

    UNSPECIFIED = 0
    CURRENT = 1
    FROM_1_TO_7 = 2
    FROM_8_TO_29 = 3
    FROM_30_TO_59 = 4
    FROM_60_TO_89 = 5
    FROM_90_TO_179 = 6
    FROM_180 = 7


class UtilisationBand(IntEnum):
    """Balance over limit, in percent (catalogue C14)."""

    UNSPECIFIED = 0
    ZERO = 1
    UNDER_10 = 2
    FROM_10_TO_30 = 3
    FROM_30_TO_50 = 4
    FROM_50_TO_75 = 5
    FROM_75_TO_90 = 6
    FROM_90_TO_100 = 7
    OVER_100 = 8


class VolatilityBand(IntEnum):
    """Coefficient of variation of monthly spending over six months (catalogue C22)."""

    UNSPECIFIED = 0
    UNDER_25 = 1
    FROM_25_TO_50 = 2
    FROM_50_TO_100 = 3
    OVER_100 = 4


BAND_LABELS: Mapping[type[IntEnum], tuple[str, ...]] = {
    AccountStatus: (
        "open",
        "closed, repaid in full",
        "settled for less",
        "charged off",
        "sold",
        "restructured",
        "disputed",
    ),
    ProductClass: (
        "pay in n",
        "cash instalment",
        "revolving",
        "merchant instalment",
        "supply chain",
        "guarantee",
        "mortgage",
    ),
    AmountBand: (
        "0",
        "<1k",
        "1k-3k",
        "3k-5k",
        "5k-10k",
        "10k-20k",
        "20k-50k",
        "50k-100k",
        "100k+",
    ),
    DaysPastDueBand: ("0", "1-7", "8-29", "30-59", "60-89", "90-179", "180+"),
    UtilisationBand: ("0%", "<10%", "10-30%", "30-50%", "50-75%", "75-90%", "90-100%", ">100%"),
    VolatilityBand: ("<0.25", "0.25-0.5", "0.5-1", "1+"),
}
"""Band names; the label of band b stands at position b - 1."""

_AMOUNT_BOUNDS = (1_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000)
_DAYS_BOUNDS = (1, 8, 30, 60, 90, 180)
_UTILISATION_BOUNDS = (10, 30, 50, 75, 90)
_VOLATILITY_BOUNDS = (0.25, 0.5, 1)

MIN_VOLATILITY_MONTHS = 3
VOLATILITY_MONTHS = 6


def amount_band(amount: Number | None) -> AmountBand:
    """The band of an amount in whole units of currency. Raises ValueError below 0."""
    if amount is None:
        return AmountBand.UNSPECIFIED
    _check(amount, "amount")
    if amount == 0:
        return AmountBand.ZERO
    return AmountBand(AmountBand.UNDER_1K + bisect_right(_AMOUNT_BOUNDS, amount))


def days_past_due_band(days: int | None) -> DaysPastDueBand:
    """The band of a number of days past due. Raises ValueError below 0."""
    if days is None:
        return DaysPastDueBand.UNSPECIFIED
    _check(days, "days past due")
    return DaysPastDueBand(DaysPastDueBand.CURRENT + bisect_right(_DAYS_BOUNDS, days))


def utilisation_band(percent: Number | None) -> UtilisationBand:
    """The band of balance over limit in percent (100 = all used). Raises ValueError below 0."""
    if percent is None:
        return UtilisationBand.UNSPECIFIED
    _check(percent, "utilisation")
    if percent == 0:
        return UtilisationBand.ZERO
    if percent > 100:
        return UtilisationBand.OVER_100
    return UtilisationBand(UtilisationBand.UNDER_10 + bisect_right(_UTILISATION_BOUNDS, percent))


def volatility_band(coefficient: Number | None) -> VolatilityBand:
    """The band of a coefficient of variation (1 = 100 percent). Raises ValueError below 0."""
    if coefficient is None:
        return VolatilityBand.UNSPECIFIED
    _check(coefficient, "coefficient of variation")
    return VolatilityBand(VolatilityBand.UNDER_25 + bisect_right(_VOLATILITY_BOUNDS, coefficient))


def spending_volatility(monthly_spending: Sequence[float]) -> float | None:
    """The coefficient of variation of the last six months' spending, newest first.

    Population standard deviation over mean. None where fewer than three months are given or
    nothing was spent: too little to speak of a pattern.
    """
    window = monthly_spending[:VOLATILITY_MONTHS]
    if len(window) < MIN_VOLATILITY_MONTHS:
        return None
    mean = math.fsum(window) / len(window)
    if mean <= 0:
        return None
    return math.sqrt(math.fsum((month - mean) ** 2 for month in window) / len(window)) / mean


def _check(value: Number, what: str) -> None:
    # Both are numbers to Python. A band taken for an amount would fall into another band.
    if isinstance(value, bool | Enum):
        raise TypeError(f"{what} is {value!r}, a number is wanted")
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}, a finite number is wanted")
    if value < 0:
        raise ValueError(f"{what} is {value}, at least 0 is wanted")
