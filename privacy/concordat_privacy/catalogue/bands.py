"""Bands: the vocabulary of contributed attributes, and how raw values fall into them.

The numbers equal those of `concordat.v1` (bands.proto, common.proto), never change their meaning,
and 0 always means "unknown". Unknown is never scored as bad. Labels and bounds are those of
catalogue.toml.

The banding functions run in the member's own process, so that raw amounts never leave it. Each
takes None for "not held" and gives the unknown band back. What is no number, a band too, raises
TypeError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Final, TypeVar

from concordat_privacy.catalogue.definitions import SCALES

Number = int | float | Decimal


class DataCategory(IntEnum):
    """Kind of data that a consent covers."""

    UNSPECIFIED = 0
    CREDIT_ACCOUNTS = 1
    INQUIRIES = 2
    SPENDING = 3
    TRADE = 4


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
    MICRO_LOAN = 8


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


class FiveClass(IntEnum):
    """Five-tier classification of loans (catalogue C10)."""

    UNSPECIFIED = 0
    NORMAL = 1
    SPECIAL_MENTION = 2
    SUBSTANDARD = 3
    DOUBTFUL = 4
    LOSS = 5


class PaymentRatioBand(IntEnum):
    """How much of what was due was paid (catalogue C13)."""

    UNSPECIFIED = 0
    NOTHING = 1
    UNDER_MINIMUM = 2
    MINIMUM = 3
    PART = 4
    FULL = 5


class TrendBand(IntEnum):
    """Change of utilisation over three months, in percentage points (catalogue C15)."""

    UNSPECIFIED = 0
    DOWN = 1
    FLAT = 2
    UP = 3
    JUMP = 4


class TermsBand(IntEnum):
    """Instalments that remain (catalogue C16)."""

    UNSPECIFIED = 0
    ZERO = 1
    FROM_1_TO_3 = 2
    FROM_4_TO_6 = 3
    FROM_7_TO_12 = 4
    FROM_13_TO_24 = 5
    FROM_25 = 6


class ExtensionsBand(IntEnum):
    """Extensions granted in twelve months (catalogue C17)."""

    UNSPECIFIED = 0
    ZERO = 1
    ONE = 2
    TWO = 3
    FROM_3 = 4


class FraudFlag(IntEnum):
    """Fraud confirmed on an account (catalogue C29)."""

    UNSPECIFIED = 0
    NONE = 1
    CONFIRMED = 2
    """By the account's holder."""
    VICTIM = 3
    """Against the account's holder: never scored as bad."""


class SpikeBand(IntEnum):
    """Spending of 30 days over the monthly mean of the five months before (catalogue C23)."""

    UNSPECIFIED = 0
    UNDER_50 = 1
    FROM_50_TO_150 = 2
    FROM_150_TO_300 = 3
    OVER_300 = 4


class AnomalyBand(IntEnum):
    """Departure of where money is spent from the account's own pattern (catalogue C24)."""

    UNSPECIFIED = 0
    LOW = 1
    MID = 2
    HIGH = 3
    CASH_LIKE = 4


class RefundBand(IntEnum):
    """Purchases refunded or charged back, in percent (catalogue C26)."""

    UNSPECIFIED = 0
    UNDER_2 = 1
    FROM_2_TO_5 = 2
    FROM_5_TO_15 = 3
    OVER_15 = 4


class IncomeRegularity(IntEnum):
    """Regularity of income (catalogue C27)."""

    UNSPECIFIED = 0
    NONE = 1
    IRREGULAR = 2
    REGULAR = 3


class PunctualityBand(IntEnum):
    """Merchant settlements and invoices paid on time, in percent."""

    UNSPECIFIED = 0
    UNDER_80 = 1
    FROM_80_TO_95 = 2
    FROM_95_TO_99 = 3
    OVER_99 = 4


class ConcentrationBand(IntEnum):
    """Herfindahl-Hirschman index of sales by buyer (catalogue C31)."""

    UNSPECIFIED = 0
    UNDER_15 = 1
    FROM_15_TO_25 = 2
    FROM_25_TO_50 = 3
    OVER_50 = 4


class DilutionBand(IntEnum):
    """Invoices reduced by returns and credit notes, in percent (catalogue C33)."""

    UNSPECIFIED = 0
    UNDER_2 = 1
    FROM_2_TO_5 = 2
    FROM_5_TO_10 = 3
    OVER_10 = 4


class ApplicationOutcome(IntEnum):
    """How an application was decided (catalogue C19)."""

    UNSPECIFIED = 0
    APPROVED = 1
    DECLINED = 2
    WITHDRAWN = 3


BAND_TYPES: Final[Mapping[str, type[IntEnum]]] = {
    kind.__name__: kind
    for kind in (
        AccountStatus,
        ProductClass,
        AmountBand,
        DaysPastDueBand,
        UtilisationBand,
        VolatilityBand,
        FiveClass,
        PaymentRatioBand,
        TrendBand,
        TermsBand,
        ExtensionsBand,
        FraudFlag,
        SpikeBand,
        AnomalyBand,
        RefundBand,
        IncomeRegularity,
        PunctualityBand,
        ConcentrationBand,
        DilutionBand,
        ApplicationOutcome,
    )
}
"""The enumeration of each scale of the catalogue."""

BAND_LABELS: Final[Mapping[type[IntEnum], tuple[str, ...]]] = {
    BAND_TYPES[name]: scale.labels for name, scale in SCALES.items()
}
"""Band names; the label of band b stands at position b - 1."""

MIN_VOLATILITY_MONTHS = 3
VOLATILITY_MONTHS = 6

_Band = TypeVar("_Band", bound=IntEnum)


def band_of(kind: type[_Band], value: Number | None) -> _Band:
    """The band of a raw value, in the unit of its scale in catalogue.toml; None is unknown.

    Raises:
        TypeError: for what is no number, a band too; for a scale of codes.
        ValueError: for what is not finite, and below 0 unless the scale has bands there.
    """
    scale = SCALES[kind.__name__]
    if not scale.bounds:
        raise TypeError(f"{kind.__name__} has codes, not bounds: name one")
    if value is None:
        return kind(0)
    _check(value, scale.unit, scale.signed)
    return kind(scale.band(value))


def amount_band(amount: Number | None) -> AmountBand:
    """The band of an amount in whole units of currency. Raises ValueError below 0."""
    return band_of(AmountBand, amount)


def days_past_due_band(days: int | None) -> DaysPastDueBand:
    """The band of a number of days past due. Raises ValueError below 0."""
    return band_of(DaysPastDueBand, days)


def utilisation_band(percent: Number | None) -> UtilisationBand:
    """The band of balance over limit in percent (100 = all used). Raises ValueError below 0."""
    return band_of(UtilisationBand, percent)


def volatility_band(coefficient: Number | None) -> VolatilityBand:
    """The band of a coefficient of variation (1 = 100 percent). Raises ValueError below 0."""
    return band_of(VolatilityBand, coefficient)


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


def _check(value: Number, unit: str, signed: bool) -> None:
    # Both are numbers to Python. A band taken for an amount would fall into another band.
    if isinstance(value, bool | Enum):
        raise TypeError(f"{value!r} is given, a number of {unit} is wanted")
    if not math.isfinite(value):
        raise ValueError(f"{value} {unit}: a finite number is wanted")
    if value < 0 and not signed:
        raise ValueError(f"{value} {unit}: at least 0 is wanted")
