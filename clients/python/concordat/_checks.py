"""Checks of what callers hand in, before anything is sent.

A `checked_...` returns the value or raises InvalidInput, which names the field; a `..._fault` says
what is wrong, or None.
"""

import math
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from enum import IntEnum
from numbers import Real
from typing import TypeVar

from concordat.errors import InvalidInput
from concordat_privacy.catalogue.rows import RowRef
from concordat_privacy.languages import is_language_tag
from concordat_privacy.oprf import Token
from concordat_privacy.periods import Frequency, Period, TimeUnit

MAX_PERIOD = 100_000
MAX_USES = 1_000_000
MAX_TIMEOUT_SECONDS = 86_400

_Enum = TypeVar("_Enum", bound=IntEnum)
_T = TypeVar("_T")


def checked_time(time: datetime | None, field: str) -> datetime | None:
    """The time, if it is one with a zone, or None. Raises InvalidInput."""
    fault = None if time is None else time_fault(time)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return time


def checked_token(token: Token, field: str = "token") -> bytes:
    """The token's 32 bytes. Raises InvalidInput for anything that is no Token."""
    fault = token_fault(token)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return token.value


def checked_epoch(token: Token, epoch: int, field: str) -> int:
    """The epoch of all tokens of a call, once one more was looked at; 0 before the first.

    One request names one epoch. Raises InvalidInput for a token of another.
    """
    if epoch in (0, token.epoch):
        return token.epoch
    raise InvalidInput.field(
        field,
        f"a token of epoch {token.epoch} after tokens of epoch {epoch}; make a call for each epoch",
    )


def checked_text(text: str, field: str, at_most: int) -> str:
    """The text if it has 1 to `at_most` characters. Raises InvalidInput."""
    fault = text_fault(text, at_most)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return text


def checked_bytes(value: bytes, field: str, length: int) -> bytes:
    """The bytes if there are `length`. Raises InvalidInput."""
    fault = bytes_fault(value, length)
    if fault is not None:
        raise InvalidInput.field(field, fault)
    return bytes(value)


def checked_member(value: _Enum, kind: type[_Enum], field: str) -> _Enum:
    """The enumeration's member. Raises InvalidInput for 0 and for anything else."""
    if not isinstance(value, kind):
        raise InvalidInput.field(field, f"{value!r} is no {kind.__name__}")
    if value == 0:
        raise InvalidInput.field(field, f"{kind.__name__} wanted, none given")
    return value


def checked_integer(value: int, field: str, low: int, high: int) -> int:
    """The number if it is in low..high. Raises InvalidInput."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidInput.field(field, f"{value!r}, an integer from {low} to {high} wanted")
    return value


def checked_number(value: float, field: str) -> float:
    """The number if it is a finite one. Raises InvalidInput."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise InvalidInput.field(field, f"{value!r}, a finite number wanted")
    return float(value)


def checked_timeout(seconds: float, field: str) -> float:
    """The timeout if it is longer than nothing and at most a day. Raises InvalidInput."""
    if not 0 < checked_number(seconds, field) <= MAX_TIMEOUT_SECONDS:
        raise InvalidInput.field(
            field, f"{seconds!r}, more than 0 and at most {MAX_TIMEOUT_SECONDS} seconds wanted"
        )
    return float(seconds)


def checked_type(value: _T, kind: type[_T], field: str, advice: str = "") -> _T:
    """The value if it is of the type. Raises InvalidInput, which does not repeat the value."""
    if not isinstance(value, kind):
        raise InvalidInput.field(
            field, f"{kind.__name__} wanted, {type(value).__name__} given{advice and '; '}{advice}"
        )
    return value


def checked_items(items: Iterable[_T], field: str, kind: str) -> Iterable[_T]:
    """What can be iterated over. Raises InvalidInput; the items are not looked at."""
    if not isinstance(items, Iterable):
        raise InvalidInput.field(
            field,
            f"a list or another iterable of {kind} wanted, {type(items).__name__} given; "
            "put a single one in a list",
        )
    return items


