"""One entry as a replay sees it, and readers of its fields that know how they must look.

Moments stay text: RFC 3339 in UTC with six decimals has one form, so texts compare as times do,
and a calendar unit is a prefix.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Final, TypeAlias

from concordat_privacy.log.leaf import Json

Fields: TypeAlias = Mapping[str, Json]
Moment: TypeAlias = str
"""Such as 2026-11-05T09:30:00.000000Z."""

PURPOSES: Final = (
    "underwriting",
    "contribution",
    "portfolio_review",
    "aggregate_statistics",
    "model_training",
    "dispute",
)
LOOKUP_PURPOSES: Final = frozenset({"underwriting", "portfolio_review", "dispute"})
CATEGORIES: Final = ("credit_accounts", "inquiries", "spending", "trade")
PURPOSE_BITS: Final = {name: 1 << at for at, name in enumerate(PURPOSES)}
CATEGORY_BITS: Final = {name: 1 << at for at, name in enumerate(CATEGORIES)}
NO_CONSENT: Final = "0" * 32
"""Stands in a lookup's item where no consent covers a category."""
UNITS: Final = {"hour": 13, "day": 10, "month": 7, "year": 4, "inf": 0}
"""ReBIT's calendar units, and how much of a moment's text names the unit it lies in."""

_ROLES: Final = frozenset({"member", "operator", "auditor", "gateway", "keyholder", "invitation"})
_ACTOR: Final = re.compile(r"spiffe://([a-z0-9._-]{1,255})/([a-z]+)/([a-z][a-z0-9-]{1,39})")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]*")


class Malformed(Exception):
    """A field is missing or has a value that it cannot have."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who caused an entry."""

    role: str
    name: str
    domain: str
    """Trust domain: that of the consortium."""

    @property
    def member(self) -> str:
        """The member's id; empty for others."""
        return self.name if self.role == "member" else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a verified export, with its items where the export holds them."""

    index: int
    type: str
    time: Moment
    actor: Actor
    fields: Fields
    items: Sequence[Fields] | None


@lru_cache(maxsize=4096)
def actor_of(text: str) -> Actor:
    """The actor behind a SPIFFE id. Raises Malformed."""
    match = _ACTOR.fullmatch(text)
    if match is None or match[2] not in _ROLES:
        raise Malformed("actor: not a SPIFFE id of this consortium's kind")
    return Actor(match[2], match[3], match[1])


def text_of(fields: Fields, name: str) -> str:
    """A text that is not empty. Raises Malformed."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name}: a text is wanted")
    return value


def optional_text(fields: Fields, name: str) -> str:
    """A text, or nothing where there is none. Raises Malformed."""
    return text_of(fields, name) if name in fields else ""


def count_of(fields: Fields, name: str) -> int:
    """A number that is not negative. Raises Malformed."""
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Malformed(f"{name}: a count is wanted")
    return value


def hex_of(fields: Fields, name: str, length: int) -> str:
    """`length` bytes in lower-case hexadecimal. Raises Malformed."""
    value = fields.get(name)
    if not isinstance(value, str) or len(value) != 2 * length or not _HEX.fullmatch(value):
        raise Malformed(f"{name}: {length} bytes in hexadecimal are wanted")
    return value


def moment_in(fields: Fields, name: str) -> Moment:
    """A moment. Raises Malformed."""
    value = fields.get(name)
    if not isinstance(value, str) or not _MOMENT.fullmatch(value) or not _is_time(value):
        raise Malformed(f"{name}: a time is wanted")
    return value


def mask_in(fields: Fields, name: str, bits: Mapping[str, int]) -> int:
    """The bits of a list of known words, each at most once, at least one. Raises Malformed."""
    value = fields.get(name)
    if not isinstance(value, list) or not value:
        raise Malformed(f"{name}: a list of words is wanted")
    mask = 0
    for word in value:
        bit = bits.get(word, 0) if isinstance(word, str) else 0
        if not bit or mask & bit:
            raise Malformed(f"{name}: not a list of different words of {', '.join(bits)}")
        mask |= bit
    return mask


def object_in(fields: Fields, name: str) -> Fields:
    """An object. Raises Malformed."""
    value = fields.get(name)
    if not isinstance(value, dict):
        raise Malformed(f"{name}: an object is wanted")
    return value


def words_of(mask: int, names: Sequence[str]) -> list[str]:
    """The words of a mask."""
    return [name for at, name in enumerate(names) if mask >> at & 1]


def days_between(start: Moment, end: Moment) -> int:
    """Calendar days (UTC) from the one start lies in to the one end lies in."""
    return (date.fromisoformat(end[:10]) - date.fromisoformat(start[:10])).days


def years_after(moment: Moment, years: int) -> Moment:
    """The same day and time, some years later; as text, so that 29 February needs no care."""
    return f"{min(int(moment[:4]) + years, 9999):04}{moment[4:]}"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
