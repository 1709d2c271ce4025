"""One person's keys, as the operator opens them for an auditor: a file, and what it derives.

The derivations are those of docs/ledger.md, "How a person is named". Who holds the file can find
everything about the person in any export of that ledger, and nothing about anybody else.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
MAX_CONSENTS: Final = 100_000
_COMMITMENT: Final = b"concordat/subject/v1"


class SubjectKeysError(ValueError):
    """The file is not a subject's keys, or those of another ledger."""


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """Finds a subject's consents."""

    key: bytes
    consents: int
    """How many the subject has, by the gateway's count."""

    def commitment(self, number: int) -> str:
        """How the entries of consent `number` (0, 1, ...) name the subject, hexadecimal."""
        name = _hmac(self.key, b"record")
        salt = _hmac(self.key, b"consent" + number.to_bytes(8, "big"))[:SALT_BYTES]
        return _commitment(salt, name)


class AskingKey:
    """Finds what was asked about a subject while the stores named it in one epoch."""

    def __init__(self, epoch: int, key: bytes) -> None:
        self.epoch = epoch
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)
        self._name = _hmac(key, b"asking")

    def commitment(self, request: bytes, item: int) -> str:
        """How item `item` of the entry with this request id names the subject, hexadecimal."""
        # A copy spares the key's two blocks: this is tried for every item of the log.
        keyed = self._keyed.copy()
        keyed.update(request + item.to_bytes(8, "big"))
        return _commitment(keyed.digest()[:SALT_BYTES], self._name)


@dataclass(frozen=True, slots=True)
class SubjectKeys:
    """All keys of one subject: one evidence key a life (erasure ends it), one asking key a name."""

    ledger: str
    """Origin of the ledger."""
    evidence: tuple[EvidenceKey, ...]
    asking: tuple[AskingKey, ...]

    @classmethod
    def parse(cls, text: str, origin: str) -> "SubjectKeys":
        """Read a file's text. Raises SubjectKeysError."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise SubjectKeysError(f"not JSON: {error}") from None
        except RecursionError:
            raise SubjectKeysError("not JSON: nested too deeply") from None
        if not isinstance(content, dict):
            raise SubjectKeysError("an object is wanted")
        ledger = content.get("ledger")
        if ledger != origin:
            raise SubjectKeysError(f"keys of the ledger {ledger!r}, the export is of {origin!r}")
        evidence = [
            EvidenceKey(_key(fields), _count(fields, "consents", MAX_CONSENTS))
            for fields in _objects(content, "evidence_keys")
        ]
        asking = [
            AskingKey(_count(fields, "epoch", 2**31), _key(fields))
            for fields in _objects(content, "asking_keys")
        ]
        if not evidence and not asking:
            raise SubjectKeysError("it has no key")
        return cls(origin, tuple(evidence), tuple(asking))


def _objects(content: dict[str, object], name: str) -> Iterator[dict[str, object]]:
    value = content.get(name)
    if not isinstance(value, list):
        raise SubjectKeysError(f"{name}: a list is wanted")
    for fields in value:
        if not isinstance(fields, dict):
            raise SubjectKeysError(f"{name}: a list of objects is wanted")
        yield fields


def _key(fields: dict[str, object]) -> bytes:
    value = fields.get("key")
    try:
        key = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SubjectKeysError(f"key: {KEY_BYTES} bytes in hexadecimal are wanted")
    return key


def _count(fields: dict[str, object], name: str, most: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise SubjectKeysError(f"{name}: a number from 0 to {most} is wanted")
    return value


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _commitment(salt: bytes, name: bytes) -> str:
    return hashlib.sha256(_COMMITMENT + salt + name).hexdigest()
