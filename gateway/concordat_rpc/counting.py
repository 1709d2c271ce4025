"""How many objects a message would become, told from its bytes before it is parsed.

A parser makes an object of each element of a repeated field, and an empty one takes two bytes on
the wire and some 65 in memory: a message of 4 MB can become 130. So fields are counted first, one
after another, without looking at what is in them; who wants no more than some stops there.

What is counted are the fields of a message, and those of its fields that have repeated ones in
them. The numbers of a packed field are not: in memory they are eight times as long at most. Bytes
that are no message are counted up to where they go wrong, and no parser gets further.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_ELEMENTS: Final = (
    FieldDescriptor.TYPE_MESSAGE,
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BYTES,
)
_VARINT, _FIXED_64, _LENGTH, _GROUP, _GROUP_END, _FIXED_32 = range(6)
_SHORTEST_FIELD: Final = 2
"""Bytes: a tag, and a length or a value."""
_VARINT_BYTES: Final = 10
_TAG_MASK: Final = 2**32 - 1
_VARINT_MASK: Final = 2**64 - 1
"""Ten bytes hold 70 bits, of which parsers drop the highest."""


class Counter:
    """Counts the fields of messages of one type."""

    def __init__(self, message: Descriptor, known: dict[str, Counter] | None = None) -> None:
        known = {} if known is None else known
        known[message.full_name] = self
        self.makes_elements = _makes_elements(message, frozenset())
        """Whether a message of this type can become many objects."""
        self._inside: dict[int, Counter] = {
            number: known.get(within.full_name) or Counter(within, known)
            for number, within in _within(message)
            if _makes_elements(within, frozenset())
        }

    def has_more_than(self, most: int, message: bytes) -> bool:
        """Whether a message has more fields than `most`; takes no longer than to count so many."""
        if not self.makes_elements or len(message) <= _SHORTEST_FIELD * most:
            return False
        try:
            return self._left(message, 0, len(message), most) < 0
        except (IndexError, ValueError):
            return False  # no message, and so many fields were not found before it went wrong

    def _left(self, data: bytes, at: int, end: int, left: int) -> int:
        """What is left of `left` fields after those from `at` to `end`; -1 where it is too few."""
        while at < end and left >= 0:
            left -= 1
            tag, at = data[at], at + 1
            if tag > 127:
                tag, at = _varint(data, at - 1)
            wire_type = tag & 7
            if wire_type == _LENGTH:
                size, at = data[at], at + 1
                if size > 127:
                    size, at = _varint(data, at - 1)
                inside = self._inside.get((tag & _TAG_MASK) >> 3)
                if inside is not None:
                    left = inside._left(data, at, at + size, left)
                at += size
            elif wire_type == _VARINT:
                _, at = _varint(data, at)
            elif wire_type == _FIXED_32:
                at += 4
            elif wire_type == _FIXED_64:
                at += 8
            elif wire_type not in (_GROUP, _GROUP_END):
                raise ValueError("no wire type")
            # What is between the tags of a group is fields.
        return left


def _makes_elements(message: Descriptor, above: frozenset[str]) -> bool:
    """Whether a message, or one within it, has a field of many elements."""
    if any(field.is_repeated and field.type in _ELEMENTS for field in message.fields):
        return True
    above |= {message.full_name}
    return any(
        _makes_elements(within, above)
        for _, within in _within(message)
        if within.full_name not in above
    )


def _within(message: Descriptor) -> Iterator[tuple[int, Descriptor]]:
    """The fields that are messages: their numbers and types."""
    for field in message.fields:
        if field.message_type is not None:
            yield field.number, field.message_type


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a position, and where it ends. Raises IndexError, ValueError."""
    value = 0
    for index in range(_VARINT_BYTES):
        byte = data[at + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value & _VARINT_MASK, at + index + 1
    raise ValueError("longer than any number")
