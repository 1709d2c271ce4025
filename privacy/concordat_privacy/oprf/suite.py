"""The suite ristretto255-SHA512 of RFC 9497 section 4.1: hashing to the group and its scalars.

Hashing an identifier is not constant-time in its length, and SHA-512 runs over it in the member's
own process; nothing here touches a key.
"""

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from . import ristretto
from .errors import LengthInvalid

SUITE: Final = "ristretto255-SHA512"
OUTPUT_BYTES: Final = 64

_DIGEST_BYTES: Final = 64
# SHA-512's block of zeros comes first in every expansion: hash it once.
_AFTER_ZERO_BLOCK: Final = hashlib.sha512(bytes(128))


class Mode(IntEnum):
    """Protocol variants of RFC 9497 section 3.1. POPRF is not offered."""

    OPRF = 0x00
    VOPRF = 0x01


@dataclass(frozen=True, slots=True)
class Domain:
    """Domain separation of one mode (RFC 9497 section 3.1 and 4.1)."""

    mode: Mode
    context_string: bytes = field(init=False)
    group_dst: bytes = field(init=False)
    scalar_dst: bytes = field(init=False)
    key_dst: bytes = field(init=False)
    seed_dst: bytes = field(init=False)

    def __post_init__(self) -> None:
        context = b"OPRFV1-" + i2osp(self.mode, 1) + b"-" + SUITE.encode()
        object.__setattr__(self, "context_string", context)
        object.__setattr__(self, "group_dst", b"HashToGroup-" + context)
        object.__setattr__(self, "scalar_dst", b"HashToScalar-" + context)
        object.__setattr__(self, "key_dst", b"DeriveKeyPair" + context)
        object.__setattr__(self, "seed_dst", b"Seed-" + context)


def i2osp(value: int, length: int) -> bytes:
    """Big-endian, fixed length (RFC 8017 section 4.1)."""
    return value.to_bytes(length, "big")


def length_prefixed(value: bytes) -> bytes:
    """``I2OSP(len(value), 2) || value``. Raises LengthInvalid above 65,535 bytes."""
    if len(value) > 0xFFFF:
        raise LengthInvalid(f"{len(value)} bytes do not fit a two-byte length")
    return len(value).to_bytes(2, "big") + value


def expand_message_xmd(message: bytes, dst: bytes, length: int) -> bytes:
    """expand_message_xmd with SHA-512 (RFC 9380 section 5.3.1).

    Raises:
        LengthInvalid: ``dst`` has more than 255 bytes, or ``length`` is not in 1..16,320.
    """
    blocks = -(-length // _DIGEST_BYTES)
    if not 1 <= blocks <= 255:
        raise LengthInvalid(f"cannot expand to {length} bytes")
    if len(dst) > 255:
        raise LengthInvalid(f"domain separation tag has {len(dst)} bytes, more than 255")
    dst_prime = dst + i2osp(len(dst), 1)
    state = _AFTER_ZERO_BLOCK.copy()
    state.update(message + i2osp(length, 2) + b"\x00" + dst_prime)
    first = state.digest()
    block = hashlib.sha512(first + b"\x01" + dst_prime).digest()
    uniform = block
    for index in range(2, blocks + 1):
        mixed = bytes(a ^ b for a, b in zip(first, block, strict=True))
        block = hashlib.sha512(mixed + i2osp(index, 1) + dst_prime).digest()
        uniform += block
    return uniform[:length]


def hash_to_group(message: bytes, dst: bytes) -> bytes:
    """HashToGroup: an element, 32 bytes."""
    return ristretto.elements_from_uniform(
        expand_message_xmd(message, dst, ristretto.UNIFORM_BYTES)
    )


def hash_to_scalar(message: bytes, dst: bytes) -> bytes:
    """HashToScalar: a scalar, 32 bytes, little-endian."""
    return ristretto.scalars_from_uniform(expand_message_xmd(message, dst, ristretto.UNIFORM_BYTES))


DOMAINS: Final = {mode: Domain(mode) for mode in Mode}
