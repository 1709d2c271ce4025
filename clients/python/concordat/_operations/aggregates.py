"""Differentially private questions."""

import math
from collections.abc import Collection, Mapping

from concordat._context import Context
from concordat._methods import COUNT, GET_BUDGET
from concordat._steps import Operation
from concordat.enums import Dimension
from concordat.errors import InvalidInput, ProtocolViolation
from concordat.requests import checked_integer, checked_member
from concordat.results import Budget, Cell, CountResult
from concordat.v1 import aggregate_pb2

MICROS = 1_000_000
NANOS = 1_000_000_000
MIN_EPSILON = 0.001
MAX_EPSILON = 3.0
MAX_CELLS_PER_PERSON = 4
MAX_BAND = 255

_UNGROUPED = aggregate_pb2.DIMENSION_UNSPECIFIED
_ENTRIES = {"aggregate.charged", "aggregate.repeated"}


def count(
    context: Context,
    where: Mapping[Dimension, Collection[int]] | None,
    group_by: Dimension | None,
    epsilon: float,
    cells_per_person: int,
    timeout: float | None,
) -> Operation[CountResult]:
    """Count the persons of a cohort, or of each of its cells."""
    request = aggregate_pb2.CountRequest(
        where=_conditions({} if where is None else where),
        group_by=_UNGROUPED if group_by is None else _dimension(group_by, "group_by"),
        epsilon_micros=_epsilon_micros(epsilon),
        cells_per_person=checked_integer(
            cells_per_person, "cells_per_person", 1, MAX_CELLS_PER_PERSON
        ),
    )
    reply = yield from context.send(COUNT, request, timeout)
    if not reply.cells or (group_by is None and len(reply.cells) != 1):
        raise ProtocolViolation(f"the answer has {len(reply.cells)} cells")
    return CountResult(
        cells=tuple(Cell(cell.band, cell.band_label, cell.count) for cell in reply.cells),
        error_95=reply.error_95,
        mechanism=reply.mechanism,
        charged_rho=reply.charged_nano_rho / NANOS,
        snapshot=reply.snapshot,
        receipt=context.ledger.receipt(reply.receipt, _ENTRIES),
    )


def budget(context: Context, timeout: float | None) -> Operation[tuple[Budget, ...]]:
    """The pool's and the caller's budget."""
    request = aggregate_pb2.GetBudgetRequest()
    reply = yield from context.send(GET_BUDGET, request, timeout)
    return tuple(
        Budget(
            scope=item.scope,
            cap_rho=item.cap_nano_rho / NANOS,
            spent_rho=item.spent_nano_rho / NANOS,
            spent_epsilon=item.spent_epsilon_micros / MICROS,
        )
        for item in reply.budgets
    )


def _conditions(where: Mapping[Dimension, Collection[int]]) -> list[aggregate_pb2.Condition]:
    if not isinstance(where, Mapping):
        raise InvalidInput.field("where", f"a mapping wanted, {type(where).__name__} given")
    conditions = [_condition(dimension, bands) for dimension, bands in where.items()]
    return sorted(conditions, key=lambda condition: condition.dimension)


def _condition(dimension: Dimension, bands: Collection[int]) -> aggregate_pb2.Condition:
    field = f"where[{getattr(dimension, 'name', dimension)}]"
    if isinstance(bands, str) or not isinstance(bands, Collection) or not bands:
        raise InvalidInput.field(field, "a set of one or more band numbers wanted")
    numbers = sorted({checked_integer(band, field, 0, MAX_BAND) for band in bands})
    return aggregate_pb2.Condition(dimension=_dimension(dimension, field), bands=numbers)


def _dimension(dimension: Dimension, field: str) -> aggregate_pb2.Dimension.ValueType:
    return aggregate_pb2.Dimension.ValueType(checked_member(dimension, Dimension, field))


def _epsilon_micros(epsilon: float) -> int:
    if not math.isfinite(epsilon) or not MIN_EPSILON <= epsilon <= MAX_EPSILON:
        raise InvalidInput.field("epsilon", f"{epsilon!r}, {MIN_EPSILON} to {MAX_EPSILON} wanted")
    return round(epsilon * MICROS)
