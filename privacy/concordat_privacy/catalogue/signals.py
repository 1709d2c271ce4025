"""The released signals: what a consented lookup says about a subject.

Adding a signal is one function and one entry of `SIGNALS`.

A result never tells which member a signal comes from. The rule that keeps it so: **a result stays
the same, byte for byte, when the members' numbers are exchanged for others.** Nothing is released
by member or by account. Member numbers are compared with each other and with nothing else, to
count distinct lenders and to grade coverage. Property tests hold `compute` to it. What no rule
can hide: in a consortium of two, whatever is not one's own is the other's.

Other rules:

- A disputed account is left out of every signal at once.
- Unknown bands are left out, never taken for bad. A signal that rests on nothing known is
  NOT_FOUND, which is not negative.
- A report past its retention is left out (24 months; five years after an adverse ending).
- "Now" is judged from reports at most `CURRENT_MONTHS` old. Where there are only older ones, they
  are used and the signal is STALE.
- A spending pattern needs three months of history, else SUPPRESSED.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from concordat_privacy.catalogue import measures
from concordat_privacy.catalogue.bands import (
    BAND_LABELS,
    MIN_VOLATILITY_MONTHS,
    DataCategory,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.evidence import (
    CURRENT_MONTHS,
    Basis,
    Evidence,
    gather,
    reported_months,
)
from concordat_privacy.catalogue.measures import Measure
from concordat_privacy.catalogue.relations import History
from concordat_privacy.catalogue.rows import ADVERSE_RETENTION_MONTHS

CATALOGUE_VERSION: Final = 1


class SignalStatus(IntEnum):
    """State of one signal. Numbers equal those of concordat.v1."""

    UNSPECIFIED = 0
    PRESENT = 1
    NOT_FOUND = 2
    SUPPRESSED = 3
    STALE = 4
    NO_CONSENT = 5


class Coverage(IntEnum):
    """How much stands behind the signals of a category. Numbers equal those of concordat.v1."""

    UNSPECIFIED = 0
    THIN = 1
    PARTIAL = 2
    FULL = 3


class SignalValue(NamedTuple):
    """One signal of one subject."""

    name: str
    band: int
    """From 1; 0 unless status is PRESENT or STALE."""
    label: str
    """The band in words; empty where band is 0."""
    as_of_month: int
    """Newest month of the data behind it, counted from 1970-01; 0 where band is 0."""
    coverage: Coverage
    status: SignalStatus


@dataclass(frozen=True, slots=True)
class SignalDefinition:
    """One signal of the catalogue."""

    name: str
    labels: tuple[str, ...]
    """The label of band b stands at position b - 1."""
    category: DataCategory
    """What the lookup's consent must cover."""
    basis: Basis
    max_age_months: int
    """Months after which the signal is STALE."""
    reason_en: str
    """Says what was judged, specifically enough for an adverse action notice (Regulation B,
    12 CFR 1002.9(b)(2); CFPB Circular 2023-03) once the band is added: see `reason`."""
    reason_zh: str
    measure: Measure
    min_months: int = 0
    """Months of history without which the signal is SUPPRESSED."""

    def reason(self, band: int) -> str:
        """The reason with its specific band, in English."""
        return f"{self.reason_en}: {self.labels[band - 1]}"

    def reason_in_chinese(self, band: int) -> str:
        """The reason with its specific band, in Chinese."""
        return f"{self.reason_zh}\uff1a{self.labels[band - 1]}"


_LENDERS = ("0", "1", "2", "3-4", "5+")
_ACCOUNTS = ("0", "1", "2-3", "4-6", "7-10", "11+")
_EXPOSURE = (
    "0",
    "<1k",
    "1k-3k",
    "3k-5k",
    "5k-10k",
    "10k-20k",
    "20k-50k",
    "50k-100k",
    "100k-200k",
    "200k+",
)
_INQUIRIES = ("0", "1", "2", "3-4", "5+")
_NEW = ("0", "1", "2-3", "4-5", "6+")
_DAYS = ("0", "1-29", "30-59", "60-89", "90+")

_HISTORY_MONTHS: Final = 12
_RETAINED_MONTHS: Final = 24


def _inquiries(name: str, days: int, en: str, zh: str) -> SignalDefinition:
    return SignalDefinition(
        name,
        _INQUIRIES,
        DataCategory.INQUIRIES,
        Basis.INQUIRIES,
        _RETAINED_MONTHS,
        f"Number of applications for credit in the last {en}",
        f"近{zh}信贷申请次数",
        measures.inquiries(days),
    )


def _account(
    name: str,
    labels: tuple[str, ...],
    basis: Basis,
    max_age_months: int,
    en: str,
    zh: str,
    measure: Measure,
) -> SignalDefinition:
    return SignalDefinition(
        name, labels, DataCategory.CREDIT_ACCOUNTS, basis, max_age_months, en, zh, measure
    )


