"""Rows of a staged batch as one value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_gateway.store.staging import StagedRow, decode_rows, encode_rows, without_subjects
from concordat_gateway.store.subjects import SubjectKey

rows = st.lists(
    st.builds(
        StagedRow,
        st.integers(0, 2**32 - 1),
        st.sampled_from([SubjectKey(bytes([n]) * 32) for n in range(3)]),
        st.binary(max_size=120),
    )
)


@given(rows)
def test_rows_are_read_back_as_they_were_staged(staged: list[StagedRow]) -> None:
    assert decode_rows(encode_rows(staged)) == staged


@given(rows)
def test_a_subject_that_is_erased_leaves_the_others_in_order(staged: list[StagedRow]) -> None:
    erased = SubjectKey(bytes([1]) * 32)
    left = decode_rows(without_subjects(encode_rows(staged), {erased}))
    assert left == [row for row in staged if row.subject != erased]


@pytest.mark.parametrize("cut", [1, 37, 38, 39])
def test_a_value_that_was_cut_is_an_error(cut: int) -> None:
    encoded = encode_rows([StagedRow(7, SubjectKey(b"s" * 32), b"row")])
    assert len(encoded) == 41
    with pytest.raises(ValueError, match="staged row"):
        decode_rows(encoded[:cut])
