"""What signals rest on: the usable part of a subject's history, sorted out once for all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    DataCategory,
    DaysPastDueBand,
    ProductClass,
)
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.definitions import BANDS, POSITION
from concordat_privacy.catalogue.relations import (
    CATEGORY_POSITIONS,
    History,
    Inquiry,
    Relation,
)
from concordat_privacy.catalogue.retention import Cutoffs, trimmed
from concordat_privacy.catalogue.rows import (
    ADVERSE_STATUSES,
    BEHAVIOUR_RETENTION_MONTHS,
    INQUIRY_RETENTION_DAYS,
    retention_months,
)

CURRENT_MONTHS: Final = 3
"""Reports up to this old say what is so now. Snapshots are monthly and come in after the month."""

# By number: an enumeration's members take long to look up in a set or a dictionary.
_IS_OPEN: Final = [
    # Disputed ones are, where they are let through.
    status in (AccountStatus.OPEN, AccountStatus.RESTRUCTURED, AccountStatus.DISPUTED)
    for status in AccountStatus
]
_RETENTION: Final = [retention_months(status) for status in AccountStatus]


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
    bands: bytes
    """The packed bands of all rows, one after another. `bands[bands_of("balance")]` are the rows'
    bands of that attribute, 0 where unknown."""
    as_of_month: int
    """The newest month that any of them was reported for; 0 where there is none."""
    members: int
    """Distinct members behind them."""

    @classmethod
    def of(cls, held: Sequence[_Held]) -> Accounts:
        """The accounts in the order given."""
        if not held:
            return _NONE
        members, rows = zip(*held, strict=True)
        # Dozens of signals take a sum or a maximum of one attribute: a slice of this.
        bands = b"".join([row.bands for row in rows])
        return cls(rows, bands, max([row.as_of_month for row in rows]), len(set(members)))

    def __len__(self) -> int:
        return len(self.rows)


_Held = tuple[int, Relation]
"""An account with the number of the member that holds it."""

_NONE: Final = Accounts((), b"", 0, 0)


def bands_of(attribute: str) -> slice:
    """Where in `Accounts.bands` those of an attribute lie. Raises KeyError."""
    return slice(POSITION[attribute], None, len(BANDS))


_FIVE_CLASS: Final = bands_of("five_class")
_FRAUD_FLAG: Final = bands_of("fraud_flag")


@dataclass(slots=True)
class Evidence:
    """The usable part of one subject's history on one day."""

    month: int
    """The month of that day, counted from January 1970."""
    today_day: int
    """The day, counted from 1970-01-01."""
    accounts: Accounts
    """Within retention; disputed ones only where they are marked, not held back."""
    current: Accounts
    """Those of `accounts` that are open now; see CURRENT_MONTHS."""
    revolving: Accounts
    spending: Accounts
    trade: Accounts
    inquiries: Sequence[Inquiry]
    """Within retention."""
    inquirers: int
    """Distinct members behind `inquiries`."""
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
    months: int
    """As many as the longest payment history among `accounts` covers."""
    has_disputed: bool
    """Whether a disputed account is among what the history holds, let through or not."""


def _known_as_of(accounts: Accounts, values: Sequence[int]) -> int:
    """The newest month of the accounts of which a value is known."""
    if not any(values):
        return 0
    known = zip(accounts.rows, values, strict=True)
    return max([row.as_of_month for row, value in known if value])


AS_OF_MONTH: Final[Mapping[Basis, Callable[[Evidence], int]]] = {
    Basis.ACCOUNTS: lambda e: e.accounts.as_of_month,
    # That nothing is open is known from the accounts that are not.
    Basis.CURRENT: lambda e: e.current.as_of_month or e.accounts.as_of_month,
    Basis.REVOLVING: lambda e: e.revolving.as_of_month,
    Basis.SPENDING: lambda e: e.spending.as_of_month,
    Basis.TRADE: lambda e: e.trade.as_of_month,
    # That nobody reported an application says something only of a known subject.
    Basis.INQUIRIES: lambda e: month_of_day(e.asked[-1]) if e.asked else e.accounts.as_of_month,
    Basis.CLASSIFIED: lambda e: _known_as_of(e.accounts, e.accounts.bands[_FIVE_CLASS]),
    Basis.DELINQUENT: lambda e: _known_as_of(
        e.accounts, [row.first_delinquency_month for row in e.accounts.rows]
    ),
    Basis.FLAGGED: lambda e: _known_as_of(e.accounts, e.accounts.bands[_FRAUD_FLAG]),
}
"""The newest month of the data behind a basis; 0 where there is none."""


