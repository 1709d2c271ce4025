"""Identifiers that are valid in form and belong to nobody.

Resident numbers: the code 110100 stands for a heading in the list of regions and is issued to
nobody, and the births lie in 1900 to 1909. The check digits are computed here from the standards'
weights, independently of the library under test.
"""

import datetime

_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_RESIDENT_CHECKS = "10X98765432"
_CREDIT_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_FIRST_BIRTH = datetime.date(1900, 1, 1)
_BIRTH_DAYS = 3652

RESIDENT_IDS = _BIRTH_DAYS * 1000


def resident_check_digit(first17: str) -> str:
    """Check digit of GB 11643-1999."""
    total = sum(int(d) * w for d, w in zip(first17, _RESIDENT_WEIGHTS, strict=True))
    return _RESIDENT_CHECKS[total % 11]


def resident_id(index: int) -> str:
    """The ``index``-th fabricated resident number, ``0 <= index < RESIDENT_IDS``, all different."""
    if not 0 <= index < RESIDENT_IDS:
        raise ValueError(f"index {index} is not in 0..{RESIDENT_IDS - 1}")
    order, day = divmod(index, _BIRTH_DAYS)
    birth = _FIRST_BIRTH + datetime.timedelta(days=day)
    first17 = f"110100{birth:%Y%m%d}{order:03d}"
    return first17 + resident_check_digit(first17)


def credit_code(index: int) -> str:
    """The ``index``-th fabricated unified social credit code (region 000000 does not exist)."""
    first17 = f"91000000MA{index:07d}"
    total = sum(
        _CREDIT_ALPHABET.index(c) * w for c, w in zip(first17, _CREDIT_WEIGHTS, strict=True)
    )
    return first17 + _CREDIT_ALPHABET[-total % 31]
