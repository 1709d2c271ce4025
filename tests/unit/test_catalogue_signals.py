"""Signals: every definition is whole, every band can be reached, and the rules of release hold."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.catalogue.bands import (
    BAND_TYPES,
    AccountStatus,
    AmountBand,
    ApplicationOutcome,
    DataCategory,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.definitions import BANDS
from concordat_privacy.catalogue.relations import History, Inquiry, Relation, restrict
from concordat_privacy.catalogue.retention import Cutoffs, kept
from concordat_privacy.catalogue.signals import (
    SIGNALS,
    Coverage,
    Disputed,
    SignalStatus,
    SignalValue,
    compute,
    definition_of,
)
from tests.relations import changed, relation

TODAY = 20_779  # 2026-11-22
MONTH = 682
QUARTER = 227
ALL = frozenset(DataCategory)

GOOD = relation(
    account_ref=bytes(16),
    as_of_month=MONTH,
    status=AccountStatus.OPEN,
    product=ProductClass.REVOLVING,
    opened_quarter=QUARTER - 12,
    limit=AmountBand.FROM_5K_TO_10K,
    balance=AmountBand.FROM_1K_TO_3K,
    past_due=AmountBand.ZERO,
    days_past_due=DaysPastDueBand.CURRENT,
    utilisation=UtilisationBand.FROM_30_TO_50,
    spend_volatility=VolatilityBand.UNDER_25,
    profile=bytes([1] * 24),
)


def account(**fields: Any) -> Relation:
    return changed(GOOD, **fields)


def late(code: int, *months_ago: int) -> bytes:
    profile = bytearray([1] * 24)
    for at in months_ago:
        profile[at] = code
    return bytes(profile)


def accounts(*relations: Relation) -> History:
    """Each with a member of its own."""
    return History(relations=tuple(enumerate(relations, start=1)))


def applications(*days_ago: int, product: ProductClass = ProductClass.REVOLVING) -> History:
    return History(inquiries=tuple((1, Inquiry(TODAY - ago, product)) for ago in days_ago))


def decided(*outcomes: str) -> History:
    """Applications of today that were decided so."""
    decisions = (ApplicationOutcome[outcome] for outcome in outcomes)
    return History(
        inquiries=tuple((1, Inquiry(TODAY, ProductClass.REVOLVING, how)) for how in decisions)
    )


def value(name: str, history: History, today: int = TODAY) -> SignalValue:
    (found,) = compute(history, today, ALL, [name])
    return found


def label(name: str, history: History) -> str:
    found = value(name, history)
    assert found.status is SignalStatus.PRESENT
    return found.label


# --- definitions -------------------------------------------------------------------------------


@pytest.mark.parametrize("definition", SIGNALS, ids=lambda d: d.name)
def test_a_definition_is_whole(definition: Any) -> None:
    assert definition_of(definition.name) is definition
    assert definition.category is not DataCategory.UNSPECIFIED
    assert 2 <= len(definition.labels) <= 10
    assert len(set(definition.labels)) == len(definition.labels)
    assert all(definition.labels)
    assert definition.max_age_months > 0
    assert definition.reason_en.isascii()
    # Specific: more than the "score too low" or "abnormal behaviour" that regulators refuse.
    assert len(definition.reason_en.split()) >= 4
    assert any("\u4e00" <= character <= "\u9fff" for character in definition.reason_zh)
    assert definition.reason(2) == f"{definition.reason_en}: {definition.labels[1]}"
    assert definition.reason_in_chinese(1).endswith(definition.labels[0])


def test_names_and_reasons_are_unique() -> None:
    for attribute in ("name", "reason_en", "reason_zh"):
        values = [getattr(definition, attribute) for definition in SIGNALS]
        assert len(set(values)) == len(values)


def many_histories() -> list[History]:
    """Enough different persons to reach every band of every signal."""
    found = [accounts(*[GOOD] * n) for n in (1, 2, 3, 4, 5, 7, 11, 21, 31)]
    found += [accounts(account(utilisation=band)) for band in UtilisationBand]
    found += [accounts(account(spend_volatility=band)) for band in VolatilityBand]
    found += [accounts(account(limit=band, balance=band, past_due=band)) for band in AmountBand]
    found.append(accounts(*[account(limit=AmountBand.OVER_100K, balance=AmountBand.OVER_100K)] * 2))
    found += [
        accounts(account(days_past_due=code, profile=late(code, ago)))
        for code in DaysPastDueBand
        for ago in (0, 4, 7, 13)
    ]
    found += [accounts(account(profile=late(4, *range(0, 2 * n, 2)))) for n in range(5)]
    found.append(accounts(account(profile=bytes([1] * 5 + [0] * 19))))
    found += [
        accounts(*[account(opened_quarter=QUARTER - quarters)] * n)
        for quarters in (0, 1, 2, 3, 6, 10, 20, 30, 50, 70, 90)
        for n in (1, 2, 4, 6)
    ]
    closed = account(status=AccountStatus.CLOSED, balance=AmountBand.ZERO)
    found += [accounts(*[closed] * n) for n in (1, 2, 4, 7, 11, 21)]
    found += [
        accounts(account(status=status))
        for status in (AccountStatus.SETTLED_LESS, AccountStatus.CHARGED_OFF)
    ]
    found += [
        accounts(account(**{attribute.name: band}))
        for attribute in BANDS
        for band in BAND_TYPES[attribute.type]
    ]
    found += [accounts(account(first_delinquency_month=MONTH - ago)) for ago in (0, 6, 12, 24, 36)]
    found += [decided(*["DECLINED"] * n, "APPROVED") for n in range(6)]
    found += [
        replace(accounts(GOOD), inquiries=applications(*[3] * n, product=product).inquiries)
        for n in range(6)
        for product in (ProductClass.CASH_INSTALMENT, ProductClass.REVOLVING)
    ]
    return found


def test_every_band_of_every_signal_can_be_reached() -> None:
    seen: dict[str, set[int]] = defaultdict(set)
    for history in many_histories():
        for found in compute(history, TODAY, ALL):
            seen[found.name].add(found.band)
    for definition in SIGNALS:
        assert seen[definition.name] - {0} == set(range(1, len(definition.labels) + 1)), (
            definition.name
        )


# --- values worked out by hand -----------------------------------------------------------------


def test_open_accounts_and_the_lenders_behind_them() -> None:
    closed = account(status=AccountStatus.CLOSED, balance=AmountBand.ZERO)
    restructured = account(status=AccountStatus.RESTRUCTURED)
    history = History(relations=((1, GOOD), (1, GOOD), (2, restructured), (3, closed), (3, closed)))
    assert label("lenders_open", history) == "2"
    assert label("open_accounts", history) == "2-3"
    assert label("accounts_total", history) == "4-6"
    assert label("accounts_repaid", history) == "2-3"


def test_sums_take_midpoints() -> None:
    # 35,000 + 75,000 owed; limits 7,500 twice
    history = accounts(
        account(balance=AmountBand.FROM_20K_TO_50K), account(balance=AmountBand.FROM_50K_TO_100K)
    )
    assert label("total_exposure", history) == "100k-200k"
    assert label("total_limit", history) == "10k-20k"
    # 500 + 2,000 past due
    history = accounts(
        account(past_due=AmountBand.UNDER_1K), account(past_due=AmountBand.FROM_1K_TO_3K)
    )
    assert label("past_due_total", history) == "1k-3k"


def test_utilisation_is_weighted_by_limit_and_of_revolving_accounts() -> None:
    card = account(utilisation=UtilisationBand.OVER_100, limit=AmountBand.FROM_1K_TO_3K)
    bigger = account(utilisation=UtilisationBand.UNDER_10, limit=AmountBand.FROM_5K_TO_10K)
    loan = account(
        product=ProductClass.CASH_INSTALMENT,
        utilisation=UtilisationBand.FROM_90_TO_100,
        limit=AmountBand.FROM_50K_TO_100K,
    )
    # (2,000 * 110% + 7,500 * 5%) / 9,500 = 27%
    assert label("utilisation", accounts(card, bigger, loan)) == "10-30%"
    # (2,000 * 110% + 7,500 * 5% + 75,000 * 95%) / 84,500 = 87%
    assert label("utilisation_all", accounts(card, bigger, loan)) == "75-90%"
    assert value("utilisation", accounts(loan)).status is SignalStatus.NOT_FOUND


def test_utilisation_falls_back_on_balance_over_limit() -> None:
    unknown = account(utilisation=UtilisationBand.UNSPECIFIED)  # 2,000 of 7,500
    assert label("utilisation", accounts(unknown)) == "10-30%"


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("inquiries_7d", "2"),
        ("inquiries_30d", "3-4"),
        ("inquiries_90d", "3-4"),
        ("inquiries_180d", "5+"),
        ("inquiries_12m", "5+"),
    ],
)
def test_applications_are_counted_within_their_window(name: str, counted: str) -> None:
    # the last day inside and the first outside of 7, 30, 90, 180 and 365 days
    assert label(name, applications(0, 6, 7, 30, 90, 180, 364, 365)) == counted


def test_cash_applications_are_counted_apart() -> None:
    cash = applications(5, 200, product=ProductClass.CASH_INSTALMENT).inquiries
    history = History(inquiries=cash + applications(5, 6, 7).inquiries)
    assert label("cash_inquiries_12m", history) == "2"
    assert label("inquiries_12m", history) == "5+"


def test_no_application_is_0_for_a_known_subject_and_unknown_for_another() -> None:
    known = value("inquiries_30d", accounts(GOOD))
    assert (known.label, known.status, known.coverage) == (
        "0",
        SignalStatus.PRESENT,
        Coverage.THIN,
    )
    assert value("inquiries_30d", History()).status is SignalStatus.NOT_FOUND


def test_arrears_are_found_in_their_windows() -> None:
    assert label("worst_dpd_12m", accounts(account(profile=late(4, 11)))) == "30-59"
    assert label("worst_dpd_12m", accounts(account(profile=late(4, 12)))) == "0"
    # A snapshot two months old reports on ten of the twelve months.
    older = account(as_of_month=MONTH - 2, profile=late(7, 10))
    assert label("worst_dpd_12m", accounts(older)) == "0"
    assert label("worst_dpd_12m", accounts(account(profile=late(7, 3)), GOOD)) == "90+"
    assert label("current_dpd", accounts(account(days_past_due=DaysPastDueBand(3)))) == "1-29"


def test_a_spell_of_arrears_counts_once() -> None:
    spell = account(profile=late(5, 3, 4, 5))
    assert label("count_30plus_24m", accounts(spell)) == "1"
    two = account(profile=late(5, 3, 4, 8))
    assert label("count_30plus_24m", accounts(two)) == "2"
    assert label("count_30plus_24m", accounts(spell, two)) == "3+"
    assert label("count_30plus_24m", accounts(account(profile=late(3, 2, 9)))) == "0"


def test_an_unknown_month_does_not_cut_a_spell_in_two() -> None:
    profile = bytearray(late(5, 3, 5))
    profile[4] = 0
    assert label("count_30plus_24m", accounts(account(profile=bytes(profile)))) == "1"


@pytest.mark.parametrize(
    ("months_ago", "expected"),
    [(0, "0-5"), (5, "0-5"), (6, "6-11"), (11, "6-11"), (12, "12-23"), (23, "12-23")],
)
def test_months_since_arrears(months_ago: int, expected: str) -> None:
    assert label("months_since_last_dpd", accounts(account(profile=late(4, months_ago)))) == (
        expected
    )


def test_the_streak_ends_at_any_lateness_of_any_account() -> None:
    assert label("on_time_streak", accounts(GOOD, account(profile=late(2, 4)))) == "3-5"
    assert label("on_time_streak", accounts(GOOD)) == "never late in 12+"
    young = account(profile=bytes([1, 1, 1]).ljust(24, b"\0"))
    assert label("on_time_streak", accounts(young)) == "never late in <12"


@pytest.mark.parametrize(
    ("quarters_ago", "oldest", "newest", "new_12m", "new_24m"),
    [
        (0, "<6m", "0", "1", "1"),
        (3, "6-12m", "3-4", "1", "1"),
        (4, "1-2y", "3-4", "0", "1"),
        (7, "1-2y", "5-8", "0", "1"),
        (8, "2-4y", "5-8", "0", "0"),
        (81, "20y+", "9+", "0", "0"),
    ],
)
def test_ages_of_accounts(
    quarters_ago: int, oldest: str, newest: str, new_12m: str, new_24m: str
) -> None:
    # 2026-11 is the middle month of its quarter, so ages are whole quarters.
    history = accounts(account(opened_quarter=QUARTER - quarters_ago))
    assert label("oldest_account", history) == oldest
    assert label("newest_account", history) == newest
    assert label("new_accounts_12m", history) == new_12m
    assert label("new_accounts_24m", history) == new_24m


def test_the_worst_ending_counts() -> None:
    settled = account(status=AccountStatus.SETTLED_LESS)
    charged_off = account(status=AccountStatus.CHARGED_OFF)
    assert label("adverse_ending", accounts(GOOD)) == "none"
    assert label("adverse_ending", accounts(GOOD, settled)) == "settled for less"
    assert label("adverse_ending", accounts(settled, charged_off)) == "charged off"


# --- status, age, coverage ---------------------------------------------------------------------


def test_an_unknown_subject_has_no_signal_and_no_coverage() -> None:
    for found in compute(History(), TODAY, ALL):
        assert found == SignalValue(
            found.name, 0, "", 0, Coverage.UNSPECIFIED, SignalStatus.NOT_FOUND
        )


def test_old_reports_make_signals_of_the_present_stale() -> None:
    history = accounts(account(as_of_month=MONTH - 4))
    stale = value("lenders_open", history)
    assert (stale.status, stale.label, stale.as_of_month) == (SignalStatus.STALE, "1", MONTH - 4)
    assert value("oldest_account", history).status is SignalStatus.PRESENT
    assert value("lenders_open", accounts(account(as_of_month=MONTH - 3))).status is (
        SignalStatus.PRESENT
    )


def test_an_old_report_does_not_count_beside_a_fresh_one() -> None:
    history = accounts(GOOD, account(as_of_month=MONTH - 4))
    assert label("lenders_open", history) == "1"


def test_reports_past_retention_are_left_out() -> None:
    closed = {"status": AccountStatus.CLOSED, "balance": AmountBand.ZERO}
    kept, dropped = (account(as_of_month=MONTH - age, **closed) for age in (24, 25))
    assert label("accounts_repaid", accounts(kept)) == "1"
    assert value("accounts_repaid", accounts(dropped)).status is SignalStatus.NOT_FOUND
    charged_off = account(status=AccountStatus.CHARGED_OFF, as_of_month=MONTH - 60)
    assert label("adverse_ending", accounts(charged_off)) == "charged off"
    assert value("inquiries_12m", applications(731)).status is SignalStatus.NOT_FOUND


def test_a_spending_pattern_needs_three_months() -> None:
    two = account(profile=bytes([1, 1]).ljust(24, b"\0"))
    assert value("spend_volatility", accounts(two)).status is SignalStatus.SUPPRESSED
    three = account(profile=bytes([1, 1, 1]).ljust(24, b"\0"))
    assert label("spend_volatility", accounts(three)) == "<0.25"


@pytest.mark.parametrize(
    ("members", "months", "coverage"),
    [
        (1, 24, Coverage.THIN),
        (2, 2, Coverage.THIN),
        (2, 24, Coverage.THIN),
        (3, 2, Coverage.THIN),
        (3, 3, Coverage.PARTIAL),
        (3, 11, Coverage.PARTIAL),
        (3, 12, Coverage.FULL),
    ],
)
def test_coverage_grades_members_and_months(members: int, months: int, coverage: Coverage) -> None:
    row = account(profile=bytes([1] * months).ljust(24, b"\0"))
    assert value("open_accounts", accounts(*[row] * members)).coverage is coverage


# --- rules of release --------------------------------------------------------------------------

relations = st.builds(
    relation,
    as_of_month=st.integers(MONTH - 70, MONTH),
    status=st.sampled_from([s for s in AccountStatus if s]),
    product=st.sampled_from([p for p in ProductClass if p]),
    opened_quarter=st.integers(100, QUARTER),
    first_delinquency_month=st.just(0) | st.integers(MONTH - 90, MONTH),
    profile=st.lists(st.integers(0, 7), min_size=24, max_size=24).map(bytes),
    **{attribute.name: st.sampled_from(BAND_TYPES[attribute.type]) for attribute in BANDS},
)
inquiries = st.builds(
    Inquiry,
    day=st.integers(TODAY - 800, TODAY),
    product=st.sampled_from([p for p in ProductClass if p]),
    outcome=st.sampled_from(ApplicationOutcome),
)
members = st.integers(1, 6)
histories = st.builds(
    History,
    relations=st.lists(st.tuples(members, relations), max_size=8).map(tuple),
    inquiries=st.lists(st.tuples(members, inquiries), max_size=8).map(tuple),
)


@given(histories, st.permutations(range(1, 7)))
def test_a_result_does_not_tell_which_member_it_comes_from(
    history: History, names: list[int]
) -> None:
    renamed = History(
        relations=tuple((names[m - 1] + 100, row) for m, row in history.relations),
        inquiries=tuple((names[m - 1] + 100, row) for m, row in history.inquiries),
    )
    assert compute(renamed, TODAY, ALL) == compute(history, TODAY, ALL)


@given(histories, st.sampled_from(Disputed))
def test_whether_one_member_or_two_told_it_shows_in_the_count_of_lenders_alone(
    history: History, policy: Disputed
) -> None:
    by_two = History(
        relations=tuple((m % 2, row) for m, row in history.relations),
        inquiries=tuple((m % 2, row) for m, row in history.inquiries),
    )
    by_one = History(
        relations=tuple((0, row) for _, row in history.relations),
        inquiries=tuple((0, row) for _, row in history.inquiries),
    )
    found = zip(
        compute(by_two, TODAY, ALL, disputed=policy),
        compute(by_one, TODAY, ALL, disputed=policy),
        strict=True,
    )
    assert {two.name for two, one in found if two != one} <= {"lenders_open"}


@given(histories, st.data())
def test_who_withdrew_does_not_show_in_what_is_left(history: History, data: st.DataObject) -> None:
    """Of two members that told the same, whichever withdraws leaves the same answer."""
    told = History(
        relations=tuple((m, row) for m in (8, 9) for _, row in history.relations),
        inquiries=tuple((m, row) for m in (8, 9) for _, row in history.inquiries),
    )
    others = data.draw(histories)
    both = History(told.relations + others.relations, told.inquiries + others.inquiries)
    everybody = dict.fromkeys(range(10), ALL)
    left = [
        compute(restrict(both, {m: c for m, c in everybody.items() if m != gone}), TODAY, ALL)
        for gone in (8, 9)
    ]
    assert left[0] == left[1]


@given(histories, st.randoms())
def test_a_result_does_not_depend_on_the_order_of_rows(history: History, order: object) -> None:
    rows, events = list(history.relations), list(history.inquiries)
    order.shuffle(rows)  # type: ignore[attr-defined]  # hypothesis hands out a Random
    order.shuffle(events)  # type: ignore[attr-defined]
    assert compute(History(tuple(rows), tuple(events)), TODAY, ALL) == compute(history, TODAY, ALL)


def until(history: History, cutoffs: Cutoffs) -> History:
    """What a run of retention leaves of a history."""
    rows = ((member, kept(row, cutoffs)) for member, row in history.relations)
    return History(
        relations=tuple((member, row) for member, row in rows if row is not None),
        inquiries=tuple(one for one in history.inquiries if one[1].day >= cutoffs.inquiry_day),
    )


@given(histories, st.sampled_from([5, 7]), st.booleans(), st.sampled_from(Disputed))
def test_what_is_past_its_time_shows_no_longer_than_if_it_were_deleted_at_once(
    history: History, years: int, from_delinquency: bool, policy: Disputed
) -> None:
    cutoffs = Cutoffs.at(MONTH, TODAY, years, from_delinquency=from_delinquency)
    waiting, deleted = (
        compute(one, TODAY, ALL, disputed=policy, cutoffs=cutoffs)
        for one in (history, until(history, cutoffs))
    )
    assert waiting == deleted


@pytest.mark.parametrize("status", [AccountStatus.CHARGED_OFF, AccountStatus.SETTLED_LESS])
@pytest.mark.parametrize(
    ("began", "shown"), [(MONTH - 90, True), (MONTH - 91, False), (MONTH - 200, False), (0, True)]
)
def test_an_ending_shows_for_seven_years_and_180_days_from_its_first_delinquency(
    status: AccountStatus, began: int, shown: bool
) -> None:
    history = accounts(account(status=status, first_delinquency_month=began))
    cutoffs = Cutoffs.at(MONTH, TODAY, 7, from_delinquency=True)
    [found] = compute(history, TODAY, ALL, ["adverse_ending"], cutoffs=cutoffs)
    assert (found.status is SignalStatus.PRESENT) == shown
    # Where the years count from the newest report, it shows whenever it began.
    [found] = compute(history, TODAY, ALL, ["adverse_ending"])
    assert found.status is SignalStatus.PRESENT


@pytest.mark.parametrize("status", [AccountStatus.OPEN, AccountStatus.CLOSED, AccountStatus.SOLD])
def test_what_is_no_adverse_ending_shows_however_long_ago_its_delinquency_began(
    status: AccountStatus,
) -> None:
    history = accounts(account(status=status, first_delinquency_month=MONTH - 200))
    cutoffs = Cutoffs.at(MONTH, TODAY, 7, from_delinquency=True)
    [found] = compute(history, TODAY, ALL, ["accounts_total"], cutoffs=cutoffs)
    assert (found.status, found.label) == (SignalStatus.PRESENT, "1")


def beside_disputed(history: History, policy: Disputed) -> list[SignalValue]:
    """The signals where each account is there a second time, disputed, and one more is."""
    disputed = History(
        relations=(
            *history.relations,
            *((m, replace(r, status=AccountStatus.DISPUTED)) for m, r in history.relations),
            (99, account(status=AccountStatus.DISPUTED, profile=late(7, 0))),
        ),
        inquiries=history.inquiries,
    )
    return compute(disputed, TODAY, ALL, disputed=policy)


@given(histories)
def test_what_a_disputed_account_says_is_held_back(history: History) -> None:
    known = [row for _, row in history.relations]
    history = replace(
        history,
        relations=tuple((1, row) for row in known if row.status is not AccountStatus.DISPUTED),
    )
    without = compute(history, TODAY, ALL)
    for found, alone in zip(beside_disputed(history, Disputed.HELD_BACK), without, strict=True):
        if found.status is SignalStatus.DISPUTED:
            # Nothing else was known: that much is said, and no more.
            assert alone.status is SignalStatus.NOT_FOUND
            assert found == alone._replace(status=SignalStatus.DISPUTED)
        else:
            assert found == alone


@given(histories)
def test_a_signal_that_a_disputed_account_changes_is_marked(history: History) -> None:
    known = [row for _, row in history.relations]
    history = replace(
        history,
        relations=tuple((1, row) for row in known if row.status is not AccountStatus.DISPUTED),
    )
    without = compute(history, TODAY, ALL)
    for found, alone in zip(beside_disputed(history, Disputed.MARKED), without, strict=True):
        assert found == alone or found.status is SignalStatus.DISPUTED


def test_a_marked_signal_has_the_band_with_the_disputed_account() -> None:
    disputed = account(status=AccountStatus.DISPUTED, profile=late(7, 3))
    history = accounts(GOOD, disputed)
    found = {v.name: v for v in compute(history, TODAY, ALL, disputed=Disputed.MARKED)}
    assert (found["worst_dpd_12m"].label, found["worst_dpd_12m"].status) == (
        "90+",
        SignalStatus.DISPUTED,
    )
    # The same with and without the disputed account, which is as old.
    assert found["oldest_account"].status is SignalStatus.PRESENT
    assert found["inquiries_30d"].status is SignalStatus.PRESENT
    held = value("worst_dpd_12m", history)
    assert (held.label, held.status) == ("0", SignalStatus.PRESENT)
    assert value("worst_dpd_12m", accounts(disputed)).status is SignalStatus.DISPUTED


def test_a_caller_may_want_younger_signals_than_the_catalogue() -> None:
    history = accounts(account(as_of_month=MONTH - 2))
    for max_age, status in ((2, SignalStatus.PRESENT), (1, SignalStatus.STALE)):
        [found] = compute(history, TODAY, ALL, ["lenders_open"], max_age_months=max_age)
        assert (found.status, found.label) == (status, "1")
    old = accounts(account(as_of_month=MONTH - 4))
    [found] = compute(old, TODAY, ALL, ["lenders_open"], max_age_months=100)
    assert found.status is SignalStatus.STALE


# --- values of catalogue version 2, worked out by hand --------------------------------------------


def test_the_worst_class_and_the_least_that_was_paid() -> None:
    history = accounts(
        account(five_class=2, payment_ratio=5),
        account(five_class=4, payment_ratio=3),
        account(five_class=0, payment_ratio=0),
    )
    assert label("worst_five_class", history) == "doubtful"
    assert label("payment_ratio", history) == "the minimum"
    # 4,000 + 7,500 a month
    history = accounts(account(scheduled_payment=4), account(scheduled_payment=5))
    assert label("monthly_obligation", history) == "10k-20k"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [((1, 1), "none"), ((1, 3), "victim of fraud"), ((3, 2, 1), "confirmed fraud")],
)
def test_fraud_by_the_subject_is_told_from_fraud_against_it(
    flags: tuple[int, ...], expected: str
) -> None:
    assert label("fraud_flag", accounts(*(account(fraud_flag=flag) for flag in flags))) == expected


def test_declined_applications_are_counted_over_all_lenders() -> None:
    history = decided("DECLINED", "APPROVED", "DECLINED", "WITHDRAWN", "DECLINED")
    assert label("declined_12m", history) == "3-4"
    assert label("declined_12m", decided("APPROVED")) == "0"
    assert value("declined_12m", applications(1, 2)).status is SignalStatus.NOT_FOUND


def test_trade_is_judged_by_its_worst_relation() -> None:
    history = accounts(
        account(invoice_days_past_due=4, settlement_punctuality=4, buyer_concentration=1),
        account(invoice_days_past_due=1, settlement_punctuality=2, buyer_concentration=4),
        account(invoice_days_past_due=1),
    )
    assert label("invoice_dpd", history) == "30-59"
    assert label("settlement_punctuality", history) == "80-95%"
    assert label("buyer_concentration", history) == "0.5+"
    assert value("invoice_dpd", history).coverage is Coverage.FULL


def test_what_tells_of_behaviour_is_used_for_six_months() -> None:
    spending = {"spend_spike": 4, "spend_volatility": 4}
    assert value("spend_spike", accounts(account(as_of_month=MONTH - 6, **spending))).band == 4
    gone = value("spend_spike", accounts(account(as_of_month=MONTH - 7, **spending)))
    assert gone.status is SignalStatus.NOT_FOUND


UNKNOWN = changed(GOOD, bands=bytes(len(BANDS)), first_delinquency_month=0, profile=bytes(24))


def test_unknown_bands_alone_say_nothing() -> None:
    found = {v.name: v.status for v in compute(accounts(UNKNOWN), TODAY, ALL)}
    for name in (
        "total_exposure",
        "total_limit",
        "utilisation",
        "utilisation_all",
        "worst_dpd_12m",
        "current_dpd",
        "past_due_total",
        "count_30plus_24m",
        "months_since_last_dpd",
        "on_time_streak",
        "spend_volatility",
    ):
        assert found[name] is SignalStatus.NOT_FOUND, name


@given(histories)
def test_an_account_of_unknown_bands_never_makes_a_band_worse(history: History) -> None:
    added = replace(history, relations=(*history.relations, (1, replace(UNKNOWN, as_of_month=1))))
    fresh = replace(history, relations=((1, GOOD), *history.relations))
    both = replace(fresh, relations=(*fresh.relations, (1, UNKNOWN)))
    assert compute(added, TODAY, ALL) == compute(history, TODAY, ALL)
    for name in ("worst_dpd_12m", "current_dpd", "count_30plus_24m", "utilisation_all"):
        assert value(name, both) == value(name, fresh)


@given(histories, st.sets(st.sampled_from([c for c in DataCategory if c])))
def test_a_category_without_consent_shows_nowhere(
    history: History, categories: set[DataCategory]
) -> None:
    found = compute(history, TODAY, categories)
    for signal in found:
        outside = definition_of(signal.name).category not in categories
        assert (signal.status is SignalStatus.NO_CONSENT) == outside
        if outside:
            assert (signal.band, signal.as_of_month, signal.coverage) == (0, 0, 0)
    withheld = History(
        relations=history.relations if categories - {DataCategory.INQUIRIES} else (),
        inquiries=history.inquiries if DataCategory.INQUIRIES in categories else (),
    )
    assert compute(withheld, TODAY, categories) == found


@given(histories, st.sets(st.sampled_from([d.name for d in SIGNALS])))
def test_picked_signals_are_those_of_the_whole_in_its_order(
    history: History, names: set[str]
) -> None:
    whole = compute(history, TODAY, ALL)
    assert compute(history, TODAY, ALL, names) == [v for v in whole if v.name in names]
