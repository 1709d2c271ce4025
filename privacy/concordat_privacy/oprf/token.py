"""The token: what the pool knows a person by."""

from dataclasses import dataclass
from typing import Final

from .errors import LengthInvalid

TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Token:
    """The first 32 bytes of an RFC 9497 output (docs/adr/0004-tokens.md).

    A token is linkable data about one person: it is stored and sent, and never logged. Its repr
    shows four hexadecimal digits, enough to tell two apart in a debugger.

    Raises:
        LengthInvalid: not 32 bytes.
    """

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != TOKEN_BYTES:
            raise LengthInvalid(f"token: {len(self.value)} bytes instead of {TOKEN_BYTES}")

    def __bytes__(self) -> bytes:
        return self.value

    def __repr__(self) -> str:
        return f"Token({self.value[:2].hex()}…)"
