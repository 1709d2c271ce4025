"""The store's own name for a subject."""

import hashlib
import hmac
from typing import NewType

SUBJECT_BYTES = 32
PEPPER_BYTES = 32

SubjectKey = NewType("SubjectKey", bytes)
"""HMAC-SHA256(pepper, token), 32 bytes. A thief of the database cannot link it to a token."""


def subject_key(pepper: bytes, token: bytes) -> SubjectKey:
    """The key under which the stores hold a subject; the token itself is never stored."""
    if len(pepper) < PEPPER_BYTES:
        raise ValueError(f"pepper: at least {PEPPER_BYTES} bytes wanted, {len(pepper)} given")
    return SubjectKey(hmac.digest(pepper, token, hashlib.sha256))


def bucket_of(subject: bytes) -> int:
    """The slice of the signals store that a subject lies in, 0 to 255."""
    return subject[0]


def bucket_bounds(bucket: int) -> tuple[bytes, bytes]:
    """The first and the last subject that can lie in a bucket."""
    first = bytes([bucket])
    return first.ljust(SUBJECT_BYTES, b"\x00"), first.ljust(SUBJECT_BYTES, b"\xff")
