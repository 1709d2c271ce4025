"""Differentially private questions."""

from collections.abc import Collection, Mapping
from enum import Enum

from concordat._checks import checked_integer, checked_member, checked_number
from concordat._context import Context
from concordat._methods import COUNT, GET_BUDGET
from concordat._steps import Operation
from concordat.enums import Dimension
from concordat.errors import InvalidInput, ProtocolViolation
from concordat.results import Budget, Cell, CountResult
from concordat.v1 import aggregate_pb2
from concordat_privacy.dp.query import MAX_CELLS_PER_PERSON, MAX_EPSILON, MIN_EPSILON

MICROS = 1_000_000
NANOS = 1_000_000_000

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
    request_id = context.request_id(None)
    request = aggregate_pb2.CountRequest(
        where=_conditions({} if where is None else where),
        group_by=(
            _UNGROUPED
            if group_by is None
            else _on_wire(checked_member(group_by, Dimension, "group_by"))
        ),
        epsilon_micros=_epsilon_micros(epsilon),
        cells_per_person=checked_integer(
            cells_per_person, "cells_per_person", 1, MAX_CELLS_PER_PERSON
        ),
        request_id=request_id,
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
        receipt=context.ledger.receipt(reply.receipt, _ENTRIES, {"request": request_id.hex()}),
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
    known = checked_member(dimension, Dimension, field)
    if isinstance(bands, str | bytes) or not isinstance(bands, Collection) or not bands:
        raise InvalidInput.field(field, f"a set of one or more {known.bands.__name__} wanted")
    numbers = sorted({_band(band, known, field) for band in bands})
    return aggregate_pb2.Condition(dimension=_on_wire(known), bands=numbers)


def _band(band: int, dimension: Dimension, field: str) -> int:
    """The band's number. A band of another dimension has numbers too, which mean something else."""
    if isinstance(band, Enum) and not isinstance(band, dimension.bands):
        raise InvalidInput.field(field, f"{band!r} is no {dimension.bands.__name__}")
    return checked_integer(band, field, 1, len(dimension.labels))


def _on_wire(dimension: Dimension) -> aggregate_pb2.Dimension.ValueType:
    return aggregate_pb2.Dimension.ValueType(dimension)


def _epsilon_micros(epsilon: float) -> int:
    low, high = MIN_EPSILON / MICROS, MAX_EPSILON / MICROS
    wanted = checked_number(epsilon, "epsilon")
    if not low <= wanted <= high:
        raise InvalidInput.field("epsilon", f"{epsilon!r}, {low} to {high} wanted")
    return round(wanted * MICROS)
