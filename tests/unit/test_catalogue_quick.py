"""The quick way to a good row gives what the long way gives, and takes nothing that it refuses."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from concordat_privacy.catalogue.bands import BAND_TYPES, AccountStatus, ProductClass
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.definitions import BANDS
from concordat_privacy.catalogue.packing import PackedAccount, account_numbers, pack_row
from concordat_privacy.catalogue.quick import ACCOUNT_ORDER, Packed, pack_good_account
from concordat_privacy.catalogue.relations import Relation, merge, merge_numbers
from concordat_privacy.catalogue.rows import AccountSnapshot, RowError, is_adverse, needs, problems

TODAY = 20_779  # 2026-11-22
MONTH = 682

edges = st.sampled_from([-1, 0, 1, 9, 255, 256, 2**32 - 1])
plausible = st.fixed_dictionaries(
    {
        "account_ref": st.just(bytes(16)) | st.binary(min_size=15, max_size=17),
        "as_of_month": st.integers(MONTH - 62, MONTH + 2) | edges,
        "status": st.integers(0, len(AccountStatus)) | edges,
        "product": st.integers(0, len(ProductClass)) | edges,
        "opened_quarter": st.integers(200, 228) | edges,
        "payment_profile": st.binary(max_size=2)
        | st.lists(st.integers(0, 8), max_size=24).map(bytes),
        "first_delinquency_month": st.just(0) | st.integers(MONTH - 40, MONTH + 1) | edges,
        **{
            attribute.name: st.just(0) | st.integers(0, len(BAND_TYPES[attribute.type])) | edges
            for attribute in BANDS
        },
    }
)
good = st.fixed_dictionaries(
    {
        "account_ref": st.binary(min_size=16, max_size=16),
        "as_of_month": st.integers(MONTH - 24, MONTH),
        "status": st.integers(1, len(AccountStatus) - 1),
        "product": st.integers(1, len(ProductClass) - 1),
        "opened_quarter": st.integers(180, 200),
        "payment_profile": st.lists(st.integers(0, 7), max_size=23).map(bytes),
        "first_delinquency_month": st.just(0) | st.integers(600, MONTH - 24),
        **{
            attribute.name: st.just(0) | st.integers(0, len(BAND_TYPES[attribute.type]) - 1)
            for attribute in BANDS
        },
    }
)


def the_long_way(numbers: dict[str, Any], oldest: int) -> Packed | None:
    try:
        row = AccountSnapshot.from_numbers(numbers)
    except RowError:
        return None
    if problems(row, TODAY, oldest):
        return None
    return Packed(pack_row(row), needs(row), is_adverse(row))


def the_quick_way(numbers: dict[str, Any], oldest: int) -> Packed | None:
    in_order = [numbers[name] for name in ACCOUNT_ORDER]
    return pack_good_account(in_order, month_of_day(TODAY + 1), oldest)


@settings(max_examples=400)
@given(plausible | good, st.just(0) | st.integers(MONTH - 90, MONTH))
@example({**dict.fromkeys(ACCOUNT_ORDER, 0), "account_ref": b"", "payment_profile": b""}, 0)
def test_what_the_quick_way_takes_is_what_the_long_way_makes_of_it(
    numbers: dict[str, Any], oldest_delinquency: int
) -> None:
    assert the_quick_way(numbers, oldest_delinquency) == the_long_way(numbers, oldest_delinquency)


def ending(first: int) -> dict[str, Any]:
    blank: dict[str, Any] = dict.fromkeys(ACCOUNT_ORDER, 0)
    return blank | {
        "account_ref": bytes(16),
        "as_of_month": MONTH,
        "status": AccountStatus.CHARGED_OFF,
        "product": ProductClass.REVOLVING,
        "opened_quarter": 180,
        "payment_profile": b"",
        "first_delinquency_month": first,
    }


def test_an_ending_of_an_old_delinquency_is_refused_where_it_goes_by_that() -> None:
    oldest = MONTH - 90
    assert the_quick_way(ending(oldest), oldest) is not None
    assert the_quick_way(ending(0), oldest) is not None
    assert the_quick_way(ending(oldest - 1), oldest) is None
    assert the_quick_way(ending(oldest - 1), 0) is not None
    still_open = ending(oldest - 1) | {"status": AccountStatus.OPEN}
    assert the_quick_way(still_open, oldest) is not None
    found = problems(AccountSnapshot.from_numbers(ending(oldest - 1)), TODAY, oldest)
    assert [(p.field, p.reason) for p in found] == [
        ("account.first_delinquency_month", "OUT_OF_RANGE")
    ]


@given(good)
def test_the_numbers_of_a_packed_account_are_those_that_the_pool_keeps(
    numbers: dict[str, Any],
) -> None:
    row = AccountSnapshot.from_numbers(numbers)
    stored = account_numbers(pack_row(row))
    assert stored is not None
    assert Relation.from_numbers(*stored) == merge(None, row)


@given(good, good)
def test_merging_numbers_is_merging(one: dict[str, Any], other: dict[str, Any]) -> None:
    first = AccountSnapshot.from_numbers(one)
    second = AccountSnapshot.from_numbers({**other, "account_ref": one["account_ref"]})
    numbers: list[PackedAccount] = []
    for row in (first, second):
        stored = account_numbers(pack_row(row))
        assert stored is not None
        numbers.append(stored)
    merged = Relation.from_numbers(*merge_numbers(*numbers))
    assert merged == merge(merge(None, first), second)
