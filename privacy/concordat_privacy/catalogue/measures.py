"""One function a signal: from a subject's evidence to a band number, 0 for unknown.

Sums of banded amounts take each band's midpoint (`AMOUNT_MIDPOINTS`); rows whose band is unknown
are left out of the sum, so a sum can be too low and never too high for want of data.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from concordat_privacy.catalogue.evidence import Evidence, reported_months, window
from concordat_privacy.catalogue.relations import Relation

Measure = Callable[[Evidence], int]

UNKNOWN: Final = 0

AMOUNT_MIDPOINTS: Final = (0, 0, 500, 2_000, 4_000, 7_500, 15_000, 35_000, 75_000, 150_000)
"""By AmountBand. The open top band counts as 150,000; unknown is never summed."""

UTILISATION_MIDPOINTS: Final = (0, 0, 50, 200, 400, 625, 825, 950, 1_100)
"""By UtilisationBand, in tenths of a percent. The open top band counts as 110 percent."""


# Bounds are the lower ends of bands 2, 3, ...
def _band(value: int, bounds: tuple[int, ...]) -> int:
    return 1 + bisect_right(bounds, value)


LENDERS_BOUNDS: Final = (1, 2, 3, 5)
ACCOUNTS_BOUNDS: Final = (1, 2, 4, 7, 11)
EXPOSURE_BOUNDS: Final = (1, 1_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
PAST_DUE_BOUNDS: Final = (1, 1_000, 3_000, 5_000, 10_000)


def lenders_open(evidence: Evidence) -> int:
    if not evidence.accounts:
        return UNKNOWN
    return _band(evidence.lenders_open, LENDERS_BOUNDS)


def open_accounts(evidence: Evidence) -> int:
    if not evidence.accounts:
        return UNKNOWN
    return _band(len(evidence.current), ACCOUNTS_BOUNDS)


def total_exposure(evidence: Evidence) -> int:
    balances = [row.balance for row in evidence.current if row.balance]
    return _sum_band(evidence, balances, EXPOSURE_BOUNDS)


def total_limit(evidence: Evidence) -> int:
    limits = [row.limit for row in evidence.current if row.limit]
    return _sum_band(evidence, limits, EXPOSURE_BOUNDS)


def past_due_total(evidence: Evidence) -> int:
    amounts = [row.past_due for row in evidence.current if row.past_due]
    return _sum_band(evidence, amounts, PAST_DUE_BOUNDS)


def _sum_band(evidence: Evidence, amounts: Sequence[int], bounds: tuple[int, ...]) -> int:
    if not amounts and (evidence.current or not evidence.accounts):
        return UNKNOWN
    return _band(sum([AMOUNT_MIDPOINTS[amount] for amount in amounts]), bounds)


def utilisation(evidence: Evidence) -> int:
    return _mean_utilisation(evidence.revolving)


def utilisation_all(evidence: Evidence) -> int:
    return _mean_utilisation(evidence.current)


def _mean_utilisation(rows: list[Relation]) -> int:
    """The band of the mean utilisation, weighted by limit.

    An account without a utilisation band counts by the midpoints of its balance and limit. One of
    unknown limit weighs next to nothing beside others, and alone counts in full.
    """
    known = [
        (AMOUNT_MIDPOINTS[row.limit] or 1, share)
        for row in rows
        if (share := _tenths_used(row)) is not None
    ]
    if not known:
        return UNKNOWN
    weight = sum([w for w, _ in known])
    used = sum([w * share for w, share in known])
    if used == 0:
        return UtilisationBand.ZERO
    if used > 1_000 * weight:
        return UtilisationBand.OVER_100
    return UtilisationBand.UNDER_10 + bisect_right((100, 300, 500, 750, 900), used // weight)


def _tenths_used(row: Relation) -> int | None:
    """Tenths of a percent of its limit that an account uses; None where not known."""
    if row.utilisation:
        return UTILISATION_MIDPOINTS[row.utilisation]
    if row.balance and row.limit > AmountBand.ZERO:
        return 1_000 * AMOUNT_MIDPOINTS[row.balance] // AMOUNT_MIDPOINTS[row.limit]
    return None


INQUIRY_BOUNDS: Final = (1, 2, 3, 5)


def inquiries(days: int, product: ProductClass | None = None) -> Measure:
    """Counts applications of the last `days` days, today included; of one product if given.

    No application on record is 0 for a subject the pool knows, and unknown for any other.
    """

    def measure(evidence: Evidence) -> int:
        if not evidence.inquiries and not evidence.accounts:
            return UNKNOWN
        first = evidence.today_day - days + 1
        recent = [row for row in evidence.inquiries if row.day >= first]
        if product is not None:
            recent = [row for row in recent if row.product is product]
        return _band(len(recent), INQUIRY_BOUNDS)

    return measure


# DaysPastDueBand to released band: 0, 1-29, 30-59, 60-89, 90+.
_RELEASED_DAYS: Final = (0, 1, 2, 2, 3, 4, 5, 5)


def worst_dpd_12m(evidence: Evidence) -> int:
    codes = [max(window(row, evidence.month, 12), default=0) for row in evidence.accounts]
    return _RELEASED_DAYS[max(codes, default=0)]


def current_dpd(evidence: Evidence) -> int:
    if evidence.accounts and not evidence.current:
        return _RELEASED_DAYS[DaysPastDueBand.CURRENT]
    return _RELEASED_DAYS[max((row.days_past_due for row in evidence.current), default=0)]


_KEEP_UNKNOWN = b"\0"
_LATE_30: Final = bytes(code >= DaysPastDueBand.FROM_30_TO_59 for code in range(256))
_LATE: Final = bytes(code >= DaysPastDueBand.FROM_1_TO_7 for code in range(256))


def count_30plus_24m(evidence: Evidence) -> int:
    windows = [window(row, evidence.month, 24) for row in evidence.accounts]
    if not any(codes.strip(_KEEP_UNKNOWN) for codes in windows):
        return UNKNOWN
    return _band(sum([_episodes(codes) for codes in windows]), (1, 2, 3))


def _episodes(codes: bytes) -> int:
    """How often a payment fell 30 days behind. An unknown month neither begins nor ends it."""
    late = codes.translate(_LATE_30, _KEEP_UNKNOWN)
    return late.count(b"\1\0") + late.endswith(b"\1")


def months_since_last_dpd(evidence: Evidence) -> int:
    months = _months_since(evidence, _LATE_30)
    if months is None:
        return 1 if reported_months(evidence.accounts) else UNKNOWN
    return 4 - bisect_right((6, 12), months)


def on_time_streak(evidence: Evidence) -> int:
    months = _months_since(evidence, _LATE)
    if months is not None:
        return _band(months, (3, 6, 12))
    reported = reported_months(evidence.accounts)
    return 5 + (reported >= 12) if reported else UNKNOWN


def _months_since(evidence: Evidence, late: bytes) -> int | None:
    """Months since the newest reported month that `late` marks, over all accounts."""
    ages = [
        evidence.month - row.as_of_month + found
        for row in evidence.accounts
        if (found := row.profile.translate(late).find(1)) >= 0
    ]
    youngest = min(ages, default=24)
    return max(youngest, 0) if youngest < 24 else None


OLDEST_MONTHS_BOUNDS: Final = (6, 12, 24, 48, 72, 120, 180, 240)
NEWEST_QUARTERS_BOUNDS: Final = (1, 2, 3, 5, 9)
NEW_BOUNDS: Final = (1, 2, 4, 6)


def oldest_account(evidence: Evidence) -> int:
    if not evidence.accounts:
        return UNKNOWN
    # An account is taken to have been opened in the middle month of its quarter.
    opened = 3 * min([row.opened_quarter for row in evidence.accounts]) + 1
    return _band(evidence.month - opened, OLDEST_MONTHS_BOUNDS)


def newest_account(evidence: Evidence) -> int:
    if not evidence.accounts:
        return UNKNOWN
    return _band(min(_ages_in_quarters(evidence)), NEWEST_QUARTERS_BOUNDS)


def new_accounts(quarters: int) -> Measure:
    """Counts accounts opened in this quarter and the `quarters` - 1 before it."""

    def measure(evidence: Evidence) -> int:
        if not evidence.accounts:
            return UNKNOWN
        return _band(sum([age < quarters for age in _ages_in_quarters(evidence)]), NEW_BOUNDS)

    return measure


def _ages_in_quarters(evidence: Evidence) -> list[int]:
    now = quarter_of_month(evidence.month)
    return [now - row.opened_quarter for row in evidence.accounts]


TOTAL_BOUNDS: Final = (2, 4, 7, 11, 21, 31)
REPAID_BOUNDS: Final = (1, 2, 4, 7, 11, 21)


def accounts_total(evidence: Evidence) -> int:
    if not evidence.accounts:
        return UNKNOWN
    return _band(len(evidence.accounts), TOTAL_BOUNDS)


def accounts_repaid(evidence: Evidence) -> int:
    if not evidence.accounts:
        return UNKNOWN
    repaid = _with_status(evidence.accounts, AccountStatus.CLOSED)
    return _band(repaid, REPAID_BOUNDS)


def adverse_ending(evidence: Evidence) -> int:
    if not evidence.accounts:
        return UNKNOWN
    if _with_status(evidence.accounts, AccountStatus.CHARGED_OFF):
        return 3
    return 2 if _with_status(evidence.accounts, AccountStatus.SETTLED_LESS) else 1


def _with_status(rows: Iterable[Relation], status: AccountStatus) -> int:
    return sum([row.status is status for row in rows])


OBLIGATION_BOUNDS: Final = (1, 1_000, 3_000, 5_000, 10_000, 20_000)
DELINQUENCY_BOUNDS: Final = (6, 12, 24, 36)

_Bands = Callable[[Evidence], Iterable[int]]


def _highest(bands: _Bands) -> Measure:
    return lambda evidence: max(bands(evidence), default=UNKNOWN)


def _lowest(bands: _Bands) -> Measure:
    """The lowest known band."""
    return lambda evidence: min((band for band in bands(evidence) if band), default=UNKNOWN)


def monthly_obligation(evidence: Evidence) -> int:
    payments = [row.scheduled_payment for row in evidence.current if row.scheduled_payment]
    return _sum_band(evidence, payments, OBLIGATION_BOUNDS)


def months_since_first_delinquency(evidence: Evidence) -> int:
    latest = max((row.first_delinquency_month for row in evidence.accounts), default=0)
    return _band(evidence.month - latest, DELINQUENCY_BOUNDS) if latest else UNKNOWN


def fraud_flag(evidence: Evidence) -> int:
    """Fraud by the subject before fraud against it, either before none."""
    flags = {row.fraud_flag for row in evidence.accounts}
    for flag in (FraudFlag.CONFIRMED, FraudFlag.VICTIM, FraudFlag.NONE):
        if flag in flags:
            return flag
    return UNKNOWN


def declined_12m(evidence: Evidence) -> int:
    """Unknown unless the outcome of an application in the time is."""
    first = evidence.today_day - 364
    outcomes = [row.outcome for row in evidence.inquiries if row.day >= first and row.outcome]
    if not outcomes:
        return UNKNOWN
    return _band(outcomes.count(ApplicationOutcome.DECLINED), INQUIRY_BOUNDS)


def invoice_dpd(evidence: Evidence) -> int:
    return _RELEASED_DAYS[max((row.invoice_days_past_due for row in evidence.trade), default=0)]


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
    "inquiries_12m": inquiries(365),
    "cash_inquiries_12m": inquiries(365, ProductClass.CASH_INSTALMENT),
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
    "worst_five_class": _highest(lambda e: (row.five_class for row in e.accounts)),
    "monthly_obligation": monthly_obligation,
    "payment_ratio": _lowest(lambda e: (row.payment_ratio for row in e.current)),
    "utilisation_trend": _highest(lambda e: (row.utilisation_trend for row in e.revolving)),
    "longest_remaining_terms": _highest(lambda e: (row.remaining_terms for row in e.current)),
    "extensions_12m": _highest(lambda e: (row.extensions for row in e.current)),
    "months_since_first_delinquency": months_since_first_delinquency,
    "fraud_flag": fraud_flag,
    "declined_12m": declined_12m,
    "spend_volatility": _highest(lambda e: (row.spend_volatility for row in e.spending)),
    "spend_spike": _highest(lambda e: (row.spend_spike for row in e.spending)),
    "scene_anomaly": _highest(lambda e: (row.scene_anomaly for row in e.spending)),
    "refund_ratio": _highest(lambda e: (row.refund_ratio for row in e.spending)),
    "income_regularity": _highest(lambda e: (row.income_regularity for row in e.spending)),
    "invoice_dpd": invoice_dpd,
    "settlement_punctuality": _lowest(lambda e: (row.settlement_punctuality for row in e.trade)),
    "buyer_concentration": _highest(lambda e: (row.buyer_concentration for row in e.trade)),
    "order_volatility": _highest(lambda e: (row.order_volatility for row in e.trade)),
    "dilution": _highest(lambda e: (row.dilution for row in e.trade)),
}
"""The measure of each signal of catalogue.toml, by name."""
