"""Chinese identifiers: resident identity numbers and unified social credit codes."""

import datetime
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from stdnum.cn import ric, uscc

from .base import Identifier, IdentifierInvalid, Reason, compact, is_ascii_digits

_RESIDENT_ID: Final = "cn-resident-id/1"
_CREDIT_CODE: Final = "cn-uscc/1"

# First two digits (GB/T 2260, and 83 of the residence permits for people from Taiwan). Counties
# are not checked: the lists that libraries carry reject people born before their county got its
# code, and counties newer than the list; and members with different lists would disagree.
_REGIONS: Final = frozenset(
    str(code)
    for first, last in (
        (11, 15),
        (21, 23),
        (31, 37),
        (41, 46),
        (50, 54),
        (61, 65),
        (71, 71),
        (81, 83),
    )
    for code in range(first, last + 1)
)

_EARLIEST_BIRTH: Final = datetime.date(1900, 1, 1)
# Without a date to compare with. Borrowers are adults, so nobody is missed before 2048.
_LATEST_BIRTH: Final = datetime.date(2029, 12, 31)

# Order codes kept for people a hundred years old when the 15 digits were issued: born in 18xx.
_CENTENARIAN_CODES: Final = frozenset({"996", "997", "998", "999"})


@dataclass(frozen=True, slots=True, repr=False)
class ResidentId(Identifier):
    """Resident identity number (GB 11643-1999): 18 characters, the last a digit or ``X``.

    Accepts the 15 digits issued until 1999 and gives the 18 that the same person has now. No number
    ever had 16 or 17: what has is refused (LENGTH), not repaired.
    """

    kind: ClassVar[str] = _RESIDENT_ID

    @classmethod
    def parse(cls, text: str, *, as_of: datetime.date | None = None) -> Self:
        """As the constructor, and refuses a birth date after ``as_of`` if that is given."""
        identifier = cls(text)
        if as_of is not None and identifier.birth_date > as_of:
            raise IdentifierInvalid(cls.kind, Reason.DATE)
        return identifier

    @property
    def birth_date(self) -> datetime.date:
        """The birth date in the number."""
        return datetime.date.fromisoformat(self.value[6:14])

    @classmethod
    def normalise(cls, text: str) -> str:
        """18 characters, upper case."""
        number = compact(text, cls.kind).upper()
        if len(number) not in (15, 18):
            raise IdentifierInvalid(cls.kind, Reason.LENGTH)
        if not is_ascii_digits(number[:-1]) or number[-1] not in "0123456789X":
            raise IdentifierInvalid(cls.kind, Reason.CHARACTER)
        if len(number) == 15:
            number = _upgrade(number)
        if not _is_birth_date(number[6:14]):
            raise IdentifierInvalid(cls.kind, Reason.DATE)
        if number[:2] not in _REGIONS:
            raise IdentifierInvalid(cls.kind, Reason.REGION)
        if number[-1] != ric.calc_check_digit(number):
            raise IdentifierInvalid(cls.kind, Reason.CHECK_DIGIT)
        return number


@dataclass(frozen=True, slots=True, repr=False)
class UnifiedSocialCreditCode(Identifier):
    """Unified social credit code of an organisation (GB 32100-2015): 18 characters."""

    kind: ClassVar[str] = _CREDIT_CODE

    @classmethod
    def normalise(cls, text: str) -> str:
        """18 characters, upper case."""
        code = compact(text, cls.kind).upper()
        if len(code) != 18:
            raise IdentifierInvalid(cls.kind, Reason.LENGTH)
        if not is_ascii_digits(code[2:8]) or any(c not in _CREDIT_CODE_ALPHABET for c in code):
            raise IdentifierInvalid(cls.kind, Reason.CHARACTER)
        if code[-1] != uscc.calc_check_digit(code[:-1]):
            raise IdentifierInvalid(cls.kind, Reason.CHECK_DIGIT)
        return code


# No I, O, S, V, Z: they look like digits.
_CREDIT_CODE_ALPHABET: Final = frozenset("0123456789ABCDEFGHJKLMNPQRTUWXY")


def _upgrade(number: str) -> str:
    """15 digits to 18: the century and the check digit are new."""
    if number[-1] == "X":
        raise IdentifierInvalid(_RESIDENT_ID, Reason.CHARACTER)
    if number[12:] in _CENTENARIAN_CODES:
        raise IdentifierInvalid(_RESIDENT_ID, Reason.DATE)
    longer = f"{number[:6]}19{number[6:]}"
    # calc_check_digit wants a number with its check digit and ignores that place.
    return longer + str(ric.calc_check_digit(longer + "0"))


def _is_birth_date(digits: str) -> bool:
    try:
        date = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return _EARLIEST_BIRTH <= date <= _LATEST_BIRTH
