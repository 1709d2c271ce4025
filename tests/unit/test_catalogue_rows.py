"""Rows: every fault named, one encoding each."""

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
    DilutionBand,
    FiveClass,
    FraudFlag,
    ProductClass,
    SpikeBand,
    TermsBand,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.definitions import BANDS
from concordat_privacy.catalogue.packing import pack_row, row_leaf, unpack_row
from concordat_privacy.catalogue.rows import (
    AccountSnapshot,
    ApplicationEvent,
    Row,
    RowError,
    is_adverse,
    needs,
    problems,
)

TODAY = 20_779  # 2026-11-22
MONTH = 682
QUARTER = 227

GOOD = AccountSnapshot(
    account_ref=bytes(range(16)),
    as_of_month=MONTH,
    status=AccountStatus.OPEN,
    product=ProductClass.REVOLVING,
    opened_quarter=QUARTER - 8,
    limit=AmountBand.FROM_5K_TO_10K,
    balance=AmountBand.FROM_1K_TO_3K,
    past_due=AmountBand.ZERO,
    days_past_due=DaysPastDueBand.CURRENT,
    utilisation=UtilisationBand.FROM_30_TO_50,
    spend_volatility=VolatilityBand.UNDER_25,
    payment_profile=bytes([1, 1, 4]),
)
APPLICATION = ApplicationEvent(bytes(16), TODAY, ProductClass.PAY_IN_N)

FIRST = {"limit", "balance", "past_due", "days_past_due", "utilisation", "spend_volatility"}
"""Bands of the catalogue's first version."""

accounts = st.builds(
    AccountSnapshot,
    account_ref=st.binary(min_size=16, max_size=16),
    as_of_month=st.integers(0, 2**32 - 1),
    status=st.sampled_from(AccountStatus),
    product=st.sampled_from(ProductClass),
    opened_quarter=st.integers(0, 2**32 - 1),
    limit=st.sampled_from(AmountBand),
    balance=st.sampled_from(AmountBand),
    past_due=st.sampled_from(AmountBand),
    days_past_due=st.sampled_from(DaysPastDueBand),
    utilisation=st.sampled_from(UtilisationBand),
    spend_volatility=st.sampled_from(VolatilityBand),
    payment_profile=st.binary(max_size=23),
    first_delinquency_month=st.just(0) | st.integers(0, 2**32 - 1),
    **{
        attribute.name: st.sampled_from(BAND_TYPES[attribute.type])
        for attribute in BANDS
        if attribute.name not in FIRST
    },
)
# As rows of before the catalogue's second version.
first_accounts = accounts.map(
    lambda row: replace(
        row,
        first_delinquency_month=0,
        **{a.name: BAND_TYPES[a.type](0) for a in BANDS if a.name not in FIRST},
    )
)
applications = st.builds(
    ApplicationEvent,
    application_ref=st.binary(min_size=16, max_size=16),
    day=st.integers(0, 2**32 - 1),
    product=st.sampled_from(ProductClass),
    outcome=st.sampled_from(ApplicationOutcome),
)
packable = st.one_of(accounts, first_accounts, applications)