SIGNALS: Final[tuple[SignalDefinition, ...]] = (
    _account(
        "lenders_open",
        _LENDERS,
        Basis.CURRENT,
        CURRENT_MONTHS,
        "Number of lenders with which accounts are open",
        "有未结清账户的放贷机构数",
        measures.lenders_open,
    ),
    _account(
        "open_accounts",
        _ACCOUNTS,
        Basis.CURRENT,
        CURRENT_MONTHS,
        "Number of open credit accounts",
        "在贷账户数",
        measures.open_accounts,
    ),
    _account(
        "total_exposure",
        _EXPOSURE,
        Basis.CURRENT,
        CURRENT_MONTHS,
        "Total balance owed on open credit accounts",
        "未结清账户余额合计",
        measures.total_exposure,
    ),
    _account(
        "total_limit",
        _EXPOSURE,
        Basis.CURRENT,
        CURRENT_MONTHS,
        "Total of credit limits and original amounts on open accounts",
        "未结清账户授信额度合计",
        measures.total_limit,
    ),
    _account(
        "utilisation",
        BAND_LABELS[UtilisationBand],
        Basis.REVOLVING,
        CURRENT_MONTHS,
        "Proportion of balances to limits on revolving accounts",
        "循环账户额度使用率",
        measures.utilisation,
    ),
    _account(
        "utilisation_all",
        BAND_LABELS[UtilisationBand],
        Basis.CURRENT,
        CURRENT_MONTHS,
        "Proportion of balances to limits or original amounts on all open accounts",
        "全部未结清账户余额占额度或原始金额的比例",
        measures.utilisation_all,
    ),
    _inquiries("inquiries_7d", 7, "7 days", "7天"),
    _inquiries("inquiries_30d", 30, "30 days", "30天"),
    _inquiries("inquiries_90d", 90, "90 days", "90天"),
    _inquiries("inquiries_180d", 180, "180 days", "180天"),
    _inquiries("inquiries_12m", 365, "12 months", "12个月"),
    SignalDefinition(
        "cash_inquiries_12m",
        _INQUIRIES,
        DataCategory.INQUIRIES,
        Basis.INQUIRIES,
        _RETAINED_MONTHS,
        "Number of applications for cash instalment loans in the last 12 months",
        "近12个月现金分期贷款申请次数",
        measures.inquiries(365, ProductClass.CASH_INSTALMENT),
    ),
    _account(
        "worst_dpd_12m",
        _DAYS,
        Basis.ACCOUNTS,
        _HISTORY_MONTHS,
        "Most days past due on any account in the last 12 months",
        "近12个月任一账户最长逾期天数",
        measures.worst_dpd_12m,
    ),
    _account(
        "current_dpd",
        _DAYS,
        Basis.CURRENT,
        CURRENT_MONTHS,
        "Days past due now on an open account",
        "未结清账户当前逾期天数",
        measures.current_dpd,
    ),
    _account(
        "past_due_total",
        ("0", "<1k", "1k-3k", "3k-5k", "5k-10k", "10k+"),
        Basis.CURRENT,
        CURRENT_MONTHS,
        "Total amount past due now on open accounts",
        "未结清账户当前逾期金额合计",
        measures.past_due_total,
    ),
    _account(
        "count_30plus_24m",
        ("0", "1", "2", "3+"),
        Basis.ACCOUNTS,
        _HISTORY_MONTHS,
        "Number of times a payment fell 30 or more days past due in the last 24 months",
        "近24个月逾期30天以上次数",
        measures.count_30plus_24m,
    ),
    _account(
        "months_since_last_dpd",
        ("none in 24", "12-23", "6-11", "0-5"),
        Basis.ACCOUNTS,
        _HISTORY_MONTHS,
        "Months since a payment was last 30 or more days past due",
        "距最近一次逾期30天以上的月数",
        measures.months_since_last_dpd,
    ),
    _account(
        "oldest_account",
        ("<6m", "6-12m", "1-2y", "2-4y", "4-6y", "6-10y", "10-15y", "15-20y", "20y+"),
        Basis.ACCOUNTS,
        _RETAINED_MONTHS,
        "Time since the oldest account was opened",
        "最早账户开立至今的时间",
        measures.oldest_account,
    ),
    _account(
        "newest_account",
        ("0", "1", "2", "3-4", "5-8", "9+"),
        Basis.ACCOUNTS,
        _RETAINED_MONTHS,
        "Quarters since the newest account was opened",
        "最近账户开立至今的季度数",
        measures.newest_account,
    ),
    _account(
        "new_accounts_12m",
        _NEW,
        Basis.ACCOUNTS,
        _RETAINED_MONTHS,
        "Number of accounts opened in this quarter and the three before",
        "本季度及前三个季度新开账户数",
        measures.new_accounts(4),
    ),
    _account(
        "new_accounts_24m",
        _NEW,
        Basis.ACCOUNTS,
        _RETAINED_MONTHS,
        "Number of accounts opened in this quarter and the seven before",
        "本季度及前七个季度新开账户数",
        measures.new_accounts(8),
    ),
    _account(
        "accounts_total",
        ("1", "2-3", "4-6", "7-10", "11-20", "21-30", "31+"),
        Basis.ACCOUNTS,
        _RETAINED_MONTHS,
        "Number of credit accounts on record",
        "有记录的信贷账户数",
        measures.accounts_total,
    ),
    _account(
        "accounts_repaid",
        ("0", "1", "2-3", "4-6", "7-10", "11-20", "21+"),
        Basis.ACCOUNTS,
        _RETAINED_MONTHS,
        "Number of accounts repaid in full and closed",
        "已全额还清并结清的账户数",
        measures.accounts_repaid,
    ),
    _account(
        "on_time_streak",
        ("<3", "3-5", "6-11", "12-23", "never late in <12", "never late in 12+"),
        Basis.ACCOUNTS,
        _HISTORY_MONTHS,
        "Months since a payment was last past due, over the months reported",
        "距最近一次逾期的月数（以已报送月份计）",
        measures.on_time_streak,
    ),
    _account(
        "adverse_ending",
        ("none", "settled for less", "charged off"),
        Basis.ACCOUNTS,
        ADVERSE_RETENTION_MONTHS,
        "How an account on record ended short of full repayment",
        "有记录账户未全额偿还的结束方式",
        measures.adverse_ending,
    ),
    SignalDefinition(
        "spend_volatility",
        BAND_LABELS[VolatilityBand],
        DataCategory.SPENDING,
        Basis.SPENDING,
        CURRENT_MONTHS,
        "Variation of monthly spending over six months (standard deviation over mean)",
        "近6个月月度消费波动（标准差与均值之比）",
        measures.spend_volatility,
        min_months=MIN_VOLATILITY_MONTHS,
    ),
)
"""All signals, in the order of every answer."""

