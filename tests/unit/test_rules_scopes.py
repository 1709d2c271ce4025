"""Numbers, masks, dates and commitments of consents."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat.v1 import common_pb2, consent_pb2, contribution_pb2
from concordat_gateway.rules.calendar import LAST_MOMENT, day_of, more_than_years_apart
from concordat_gateway.rules.consent_states import ConsentState
from concordat_gateway.rules.contributions import BatchState
from concordat_gateway.rules.scopes import (
    CATEGORIES,
    PURPOSES,
    Mask,
    Purpose,
    categories_in,
    covers,
    mask_of,
    names_of,
    purposes_in,
)
from concordat_privacy.catalogue.bands import DataCategory


def moment(text: str) -> int:
    """Microseconds since the epoch of an ISO date and time in UTC."""
    at = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (at.days * 86_400 + at.seconds) * 1_000_000 + at.microseconds


@pytest.mark.parametrize(
    ("ours", "contract", "prefix"),
    [
        (Purpose, common_pb2.Purpose, "PURPOSE_"),
        (DataCategory, common_pb2.DataCategory, "DATA_CATEGORY_"),
        (ConsentState, consent_pb2.ConsentState, "CONSENT_STATE_"),
        (BatchState, contribution_pb2.BatchState, "BATCH_STATE_"),
    ],
)
def test_numbers_are_those_of_the_contract(ours: type, contract: object, prefix: str) -> None:
    theirs = {name.removeprefix(prefix): number for name, number in contract.items()}  # type: ignore[attr-defined]  # untyped wrapper
    mine = {member.name: int(member) for member in ours}  # type: ignore[attr-defined]  # any enum
    assert {**mine, "UNSPECIFIED": 0} == theirs


@given(st.frozensets(st.sampled_from(sorted(PURPOSES))))
def test_a_mask_of_purposes_holds_just_these(purposes: frozenset[Purpose]) -> None:
    mask = mask_of(purposes)
    assert purposes_in(mask) == purposes
    assert {p for p in PURPOSES if covers(mask, p)} == purposes


@given(st.frozensets(st.sampled_from(sorted(CATEGORIES))))
def test_a_mask_of_categories_holds_just_these(categories: frozenset[DataCategory]) -> None:
    assert categories_in(mask_of(categories)) == categories


def test_bit_n_of_a_mask_stands_for_number_n() -> None:
    assert mask_of([Purpose.UNDERWRITING, Purpose.DISPUTE]) == 0b1000010
    assert names_of(purposes_in(Mask(0b1000010))) == ["underwriting", "dispute"]


@pytest.mark.parametrize(
    ("start", "end", "apart"),
    [
        ("2027-01-15T10:00:00", "2032-01-15T10:00:00", False),
        ("2027-01-15T10:00:00", "2032-01-15T10:00:00.000001", True),
        ("2027-01-15T10:00:00.5", "2032-01-15T10:00:00.4", False),
        ("2027-12-31T23:59:59", "2032-12-31T23:59:59", False),
        ("2028-02-29T00:00:00", "2033-02-28T23:59:59", False),
        ("2028-02-29T00:00:00", "2033-03-01T00:00:00", True),
        ("2027-02-28T00:00:00", "2032-02-29T00:00:00", True),
        ("1970-01-01T00:00:00", "9999-12-31T23:59:59", True),
        ("9999-01-01T00:00:00", "9999-12-31T23:59:59", False),
    ],
)
def test_five_years_are_counted_by_the_calendar(start: str, end: str, apart: bool) -> None:
    assert more_than_years_apart(moment(start), moment(end), 5) is apart


def test_days_and_the_last_moment() -> None:
    assert day_of(0) == 0
    assert day_of(86_400_000_000 - 1) == 0
    assert day_of(86_400_000_000) == 1
    assert moment("9999-12-31T23:59:59.999999") == LAST_MOMENT
