"""Resident identity numbers that are valid in form and belong to nobody.

A number begins with the code of a county. The demo's begin with the code of a province and four
zeros, which is no county, so none of them was or will be issued. The birth dates, of the years
1900 to 1909, say the same a second time. Only the check digit, the date and the province are as
GB 11643-1999 wants them.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from stdnum.cn import ric

_PROVINCES: Final = ("11", "31", "33", "42", "44", "51", "61")
_FIRST_BIRTH: Final = date(1900, 1, 1)
_BIRTH_DAYS: Final = (date(1910, 1, 1) - _FIRST_BIRTH).days
_ORDER_CODES: Final = 995
"""996 to 999 were kept for people over a hundred years old."""
CAPACITY: Final = len(_PROVINCES) * _BIRTH_DAYS * _ORDER_CODES


def resident_id(index: int) -> str:
    """The number of person `index`: always the same, and another for each index.

    Raises ValueError unless 0 <= index < CAPACITY.
    """
    if not 0 <= index < CAPACITY:
        raise ValueError(f"person {index}, 0 to {CAPACITY - 1} wanted")
    index, province = divmod(index, len(_PROVINCES))
    order, day = divmod(index, _BIRTH_DAYS)
    birth = _FIRST_BIRTH + timedelta(days=day)
    digits = f"{_PROVINCES[province]}0000{birth:%Y%m%d}{order + 1:03d}"
    return digits + ric.calc_check_digit(digits + "0")
