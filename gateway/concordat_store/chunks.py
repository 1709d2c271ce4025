"""Long lists, cut into what one statement takes."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def in_chunks(values: Sequence[_T], size: int) -> Iterator[list[_T]]:
    """The values of one statement after another, up to `size` of them each."""
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
