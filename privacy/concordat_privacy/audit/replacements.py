"""Rows that replaced others, and rows that were withdrawn: each names one that was there, once.

What the rows said is nowhere in the log, and was not kept by the gateway either: an audit shows
which row of which entry stands for which, not what changed. Memory grows by a few bytes a batch and
a few a replaced row.
"""

from collections.abc import Sequence
from typing import Final

from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import Entry, Fields, Malformed, count_of
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.members import Member, Members
from concordat_privacy.log.leaf import Json

_ROWS_AN_ITEM: Final = 256


class Replacements:
    """Checks what the batches and withdrawals of one log say that they replace."""

    def __init__(self, context: Context, members: Members) -> None:
        self._context = context
        self._members = members
        self._batches: dict[int, tuple[str, int]] = {}
        """Entry -> (member, accepted rows)."""
        self._replaced: set[tuple[int, int]] = set()

    def batch(self, entry: Entry, rows: int) -> None:
        """`contribution.batch`: the rows of earlier batches that its own stand for."""
        counted, malformed = 0, False
        for item, fields in enumerate(entry.items or ()):
            if "replaces" not in fields:
                continue
            try:
                counted += self._replaces(entry, item, fields)
            except Malformed as error:
                self._context.find(Kind.MALFORMED, str(error), item=item)
                malformed = True
        stated = count_of(entry.fields, "replaced") if "replaced" in entry.fields else 0
        member = self._members.of(entry.actor.name)
        member.corrected += stated if entry.items is None else counted
        if entry.items is not None and stated != counted and not malformed:
            message = f"{stated} replaced rows by its entry, {counted} by its items"
            self._context.find(Kind.ROWS_MISCOUNTED, message)
        # Only now: a batch replaces no row of its own.
        self._batches[entry.index] = entry.actor.name, rows

    def withdrawn(self, entry: Entry) -> int:
        """`contribution.withdrawn`: rows whose account or application left the pool.

        Returns how many of them could not be looked at, for want of items.
        """
        rows = count_of(entry.fields, "rows")
        count_of(entry.fields, "refused")
        member = self._members.of(entry.actor.name)
        if rows and entry.items is None:
            if "items_root" not in entry.fields:
                raise Malformed("items_root: rows are withdrawn, but none is named")
            member.withdrawn += rows
            return rows
        counted = 0
        for item, fields in enumerate(entry.items or ()):
            if count_of(fields, "first") != counted:
                message = f"begins with row {fields['first']}, {counted} rows came before it"
                self._context.find(Kind.ROWS_MISCOUNTED, message, item=item)
            named = _lists_in(fields, "withdrawn", 2)
            for other, position in named:
                self._replace(entry, member, item, other, position)
            counted += len(named)
        member.withdrawn += counted
        if counted != rows:
            message = f"{rows} rows by its entry, {counted} by its items"
            self._context.find(Kind.ROWS_MISCOUNTED, message)
        return 0

    def _replaces(self, entry: Entry, item: int, fields: Fields) -> int:
        first, rows = count_of(fields, "first"), fields.get("rows")
        named = _lists_in(fields, "replaces", 3)
        after = first + (len(rows) if isinstance(rows, list) else 0)
        positions = [position for position, *_ in named]
        if (
            positions != sorted(set(positions))
            or not first <= positions[0] <= positions[-1] < after
        ):
            message = "replaces: positions of the item's own rows are wanted, each once, in order"
            raise Malformed(message)
        member = self._members.of(entry.actor.name)
        for _, other, position in named:
            self._replace(entry, member, item, other, position)
        return len(named)

    def _replace(self, entry: Entry, member: Member, item: int, other: int, position: int) -> None:
        furnisher, rows = self._batches.get(other, ("", 0))
        if position >= rows:
            message = f"row {position} of entry {other} is no row that was taken before"
            self._context.find(Kind.REPLACED_UNKNOWN, message, item=item, member=member.id)
            return
        if furnisher != entry.actor.name:
            message = f"row {position} of entry {other} is a row of {furnisher}"
            self._context.find(Kind.REPLACED_BY_ANOTHER, message, item=item, member=member.id)
        if (other, position) in self._replaced:
            message = f"row {position} of entry {other} was replaced or withdrawn before"
            self._context.find(Kind.REPLACED_TWICE, message, item=item, member=member.id)
        self._replaced.add((other, position))


def _lists_in(fields: Fields, name: str, length: int) -> list[list[int]]:
    """A field of lists of so many positions and entries; at least one, at most an item's."""
    value = fields.get(name)
    if not isinstance(value, list) or not 1 <= len(value) <= _ROWS_AN_ITEM:
        raise Malformed(f"{name}: a list of 1 to {_ROWS_AN_ITEM} is wanted")
    return [_numbers(one, name, length) for one in value]


def _numbers(value: Json, name: str, length: int) -> list[int]:
    numbers = (
        [one for one in value if type(one) is int and one >= 0]
        if isinstance(value, Sequence) and not isinstance(value, str)
        else []
    )
    if len(numbers) != length or len(value) != length:  # type: ignore[arg-type]
        raise Malformed(f"{name}: lists of {length} counts are wanted")
    return numbers
