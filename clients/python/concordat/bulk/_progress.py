"""How far a job is, told while it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from concordat.bulk._items import Position
from concordat.bulk._journal import Journal
from concordat.bulk.sources import Source


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, over all its runs."""

    rows_read: int
    rows_accepted: int
    rows_refused: int
    offset: int
    """Of `size`, counted in `unit`."""
    size: int
    unit: str
    """"bytes" of a CSV file, else "rows"."""
    rows_per_second: float
    """Of this run."""


Tell: TypeAlias = Callable[[Progress], None]


@dataclass(slots=True)
class Teller:
    """Calls the caller's progress function."""

    tell: Tell | None
    book: Journal
    source: Source
    _began: float = 0.0
    _first: int = 0
    _offset: int = -1

    def begin(self) -> None:
        self._began = time.monotonic()
        self._first = self.book.totals().rows_read

    def at(self, position: Position | None, more_read: int, more_refused: int) -> None:
        """Tell where the job is: `more` were read and not answered yet."""
        if self.tell is None:
            return
        self._offset = 0 if position is None else position.offset
        totals = self.book.totals()
        read = totals.rows_read + more_read
        seconds = max(time.monotonic() - self._began, 1e-6)
        self.tell(
            Progress(
                read,
                totals.rows_accepted,
                totals.rows_refused + more_refused,
                self._offset,
                self.source.size,
                self.source.unit,
                (read - self._first) / seconds,
            )
        )

    def end(self) -> None:
        """Tell that the source was read to its end, which may be after the last row."""
        if self._offset != self.source.size:
            self.at(Position(self.source.size, 0), 0, 0)
