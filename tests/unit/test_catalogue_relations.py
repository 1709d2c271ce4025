"""What is kept of an account does not depend on the order in which reports come in."""

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    DataCategory,
    DaysPastDueBand,
    ProductClass,
    VolatilityBand,
)
from concordat_privacy.catalogue.packing import account_numbers, pack_row
from concordat_privacy.catalogue.relations import (
    History,
    Inquiry,
    Relation,
    correct_numbers,
    merge,
    restrict,
)
from concordat_privacy.catalogue.rows import AccountSnapshot

BASE = 600

snapshots = st.builds(
    AccountSnapshot,
    account_ref=st.just(bytes(16)),
    as_of_month=st.integers(BASE, BASE + 40),
    status=st.sampled_from([s for s in AccountStatus if s]),
    product=st.just(ProductClass.REVOLVING),
    opened_quarter=st.just(100),
    days_past_due=st.sampled_from(DaysPastDueBand),
    payment_profile=st.lists(st.integers(0, 7), max_size=23).map(bytes),
)


def snapshot(month: int, code: int, profile: list[int] | None = None) -> AccountSnapshot:
    return AccountSnapshot(
        account_ref=bytes(16),
        as_of_month=month,
        status=AccountStatus.OPEN,
        product=ProductClass.REVOLVING,
        opened_quarter=100,
        days_past_due=DaysPastDueBand(code),
        payment_profile=bytes(profile or []),
    )


def merged(rows: list[AccountSnapshot]) -> Relation:
    start: Relation | None = None
    relation = reduce(merge, rows, start)
    assert relation is not None
    return relation


def test_months_line_up_by_their_own_number() -> None:
    relation = merged([snapshot(BASE, 4, [1, 2]), snapshot(BASE + 3, 1, [1])])
    # newest first: BASE+3, +2 (from the newer profile), +1 unknown, then the older report
    assert relation.profile == bytes([1, 1, 0, 4, 1, 2]).ljust(24, b"\0")
    assert relation.as_of_month == BASE + 3


def test_an_older_report_fills_gaps_and_changes_nothing_else() -> None:
    newer = merged([replace(snapshot(BASE + 3, 1), status=AccountStatus.CLOSED)])
    both = merge(newer, snapshot(BASE, 4))
    assert both.status is AccountStatus.CLOSED
    assert both.profile == bytes([1, 0, 0, 4]).ljust(24, b"\0")


def test_a_second_report_of_a_month_corrects_the_first() -> None:
    wrong, right = snapshot(BASE, 6), snapshot(BASE, 1)
    assert merged([wrong, right]).profile[0] == 1
    assert merged([right, wrong]).profile[0] == 6


def test_the_milder_of_two_reports_about_an_earlier_month_counts() -> None:
    assert merged([snapshot(BASE, 6), snapshot(BASE + 1, 1, [2])]).profile[1] == 2
    assert merged([snapshot(BASE, 2), snapshot(BASE + 1, 1, [6])]).profile[1] == 2


def test_a_report_too_old_for_the_window_leaves_no_trace() -> None:
    newer = merged([snapshot(BASE + 40, 1)])
    assert merge(newer, snapshot(BASE, 6, [6] * 23)) == newer


@given(st.lists(snapshots, min_size=1, max_size=6, unique_by=lambda s: s.as_of_month), st.randoms())
def test_the_order_of_different_months_does_not_matter(
    rows: list[AccountSnapshot], order: object
) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a Random
    assert merged(shuffled) == merged(rows)


@given(st.lists(snapshots, min_size=1, max_size=6, unique_by=lambda s: s.as_of_month))
def test_publishing_a_batch_again_changes_nothing(rows: list[AccountSnapshot]) -> None:
    assert merged([*rows, *rows]) == merged(rows)


def delinquent(month: int, first: int, **values: Any) -> AccountSnapshot:
    row = replace(snapshot(month, 0), status=AccountStatus.CHARGED_OFF)
    return replace(row, first_delinquency_month=first, **values)


def in_order(month: int, **values: Any) -> AccountSnapshot:
    return replace(snapshot(month, DaysPastDueBand.CURRENT), **values)


def first_of(rows: list[AccountSnapshot]) -> int:
    return merged(rows).first_delinquency_month


def test_a_later_report_does_not_make_a_delinquency_younger() -> None:
    first = delinquent(BASE, BASE - 5)
    assert first_of([first, delinquent(BASE + 1, BASE + 1)]) == BASE - 5
    # Nor one that says nothing of when it began, nor one of the same month.
    assert first_of([first, delinquent(BASE + 1, 0)]) == BASE - 5
    assert first_of([first, delinquent(BASE, BASE)]) == BASE - 5
    assert first_of([first, delinquent(BASE + 1, BASE - 6)]) == BASE - 6
    # It began while the account was open.
    late = replace(snapshot(BASE, DaysPastDueBand.FROM_90_TO_179), first_delinquency_month=BASE - 3)
    assert first_of([late, delinquent(BASE + 3, BASE + 3)]) == BASE - 3


