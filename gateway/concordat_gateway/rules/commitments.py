"""How a ledger entry names a subject: by a commitment that only a salt opens.

The salt is fresh for each use and stays off the log, so entries about one subject cannot be
linked by who reads the log, and destroying the salt leaves nothing that names the subject.
"""

import hashlib
import os

from concordat_gateway.store.subjects import SubjectKey

SALT_BYTES = 16
_DOMAIN = b"concordat/subject/v1"


def fresh_salt() -> bytes:
    """16 random bytes."""
    return os.urandom(SALT_BYTES)


def commitment(subject: SubjectKey, salt: bytes) -> str:
    """SHA-256("concordat/subject/v1" || salt || subject), in hexadecimal."""
    return hashlib.sha256(_DOMAIN + salt + subject).hexdigest()
