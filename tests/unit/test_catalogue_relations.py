"""What is kept of an account does not depend on the order in which reports come in."""

from dataclasses import replace
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    DataCategory,
    DaysPastDueBand,
    ProductClass,
    VolatilityBand,
)
from concordat_privacy.catalogue.relations import History, Inquiry, Relation, merge, restrict
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