def test_a_sale_or_a_dispute_does_not_end_a_delinquency() -> None:
    for status in (AccountStatus.SOLD, AccountStatus.DISPUTED):
        between = in_order(BASE + 1, status=status)
        rows = [delinquent(BASE, BASE - 5), between, delinquent(BASE + 2, BASE + 2)]
        assert first_of(rows) == BASE - 5


@pytest.mark.parametrize(
    "over",
    [
        in_order(BASE + 1),
        in_order(BASE + 1, status=AccountStatus.RESTRUCTURED),
        snapshot(BASE + 1, 0, None),
    ],
    ids=["current", "restructured", "unknown"],
)
def test_a_delinquency_is_over_when_the_account_is_reported_in_order(
    over: AccountSnapshot,
) -> None:
    known = over.days_past_due is DaysPastDueBand.CURRENT
    rows = [delinquent(BASE, BASE - 5), over]
    # What is not known is no sign of order.
    assert first_of(rows) == (0 if known else BASE - 5)
    rows.append(delinquent(BASE + 9, BASE + 4))
    assert first_of(rows) == (BASE + 4 if known else BASE - 5)


def test_an_account_repaid_in_full_is_in_order() -> None:
    closed = replace(snapshot(BASE + 1, 0), status=AccountStatus.CLOSED)
    assert first_of([delinquent(BASE, BASE - 5), closed]) == 0


stays_delinquent = st.builds(
    AccountSnapshot,
    account_ref=st.just(bytes(16)),
    as_of_month=st.integers(BASE, BASE + 40),
    status=st.sampled_from([s for s in AccountStatus if s and s is not AccountStatus.CLOSED]),
    product=st.just(ProductClass.REVOLVING),
    opened_quarter=st.just(100),
    days_past_due=st.sampled_from([d for d in DaysPastDueBand if d is not DaysPastDueBand.CURRENT]),
    first_delinquency_month=st.just(0) | st.integers(BASE - 90, BASE),
)
any_report = snapshots.flatmap(
    lambda row: st.builds(
        lambda first: replace(row, first_delinquency_month=first),
        st.just(0) | st.integers(BASE - 90, BASE),
    )
)


def different_months(
    rows: st.SearchStrategy[AccountSnapshot],
) -> st.SearchStrategy[list[AccountSnapshot]]:
    return st.lists(rows, min_size=1, max_size=6, unique_by=lambda row: row.as_of_month)


@given(different_months(stays_delinquent), st.randoms())
def test_of_an_account_that_stays_delinquent_the_earliest_month_counts_in_any_order(
    rows: list[AccountSnapshot], order: Any
) -> None:
    named = [row.first_delinquency_month for row in rows if row.first_delinquency_month]
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert first_of(shuffled) == min(named, default=0)
    assert merged(shuffled) == merged(rows)


@given(different_months(any_report), st.randoms())
def test_no_order_of_arrival_makes_a_delinquency_younger_than_the_order_of_months(
    rows: list[AccountSnapshot], order: Any
) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    ordered = first_of(sorted(rows, key=lambda row: row.as_of_month))
    arrived = first_of(shuffled)
    assert (0 < arrived <= ordered) if ordered else True
    # All else is the same.
    assert replace(merged(shuffled), first_delinquency_month=0) == replace(
        merged(rows), first_delinquency_month=0
    )


@given(different_months(any_report))
def test_reports_that_come_again_do_not_make_a_delinquency_younger(
    rows: list[AccountSnapshot],
) -> None:
    ordered = sorted(rows, key=lambda row: row.as_of_month)
    once, twice = first_of(ordered), first_of([*ordered, *ordered])
    assert (0 < twice <= once) if once else True


def test_a_correction_says_anew_when_a_delinquency_began() -> None:
    held, earlier, later = (
        account_numbers(pack_row(row))
        for row in (
            delinquent(BASE, BASE - 5),
            delinquent(BASE - 2, BASE - 9),
            delinquent(BASE, BASE - 3),
        )
    )
    assert held is not None
    assert earlier is not None
    assert later is not None
    assert correct_numbers(held, later).first_delinquency_month == BASE - 3
    # Of a month before the newest the pool keeps the days past due alone.
    assert correct_numbers(held, earlier).first_delinquency_month == BASE - 5


def test_only_what_contributors_may_share_now_is_left() -> None:
    spending = merged([replace(snapshot(BASE, 1), spend_volatility=VolatilityBand.UNDER_25)])
    inquiry = Inquiry(20_000, ProductClass.REVOLVING)
    history = History(
        relations=((1, spending), (2, spending), (3, spending)),
        inquiries=((1, inquiry), (2, inquiry), (3, inquiry)),
    )
    allowed = {
        1: {DataCategory.CREDIT_ACCOUNTS},
        2: {DataCategory.CREDIT_ACCOUNTS, DataCategory.SPENDING, DataCategory.INQUIRIES},
        4: set(DataCategory),
    }
    left = restrict(history, allowed)
    assert [member for member, _ in left.relations] == [1, 2]
    assert [r.spend_volatility for _, r in left.relations] == [0, VolatilityBand.UNDER_25]
    assert [member for member, _ in left.inquiries] == [2]