_BY_NAME: Final = {definition.name: definition for definition in SIGNALS}


def definition_of(name: str) -> SignalDefinition:
    """The signal called `name`. Raises KeyError."""
    return _BY_NAME[name]


def compute(
    history: History,
    today_day: int,
    categories: Collection[DataCategory],
    names: Collection[str] | None = None,
) -> list[SignalValue]:
    """The signals of one subject on the day `today_day`, in catalogue order.

    `categories` are those that the lookup's consent covers; signals of others come back as
    NO_CONSENT and nothing is computed for them. `names` picks signals; None means all, names that
    the catalogue does not have are passed over. `history` must hold only what its contributors
    may share now (`relations.restrict`).
    """
    evidence = gather(history, today_day, categories)
    coverage = {category: _coverage(evidence, category) for category in DataCategory}
    as_of = {basis: evidence.as_of_month(basis) for basis in Basis}
    return [
        _value(definition, evidence, as_of[definition.basis], coverage[definition.category])
        if definition.category in categories
        else _without_band(definition, Coverage.UNSPECIFIED, SignalStatus.NO_CONSENT)
        for definition in SIGNALS
        if names is None or definition.name in names
    ]


def _value(
    definition: SignalDefinition, evidence: Evidence, as_of_month: int, coverage: Coverage
) -> SignalValue:
    band = int(definition.measure(evidence))
    if band == measures.UNKNOWN:
        return _without_band(definition, coverage, SignalStatus.NOT_FOUND)
    if definition.min_months and reported_months(evidence.spending) < definition.min_months:
        return _without_band(definition, coverage, SignalStatus.SUPPRESSED)
    stale = evidence.month - as_of_month > definition.max_age_months
    return SignalValue(
        definition.name,
        band,
        definition.labels[band - 1],
        as_of_month,
        coverage,
        SignalStatus.STALE if stale else SignalStatus.PRESENT,
    )


def _without_band(
    definition: SignalDefinition, coverage: Coverage, status: SignalStatus
) -> SignalValue:
    return SignalValue(definition.name, 0, "", 0, coverage, status)


def _coverage(evidence: Evidence, category: DataCategory) -> Coverage:
    """Members and months behind a category, as concordat.v1 grades them."""
    if category is DataCategory.CREDIT_ACCOUNTS:
        return _grade(evidence.lenders, reported_months(evidence.accounts))
    if category is DataCategory.SPENDING:
        return _grade(evidence.spenders, reported_months(evidence.spending))
    if category is DataCategory.INQUIRIES and evidence.inquiries:
        oldest = min([inquiry.day for inquiry in evidence.inquiries])
        return _grade(evidence.inquirers, (evidence.today_day - oldest) // 30)
    if category is DataCategory.INQUIRIES and evidence.accounts:
        return Coverage.THIN
    return Coverage.UNSPECIFIED


def _grade(members: int, months: int) -> Coverage:
    if members == 0:
        return Coverage.UNSPECIFIED
    if members == 1 or months < 3:
        return Coverage.THIN
    if members == 2 or months < 12:
        return Coverage.PARTIAL
    return Coverage.FULL
