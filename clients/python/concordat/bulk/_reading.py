"""Rows of a source, a batch at a time: mapped, and those that cannot be sent told apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from concordat.bulk._items import Item, Position, UnreadableRow
from concordat.bulk._journal import Reject
from concordat.bulk._sending import Work
from concordat.bulk.mapping import Mapped, Mapping
from concordat.bulk.sources import Source, open_source
from concordat_privacy.catalogue.calendar import day_number
from concordat_privacy.catalogue.rows import FieldProblem

_TOLD_ROWS = 2_000


def open_mapped(source: object, mapping: Mapping, encoding: str | None) -> Source:
    """A source, read as its mapping says it is; `encoding`, of a CSV file, goes before it.

    Raises as `open_source`.
    """
    return open_source(
        source,
        encoding=encoding or mapping.encoding,
        delimiter=mapping.delimiter,
        quoted=mapping.quoted,
        columns=mapping.heading,
    )


@dataclass(frozen=True, slots=True)
class Read:
    """Consecutive rows, mapped."""

    rows: list[tuple[int, Mapped]]
    rejects: list[Reject]
    after: Position
    rows_read: int
    refused: int


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads what the work wants of a source."""

    source: Source
    mapping: Mapping
    key: bytes
    """Of pseudonyms."""
    work: Work
    batch_rows: int
    utc_now: Callable[[], datetime]

    def read(
        self, start: Position | None, tell: Callable[[Position, int, int], None]
    ) -> Iterator[Read]:
        """Batches of up to `batch_rows`. Raises SourceError.

        `tell` is called now and then: the place, rows read since the last batch, and refused.
        """
        items = self.source.rows(self.mapping.columns, start)
        while (found := self._next(items, tell)) is not None:
            # What was read may be of another content than what the digest was made of.
            self.source.check_unchanged()
            yield found
        self.source.check_unchanged()

    def _next(
        self, items: Iterator[Item], tell: Callable[[Position, int, int], None]
    ) -> Read | None:
        today = day_number(self.utc_now().astimezone(UTC).date())
        rows: list[tuple[int, Mapped]] = []
        rejects: list[Reject] = []
        read = refused = 0
        after = None
        for item in items:
            if not self.work.wants(item.number):
                continue
            read += 1
            after = item.after
            mapped = self._mapped(item, today)
            if isinstance(mapped, Mapped):
                rows.append((item.number, mapped))
            else:
                refused += 1
                rejects += [
                    Reject(item.number, one.field, one.reason, one.description) for one in mapped
                ]
            if read % _TOLD_ROWS == 0:
                tell(after, read, refused)
            if read == self.batch_rows:
                break
        if after is None:
            return None
        return Read(rows, rejects, after, read, refused)

    def _mapped(self, item: Item, today: int) -> Mapped | list[FieldProblem]:
        if isinstance(item, UnreadableRow):
            return [FieldProblem("", item.reason, item.description)]
        mapped = self.mapping.map(item.values, self.key)
        if isinstance(mapped, Mapped):
            return self.work.faults(mapped, today) or mapped
        return mapped
