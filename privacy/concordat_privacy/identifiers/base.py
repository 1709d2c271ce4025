"""What every kind of identifier shares, and the bytes that are tokenised."""

import unicodedata
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Self

MAX_TEXT_CHARACTERS: Final = 128

# Separators, dashes, invisible format characters (a byte-order mark, a zero-width space) and
# controls (a tab, a line end) that copying and spreadsheets leave behind.
_DROPPED_CATEGORIES: Final = frozenset({"Zs", "Zl", "Zp", "Pd", "Cf", "Cc"})
_MINUS_SIGN: Final = "\u2212"


class Reason(StrEnum):
    """Why a text is not an identifier of its kind."""

    LENGTH = "wrong length"
    CHARACTER = "a character that cannot stand there"
    DATE = "no plausible birth date"
    REGION = "no such region"
    CHECK_DIGIT = "check digit does not match"
    NUMBER = "not a number in use"


class IdentifierInvalid(ValueError):
    """A text is not an identifier of the kind that was asked for.

    The message names kind and reason and never holds any part of the text, so it may be logged.
    """

    def __init__(self, kind: str, reason: Reason) -> None:
        super().__init__(f"{kind}: {reason.value}")
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type["IdentifierInvalid"], tuple[str, Reason]]:
        return type(self), (self.kind, self.reason)


@dataclass(frozen=True, slots=True, repr=False)
class Identifier(ABC):
    """A normalised identifier. The constructor takes messy text and keeps the normal form.

    To add a kind: subclass, set ``kind`` to ``type/version``, implement :meth:`normalise`, add it
    with :meth:`.IdentifierRegistry.with_kind`, and publish golden vectors. The version changes
    whenever any accepted text would normalise differently: the new kind gives other tokens.

    Attributes:
        value: the normal form. It is the identifier itself: show and log it nowhere.

    Raises:
        IdentifierInvalid: the text is none of this kind.
    """

    value: str

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.normalise(self.value))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The constructor by another name. Raises IdentifierInvalid."""
        return cls(text)

    @classmethod
    @abstractmethod
    def normalise(cls, text: str) -> str:
        """The one form of this text, the same if applied again. Raises IdentifierInvalid."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"


def compact(text: str, kind: str) -> str:
    """NFKC (full-width digits become ASCII), without spaces, dashes and invisible characters.

    Raises:
        IdentifierInvalid: longer than 128 characters: no identifier is, and NFKC can grow a text.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise IdentifierInvalid(kind, Reason.LENGTH)
    return "".join(
        character
        for character in unicodedata.normalize("NFKC", text)
        if character != _MINUS_SIGN and unicodedata.category(character) not in _DROPPED_CATEGORIES
    )


def is_ascii_digits(text: str) -> bool:
    """Whether all characters are 0 to 9. (str.isdigit also accepts other scripts' digits.)"""
    return text.isascii() and text.isdigit()


def oprf_input(identifier: Identifier) -> bytes:
    """The private input of RFC 9497 for one identifier.

        I2OSP(len(kind), 2) || kind || I2OSP(len(v), 2) || v

    with ``kind`` and the normal form ``v`` in UTF-8. The lengths keep two identifiers from
    sharing one input; the kind keeps equal digits of two kinds apart. The key epoch is not part
    of it: what keeps epochs apart is the key, and tokens can move from one key to the next
    (docs/adr/0010-tokens-as-elements.md).
    """
    fields = (identifier.kind.encode(), identifier.value.encode())
    return b"".join(len(field).to_bytes(2, "big") + field for field in fields)
