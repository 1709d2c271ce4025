"""The store's own name for a subject, and the element that it was made of, sealed.

The stores name all subjects under one key epoch at a time. When the next epoch's key comes, the
names must be made anew, from new elements; for that alone each subject's element is kept, sealed
under a key that only the pepper gives.
"""

import hashlib
import hmac
import os
from typing import Final, NewType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from concordat_rpc.errors import Refusal, unavailable

SUBJECT_BYTES: Final = 32
PEPPER_BYTES: Final = 32
SEALED_BYTES: Final = 60
"""Nonce (12), sealed element (32), tag (16)."""
ROTATING: Final = 0
"""Stands for the stores' epoch while subjects are moved from one to the next."""

_NONCE_BYTES: Final = 12
_SEALING: Final = b"concordat/subject-element/v1"
_RETRY_SECONDS: Final = 2.0

SubjectKey = NewType("SubjectKey", bytes)
"""HMAC-SHA256(pepper of the epoch, token), 32 bytes. A thief of the database cannot link it to a
token."""


class SealBroken(Exception):
    """A sealed element does not open: another pepper sealed it, or it was changed or moved."""


def subject_key(pepper: bytes, token: bytes) -> SubjectKey:
    """The key under which the stores hold a subject; the token itself is never stored in clear."""
    _check_pepper(pepper)
    return SubjectKey(hmac.digest(pepper, token, hashlib.sha256))


class ElementSeal:
    """Seals and opens elements under the key that one pepper gives."""

    def __init__(self, pepper: bytes) -> None:
        _check_pepper(pepper)
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_SEALING).derive(pepper)
        self._cipher = ChaCha20Poly1305(derived)

    def close(self, subject: SubjectKey, element: bytes) -> bytes:
        """The element, sealed for this subject: SEALED_BYTES bytes, other ones each time."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, element, subject)

    def open(self, subject: SubjectKey, sealed: bytes) -> bytes:
        """The element of 32 bytes. Raises SealBroken."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], subject)
        except InvalidTag:
            raise SealBroken("a sealed element does not open with this pepper") from None


def require_epoch(found: int, wanted: int) -> None:
    """Refuse work on subjects that were named under another epoch than the stores are at now.

    Raises Refusal UNAVAILABLE (TOKENS_ROTATING).
    """
    if found != wanted or found == ROTATING:
        raise tokens_rotating()


def tokens_rotating() -> Refusal:
    """UNAVAILABLE: the stores are just being moved to another key epoch."""
    return unavailable(
        "TOKENS_ROTATING",
        "the stores are being moved to the next key epoch; repeat the call with the same "
        "request_id",
        _RETRY_SECONDS,
    )


def bucket_of(subject: bytes) -> int:
    """The slice of the signals store that a subject lies in, 0 to 255."""
    return subject[0]


def bucket_bounds(bucket: int) -> tuple[bytes, bytes]:
    """The first and the last subject that can lie in a bucket."""
    first = bytes([bucket])
    return first.ljust(SUBJECT_BYTES, b"\x00"), first.ljust(SUBJECT_BYTES, b"\xff")


def _check_pepper(pepper: bytes) -> None:
    if len(pepper) < PEPPER_BYTES:
        raise ValueError(f"pepper: at least {PEPPER_BYTES} bytes wanted, {len(pepper)} given")