def row_ref_fault(row: object) -> str | None:
    """What keeps the name of a row from being sent, or None."""
    if not isinstance(row, RowRef):
        return f"a RowRef wanted, {type(row).__name__} given"
    for value, bits in zip(row, (64, 32), strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**bits:
            return "entry_index and item are integers, below 2**64 and 2**32"
    return None


def text_fault(text: object, at_most: int) -> str | None:
    """What keeps a text from being sent, or None."""
    if not isinstance(text, str):
        return f"text wanted, {type(text).__name__} given"
    if not 1 <= len(text) <= at_most:
        return f"{len(text)} characters, 1 to {at_most} wanted"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is no character"
    return None


def bytes_fault(value: object, length: int) -> str | None:
    """What keeps bytes from being sent, or None."""
    if not isinstance(value, bytes | bytearray):
        return f"{length} bytes wanted, {type(value).__name__} given"
    if len(value) != length:
        return f"{len(value)} bytes, {length} wanted"
    return None


def token_fault(token: object) -> str | None:
    """What keeps this from being a token, or None."""
    if isinstance(token, Token):
        return None
    return f"a Token wanted, {type(token).__name__} given; Client.tokenise makes tokens"


def optional_bytes_fault(value: object, length: int) -> str | None:
    """As `bytes_fault`; None may stand for nothing."""
    return None if value is None else bytes_fault(value, length)


def optional_text_fault(text: object, at_most: int) -> str | None:
    """As `text_fault`; None may stand for nothing."""
    return None if text is None else text_fault(text, at_most)


def language_fault(language: object) -> str | None:
    """What keeps this from being a language tag or None."""
    if language is None:
        return None
    if not isinstance(language, str) or not is_language_tag(language):
        return 'a BCP 47 tag wanted, such as "zh-Hans-CN"'
    return None


def period_fault(period: object) -> str | None:
    """What keeps this from being a Period or None."""
    if period is None:
        return None
    if not isinstance(period, Period):
        return f"a Period wanted, {type(period).__name__} given"
    low, high = (0, 0) if period.unit is TimeUnit.INF else (1, MAX_PERIOD)
    return _count_fault(period.unit, period.value, low, high)


def frequency_fault(frequency: object) -> str | None:
    """What keeps this from being a Frequency or None."""
    if frequency is None:
        return None
    if not isinstance(frequency, Frequency):
        return f"a Frequency wanted, {type(frequency).__name__} given"
    return _count_fault(frequency.unit, frequency.uses, 1, MAX_USES)


def _count_fault(unit: object, count: object, low: int, high: int) -> str | None:
    if not isinstance(unit, TimeUnit):
        return f"{unit!r} is no TimeUnit"
    if not isinstance(count, int) or isinstance(count, bool) or not low <= count <= high:
        return f"{count!r} units, {low} to {high} wanted"
    return None


def time_fault(time: object) -> str | None:
    """What keeps this from being a time with a zone."""
    if not isinstance(time, datetime):
        return f"a datetime wanted, {type(time).__name__} given"
    if time.utcoffset() is None:
        return "without a time zone; say which, e.g. datetime.UTC"
    try:
        time.astimezone(UTC)
    except OverflowError:
        return "beyond the years 1 to 9999 in UTC"
    return None


def members_fault(values: object, kind: type[IntEnum]) -> str | None:
    """What keeps these from being one or more of an enumeration's members."""
    if isinstance(values, str) or not isinstance(values, Collection):
        return f"a set of {kind.__name__} wanted, {type(values).__name__} given"
    if not values:
        return "one or more wanted, none given"
    for value in values:
        if not isinstance(value, kind) or value == 0:
            return f"{value!r} is no {kind.__name__}"
    if len(set(values)) != len(values):
        return "the same one twice"
    return None
