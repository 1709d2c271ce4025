"""The simulated division of a bureau file among lenders keeps the person's totals."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat import AccountStatus, ProductClass, day_number, month_number, quarter_number
from concordat_demo.banding import records
from concordat_demo.data import BureauFile
from concordat_demo.split import Account, Application, Holding, divide, revolving_limit, spread
from concordat_privacy.catalogue.rows import problems

SHARES = (0.4, 0.3, 0.2, 0.1)
DAYS = st.dates(min_value=date(2020, 1, 1), max_value=date(2035, 12, 31))


@st.composite
def bureau_files(draw: st.DrawFn) -> BureauFile:
    accounts = draw(st.integers(0, 40))
    opened_24_months = draw(st.integers(0, accounts))
    active = draw(st.integers(0, accounts))
    return BureauFile(
        num_il_tl=accounts,
        open_il_6m=active,
        open_il_12m=draw(st.integers(0, opened_24_months)),
        open_il_24m=opened_24_months,
        total_bal_il=draw(st.integers(0, 600_000)),
        total_il_high_credit_limit=draw(st.integers(0, 600_000)),
        revol_util=draw(st.floats(0, 150)),
        all_util=draw(st.integers(0, 200)),
        delinq_2yrs=draw(st.integers(0, 22)),
        acc_now_delinq=draw(st.integers(0, 3)),
        delinq_amnt=draw(st.integers(0, 50_000)),
        inq_last_6mths=draw(st.integers(0, 8)),
        inq_last_12m=draw(st.integers(0, 30)),
        inq_fi=draw(st.integers(0, 20)),
    )


def together(holdings: tuple[Holding, ...]) -> tuple[list[Account], list[Application]]:
    return (
        [account for holding in holdings for account in holding.accounts],
        [application for holding in holdings for application in holding.applications],
    )


@given(file=bureau_files(), today=DAYS, person=st.integers(0, 10_000))
def test_account_totals_are_the_files(file: BureauFile, today: date, person: int) -> None:
    accounts, _ = together(divide(file, person=person, shares=SHARES, today=today, seed=1))
    instalment = [a for a in accounts if a.product is not ProductClass.REVOLVING]
    still_open = [a for a in instalment if a.status is AccountStatus.OPEN]
    age = {a.account_ref: quarter_number(today) - a.opened_quarter for a in instalment}

    assert len(instalment) == file.num_il_tl
    assert len(still_open) == file.open_il_6m
    assert sum(quarters <= 3 for quarters in age.values()) == file.open_il_12m
    assert sum(quarters <= 7 for quarters in age.values()) == file.open_il_24m
    if still_open:
        assert sum(a.balance or 0 for a in still_open) == file.total_bal_il
        assert sum(a.limit or 0 for a in still_open) == file.total_il_high_credit_limit


@given(file=bureau_files(), today=DAYS, person=st.integers(0, 10_000))
def test_delinquencies_are_the_files(file: BureauFile, today: date, person: int) -> None:
    accounts, _ = together(divide(file, person=person, shares=SHARES, today=today, seed=1))
    late_now = [a for a in accounts if a.days_past_due]
    late_before = [days for a in accounts for days in a.days_past_due_before if days]

    assert len(late_now) == file.acc_now_delinq
    assert len(late_before) == file.delinq_2yrs
    assert min(late_before, default=30) >= 30
    if late_now and file.delinq_amnt:
        assert sum(a.past_due or 0 for a in late_now) == file.delinq_amnt


@given(file=bureau_files(), today=DAYS, person=st.integers(0, 10_000))
def test_applications_are_the_files(file: BureauFile, today: date, person: int) -> None:
    _, applications = together(divide(file, person=person, shares=SHARES, today=today, seed=1))
    ages = [day_number(today) - application.day for application in applications]
    cash = [a for a in applications if a.product is ProductClass.CASH_INSTALMENT]

    assert sum(0 <= age < 180 for age in ages) == file.inq_last_6mths
    assert sum(0 <= age < 365 for age in ages) == max(file.inq_last_12m, file.inq_last_6mths)
    assert len(cash) == file.inq_fi


@given(file=bureau_files(), today=DAYS, person=st.integers(0, 10_000))
def test_every_row_is_one_that_the_catalogue_takes(
    file: BureauFile, today: date, person: int
) -> None:
    for holding in divide(file, person=person, shares=SHARES, today=today, seed=1):
        for record in records(holding):
            assert problems(record, day_number(today)) == []


@given(file=bureau_files(), today=DAYS)
def test_the_same_seed_gives_the_same_division(file: BureauFile, today: date) -> None:
    first, again, other = (
        divide(file, person=7, shares=SHARES, today=today, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    refs = {account.account_ref for account in together(first)[0]}
    assert refs.isdisjoint(account.account_ref for account in together(other)[0])


@given(file=bureau_files(), today=DAYS)
def test_no_reference_is_used_twice(file: BureauFile, today: date) -> None:
    refs = []
    for person in (1, 2):
        accounts, applications = together(
            divide(file, person=person, shares=SHARES, today=today, seed=1)
        )
        refs += [a.account_ref for a in accounts] + [a.application_ref for a in applications]
    assert len(set(refs)) == len(refs)


@given(file=bureau_files(), today=DAYS)
def test_reports_are_of_complete_months_only(file: BureauFile, today: date) -> None:
    accounts, _ = together(divide(file, person=7, shares=SHARES, today=today, seed=1))
    assert all(account.as_of_month < month_number(today) for account in accounts)
    newest = [a for a in accounts if a.status is AccountStatus.OPEN]
    assert {account.as_of_month for account in newest} == {month_number(today) - 1}


@given(total=st.integers(0, 10**7), weights=st.lists(st.floats(0.5, 1.5), min_size=1, max_size=50))
def test_spread_loses_nothing(total: int, weights: list[float]) -> None:
    parts = spread(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    assert min(parts) >= 0


def file_with(**fields: int | float) -> BureauFile:
    empty = dict.fromkeys(BureauFile.__slots__, 0)
    return BureauFile(**{**empty, **fields})  # type: ignore[arg-type]  # int and float fields in one mapping


def test_the_revolving_limit_makes_the_ratios_agree() -> None:
    # 10,000 of 20,000 on instalments and 9,000 of 10,000 revolving: 19,000 of 30,000 in all.
    file = file_with(
        num_il_tl=1,
        open_il_6m=1,
        total_bal_il=10_000,
        total_il_high_credit_limit=20_000,
        revol_util=90,
        all_util=100 * 19_000 / 30_000,
    )
    assert revolving_limit(file) == 10_000


@pytest.mark.parametrize(
    ("revol_util", "all_util"),
    [(50, 50), (50, 90), (90, 50.01)],
    ids=["no difference", "negative limit", "limit too small"],
)
def test_ratios_that_no_plausible_limit_explains_give_none(
    revol_util: float, all_util: float
) -> None:
    file = file_with(
        num_il_tl=1,
        open_il_6m=1,
        total_bal_il=10_000,
        total_il_high_credit_limit=20_000,
        revol_util=revol_util,
        all_util=all_util,
    )
    assert revolving_limit(file) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"num_il_tl": 1, "open_il_6m": 2},
        {"num_il_tl": 3, "open_il_24m": 1, "open_il_12m": 2},
        {"inq_fi": -1},
    ],
)
def test_a_file_that_contradicts_itself_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        file_with(**fields)


def test_more_delinquencies_than_months_are_refused() -> None:
    with pytest.raises(ValueError, match="23 delinquencies"):
        divide(file_with(delinq_2yrs=23), person=1, shares=SHARES, today=date(2026, 11, 1), seed=1)
