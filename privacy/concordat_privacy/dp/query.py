"""What may be asked: counts of persons over public bands, in one canonical form.

Equal questions have equal bytes however they were put, so that one is never charged, or noised,
twice for the same snapshot of the pool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NewType

from concordat_privacy.catalogue.bands import (
    BAND_LABELS,
    AccountStatus,
    AmountBand,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
)
from concordat_privacy.catalogue.rows import FieldProblem
from concordat_privacy.dp.rho import MicroEpsilon
from concordat_privacy.log.leaf import Json, encode_item

QuestionId = NewType("QuestionId", bytes)
"""SHA-256 of a canonical question, 32 bytes."""

MIN_EPSILON: Final = MicroEpsilon(1_000)
MAX_EPSILON: Final = MicroEpsilon(3_000_000)
MAX_CELLS_PER_PERSON: Final = 4
_VERSION: Final = 2
"""Of the cells: as many as the catalogue has bands, and an answer of fewer is another one."""


class Dimension(IntEnum):
    """What cohorts are cut along. Numbers equal those of concordat.v1."""

    UNSPECIFIED = 0
    PRODUCT = 1
    STATUS = 2
    DAYS_PAST_DUE = 3
    BALANCE = 4
    LIMIT = 5
    UTILISATION = 6

    @property
    def bands(self) -> type[IntEnum]:
        """The bands of this dimension. Raises KeyError for UNSPECIFIED."""
        return _BANDS[self]

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of band b at position b - 1."""
        return BAND_LABELS[self.bands]


_BANDS: Final[dict[int, type[IntEnum]]] = {
    Dimension.PRODUCT: ProductClass,
    Dimension.STATUS: AccountStatus,
    Dimension.DAYS_PAST_DUE: DaysPastDueBand,
    Dimension.BALANCE: AmountBand,
    Dimension.LIMIT: AmountBand,
    Dimension.UTILISATION: UtilisationBand,
}


class QuestionError(ValueError):
    """A question that may not be asked. `problems` says why."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.description}" for p in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Condition:
    """A dimension and the bands of it that are accepted, ascending."""

    dimension: Dimension
    bands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question in canonical form; made by `parse` alone.

    A person is in the cohort when one of their accounts meets all conditions. With `group_by` a
    person counts in the cells of such accounts, in at most `cells_per_person` of them. An account
    whose band in a dimension is unknown meets no condition on it and lies in none of its cells.
    """

    where: tuple[Condition, ...]
    """In order of dimension."""
    group_by: Dimension
    """UNSPECIFIED: one count."""
    epsilon: MicroEpsilon
    cells_per_person: int

    @property
    def cells(self) -> int:
        """Number of cells of the answer. All are returned, also empty ones: they are public."""
        return len(self.group_by.labels) if self.group_by else 1

    @property
    def content(self) -> dict[str, Json]:
        """The question as the ledger records it."""
        return {
            "v": _VERSION,
            "count": "persons",
            "where": [
                {"dimension": c.dimension.name.lower(), "bands": list(c.bands)} for c in self.where
            ],
            "group_by": self.group_by.name.lower() if self.group_by else "",
            "epsilon_micros": int(self.epsilon),
            "cells_per_person": self.cells_per_person,
        }

    @property
    def canonical(self) -> bytes:
        """RFC 8785 JSON of `content`."""
        return encode_item(self.content)

    @property
    def id(self) -> QuestionId:
        """SHA-256 of `canonical`."""
        return QuestionId(hashlib.sha256(self.canonical).digest())


def parse(
    where: Sequence[tuple[int, Sequence[int]]],
    group_by: int,
    epsilon_micros: int,
    cells_per_person: int,
) -> Question:
    """The canonical question for numbers as they arrive. Raises QuestionError with all problems."""
    problems: list[FieldProblem] = []
    conditions = [
        condition
        for position, (dimension, bands) in enumerate(where)
        if (condition := _condition(position, dimension, bands, problems)) is not None
    ]
    dimensions = [condition.dimension for condition in conditions]
    problems.extend(
        FieldProblem("where", "DUPLICATE", f"more than one condition on {dimension.name}")
        for dimension in sorted({d for d in dimensions if dimensions.count(d) > 1})
    )
    if not 0 <= group_by < len(Dimension):
        problems.append(_no_dimension("group_by", group_by))
    if not MIN_EPSILON <= epsilon_micros <= MAX_EPSILON:
        problems.append(
            FieldProblem(
                "epsilon_micros",
                "OUT_OF_RANGE",
                f"{epsilon_micros}, {MIN_EPSILON} to {MAX_EPSILON} millionths wanted",
            )
        )
    most = MAX_CELLS_PER_PERSON if group_by else 1
    if not 1 <= cells_per_person <= most:
        wanted = f"1 to {most}" if group_by else "1 without group_by"
        problems.append(
            FieldProblem("cells_per_person", "OUT_OF_RANGE", f"{cells_per_person}, {wanted} wanted")
        )
    if problems:
        raise QuestionError(problems)
    return Question(
        where=tuple(sorted(conditions, key=lambda condition: condition.dimension)),
        group_by=Dimension(group_by),
        epsilon=MicroEpsilon(epsilon_micros),
        cells_per_person=cells_per_person,
    )


def _condition(
    position: int, dimension: int, bands: Sequence[int], problems: list[FieldProblem]
) -> Condition | None:
    field = f"where[{position}]"
    if not 0 < dimension < len(Dimension):
        problems.append(_no_dimension(f"{field}.dimension", dimension))
        return None
    known = Dimension(dimension)
    highest = len(known.labels)
    if not bands:
        problems.append(FieldProblem(f"{field}.bands", "REQUIRED", "at least one band wanted"))
    elif not all(1 <= band <= highest for band in bands):
        problems.append(
            FieldProblem(f"{field}.bands", "OUT_OF_RANGE", f"band numbers 1 to {highest} wanted")
        )
    elif len(set(bands)) != len(bands):
        problems.append(FieldProblem(f"{field}.bands", "DUPLICATE", "each band once wanted"))
    return Condition(known, tuple(sorted(set(bands))))


def _no_dimension(field: str, number: int) -> FieldProblem:
    return FieldProblem(field, "UNKNOWN_VALUE", f"no dimension has the number {number}")
