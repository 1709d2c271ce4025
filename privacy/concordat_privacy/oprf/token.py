"""The token: what the pool knows a person by."""

from dataclasses import dataclass
from typing import Final

from concordat_privacy.epochs import MAX_EPOCH

from .errors import LengthInvalid

TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Token:
    """An identifier's element under one epoch's key (docs/adr/0010-tokens-as-elements.md).

    The element ``k * HashToGroup(input)``, 32 bytes: RFC 9497's Finalize before its last hash.
    A token is linkable data about one person: it is stored and sent, and never logged. Its repr
    shows four hexadecimal digits, enough to tell two apart in a debugger.

    Attributes:
        value: 32 bytes, a canonical ristretto255 element where it was made by this package.
        epoch: key epoch it was made for, from 1. Keep it with the value: a value alone is of no
            use once keys have been rotated.

    Raises:
        LengthInvalid: not 32 bytes. ValueError: the epoch is not in 1..MAX_EPOCH.
    """

    value: bytes
    epoch: int

    def __post_init__(self) -> None:
        if len(self.value) != TOKEN_BYTES:
            raise LengthInvalid(f"token: {len(self.value)} bytes instead of {TOKEN_BYTES}")
        if not 1 <= self.epoch <= MAX_EPOCH:
            raise ValueError(f"epoch {self.epoch} is not in 1..{MAX_EPOCH}")

    def __bytes__(self) -> bytes:
        return self.value

    def __repr__(self) -> str:
        return f"Token({self.value[:2].hex()}…, epoch {self.epoch})"
