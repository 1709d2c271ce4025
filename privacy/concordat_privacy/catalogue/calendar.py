"""Days, months and quarters as plain numbers: days from 1970-01-01, months and quarters from
January 1970 (month 0, quarter 0)."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def day_number(day: date) -> int:
    """Days from 1970-01-01 to `day`."""
    return day.toordinal() - _EPOCH_ORDINAL


def month_number(day: date) -> int:
    """The month that `day` lies in, counted from January 1970."""
    return (day.year - 1970) * 12 + day.month - 1


def quarter_number(day: date) -> int:
    """The quarter that `day` lies in, counted from the first of 1970."""
    return quarter_of_month(month_number(day))


# The days of some years are asked for again and again.
@lru_cache(maxsize=4_096)
def month_of_day(day: int) -> int:
    """The month of a day number."""
    return month_number(date.fromordinal(day + _EPOCH_ORDINAL))


def month_text(month: int) -> str:
    """A month number as people write it, such as 2026-10."""
    return f"{1970 + month // 12:04}-{month % 12 + 1:02}"


def quarter_of_month(month: int) -> int:
    """The quarter of a month number."""
    return month // 3
