"""Simulates how one applicant's real bureau file came to be: what each lender held.

The file gives totals: accounts, balances, delinquencies, applications. Which lender held which
part, when exactly an account was opened and how a balance was spread are unknown and are drawn
here, from a fixed seed. The totals of each person stay as they are, and that is what the model's
figures rest on. Amounts are exact in this module, as they would be in a lender's own books;
`banding` turns them into what a lender contributes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from concordat import AccountStatus, ProductClass, day_number, month_number, quarter_number
from concordat_demo.data import BureauFile

MAX_DELINQUENCIES: Final = 22
_LATE_DAYS: Final = 30
"""The file counts delinquencies of 30 days and more and does not say how many days more."""
_PROFILE_MONTHS: Final = 23

# Ages at opening, in quarters. They lie well inside the file's windows of 12 and 24 months, so
# that a quarter, which is all that a lender contributes, counts on the right side.
_AGE_12_MONTHS: Final = (1, 3)
_AGE_24_MONTHS: Final = (5, 7)
_AGE_OLDER: Final = (9, 40)
_AGE_REVOLVING: Final = (12, 60)

# Ages of applications, in days, inside the windows of 6 and 12 months, and before them.
_DAYS_6_MONTHS: Final = (1, 178)
_DAYS_12_MONTHS: Final = (185, 360)
_DAYS_OLDER: Final = (370, 700)

_PLAUSIBLE_LIMIT: Final = (500, 250_000)


@dataclass(frozen=True, slots=True)
class Account:
    """One account in a lender's books, as of the end of `as_of_month`. None is not held."""

    account_ref: bytes
    as_of_month: int
    status: AccountStatus
    product: ProductClass
    opened_quarter: int
    limit: int | None
    balance: int | None
    past_due: int | None
    days_past_due: int | None
    utilisation_percent: float | None
    days_past_due_before: tuple[int, ...]
    """Days past due in the months before `as_of_month`, newest first."""


@dataclass(frozen=True, slots=True)
class Application:
    """One application for credit that a lender received."""

    application_ref: bytes
    day: int
    product: ProductClass


@dataclass(frozen=True, slots=True)
class Holding:
    """What one lender holds about one person."""

    accounts: tuple[Account, ...] = ()
    applications: tuple[Application, ...] = ()


def divide(
    file: BureauFile, *, person: int, shares: Sequence[float], today: date, seed: int
) -> tuple[Holding, ...]:
    """The holdings of the lenders, in the order of `shares`, which together make up `file`.

    `shares` are the lenders' shares of the market. Raises ValueError for more than
    MAX_DELINQUENCIES delinquencies: two years have no more months to put them in.
    """
    if file.delinq_2yrs > MAX_DELINQUENCIES:
        raise ValueError(f"{file.delinq_2yrs} delinquencies, at most {MAX_DELINQUENCIES} wanted")
    draw = _Draw(random.Random(f"{seed}/{person}"), f"{seed}/{person}", today)
    accounts = _instalment_accounts(file, draw) + _revolving_accounts(file, draw)
    accounts = _with_current_delinquency(file, draw, accounts)
    accounts = _with_past_delinquency(file, draw, accounts)
    applications = _applications(file, draw)

    lenders = range(len(shares))
    of_account = draw.random.choices(lenders, shares, k=len(accounts))
    of_application = draw.random.choices(lenders, shares, k=len(applications))
    return tuple(
        Holding(
            tuple(a for a, at in zip(accounts, of_account, strict=True) if at == lender),
            tuple(a for a, at in zip(applications, of_application, strict=True) if at == lender),
        )
        for lender in lenders
    )