def gather(
    history: History,
    today_day: int,
    categories: Collection[DataCategory],
    *,
    with_disputed: bool = False,
    cutoffs: Cutoffs | None = None,
) -> Evidence:
    """The evidence that a history holds on `today_day`, of the categories consented to.

    What is not consented to does not show anywhere, not even in whether the subject is known.
    `with_disputed`: disputed accounts count as open ones. `cutoffs`: those of that day by
    which the gateway deletes; what they delete is no evidence, deleted yet or not. None: those of
    where no policy is named.
    """
    month = month_of_day(today_day)
    if cutoffs is None:
        cutoffs = Cutoffs.unnamed(month, today_day)
    oldest_delinquency = cutoffs.delinquency_month
    has_disputed = False
    usable: list[_Held] = []
    open_ones: list[_Held] = []
    current: list[_Held] = []
    for held in history.relations:
        row = held[1]
        age, status = month - row.as_of_month, row.status
        if age > _RETENTION[status]:
            continue
        # Where no such clock runs, the first comparison decides.
        first = row.first_delinquency_month
        if first < oldest_delinquency and first and status in ADVERSE_STATUSES:
            continue
        if status is AccountStatus.DISPUTED:
            has_disputed = True
            if not with_disputed:
                continue
        if age > BEHAVIOUR_RETENTION_MONTHS:
            held = held[0], trimmed(row, cutoffs)
        usable.append(held)
        if _IS_OPEN[status]:
            open_ones.append(held)
            if age <= CURRENT_MONTHS:
                current.append(held)
    # Of an account that went silent the last that was heard: those signals are STALE.
    current = current or open_ones
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
    accounts = Accounts.of(usable)
    rows = accounts.rows
    profiles = [row.profile for row in rows]
    return Evidence(
        month=month,
        today_day=today_day,
        accounts=accounts,
        current=accounts if len(current) == len(usable) else Accounts.of(current),
        revolving=Accounts.of(
            [held for held in current if held[1].product is ProductClass.REVOLVING]
        ),
        spending=Accounts.of(spending),
        trade=Accounts.of(trade),
        inquiries=[inquiry for _, inquiry in inquiries],
        inquirers=len({member for member, _ in inquiries}),
        statuses=[row.status for row in rows],
        opened=sorted([row.opened_quarter for row in rows]),
        asked=sorted([inquiry.day for _, inquiry in inquiries]),
        windows=[
            row.profile[:-age] if (age := month - row.as_of_month) > 0 else row.profile
            for row in rows
        ],
        worst_code=worst_of(b"".join(profiles)),
        months=longest(profiles),
        has_disputed=has_disputed,
    )


_SPENDING: Final = CATEGORY_POSITIONS[DataCategory.SPENDING].of
_TRADE: Final = CATEGORY_POSITIONS[DataCategory.TRADE].of


def worst_of(codes: bytes) -> int:
    """The highest of some DaysPastDueBand codes; 0 where none is known."""
    late = codes.translate(None, _ON_TIME)
    return max(late) if late else int(_CURRENT in codes)


_CURRENT: Final = bytes([DaysPastDueBand.CURRENT])
_ON_TIME: Final = bytes([DaysPastDueBand.UNSPECIFIED]) + _CURRENT


def longest(profiles: Sequence[bytes]) -> int:
    """Months from the oldest to the newest that the longest of some payment histories covers."""
    return max([len(profile.rstrip(b"\0")) for profile in profiles]) if profiles else 0
