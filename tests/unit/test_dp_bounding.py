"""Bounding: whatever one person did, they move an answer by at most what the noise is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.dp.bounding import bounded_counts
from concordat_privacy.dp.query import QuestionId

CELLS = 9
KEY = QuestionId(bytes(range(32)))

subjects = st.integers(0, 12).map(lambda n: bytes([n]) * 32)
rows = st.lists(st.tuples(subjects, st.integers(0, CELLS - 1)), max_size=120)
limits = st.integers(1, 4)


def counts(of: list[tuple[bytes, int]], limit: int, key: QuestionId = KEY) -> list[int]:
    return bounded_counts(of, cells=CELLS, cells_per_person=limit, key=key)


def test_a_person_counts_once_a_cell() -> None:
    a, b = bytes(32), bytes([1]) * 32
    assert counts([(a, 0), (a, 0), (b, 0), (a, 3)], 4) == [2, 0, 0, 1, 0, 0, 0, 0, 0]


@given(rows, limits, subjects)
def test_deleting_any_person_stays_within_the_sensitivity(
    of: list[tuple[bytes, int]], limit: int, deleted: bytes
) -> None:
    with_all = counts(of, limit)
    without = counts([row for row in of if row[0] != deleted], limit)
    changes = [a - b for a, b in zip(with_all, without, strict=True)]
    assert all(change in (0, 1) for change in changes)
    assert sum(changes) <= limit


@given(rows, limits)
def test_a_person_counts_in_as_many_cells_as_allowed_and_held(
    of: list[tuple[bytes, int]], limit: int
) -> None:
    held: dict[bytes, set[int]] = {}
    for subject, cell in of:
        held.setdefault(subject, set()).add(cell)
    assert sum(counts(of, limit)) == sum(min(len(cells), limit) for cells in held.values())


@given(rows, limits, st.randoms())
def test_neither_order_nor_repetition_matters(
    of: list[tuple[bytes, int]], limit: int, order: object
) -> None:
    shuffled = [*of, *of]
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a Random
    assert counts(shuffled, limit) == counts(of, limit)


def test_which_cells_stay_depends_on_the_question() -> None:
    of = [(bytes([n]) * 32, cell) for n in range(40) for cell in range(CELLS)]
    other = QuestionId(bytes(32))
    assert sum(counts(of, 2)) == sum(counts(of, 2, other)) == 80
    assert counts(of, 2) != counts(of, 2, other)


def test_no_cell_is_favoured() -> None:
    of = [(n.to_bytes(32, "big"), cell) for n in range(9_000) for cell in range(CELLS)]
    # Each cell keeps 1,000 of 9,000 in the mean, with a standard deviation of 30; fixed inputs.
    assert all(abs(count - 1_000) < 150 for count in counts(of, 1))


@pytest.mark.parametrize("cell", [-1, CELLS])
def test_a_cell_out_of_range_is_refused(cell: int) -> None:
    with pytest.raises(ValueError, match="0 to 8 wanted"):
        counts([(bytes(32), cell)], 1)