class _Draw:
    """One person's random choices and references."""

    def __init__(self, source: random.Random, name: str, today: date) -> None:
        self.random = source
        self.today_day = day_number(today)
        self.quarter = quarter_number(today)
        self.last_month = month_number(today) - 1
        """The newest month that is complete."""
        self._name = name
        self._refs = 0

    def ref(self) -> bytes:
        self._refs += 1
        return hashlib.sha256(f"{self._name}/{self._refs}".encode()).digest()[:16]

    def opened(self, ages: tuple[int, int]) -> int:
        return self.quarter - self.random.randint(*ages)

    def parts(self, total: int, count: int) -> list[int]:
        """`total` in `count` uneven parts."""
        weights = [self.random.uniform(0.5, 1.5) for _ in range(count)]
        return spread(total, weights)


def spread(total: int, weights: Sequence[float]) -> list[int]:
    """`total` in whole parts in proportion to `weights`, which sum to it exactly."""
    whole = sum(weights)
    parts, reached, given = [], 0.0, 0
    for weight in weights:
        reached += weight
        upto = round(total * min(reached / whole, 1.0))
        parts.append(upto - given)
        given = upto
    return parts


def _instalment_accounts(file: BureauFile, draw: _Draw) -> list[Account]:
    """num_il_tl accounts, newest first; the newest open_il_6m of them are the active ones."""
    recent = [draw.opened(_AGE_12_MONTHS) for _ in range(file.open_il_12m)]
    middle = [draw.opened(_AGE_24_MONTHS) for _ in range(file.open_il_24m - file.open_il_12m)]
    older = [draw.opened(_AGE_OLDER) for _ in range(file.num_il_tl - file.open_il_24m)]
    opened = sorted(recent + middle + older, reverse=True)

    active = file.open_il_6m
    limits = draw.parts(file.total_il_high_credit_limit, active)
    # Each balance in proportion to its limit: the file gives only their ratio in total.
    balances = spread(file.total_bal_il, [limit + 1 for limit in limits])
    open_accounts = [
        _account(
            draw,
            product=_instalment_product(draw),
            opened_quarter=quarter,
            limit=limit,
            balance=balance,
            utilisation_percent=100 * balance / limit if limit else None,
        )
        for quarter, limit, balance in zip(opened[:active], limits, balances, strict=True)
    ]
    return open_accounts + [_repaid_account(draw, quarter) for quarter in opened[active:]]


def _instalment_product(draw: _Draw) -> ProductClass:
    return draw.random.choice((ProductClass.CASH_INSTALMENT, ProductClass.MERCHANT_INSTALMENT))


def _account(
    draw: _Draw,
    *,
    product: ProductClass,
    opened_quarter: int,
    limit: int | None,
    balance: int | None,
    utilisation_percent: float | None,
) -> Account:
    return Account(
        account_ref=draw.ref(),
        as_of_month=draw.last_month,
        status=AccountStatus.OPEN,
        product=product,
        opened_quarter=opened_quarter,
        limit=limit,
        balance=balance,
        past_due=0,
        days_past_due=0,
        utilisation_percent=utilisation_percent,
        days_past_due_before=_on_time(draw.last_month, opened_quarter),
    )


def _repaid_account(draw: _Draw, opened_quarter: int) -> Account:
    """Closed within the months that a lender goes on reporting a closed account for."""
    held = draw.last_month - 3 * opened_quarter
    closed_month = draw.last_month - draw.random.randint(0, min(17, held))
    return Account(
        account_ref=draw.ref(),
        as_of_month=closed_month,
        status=AccountStatus.CLOSED,
        product=_instalment_product(draw),
        opened_quarter=opened_quarter,
        limit=None,
        balance=0,
        past_due=0,
        days_past_due=0,
        utilisation_percent=None,
        days_past_due_before=_on_time(closed_month, opened_quarter),
    )


def _on_time(as_of_month: int, opened_quarter: int) -> tuple[int, ...]:
    return (0,) * min(_PROFILE_MONTHS, as_of_month - 3 * opened_quarter)


