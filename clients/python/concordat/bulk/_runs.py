"""Which rows of a source became which rows of an entry, in few bytes: nearly all follow another."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

_RUN: Final = struct.Struct(">QII")


class TakenRow(NamedTuple):
    """A row of the source that the gateway took, by the name that corrections give it."""

    number: int
    """The source's number of it."""
    entry_index: int
    item: int


def pack_runs(rows: Iterable[tuple[int, int]]) -> bytes:
    """(number, item) pairs, in order: first number u64, first item u32 and count u32 a run."""
    runs: list[list[int]] = []
    for number, item in rows:
        if runs:
            first, at, count = runs[-1]
            if (number, item) == (first + count, at + count):
                runs[-1][2] += 1
                continue
        runs.append([number, item, 1])
    return b"".join(_RUN.pack(*run) for run in runs)


def unpack_runs(entry_index: int, packed: bytes) -> Iterator[TakenRow]:
    """The rows that `pack_runs` packed, of an entry."""
    for number, item, count in _RUN.iter_unpack(packed):
        for step in range(count):
            yield TakenRow(number + step, entry_index, item + step)


def taken_of(numbers: Sequence[int], refused: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(number, item) of a parcel's rows that were not refused, by their numbers."""
    left_out = frozenset(refused)
    return ((number, item) for item, number in enumerate(numbers) if number not in left_out)
