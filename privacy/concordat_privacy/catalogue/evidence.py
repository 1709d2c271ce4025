"""What signals rest on: the usable part of a subject's history, sorted out once for all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any, Final

from concordat_privacy.catalogue.bands import AccountStatus, DataCategory, ProductClass
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.definitions import BANDS, POSITION
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
_RETENTION = {status: retention_months(status) for status in AccountStatus}


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
class Accounts:
    """Some of a subject's accounts, and their bands side by side."""

    rows: Sequence[Relation]
    bands: Sequence[Sequence[int]]
    """For each attribute of `definitions.BANDS` the band of each row, 0 where unknown."""

    @classmethod
    def of(cls, rows: Sequence[Relation]) -> Accounts:
        """The accounts in the order given."""
        # Transposed once: dozens of signals then take a sum or a maximum of what stands there.
        return cls(rows, tuple(zip(*[row.bands for row in rows], strict=True))) if rows else _NONE

    def __len__(self) -> int:
        return len(self.rows)

    def as_of_month(self) -> int:
        """The newest month that any of them was reported for; 0 where there is none."""
        return max([row.as_of_month for row in self.rows], default=0)


_NONE: Final = Accounts((), ((),) * len(BANDS))


@dataclass(slots=True)
class Evidence:
    """The usable part of one subject's history on one day."""

    month: int
    """The month of that day."""
    today_day: int
    accounts: Accounts
    """Within retention; disputed ones only where they are marked, not held back."""
    current: Accounts
    """Those of `accounts` that are open now; see CURRENT_MONTHS."""
    revolving: Accounts
    spending: Accounts
    trade: Accounts
    inquiries: Sequence[Inquiry]
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
    statuses: Sequence[AccountStatus]
    """Of `accounts`."""
    opened: Sequence[int]
    """The quarters in which `accounts` were opened, in order."""
    asked: Sequence[int]
    """The days of `inquiries`, in order."""
    windows: Sequence[bytes]
    """For each of `accounts` its DaysPastDueBand codes of the last PROFILE_MONTHS months, newest
    first, as far as it reports on them."""
    worst_code: int
    """The highest of all codes that `accounts` report, however old; 0 where none is known."""
    has_disputed: bool
    """Whether a disputed account is among what the history holds, let through or not."""

    def as_of_month(self, basis: Basis) -> int:
        """The newest month of the data behind `basis`; 0 where there is none."""
        match basis:
            case Basis.ACCOUNTS:
                return self.accounts.as_of_month()
            case Basis.CURRENT:
                # That nothing is open is known from the accounts that are not.
                return (self.current if self.current.rows else self.accounts).as_of_month()
            case Basis.REVOLVING:
                return self.revolving.as_of_month()
            case Basis.SPENDING:
                return self.spending.as_of_month()
            case Basis.TRADE:
                return self.trade.as_of_month()
            case Basis.INQUIRIES:
                # That nobody reported an application says something only of a known subject.
                return month_of_day(self.asked[-1]) if self.asked else self.accounts.as_of_month()
            case Basis.CLASSIFIED:
                return self._known_as_of(self.accounts.bands[POSITION["five_class"]])
            case Basis.DELINQUENT:
                return self._known_as_of(
                    [row.first_delinquency_month for row in self.accounts.rows]
                )
            case Basis.FLAGGED:
                return self._known_as_of(self.accounts.bands[POSITION["fraud_flag"]])

    def _known_as_of(self, values: Sequence[int]) -> int:
        """The newest month of the accounts of which a value is known."""
        if not any(values):
            return 0
        known = zip(self.accounts.rows, values, strict=True)
        return max([row.as_of_month for row, value in known if value])


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
    has_disputed = False
    usable: list[_Held] = []
    opened: list[_Held] = []
    current: list[_Held] = []
    for held in history.relations:
        row = held[1]
        age, status = month - row.as_of_month, row.status
        if age > _RETENTION[status]:
            continue
        if status is AccountStatus.DISPUTED:
            has_disputed = True
            if not with_disputed:
                continue
        if age > BEHAVIOUR_RETENTION_MONTHS:
            held = held[0], row.without(BEHAVIOUR)
        usable.append(held)
        if status in _OPEN or status is AccountStatus.DISPUTED:
            opened.append(held)
            if age <= CURRENT_MONTHS:
                current.append(held)
    current = current or opened
    spending: list[_Held] = []
    trade: list[_Held] = []
    inquiries: list[tuple[int, Inquiry]] = []
    if DataCategory.SPENDING in categories:
        spending = [held for held in current if any(_SPENDING(held[1].bands))]
    if DataCategory.TRADE in categories:
        trade = [held for held in current if any(_TRADE(held[1].bands))]
    if DataCategory.INQUIRIES in categories:
        oldest = today_day - INQUIRY_RETENTION_DAYS
        inquiries = [held for held in history.inquiries if held[1].day >= oldest]
    if DataCategory.CREDIT_ACCOUNTS not in categories:
        usable, current = [], []
    rows, current_rows = _rows(usable), _rows(current)
    accounts = Accounts.of(rows)
    return Evidence(
        month=month,
        today_day=today_day,
        accounts=accounts,
        current=accounts if len(current) == len(usable) else Accounts.of(current_rows),
        revolving=Accounts.of(
            [row for row in current_rows if row.product is ProductClass.REVOLVING]
        ),
        spending=Accounts.of(_rows(spending)),
        trade=Accounts.of(_rows(trade)),
        inquiries=[inquiry for _, inquiry in inquiries],
        lenders_open=_members(current),
        lenders=_members(usable),
        spenders=_members(spending),
        inquirers=_members(inquiries),
        traders=_members(trade),
        statuses=[row.status for row in rows],
        opened=sorted([row.opened_quarter for row in rows]),
        asked=sorted([inquiry.day for _, inquiry in inquiries]),
        windows=[
            row.profile[: max(PROFILE_MONTHS - max(month - row.as_of_month, 0), 0)] for row in rows
        ],
        worst_code=max(b"".join([row.profile for row in rows]), default=0),
        has_disputed=has_disputed,
    )


_Held = tuple[int, Relation]
"""An account with the number of the member that holds it."""

_SPENDING: Final = itemgetter(*CATEGORY_POSITIONS[DataCategory.SPENDING])
_TRADE: Final = itemgetter(*CATEGORY_POSITIONS[DataCategory.TRADE])


def _rows(held: Sequence[_Held]) -> list[Relation]:
    return [row for _, row in held]


def _members(held: Sequence[tuple[int, Any]]) -> int:
    return len({member for member, _ in held})


def reported_months(accounts: Accounts) -> int:
    """Months from the oldest to the newest that the longest payment history covers."""
    return max([len(row.profile.rstrip(b"\0")) for row in accounts.rows], default=0)