def _revolving_accounts(file: BureauFile, draw: _Draw) -> list[Account]:
    """One account that carries revol_util, and more only if more are delinquent than are open."""
    limit = revolving_limit(file)
    balance = None if limit is None else round(limit * file.revol_util / 100)
    first = _account(
        draw,
        product=ProductClass.REVOLVING,
        opened_quarter=draw.opened(_AGE_REVOLVING),
        limit=limit,
        balance=balance,
        utilisation_percent=file.revol_util,
    )
    more = [
        _account(
            draw,
            product=ProductClass.REVOLVING,
            opened_quarter=draw.opened(_AGE_REVOLVING),
            limit=None,
            balance=None,
            utilisation_percent=None,
        )
        for _ in range(file.acc_now_delinq - file.open_il_6m - 1)
    ]
    return [first, *more]


def revolving_limit(file: BureauFile) -> int | None:
    """The revolving limit that makes the file's three ratios agree; None where none does.

    With limits L and balances B, all_util = (B_il + B_rev) / (L_il + L_rev) and revol_util =
    B_rev / L_rev give L_rev = (all_util L_il - B_il) / (revol_util - all_util).
    """
    apart = (file.revol_util - file.all_util) / 100
    if abs(apart) < 0.01:
        return None
    limit = (file.all_util / 100 * file.total_il_high_credit_limit - file.total_bal_il) / apart
    least, most = _PLAUSIBLE_LIMIT
    return round(limit) if least <= limit <= most else None


def _with_current_delinquency(
    file: BureauFile, draw: _Draw, accounts: list[Account]
) -> list[Account]:
    """acc_now_delinq of the open accounts are late now; delinq_amnt is past due on them."""
    opened = [i for i, account in enumerate(accounts) if account.status is AccountStatus.OPEN]
    late = sorted(draw.random.sample(opened, file.acc_now_delinq))
    if not late:
        return accounts
    amounts = draw.parts(file.delinq_amnt, len(late)) if file.delinq_amnt else [None] * len(late)
    changed = list(accounts)
    for i, amount in zip(late, amounts, strict=True):
        changed[i] = replace(accounts[i], past_due=amount, days_past_due=_LATE_DAYS)
    return changed


def _with_past_delinquency(file: BureauFile, draw: _Draw, accounts: list[Account]) -> list[Account]:
    """delinq_2yrs months with a late payment, on accounts that were open all that time.

    No two of them follow each other while there is room, so that each is a delinquency of its own.
    """
    months = range(2, MAX_DELINQUENCIES + 1, 2)
    if file.delinq_2yrs > len(months):
        months = range(1, MAX_DELINQUENCIES + 1)
    candidates = [
        i
        for i, account in enumerate(accounts)
        if account.status is AccountStatus.OPEN
        and len(account.days_past_due_before) >= MAX_DELINQUENCIES
    ]
    before = {i: list(accounts[i].days_past_due_before) for i in candidates}
    for month in draw.random.sample(months, file.delinq_2yrs):
        before[draw.random.choice(candidates)][month - 1] = _LATE_DAYS
    changed = list(accounts)
    for i, days in before.items():
        changed[i] = replace(changed[i], days_past_due_before=tuple(days))
    return changed


def _applications(file: BureauFile, draw: _Draw) -> list[Application]:
    """Applications in their windows; inq_fi of them, the newest windows first, are for cash.

    A few files count more applications in 6 months than in 12, or more to finance companies than
    in 12 months: then the 6 months' count holds, and the rest lies before the 12 months.
    """
    ages = [draw.random.randint(*_DAYS_6_MONTHS) for _ in range(file.inq_last_6mths)]
    later = max(file.inq_last_12m - file.inq_last_6mths, 0)
    ages += [draw.random.randint(*_DAYS_12_MONTHS) for _ in range(later)]
    cash = set(draw.random.sample(range(len(ages)), min(file.inq_fi, len(ages))))
    older = max(file.inq_fi - len(ages), 0)
    cash |= set(range(len(ages), len(ages) + older))
    ages += [draw.random.randint(*_DAYS_OLDER) for _ in range(older)]
    return [
        Application(
            application_ref=draw.ref(),
            day=draw.today_day - age,
            product=ProductClass.CASH_INSTALMENT if i in cash else ProductClass.REVOLVING,
        )
        for i, age in enumerate(ages)
    ]
