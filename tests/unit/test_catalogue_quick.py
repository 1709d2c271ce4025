"""The quick way to a good row gives what the long way gives, and takes nothing that it refuses."""

import struct
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from concordat_privacy.catalogue.bands import BAND_TYPES, AccountStatus, ProductClass
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.definitions import BANDS
from concordat_privacy.catalogue.packing import (
    PackedAccount,
    account_numbers,
    pack_account,
    pack_row,
    unpack_row,
)
from concordat_privacy.catalogue.quick import (
    ACCOUNT_ORDER,
    Good,
    Packed,
    pack_good_account,
    read_good_row,
)
from concordat_privacy.catalogue.relations import Relation, merge, merge_numbers
from concordat_privacy.catalogue.rows import (
    AccountSnapshot,
    ApplicationEvent,
    RowError,
    is_adverse,
    needs,
    problems,
)

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


def read_the_long_way(content: bytes, oldest_delinquency: int = 0) -> Good | None:
    try:
        row = unpack_row(content)
    except ValueError:
        return None
    if problems(row, TODAY, oldest_delinquency):
        return None
    if isinstance(row, ApplicationEvent):
        return Good(row.application_ref, None, needs(row), False)
    return Good(row.account_ref, row.as_of_month, needs(row), is_adverse(row))


def pack_whatever(numbers: dict[str, Any]) -> bytes:
    """An account in the packed form as far as it has one, whether it is good or not."""
    fields = [numbers[name] for name in ACCOUNT_ORDER]
    ref, month, status, product, opened, profile, first, *bands = fields
    known = bytes(bands).rstrip(b"\0")
    return pack_account(ref, month, status, product, opened, first, known, profile)


def packable(numbers: dict[str, Any]) -> bool:
    try:
        pack_whatever(numbers)
    except (ValueError, struct.error):
        return False
    return True


accounts = (plausible | good).filter(packable).map(pack_whatever)
applications = st.builds(
    lambda tag, day, rest: bytes([tag]) + bytes(16) + day.to_bytes(4, "big") + bytes(rest),
    st.sampled_from([2, 4]),
    st.integers(TODAY - 800, TODAY + 3),
    st.lists(st.integers(0, 9), min_size=1, max_size=2),
)
packed_rows = accounts | applications


@settings(max_examples=600)
@given(packed_rows, st.just(0) | st.integers(600, MONTH))
def test_a_packed_row_is_read_quickly_as_it_is_the_long_way(content: bytes, oldest: int) -> None:
    quickly = read_good_row(content, TODAY, month_of_day(TODAY + 1), oldest)
    assert quickly == read_the_long_way(content, oldest)


@settings(max_examples=600)
@given(packed_rows, st.data())
def test_a_packed_row_that_was_damaged_is_read_quickly_as_the_long_way(
    content: bytes, data: st.DataObject
) -> None:
    """One byte is another, left out or put in: only what is the one form of a row is a row."""
    at = data.draw(st.integers(0, len(content)))
    put = data.draw(st.binary(max_size=1) | st.just(b"\0"))
    damaged = content[:at] + put + content[at + data.draw(st.integers(0, 1)) :]
    assert read_good_row(damaged, TODAY, month_of_day(TODAY + 1)) == read_the_long_way(damaged)


@example(b"")
@given(st.binary(max_size=80))
def test_any_bytes_are_read_quickly_as_the_long_way(content: bytes) -> None:
    assert read_good_row(content, TODAY, month_of_day(TODAY + 1)) == read_the_long_way(content)


def test_more_bands_than_the_catalogue_has_are_no_row() -> None:
    bands = bytes([1]) * (len(BANDS) + 1)
    content = pack_account(bytes(16), MONTH, 1, 1, 200, 0, bands, b"")
    assert read_good_row(content, TODAY, month_of_day(TODAY + 1)) is None
    assert read_the_long_way(content) is None


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
