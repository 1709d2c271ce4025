"""The demo's identity numbers: valid in form, unique, and of no county."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_demo.identities import CAPACITY, resident_id
from concordat_privacy.identifiers import ResidentId

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS = "10X98765432"


@given(index=st.integers(0, CAPACITY - 1))
def test_every_number_is_valid_in_form_and_belongs_to_nobody(index: int) -> None:
    number = resident_id(index)
    # GB 11643-1999: the check character by its table, worked out without the library in use.
    total = sum(w * int(digit) for w, digit in zip(WEIGHTS, number[:17], strict=True))
    assert number[17] == CHECK_CHARACTERS[total % 11]
    assert number[2:6] == "0000", "a county's code would make it somebody's"
    assert 1900 <= ResidentId(number).birth_date.year <= 1909
    assert ResidentId(number).value == number


def test_the_numbers_of_all_applicants_differ() -> None:
    assert len({resident_id(index) for index in range(100_000)}) == 100_000


@pytest.mark.parametrize("index", [-1, CAPACITY])
def test_there_is_no_number_outside_the_range(index: int) -> None:
    with pytest.raises(ValueError, match="person"):
        resident_id(index)
