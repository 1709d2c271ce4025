"""Phone numbers."""

from dataclasses import dataclass
from typing import ClassVar, Final

import phonenumbers

from .base import Identifier, IdentifierInvalid, Reason, compact

DEFAULT_REGION: Final = "CN"

_KIND: Final = "phone/1"
# What people write between digits. A letter or "#" would be an extension or a vanity number:
# another line, or a reading that differs between libraries.
_PUNCTUATION: Final = str.maketrans("", "", "().·")
_ALLOWED: Final = frozenset("+0123456789")


@dataclass(frozen=True, slots=True, repr=False)
class PhoneNumber(Identifier):
    """A phone number in E.164 (``+8613800138000``); without a country code, one of China.

    Numbers pass from person to person and lines are shared: a phone number is a weaker key than
    an identity number, and a row keyed by it must not be joined to one keyed by the other.
    """

    kind: ClassVar[str] = _KIND

    @classmethod
    def normalise(cls, text: str) -> str:
        """E.164 of a number that the numbering plan has in use."""
        written = compact(text, cls.kind).translate(_PUNCTUATION)
        if not _ALLOWED.issuperset(written) or "+" in written[1:]:
            raise IdentifierInvalid(cls.kind, Reason.CHARACTER)
        number = _parse(written)
        if number is None or not phonenumbers.is_valid_number(number):
            raise IdentifierInvalid(cls.kind, Reason.NUMBER)
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _parse(written: str) -> phonenumbers.PhoneNumber | None:
    # Returns instead of raising, so that no exception with the text hangs on the typed one.
    try:
        return phonenumbers.parse(written, DEFAULT_REGION)
    except phonenumbers.NumberParseException:
        return None
