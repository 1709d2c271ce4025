"""The intake of a batch: what is told apart, and what does not matter."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_gateway.rules.intake import (
    CALL,
    MAX_ROWS,
    MAX_ROWS_A_MESSAGE,
    MAX_ROWS_A_PART,
    PART,
    AccountNumbers,
    ApplicationNumbers,
    Header,
    Intake,
    RawRow,
)
from concordat_gateway.store.subjects import SubjectKey
from concordat_rpc.errors import Refusal

TODAY = 20_775
MONTH = 682

numbers = st.integers(-(2**31), 2**32 - 1) | st.integers(0, 10)
accounts = st.builds(
    AccountNumbers,
    st.binary(max_size=17),
    numbers,
    *(numbers for _ in range(9)),
    st.binary(max_size=25),
    *(numbers for _ in AccountNumbers._fields[12:]),
)
applications = st.builds(ApplicationNumbers, st.binary(max_size=17), numbers, numbers, numbers)
raw_rows = st.builds(
    RawRow, st.binary(min_size=30, max_size=33), st.none() | accounts | applications
)


def names(tokens: Sequence[bytes]) -> Sequence[SubjectKey]:
    return [SubjectKey(token[::-1]) for token in tokens]


def intake_of(rows: Sequence[RawRow], rows_a_message: int, request_id: bytes = bytes(16)) -> Intake:
    intake = Intake(Header(request_id, 1, 1), TODAY, 1, names)
    for start in range(0, len(rows), rows_a_message):
        intake.add(rows[start : start + rows_a_message])
    return intake


def good(ref: int) -> RawRow:
    application = ApplicationNumbers(ref.to_bytes(16, "big"), TODAY, 3)
    return RawRow(bytes(32), application)


@given(st.lists(raw_rows, min_size=1, max_size=6))
def test_every_row_is_taken_or_refused_once_whatever_it_holds(rows: list[RawRow]) -> None:
    intake = intake_of(rows, 2)
    items = [c.item for c in intake.candidates] + [r.item for r in intake.refused]
    assert sorted(items) == list(range(len(rows)))


@given(st.lists(raw_rows, min_size=1, max_size=6), st.integers(1, 6), st.integers(1, 6))
def test_how_a_stream_is_cut_does_not_matter(rows: list[RawRow], one: int, other: int) -> None:
    first, second = intake_of(rows, one), intake_of(rows, other)
    assert first.finish() == second.finish()
    assert first.candidates == second.candidates
    assert first.refused == second.refused


@given(st.lists(raw_rows, min_size=1, max_size=4), st.lists(raw_rows, min_size=1, max_size=4))
def test_batches_of_other_rows_have_other_digests(one: list[RawRow], other: list[RawRow]) -> None:
    assert (intake_of(one, 9).finish() == intake_of(other, 9).finish()) == (one == other)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_of_equal_rows_the_first_counts(refs: list[int]) -> None:
    intake = intake_of([good(ref) for ref in refs], 3)
    firsts = [at for at, ref in enumerate(refs) if refs.index(ref) == at]
    assert [candidate.item for candidate in intake.candidates] == firsts
    assert {refusal.reason for refusal in intake.refused} <= {"DUPLICATE"}


def test_a_refused_row_does_not_make_a_later_one_its_duplicate() -> None:
    bad = AccountNumbers(bytes(16), MONTH, 0, 3, 200, 0, 0, 0, 0, 0, 0, b"")
    intake = intake_of([RawRow(bytes(32), bad), RawRow(bytes(32), bad._replace(status=1))], 9)
    assert [refusal.item for refusal in intake.refused] == [0]
    assert [candidate.item for candidate in intake.candidates] == [1]


def test_a_batch_has_a_largest_size() -> None:
    chunk = [good(1)] * MAX_ROWS_A_MESSAGE
    intake = intake_of(chunk * (MAX_ROWS // MAX_ROWS_A_MESSAGE), MAX_ROWS_A_MESSAGE)
    assert intake.rows == MAX_ROWS
    with pytest.raises(Refusal):
        intake.add([good(2)])


def test_a_part_of_an_upload_has_its_own_size_and_another_digest_than_a_batch() -> None:
    part = Intake(Header(bytes(16), 1, 1), TODAY, 1, names, PART)
    part.add([good(1)] * MAX_ROWS_A_PART)
    with pytest.raises(Refusal) as caught:
        part.add([good(2)])
    assert [violation.field for violation in caught.value.violations] == ["part.rows"]
    digests = set()
    for bounds in (PART, CALL):
        for notice in (b"", bytes(32)):
            intake = Intake(Header(bytes(16), 1, 1, notice), TODAY, 1, names, bounds)
            intake.add([good(1)])
            digests.add(intake.finish())
    assert len(digests) == 4
