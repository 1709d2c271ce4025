"""Wire values to the SDK's own, and back. What the contract forbids is a ProtocolViolation."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import IntEnum
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from concordat._fields import own_name
from concordat._steps import Operation
from concordat.errors import ConcordatError, ProtocolViolation
from concordat.results import ItemRefusal
from concordat.v1 import common_pb2

_Enum = TypeVar("_Enum", bound=IntEnum)
_T = TypeVar("_T")

_LAST_MONTH = (9999 - 1970) * 12 + 11


class Page(NamedTuple, Generic[_T]):
    """One page of a listing. `next_page_token` is empty on the last."""

    items: list[_T]
    next_page_token: str


FetchPage = Callable[[str], Operation[Page[_T]]]
"""page token -> the operation that reads that page."""


def member_of(kind: type[_Enum], number: int, what: str) -> _Enum:
    """The enumeration's member. Raises ProtocolViolation for 0 and for a number that it has not."""
    try:
        member = kind(number)
    except ValueError:
        raise ProtocolViolation(
            f"{what}: the gateway sent {number}, which is no {kind.__name__} known here"
        ) from None
    if member == 0:
        raise ProtocolViolation(f"{what}: the gateway left the {kind.__name__} unset")
    return member


def time_of(timestamp: Timestamp, what: str) -> datetime:
    """A time in UTC. Raises ProtocolViolation."""
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ProtocolViolation(f"{what}: the gateway sent a time out of range") from None


def timestamp_of(time: datetime) -> Timestamp:
    """A time for the wire. The caller has checked that it has a zone."""
    timestamp = Timestamp()
    timestamp.FromDatetime(time.astimezone(UTC))
    return timestamp


def month_start(month: int) -> date:
    """First day of a month counted from 1970-01. Raises ProtocolViolation."""
    if not 0 <= month <= _LAST_MONTH:
        raise ProtocolViolation(f"as_of_month: the gateway sent {month}, which is no month")
    return date(1970 + month // 12, month % 12 + 1, 1)


def refusals_of(
    refused: Iterable[common_pb2.ItemRefusal], positions: Sequence[int]
) -> list[ItemRefusal]:
    """Refusals with the caller's own numbers and names of fields. Raises ProtocolViolation.

    `positions[i]` is the caller's number of item i of the request.
    """
    found = []
    for refusal in refused:
        if refusal.item >= len(positions):
            raise ProtocolViolation(f"the gateway refused item {refusal.item} of {len(positions)}")
        item = positions[refusal.item]
        field = own_name(refusal.field)
        found.append(ItemRefusal(item, field, refusal.reason, refusal.description))
    return found


def batches_of(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Consecutive lists of up to `size` items, none empty."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@contextmanager
def keeping_partial(result: Callable[[], object], advice: str) -> Iterator[None]:
    """Add to an error of the block what was answered before it, and a note on how to go on.

    Also to errors that the caller's own iterable raises: they go through as they are, so of
    those only the note can tell.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ConcordatError):
            error.partial = result()
        error.add_note(advice)
        raise
