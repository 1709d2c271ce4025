"""One function a signal: from a subject's evidence to a band number, 0 for unknown.

It is asked only where there is something of the signal's basis (`evidence.AS_OF_MONTH`): where
there is nothing, a signal is not found whatever its measure says. What several signals need is made
once, by `evidence.gather`.

Sums of banded amounts take each band's midpoint (`AMOUNT_MIDPOINTS`); rows whose band is unknown
are left out of the sum, so a sum can be too low and never too high for want of data.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    ApplicationOutcome,
    DaysPastDueBand,
    FraudFlag,
    ProductClass,
    UtilisationBand,
)
from concordat_privacy.catalogue.calendar import quarter_of_month
from concordat_privacy.catalogue.evidence import Accounts, Evidence, bands_of, worst_of
from concordat_privacy.catalogue.relations import PROFILE_MONTHS

Measure = Callable[[Evidence], int]

UNKNOWN: Final = 0

AMOUNT_MIDPOINTS: Final = (0, 0, 500, 2_000, 4_000, 7_500, 15_000, 35_000, 75_000, 150_000)
"""By AmountBand. The open top band counts as 150,000; unknown is never summed."""

UTILISATION_MIDPOINTS: Final = (0, 0, 50, 200, 400, 625, 825, 950, 1_100)
"""By UtilisationBand, in tenths of a percent. The open top band counts as 110 percent."""


LIMIT: Final = bands_of("limit")
BALANCE: Final = bands_of("balance")
PAST_DUE: Final = bands_of("past_due")
DAYS_PAST_DUE: Final = bands_of("days_past_due")
UTILISATION: Final = bands_of("utilisation")
SCHEDULED_PAYMENT: Final = bands_of("scheduled_payment")
FRAUD_FLAG: Final = bands_of("fraud_flag")
INVOICE_DAYS_PAST_DUE: Final = bands_of("invoice_days_past_due")


_YEAR_DAYS: Final = 365
_YEAR_MONTHS: Final = 12


# Bounds are the lower ends of bands 2, 3, ...
def _band(value: int, bounds: tuple[int, ...]) -> int:
    return 1 + bisect_right(bounds, value)


LENDERS_BOUNDS: Final = (1, 2, 3, 5)
ACCOUNTS_BOUNDS: Final = (1, 2, 4, 7, 11)
EXPOSURE_BOUNDS: Final = (1, 1_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
PAST_DUE_BOUNDS: Final = (1, 1_000, 3_000, 5_000, 10_000)


def lenders_open(evidence: Evidence) -> int:
    return _band(evidence.current.members, LENDERS_BOUNDS)


def open_accounts(evidence: Evidence) -> int:
    return _band(len(evidence.current), ACCOUNTS_BOUNDS)


def total_exposure(evidence: Evidence) -> int:
    return _sum_band(evidence.current.bands[BALANCE], EXPOSURE_BOUNDS)


def total_limit(evidence: Evidence) -> int:
    return _sum_band(evidence.current.bands[LIMIT], EXPOSURE_BOUNDS)


def past_due_total(evidence: Evidence) -> int:
    return _sum_band(evidence.current.bands[PAST_DUE], PAST_DUE_BOUNDS)


def _sum_band(amounts: Sequence[int], bounds: tuple[int, ...]) -> int:
    """The band of the sum over open accounts; without one it is nothing."""
    if amounts and not any(amounts):
        return UNKNOWN
    return _band(sum([AMOUNT_MIDPOINTS[amount] for amount in amounts]), bounds)


def utilisation(evidence: Evidence) -> int:
    return _mean_utilisation(evidence.revolving)


def utilisation_all(evidence: Evidence) -> int:
    return _mean_utilisation(evidence.current)


def _mean_utilisation(accounts: Accounts) -> int:
    """The band of the mean utilisation, weighted by limit.

    An account without a utilisation band counts by the midpoints of its balance and limit. One of
    unknown limit weighs next to nothing beside others, and alone counts in full.
    """
    bands = accounts.bands
    weight = used = 0
    for limit, balance, band in zip(bands[LIMIT], bands[BALANCE], bands[UTILISATION], strict=True):
        if band:
            tenths = UTILISATION_MIDPOINTS[band]
        elif balance and limit > AmountBand.ZERO:
            tenths = 1_000 * AMOUNT_MIDPOINTS[balance] // AMOUNT_MIDPOINTS[limit]
        else:
            continue
        weighs = AMOUNT_MIDPOINTS[limit] or 1
        weight += weighs
        used += weighs * tenths
    if not weight:
        return UNKNOWN
    if used == 0:
        return UtilisationBand.ZERO
    if used > 1_000 * weight:
        return UtilisationBand.OVER_100
    return UtilisationBand.UNDER_10 + bisect_right((100, 300, 500, 750, 900), used // weight)


INQUIRY_BOUNDS: Final = (1, 2, 3, 5)


def inquiries(days: int) -> Measure:
    """Counts applications of the last `days` days, today included.

    No application on record is 0 for a subject the pool knows, and unknown for any other.
    """

    def measure(evidence: Evidence) -> int:
        asked = evidence.asked
        return _band(len(asked) - bisect_left(asked, evidence.today_day - days + 1), INQUIRY_BOUNDS)

    return measure


def cash_inquiries_12m(evidence: Evidence) -> int:
    first = evidence.today_day - _YEAR_DAYS + 1
    cash = ProductClass.CASH_INSTALMENT
    recent = [row for row in evidence.inquiries if row.product is cash and row.day >= first]
    return _band(len(recent), INQUIRY_BOUNDS)


# DaysPastDueBand to released band: 0, 1-29, 30-59, 60-89, 90+.
_RELEASED_DAYS: Final = (0, 1, 2, 2, 3, 4, 5, 5)


def worst_dpd_12m(evidence: Evidence) -> int:
    # From the end, which is the same month in every window, as the beginning is not.
    recent = b"".join([codes[: _YEAR_MONTHS - PROFILE_MONTHS] for codes in evidence.windows])
    return _RELEASED_DAYS[worst_of(recent)]


def current_dpd(evidence: Evidence) -> int:
    codes = evidence.current.bands[DAYS_PAST_DUE]
    return _RELEASED_DAYS[max(codes) if codes else DaysPastDueBand.CURRENT]


_KEEP_UNKNOWN = b"\0"
_BETWEEN: Final = bytes([DaysPastDueBand.CURRENT])
_LATE: Final[Mapping[int, bytes]] = {
    at_least: bytes(code >= at_least for code in range(256))
    for at_least in (DaysPastDueBand.FROM_1_TO_7, DaysPastDueBand.FROM_30_TO_59)
}
_LATE_30: Final = _LATE[DaysPastDueBand.FROM_30_TO_59]


def count_30plus_24m(evidence: Evidence) -> int:
    """How often a payment fell 30 days behind. An unknown month neither begins nor ends it."""
    # A month between two accounts, in which nothing is late: no stretch runs on into the next.
    codes = _BETWEEN.join(evidence.windows).translate(_LATE_30, _KEEP_UNKNOWN) + b"\0"
    if len(codes) == len(evidence.windows):
        return UNKNOWN
    return _band(codes.count(b"\1\0"), (1, 2, 3))


def months_since_last_dpd(evidence: Evidence) -> int:
    """From band 1, never in the months reported, to band 4, in the last six."""
    months = _months_since(evidence, DaysPastDueBand.FROM_30_TO_59)
    if months is None:
        return 1 if evidence.worst_code else UNKNOWN
    return 4 - bisect_right((6, 12), months)


def on_time_streak(evidence: Evidence) -> int:
    """Bands 5 and 6: never late, in a history of less than a year, or a year or more."""
    months = _months_since(evidence, DaysPastDueBand.FROM_1_TO_7)
    if months is not None:
        return _band(months, (3, 6, 12))
    if not evidence.months:
        return UNKNOWN
    return 6 if evidence.months >= _YEAR_MONTHS else 5


def _months_since(evidence: Evidence, code: int) -> int | None:
    """Months since the newest reported month with this code or worse, over all accounts."""
    if evidence.worst_code < code:
        return None
    late = _LATE[code]
    ages = [
        evidence.month - row.as_of_month + found
        for row in evidence.accounts.rows
        if (found := row.profile.translate(late).find(1)) >= 0
    ]
    youngest = min(ages, default=PROFILE_MONTHS)
    return max(youngest, 0) if youngest < PROFILE_MONTHS else None


OLDEST_MONTHS_BOUNDS: Final = (6, 12, 24, 48, 72, 120, 180, 240)
NEWEST_QUARTERS_BOUNDS: Final = (1, 2, 3, 5, 9)
NEW_BOUNDS: Final = (1, 2, 4, 6)


def oldest_account(evidence: Evidence) -> int:
    # An account is taken to have been opened in the middle month of its quarter.
    opened = 3 * evidence.opened[0] + 1
    return _band(evidence.month - opened, OLDEST_MONTHS_BOUNDS)


def newest_account(evidence: Evidence) -> int:
    age = quarter_of_month(evidence.month) - evidence.opened[-1]
    return _band(age, NEWEST_QUARTERS_BOUNDS)


def new_accounts(quarters: int) -> Measure:
    """Counts accounts opened in this quarter and the `quarters` - 1 before it."""

    def measure(evidence: Evidence) -> int:
        last_old = quarter_of_month(evidence.month) - quarters
        return _band(len(evidence.opened) - bisect_right(evidence.opened, last_old), NEW_BOUNDS)

    return measure


TOTAL_BOUNDS: Final = (2, 4, 7, 11, 21, 31)
REPAID_BOUNDS: Final = (1, 2, 4, 7, 11, 21)


def accounts_total(evidence: Evidence) -> int:
    return _band(len(evidence.accounts), TOTAL_BOUNDS)


def accounts_repaid(evidence: Evidence) -> int:
    return _band(evidence.statuses.count(AccountStatus.CLOSED), REPAID_BOUNDS)


def adverse_ending(evidence: Evidence) -> int:
    """The worst of all: charged off before settled for less, before neither."""
    if AccountStatus.CHARGED_OFF in evidence.statuses:
        return 3
    return 2 if AccountStatus.SETTLED_LESS in evidence.statuses else 1


OBLIGATION_BOUNDS: Final = (1, 1_000, 3_000, 5_000, 10_000, 20_000)
DELINQUENCY_BOUNDS: Final = (6, 12, 24, 36)


def _highest(of: str, attribute: str) -> Measure:
    """The highest band of an attribute among the accounts that `Evidence` has by a name."""
    accounts, bands_at = attrgetter(of), bands_of(attribute)

    def measure(evidence: Evidence) -> int:
        bands: bytes = accounts(evidence).bands[bands_at]
        return max(bands) if bands else UNKNOWN

    return measure


def _lowest(of: str, attribute: str) -> Measure:
    """As `_highest`, the lowest known band."""
    accounts, bands_at = attrgetter(of), bands_of(attribute)

    def measure(evidence: Evidence) -> int:
        known = accounts(evidence).bands[bands_at].translate(None, _KEEP_UNKNOWN)
        return min(known) if known else UNKNOWN

    return measure


def monthly_obligation(evidence: Evidence) -> int:
    return _sum_band(evidence.current.bands[SCHEDULED_PAYMENT], OBLIGATION_BOUNDS)


def months_since_first_delinquency(evidence: Evidence) -> int:
    latest = max([row.first_delinquency_month for row in evidence.accounts.rows])
    return _band(evidence.month - latest, DELINQUENCY_BOUNDS)


def fraud_flag(evidence: Evidence) -> int:
    """Fraud by the subject before fraud against it, either before none."""
    flags = evidence.accounts.bands[FRAUD_FLAG]
    for flag in (FraudFlag.CONFIRMED, FraudFlag.VICTIM, FraudFlag.NONE):
        if flag in flags:
            return flag
    return UNKNOWN


def declined_12m(evidence: Evidence) -> int:
    """Unknown unless the outcome of an application in the time is."""
    first = evidence.today_day - _YEAR_DAYS + 1
    outcomes = [row.outcome for row in evidence.inquiries if row.day >= first and row.outcome]
    if not outcomes:
        return UNKNOWN
    return _band(outcomes.count(ApplicationOutcome.DECLINED), INQUIRY_BOUNDS)


def invoice_dpd(evidence: Evidence) -> int:
    return _RELEASED_DAYS[max(evidence.trade.bands[INVOICE_DAYS_PAST_DUE])]


MEASURES: Final[Mapping[str, Measure]] = {
    "lenders_open": lenders_open,
    "open_accounts": open_accounts,
    "total_exposure": total_exposure,
    "total_limit": total_limit,
    "utilisation": utilisation,
    "utilisation_all": utilisation_all,
    "inquiries_7d": inquiries(7),
    "inquiries_30d": inquiries(30),
    "inquiries_90d": inquiries(90),
    "inquiries_180d": inquiries(180),
    "inquiries_12m": inquiries(_YEAR_DAYS),
    "cash_inquiries_12m": cash_inquiries_12m,
    "worst_dpd_12m": worst_dpd_12m,
    "current_dpd": current_dpd,
    "past_due_total": past_due_total,
    "count_30plus_24m": count_30plus_24m,
    "months_since_last_dpd": months_since_last_dpd,
    "oldest_account": oldest_account,
    "newest_account": newest_account,
    "new_accounts_12m": new_accounts(4),
    "new_accounts_24m": new_accounts(8),
    "accounts_total": accounts_total,
    "accounts_repaid": accounts_repaid,
    "on_time_streak": on_time_streak,
    "adverse_ending": adverse_ending,
    "worst_five_class": _highest("accounts", "five_class"),
    "monthly_obligation": monthly_obligation,
    "payment_ratio": _lowest("current", "payment_ratio"),
    "utilisation_trend": _highest("revolving", "utilisation_trend"),
    "longest_remaining_terms": _highest("current", "remaining_terms"),
    "extensions_12m": _highest("current", "extensions"),
    "months_since_first_delinquency": months_since_first_delinquency,
    "fraud_flag": fraud_flag,
    "declined_12m": declined_12m,
    "spend_volatility": _highest("spending", "spend_volatility"),
    "spend_spike": _highest("spending", "spend_spike"),
    "scene_anomaly": _highest("spending", "scene_anomaly"),
    "refund_ratio": _highest("spending", "refund_ratio"),
    "income_regularity": _highest("spending", "income_regularity"),
    "invoice_dpd": invoice_dpd,
    "settlement_punctuality": _lowest("trade", "settlement_punctuality"),
    "buyer_concentration": _highest("trade", "buyer_concentration"),
    "order_volatility": _highest("trade", "order_volatility"),
    "dilution": _highest("trade", "dilution"),
}
"""The measure of each signal of catalogue.toml, by name."""
