"""One person's keys, as the operator opens them for an auditor: a file, and what it derives.

The derivations are those of docs/ledger.md, "How a person is named". Who holds the file can find
everything about the person in any export of that ledger, and nothing about anybody else.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from concordat_privacy.log.subjects import KEY_BYTES, Asker, consent_commitment

MAX_CONSENTS: Final = 100_000


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
        return consent_commitment(self.key, number)


class AskingKey:
    """Finds what was asked about a subject while the stores named it in one epoch."""

    def __init__(self, epoch: int, key: bytes) -> None:
        self.epoch = epoch
        self._asker = Asker(key)

    def commitment(self, entry_type: str, actor: str, request: bytes, item: int) -> str:
        """How an item of the entry with this request id names the subject, hexadecimal."""
        return self._asker.commitment(entry_type, actor, request, item)


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