@pytest.mark.parametrize("row", [GOOD, APPLICATION])
def test_a_good_row_has_no_problem(row: Row) -> None:
    assert problems(row, TODAY) == []


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"account_ref": bytes(15)}, "account.account_ref", "WRONG_LENGTH"),
        ({"status": AccountStatus.UNSPECIFIED}, "account.status", "REQUIRED"),
        ({"product": ProductClass.UNSPECIFIED}, "account.product", "REQUIRED"),
        ({"as_of_month": MONTH + 1}, "account.as_of_month", "OUT_OF_RANGE"),
        (
            {"as_of_month": MONTH - 25, "opened_quarter": 200},
            "account.as_of_month",
            "OUT_OF_RANGE",
        ),
        ({"opened_quarter": 0}, "account.opened_quarter", "REQUIRED"),
        (
            {"opened_quarter": QUARTER + 1, "payment_profile": b""},
            "account.opened_quarter",
            "OUT_OF_RANGE",
        ),
        ({"payment_profile": bytes(24)}, "account.payment_profile", "WRONG_LENGTH"),
        ({"payment_profile": bytes([1, 8])}, "account.payment_profile", "UNKNOWN_BAND"),
        (
            {"opened_quarter": QUARTER, "payment_profile": bytes([1, 1])},
            "account.payment_profile",
            "INCONSISTENT",
        ),
        ({"status": AccountStatus.CLOSED}, "account.balance", "INCONSISTENT"),
        ({"past_due": AmountBand.UNDER_1K}, "account.past_due", "INCONSISTENT"),
        (
            {"days_past_due": DaysPastDueBand.FROM_90_TO_179},
            "account.days_past_due",
            "INCONSISTENT",
        ),
        (
            {
                "status": AccountStatus.CLOSED,
                "balance": AmountBand.ZERO,
                "remaining_terms": TermsBand.FROM_1_TO_3,
            },
            "account.remaining_terms",
            "INCONSISTENT",
        ),
        (
            {"first_delinquency_month": MONTH + 1},
            "account.first_delinquency_month",
            "OUT_OF_RANGE",
        ),
        (
            {"first_delinquency_month": 3 * (QUARTER - 8) - 1},
            "account.first_delinquency_month",
            "OUT_OF_RANGE",
        ),
    ],
)
def test_each_fault_of_an_account_is_named(change: dict[str, Any], field: str, reason: str) -> None:
    found = problems(replace(GOOD, **change), TODAY)
    assert [(problem.field, problem.reason) for problem in found] == [(field, reason)]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"application_ref": bytes(17)}, "application.application_ref", "WRONG_LENGTH"),
        ({"day": TODAY + 2}, "application.day", "OUT_OF_RANGE"),
        ({"day": TODAY - 731}, "application.day", "OUT_OF_RANGE"),
        ({"product": ProductClass.UNSPECIFIED}, "application.product", "REQUIRED"),
    ],
)
def test_each_fault_of_an_application_is_named(
    change: dict[str, Any], field: str, reason: str
) -> None:
    found = problems(replace(APPLICATION, **change), TODAY)
    assert [(problem.field, problem.reason) for problem in found] == [(field, reason)]


@pytest.mark.parametrize(
    "change",
    [
        {"past_due": AmountBand.UNSPECIFIED},
        {"past_due": AmountBand.UNDER_1K},
        {"status": AccountStatus.CHARGED_OFF},
        {"status": AccountStatus.RESTRUCTURED},
    ],
)
def test_days_past_due_need_an_amount_only_where_an_open_account_says_that_there_is_none(
    change: dict[str, Any],
) -> None:
    late = replace(GOOD, days_past_due=DaysPastDueBand.FROM_90_TO_179)
    assert problems(replace(late, **change), TODAY) == []


def test_no_reason_repeats_a_value_of_the_row() -> None:
    value = 173
    numbers: dict[str, Any] = {
        "account_ref": bytes(16),
        "as_of_month": MONTH,
        "opened_quarter": QUARTER,
        "payment_profile": b"",
        **{attribute.name: value for attribute in BANDS},
    }
    with pytest.raises(RowError) as error:
        AccountSnapshot.from_numbers(numbers)
    found = error.value.problems
    ended = replace(GOOD, status=AccountStatus.CHARGED_OFF)
    for change in (
        {"account_ref": bytes([value])},
        {"as_of_month": 9_999},
        {"opened_quarter": 9_999},
        {"payment_profile": bytes([value])},
        {"first_delinquency_month": 9_999},
        {"first_delinquency_month": ended.opened_quarter * 3},
    ):
        some = problems(replace(ended, **change), TODAY, MONTH)
        assert some
        found += some
    said = " ".join(problem.description for problem in found)
    for repeated in (str(value), "9999", str(ended.opened_quarter * 3)):
        assert repeated not in said


