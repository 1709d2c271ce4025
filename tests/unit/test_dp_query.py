"""Questions: one canonical form each, and every fault named."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat.v1 import aggregate_pb2, bands_pb2
from concordat_privacy.dp.query import Dimension, Question, QuestionError, parse

Where = list[tuple[int, list[int]]]

conditions = st.lists(
    st.sampled_from([d for d in Dimension if d]), unique=True, max_size=6
).flatmap(
    lambda dimensions: st.tuples(
        *(
            st.tuples(
                st.just(int(d)),
                st.lists(st.integers(1, len(d.labels)), unique=True, min_size=1),
            )
            for d in dimensions
        )
    )
)


def problems(where: Where, group_by: int, epsilon: int, cells: int) -> dict[str, str]:
    with pytest.raises(QuestionError) as error:
        parse(where, group_by, epsilon, cells)
    return {problem.field: problem.description for problem in error.value.problems}


def test_the_canonical_bytes_of_a_question() -> None:
    question = parse([(6, [6, 5]), (1, [3])], 3, 1_000_000, 2)
    assert question.canonical == (
        b'{"cells_per_person":2,"count":"persons","epsilon_micros":1000000,'
        b'"group_by":"days_past_due","v":2,"where":[{"bands":[3],"dimension":"product"},'
        b'{"bands":[5,6],"dimension":"utilisation"}]}'
    )
    assert question.id == hashlib.sha256(question.canonical).digest()
    assert question.cells == 7


def test_a_plain_count_has_one_cell() -> None:
    assert parse([], 0, 1_000_000, 1).cells == 1


@given(conditions, st.randoms())
def test_order_does_not_make_another_question(
    where: tuple[tuple[int, list[int]], ...], order: random.Random
) -> None:
    shuffled = [(dimension, order.sample(bands, len(bands))) for dimension, bands in where]
    order.shuffle(shuffled)
    assert parse(shuffled, 1, 5_000, 1).id == parse(where, 1, 5_000, 1).id


@pytest.mark.parametrize(
    "other",
    [
        parse([(1, [2])], 2, 1_000_000, 1),
        parse([(1, [2, 3])], 1, 1_000_000, 1),
        parse([(1, [2])], 1, 1_000_001, 1),
        parse([(1, [2])], 1, 1_000_000, 2),
        parse([], 1, 1_000_000, 1),
    ],
)
def test_everything_that_matters_makes_another_question(other: Question) -> None:
    assert parse([(1, [2])], 1, 1_000_000, 1).id != other.id


def test_every_fault_is_named() -> None:
    found = problems([(0, [1]), (1, []), (2, [8]), (3, [1, 1]), (3, [2]), (7, [1])], 9, 999, 5)
    assert found == {
        "where[0].dimension": "no dimension has the number 0",
        "where[1].bands": "at least one band wanted",
        "where[2].bands": "band numbers 1 to 7 wanted",
        "where[3].bands": "each band once wanted",
        "where[5].dimension": "no dimension has the number 7",
        "where": "more than one condition on DAYS_PAST_DUE",
        "group_by": "no dimension has the number 9",
        "epsilon_micros": "999, 1000 to 3000000 millionths wanted",
        "cells_per_person": "5, 1 to 4 wanted",
    }


@pytest.mark.parametrize("cells", [0, 2])
def test_a_plain_count_takes_one_cell_a_person(cells: int) -> None:
    assert problems([], 0, 3_000_000, cells) == {
        "cells_per_person": f"{cells}, 1 without group_by wanted"
    }


@pytest.mark.parametrize("epsilon", [0, 999, 3_000_001])
def test_epsilon_is_bounded(epsilon: int) -> None:
    assert "epsilon_micros" in problems([], 0, epsilon, 1)


def test_dimensions_are_those_of_the_contract() -> None:
    contract = {
        value.name.removeprefix("DIMENSION_"): value.number
        for value in aggregate_pb2.Dimension.DESCRIPTOR.values
    }
    assert {dimension.name: dimension.value for dimension in Dimension} == contract
    assert len(Dimension.PRODUCT.labels) == len(bands_pb2.ProductClass.values()) - 1
    assert len(Dimension.LIMIT.labels) == len(bands_pb2.AmountBand.values()) - 1
