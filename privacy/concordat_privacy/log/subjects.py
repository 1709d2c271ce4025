"""How entries name a person: commitments under keys that are the person's own.

The derivations are those of docs/ledger.md, "How a person is named". What holds the keys is not
this module's business.
"""

import hashlib
import hmac
from typing import Final

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
_COMMITMENT: Final = b"concordat/subject/v1"


def consent_commitment(evidence_key: bytes, number: int) -> bytes:
    """How the entries of consent `number` (0, 1, ...) name its subject, 32 bytes."""
    name = _hmac(evidence_key, b"record")
    salt = _hmac(evidence_key, b"consent" + number.to_bytes(8, "big"))[:SALT_BYTES]
    return subject_commitment(name, salt)


def asking_key(secret: bytes, subject: bytes) -> bytes:
    """The asking key of whoever the stores call `subject`, 32 bytes; `secret` is the operator's."""
    return _hmac(secret, subject)


class Asker:
    """Names a subject in the entries that are about what was asked of it."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)
        self._name = _hmac(key, b"asking")

    def commitment(self, request: bytes, item: int) -> bytes:
        """How item `item` of the entry with this request id names the subject, 32 bytes."""
        # A copy spares the key's two blocks: an audit tries this for every item of a log.
        keyed = self._keyed.copy()
        keyed.update(request + item.to_bytes(8, "big"))
        return subject_commitment(self._name, keyed.digest()[:SALT_BYTES])


def subject_commitment(name: bytes, salt: bytes) -> bytes:
    """SHA-256("concordat/subject/v1" || salt || name), 32 bytes."""
    return hashlib.sha256(_COMMITMENT + salt + name).digest()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