def test_all_faults_of_a_row_are_named_together() -> None:
    row = replace(GOOD, account_ref=b"", status=AccountStatus.UNSPECIFIED, as_of_month=9_999)
    assert {problem.field for problem in problems(row, TODAY)} == {
        "account.account_ref",
        "account.status",
        "account.as_of_month",
    }


def test_adverse_endings_may_be_five_years_old_and_others_two() -> None:
    old = replace(GOOD, as_of_month=MONTH - 60, opened_quarter=150, payment_profile=b"")
    assert problems(replace(old, status=AccountStatus.CHARGED_OFF), TODAY) == []
    assert problems(replace(old, status=AccountStatus.SETTLED_LESS), TODAY) == []
    assert problems(old, TODAY) != []
    assert problems(replace(old, as_of_month=MONTH - 24), TODAY) == []


def test_a_member_ahead_of_utc_may_send_its_own_date() -> None:
    last_of_november = 20_787
    december = replace(GOOD, as_of_month=MONTH + 1)
    assert problems(december, last_of_november) == []
    assert problems(december, last_of_november - 1) != []
    assert problems(replace(APPLICATION, day=TODAY + 1), TODAY) == []


def test_the_months_that_are_taken_are_said_as_people_write_them() -> None:
    [found] = problems(replace(GOOD, as_of_month=MONTH + 1), TODAY)
    assert found.description == "a month from 2024-11 to 2026-11 wanted"


def test_numbers_that_no_band_has_are_refused_by_field() -> None:
    numbers: dict[str, Any] = {
        "account_ref": bytes(16),
        "as_of_month": MONTH,
        "status": 8,
        "product": 9,
        "opened_quarter": QUARTER,
        "limit": 10,
        "balance": 9,
        "past_due": 1,
        "days_past_due": -1,
        "utilisation": 0,
        "spend_volatility": 5,
        "payment_profile": b"",
    }
    with pytest.raises(RowError) as error:
        AccountSnapshot.from_numbers(numbers)
    assert [(p.field, p.reason) for p in error.value.problems] == [
        ("account.status", "UNKNOWN_BAND"),
        ("account.product", "UNKNOWN_BAND"),
        ("account.limit", "UNKNOWN_BAND"),
        ("account.days_past_due", "UNKNOWN_BAND"),
        ("account.spend_volatility", "UNKNOWN_BAND"),
    ]
    with pytest.raises(RowError, match=r"application\.product: a number from 0 to 8 wanted"):
        ApplicationEvent.from_numbers({"application_ref": bytes(16), "day": TODAY, "product": 99})


def test_the_canonical_bytes_of_an_account() -> None:
    assert pack_row(GOOD).hex() == (
        "01000102030405060708090a0b0c0d0e0f000002aa0103000000db05030101040103010104" + "00" * 20
    )


def test_the_canonical_bytes_of_an_application() -> None:
    assert pack_row(APPLICATION).hex() == "02" + "00" * 16 + "0000512b" + "01"


def test_the_canonical_bytes_of_an_account_with_later_attributes() -> None:
    row = replace(GOOD, first_delinquency_month=MONTH - 1, five_class=FiveClass.DOUBTFUL)
    assert pack_row(row).hex() == (
        "03000102030405060708090a0b0c0d0e0f000002aa0103000000db000002a9"
        + "07"
        + "05030101040104010104"
    )
    assert unpack_row(pack_row(row)) == row


def test_the_canonical_bytes_of_an_application_with_an_outcome() -> None:
    row = replace(APPLICATION, outcome=ApplicationOutcome.DECLINED)
    assert pack_row(row).hex() == "04" + "00" * 16 + "0000512b" + "01" + "02"


