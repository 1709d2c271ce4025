"""Limits what one person can add to an answer, before any noise."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from concordat_privacy.dp.query import QuestionId


def bounded_counts(
    rows: Iterable[tuple[bytes, int]], *, cells: int, cells_per_person: int, key: QuestionId
) -> list[int]:
    """Persons in each cell, each person in at most `cells_per_person` cells and once a cell.

    `rows` are (subject, cell) with 0 <= cell < cells, in any order, with any repetitions. Which
    cells of a person stay is decided by the order of a hash keyed with the question: fixed for
    the question, different between questions, and dependent on nobody else's rows.

    Stability: adding or removing everything about one person changes each count by at most 1 and
    their sum of absolute changes (L1) by at most `cells_per_person`. Sums are of Python integers,
    which neither round nor overflow. Raises ValueError for a cell out of range.

    A person's cells must all be in one call: counts of calls over disjoint persons add up.
    """
    masks: dict[bytes, int] = {}
    for subject, cell in rows:
        if not 0 <= cell < cells:
            raise ValueError(f"cell {cell}, 0 to {cells - 1} wanted")
        masks[subject] = masks.get(subject, 0) | 1 << cell
    counts = [0] * cells
    for subject, mask in masks.items():
        for cell in _kept(subject, mask, cells_per_person, key):
            counts[cell] += 1
    return counts


def _kept(subject: bytes, mask: int, cells_per_person: int, key: bytes) -> list[int]:
    held = [cell for cell in range(mask.bit_length()) if mask >> cell & 1]
    if len(held) <= cells_per_person:
        return held
    return sorted(held, key=lambda cell: _rank(subject, cell, key))[:cells_per_person]


def _rank(subject: bytes, cell: int, key: bytes) -> bytes:
    return blake2b(cell.to_bytes(4, "big") + subject, key=key, digest_size=16).digest()
