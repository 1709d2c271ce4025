"""What signals rest on: the usable part of a subject's history, sorted out once for all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final

from concordat_privacy.catalogue.bands import AccountStatus, DataCategory, ProductClass
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.relations import (
    CATEGORY_POSITIONS,
    PROFILE_MONTHS,
    History,
    Inquiry,
    Relation,
)
from concordat_privacy.catalogue.retention import BEHAVIOUR
from concordat_privacy.catalogue.rows import (
    BEHAVIOUR_RETENTION_MONTHS,
    INQUIRY_RETENTION_DAYS,
    retention_months,
)

CURRENT_MONTHS: Final = 3
"""Reports up to this old say what is so now. Snapshots are monthly and come in after the month."""

_OPEN = frozenset({AccountStatus.OPEN, AccountStatus.RESTRUCTURED})


class Basis(Enum):
    """Which part of the evidence a signal rests on."""

    ACCOUNTS = "all accounts"
    CURRENT = "open accounts"
    REVOLVING = "open revolving accounts"
    SPENDING = "accounts with a known spending pattern"
    INQUIRIES = "applications"
    CLASSIFIED = "accounts with a known five-tier class"
    DELINQUENT = "accounts with a known first delinquency"
    FLAGGED = "accounts checked for fraud"
    TRADE = "accounts with known trade"


@dataclass(slots=True)
class Evidence:
    """The usable part of one subject's history on one day."""

    month: int
    """The month of that day."""
    today_day: int
    accounts: list[Relation]
    """Within retention; disputed ones only where they are marked, not held back."""
    current: list[Relation]
    """Those of `accounts` that are open now; see CURRENT_MONTHS."""
    revolving: list[Relation]
    spending: list[Relation]
    trade: list[Relation]
    inquiries: list[Inquiry]
    """Within retention."""
    lenders_open: int
    """Distinct members behind `current`."""
    lenders: int
    """Distinct members behind `accounts`."""
    spenders: int
    """Distinct members behind `spending`."""
    inquirers: int
    """Distinct members behind `inquiries`."""
    traders: int
    """Distinct members behind `trade`."""

    def as_of_month(self, basis: Basis) -> int:
        """The newest month of the data behind `basis`; 0 where there is none."""
        if basis is Basis.INQUIRIES and self.inquiries:
            return month_of_day(max([inquiry.day for inquiry in self.inquiries]))
        return max((row.as_of_month for row in self.rows(basis)), default=0)

    def rows(self, basis: Basis) -> list[Relation]:
        """The accounts that show how old what stands behind `basis` is."""
        match basis:
            case Basis.ACCOUNTS:
                return self.accounts
            case Basis.CURRENT:
                # That nothing is open is known from the accounts that are not.
                return self.current or self.accounts
            case Basis.REVOLVING:
                return self.revolving
            case Basis.SPENDING:
                return self.spending
            case Basis.TRADE:
                return self.trade
            case Basis.INQUIRIES:
                # That nobody reported an application says something only of a known subject.
                return self.accounts
            case Basis.CLASSIFIED:
                return [row for row in self.accounts if row.five_class]
            case Basis.DELINQUENT:
                return [row for row in self.accounts if row.first_delinquency_month]
            case Basis.FLAGGED:
                return [row for row in self.accounts if row.fraud_flag]


def gather(
    history: History,
    today_day: int,
    categories: Collection[DataCategory],
    *,
    with_disputed: bool = False,
) -> Evidence:
    """The evidence that a history holds on `today_day`, of the categories consented to.

    What is not consented to does not show anywhere, not even in whether the subject is known.
    `with_disputed`: disputed accounts count as open ones.
    """
    month = month_of_day(today_day)
    usable = [
        (member, _recent(row, month))
        for member, row in history.relations
        if (with_disputed or row.status is not AccountStatus.DISPUTED)
        and month - row.as_of_month <= retention_months(row.status)
    ]
    # Only with_disputed lets any through.
    opened = [
        (member, row)
        for member, row in usable
        if row.status in _OPEN or row.status is AccountStatus.DISPUTED
    ]
    current = [
        (member, row) for member, row in opened if month - row.as_of_month <= CURRENT_MONTHS
    ] or opened
    spending = [(m, row) for m, row in current if _has(row, DataCategory.SPENDING)]
    trade = [(m, row) for m, row in current if _has(row, DataCategory.TRADE)]
    inquiries = [
        (member, inquiry)
        for member, inquiry in history.inquiries
        if today_day - inquiry.day <= INQUIRY_RETENTION_DAYS
    ]
    if DataCategory.CREDIT_ACCOUNTS not in categories:
        usable, current = [], []
    if DataCategory.SPENDING not in categories:
        spending = []
    if DataCategory.TRADE not in categories:
        trade = []
    if DataCategory.INQUIRIES not in categories:
        inquiries = []
    return Evidence(
        month=month,
        today_day=today_day,
        accounts=[row for _, row in usable],
        current=[row for _, row in current],
        revolving=[row for _, row in current if row.product is ProductClass.REVOLVING],
        spending=[row for _, row in spending],
        trade=[row for _, row in trade],
        inquiries=[inquiry for _, inquiry in inquiries],
        lenders_open=len({member for member, _ in current}),
        lenders=len({member for member, _ in usable}),
        spenders=len({member for member, _ in spending}),
        inquirers=len({member for member, _ in inquiries}),
        traders=len({member for member, _ in trade}),
    )


def is_disputed(history: History, today_day: int) -> bool:
    """Whether a disputed account is among what a history holds on `today_day`."""
    month = month_of_day(today_day)
    return any(
        row.status is AccountStatus.DISPUTED
        and month - row.as_of_month <= retention_months(row.status)
        for _, row in history.relations
    )


def _recent(row: Relation, month: int) -> Relation:
    """A row without bands of behaviour that are past their retention."""
    return row.without(BEHAVIOUR) if month - row.as_of_month > BEHAVIOUR_RETENTION_MONTHS else row


def _has(row: Relation, category: DataCategory) -> bool:
    return any(row.bands[at] for at in CATEGORY_POSITIONS[category])


def reported_months(rows: list[Relation]) -> int:
    """Months from the oldest to the newest that the longest payment history among `rows` covers."""
    return max((len(row.profile.rstrip(b"\0")) for row in rows), default=0)


def window(row: Relation, month: int, months: int) -> bytes:
    """The codes of the `months` months up to and including `month` that a row reports on."""
    age = max(month - row.as_of_month, 0)
    return row.profile[: max(min(months, PROFILE_MONTHS) - age, 0)]