@pytest.mark.parametrize(
    ("change", "categories"),
    [
        ({"spend_volatility": VolatilityBand.UNSPECIFIED}, [1]),
        ({}, [1, 3]),
        ({"spend_spike": SpikeBand.UNDER_50}, [1, 3]),
        (
            {"spend_volatility": VolatilityBand.UNSPECIFIED, "dilution": DilutionBand.UNDER_2},
            [1, 4],
        ),
        ({"invoice_days_past_due": DaysPastDueBand.CURRENT}, [1, 3, 4]),
    ],
)
def test_a_row_needs_consent_to_what_it_carries(
    change: dict[str, Any], categories: list[int]
) -> None:
    assert needs(replace(GOOD, **change)) == tuple(map(DataCategory, categories))
    assert needs(APPLICATION) == (DataCategory.INQUIRIES,)


def test_a_leaf_names_the_subject_and_the_row() -> None:
    subject = bytes([7]) * 32
    assert row_leaf(subject, GOOD) == b"concordat/row/v1" + subject + pack_row(GOOD)
    with pytest.raises(ValueError, match="32 wanted"):
        row_leaf(bytes(31), GOOD)


@given(packable)
def test_packing_is_undone_by_unpacking(row: Row) -> None:
    assert unpack_row(pack_row(row)) == row


@given(packable, packable)
def test_different_rows_have_different_bytes(one: Row, other: Row) -> None:
    assert (pack_row(one) == pack_row(other)) == (one == other)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x03" + bytes(21),
        b"\x03" + bytes(30) + b"\x17" + bytes(23),  # more bands than the catalogue has
        b"\x05" + bytes(21),
        pack_row(GOOD)[:-1],
        pack_row(GOOD) + b"\0",
        pack_row(GOOD)[:-1] + b"\x01",  # a month beyond the profile's length
        pack_row(APPLICATION)[:-1] + b"\x63",  # no such product
    ],
)
def test_what_is_no_packed_row_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack_row(data)


@pytest.mark.parametrize(
    "row",
    [
        replace(GOOD, account_ref=bytes(15)),
        replace(GOOD, payment_profile=bytes(24)),
        replace(APPLICATION, application_ref=bytes(17)),
    ],
)
def test_a_row_of_the_wrong_length_cannot_be_packed(row: Row) -> None:
    with pytest.raises(ValueError):
        pack_row(row)


@pytest.mark.parametrize(
    ("change", "adverse"),
    [
        ({"payment_profile": b""}, False),
        ({"payment_profile": bytes([1, 2, 3, 0])}, False),
        ({"payment_profile": bytes([1, 1, 4])}, True),
        ({"payment_profile": bytes([7])}, True),
        ({"payment_profile": b"", "days_past_due": DaysPastDueBand.FROM_8_TO_29}, False),
        ({"payment_profile": b"", "days_past_due": DaysPastDueBand.FROM_30_TO_59}, True),
        ({"payment_profile": b"", "days_past_due": DaysPastDueBand.UNSPECIFIED}, False),
        ({"payment_profile": b"", "five_class": FiveClass.SPECIAL_MENTION}, False),
        ({"payment_profile": b"", "five_class": FiveClass.SUBSTANDARD}, True),
        ({"payment_profile": b"", "fraud_flag": FraudFlag.VICTIM}, False),
        ({"payment_profile": b"", "fraud_flag": FraudFlag.CONFIRMED}, True),
        (
            {"payment_profile": b"", "invoice_days_past_due": DaysPastDueBand.FROM_30_TO_59},
            True,
        ),
        *(
            ({"payment_profile": b"", "status": status}, adverse)
            for status, adverse in [
                (AccountStatus.CLOSED, False),
                (AccountStatus.SETTLED_LESS, True),
                (AccountStatus.CHARGED_OFF, True),
                (AccountStatus.SOLD, False),
                (AccountStatus.RESTRUCTURED, False),
                (AccountStatus.DISPUTED, False),
            ]
        ),
    ],
)
def test_a_row_is_adverse_from_30_days_past_due_or_by_how_it_ended(
    change: dict[str, Any], adverse: bool
) -> None:
    assert is_adverse(replace(GOOD, **change)) is adverse


def test_an_application_is_never_adverse() -> None:
    assert not is_adverse(APPLICATION)
