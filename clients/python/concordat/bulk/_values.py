"""From what a column holds to numbers, dates and codes. Faults never repeat a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal, TypeAlias

_MAX_DIGITS: Final = 30
"""Of a number, before its point as after it."""
_NUMBER: Final = re.compile(rf"[+-]?\d{{1,{_MAX_DIGITS}}}(\.\d{{0,{_MAX_DIGITS}}})?", re.ASCII)
_GROUPED: Final = re.compile(r"[+-]?\d{1,4}(?:\0\d{2,4})*\0\d{3,4}", re.ASCII)
"""Digits in groups, as in 1,234,567 or 12,34,567 or 123,4567, with a NUL between them."""
_LONGEST_TEXT: Final = 64
"""Characters of a number or a date."""
_EXACT_FLOATS: Final = 2**53
"""Below it, floats hold every whole number."""

Negative: TypeAlias = Literal["refuse", "zero", "keep"]


class ValueFault(Exception):
    """A value that its attribute cannot have. `reason` is one of the contract's words."""

    def __init__(self, reason: str, description: str) -> None:
        super().__init__(description)
        self.reason = reason
        self.description = description


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How numbers are written, and in what."""

    unit: Decimal = Decimal(1)
    """What 1 in the column stands for, e.g. 10000 for amounts in 万元."""
    decimal: str = "."
    grouping: str = ""
    """What stands between groups of digits."""
    negative: Negative = "refuse"
    """What becomes of numbers below 0, such as the balance of an overpaid card."""


def text_of(value: object) -> str | None:
    """The text in a column, without blanks around; None where there is nothing.

    A whole number is its digits. Raises ValueFault for what has no one text: a number with a
    fraction, a list, a float so large that it stands for several numbers.
    """
    match value:
        case float() if abs(value) >= _EXACT_FLOATS:
            # A column of long numbers with gaps becomes floats: one in twenty would pass its check
            # digit as somebody else's.
            raise ValueFault("MALFORMED", "a float cannot hold so many digits; a text wanted")
        case None:
            return None
        case str():
            return value.strip() or None
        case bool():
            return "true" if value else "false"
        case date():
            return value.isoformat()
        case int() | float() | Decimal():
            number = Decimal(value)
            if number.is_finite() and number.adjusted() < _LONGEST_TEXT:
                whole = number.to_integral_value()
                if whole == number:
                    return str(int(whole))
    raise ValueFault("MALFORMED", f"a text wanted, {type(value).__name__} found")


def number_of(value: object, form: NumberFormat) -> Decimal | None:
    """The number in a column times its unit; None where there is nothing. Raises ValueFault."""
    match value:
        case None:
            return None
        case bool():
            raise ValueFault("MALFORMED", "a number wanted, a flag found")
        case int():
            number = Decimal(value)
        case float():
            # repr is the shortest decimal that is this float: what was written, as a rule.
            number = Decimal(repr(value))
        case Decimal():
            number = value
        case str():
            text = value.strip()
            if not text:
                return None
            number = _parsed(text, form.grouping, form.decimal)
        case _:
            raise ValueFault("MALFORMED", f"a number wanted, {type(value).__name__} found")
    if not number.is_finite() or number.adjusted() > _MAX_DIGITS:
        raise ValueFault("OUT_OF_RANGE", "a finite number wanted")
    if number < 0:
        if form.negative == "refuse":
            raise ValueFault("OUT_OF_RANGE", "below 0")
        if form.negative == "zero":
            return Decimal(0)
    return number * form.unit


def date_of(value: object, form: str) -> date | None:
    """The date in a column; None where there is nothing. Raises ValueFault."""
    match value:
        case None:
            return None
        case datetime():
            return value.date()
        case date():
            return value
    text = text_of(value)
    if text is None:
        return None
    found = _date(text, form) if len(text) <= _LONGEST_TEXT else None
    if found is None:
        raise ValueFault("MALFORMED", f"no date of the form {form}")
    return found


def is_date_format(form: str) -> bool:
    """Whether a format names a day or a month of a year, and can be read back."""
    if "%Y" not in form and "%y" not in form:
        return False
    sample = date(2021, 11, 1)
    try:
        return datetime.strptime(sample.strftime(form), form).date() == sample
    except ValueError:
        return False


def coded(text: str, codes: Mapping[str, int]) -> int:
    """The number that a code stands for. Raises ValueFault."""
    try:
        return codes[text]
    except KeyError:
        raise ValueFault("UNKNOWN_VALUE", "a code that the mapping does not list") from None


def _parsed(text: str, grouping: str, decimal: str) -> Decimal:
    if len(text) <= _LONGEST_TEXT:
        plain = _ungrouped(text, grouping, decimal) if grouping and grouping in text else text
        if decimal != ".":
            plain = "" if "." in plain else plain.replace(decimal, ".")
        if _NUMBER.fullmatch(plain):
            return Decimal(plain)
    raise ValueFault("MALFORMED", "no number")


def _ungrouped(text: str, grouping: str, decimal: str) -> str:
    """The digits without what stands between their groups; empty where it stands elsewhere.

    Else a point for a comma made 123456 of 1234.56.
    """
    whole, point, fraction = text.partition(decimal)
    if _GROUPED.fullmatch(whole.replace(grouping, "\0")):
        return whole.replace(grouping, "") + point + fraction
    return ""


# A file has few different dates, and reading one takes longer than all else about a row.
@lru_cache(maxsize=50_000)
def _date(text: str, form: str) -> date | None:
    try:
        return datetime.strptime(text, form).date()
    except ValueError:
        return None
