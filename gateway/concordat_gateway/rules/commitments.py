"""How a ledger entry names a subject: by a commitment that only a salt opens.

The salt is fresh for each use and stays off the log, so the commitment itself links no two
entries, and destroying the salt leaves nothing that names the subject. What does link entries is
the consent id: a grant, its uses and its withdrawal carry it in plain, for the auditor to follow.
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
