"""How entries name one person, and what opens those names: docs/ledger.md.

A file of a person's keys says everything about the person. A bundle gets, of each entry in it, the
name and salt that open this one commitment, and never a key.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from concordat_privacy.log import subjects
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.leaf import Json

MAX_CONSENTS: Final = 100_000
LOOKAHEAD: Final = 64
"""Consents beyond those that the keys count which are looked for, a key."""
# What stands for the request in the salt of an entry's own subject.
_REQUESTS: Final = ("request", "dispute", "erasure", "view")


class SubjectKeyError(LogError):
    """The file does not hold a person's keys, or those of another ledger."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Name (32 bytes) and salt (16 bytes) behind one commitment."""

    name: bytes
    salt: bytes

    @property
    def commitment(self) -> str:
        """What the entry says, hexadecimal."""
        return subjects.commitment(self.name, self.salt)


class Person:
    """One person's keys: finds the person's commitments and opens them."""

    def __init__(self, evidence: Mapping[bytes, int], asking: Mapping[bytes, int]) -> None:
        """`evidence`: key -> how many consents it has; `asking`: key -> epoch of the name."""
        self._consents = {
            opening.commitment: opening
            for key, count in evidence.items()
            for opening in _of_consents(key, count)
        }
        self._beyond = {
            subjects.consent_commitment(key, number)
            for key, count in evidence.items()
            for number in range(count, count + LOOKAHEAD)
        }
        self._newest = max(asking.values(), default=0)
        self._asking = [subjects.Asker(key) for key in asking]

    @classmethod
    def parse(cls, text: str, origin: str) -> "Person":
        """Read a key file's text, of the ledger `origin`. Raises SubjectKeyError."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise SubjectKeyError("subject keys: not JSON") from None
        if not isinstance(content, dict) or content.get("ledger") != origin:
            raise SubjectKeyError(f"subject keys: not those of the ledger {origin!r}")
        evidence = {
            _key(fields): _number(fields, "consents")
            for fields in _objects(content.get("evidence_keys"))
        }
        asking = {
            _key(fields): _number(fields, "epoch")
            for fields in _objects(content.get("asking_keys"))
        }
        if not evidence and not asking:
            raise SubjectKeyError("subject keys: there is none")
        return cls(evidence, asking)

    def of_entry(self, fields: Mapping[str, Json]) -> Opening | None:
        """The opening of an entry's own subject; None if it is not this person."""
        subject = fields.get("subject")
        if not isinstance(subject, str):
            return None
        if subject in self._consents:
            return self._consents[subject]
        for name in _REQUESTS:
            found = self._asked(fields, name, 0, subject)
            if found is not None:
                return found
        return None

    def is_older_than(self, fields: Mapping[str, Json]) -> bool:
        """Whether an entry shows that the keys were opened before it: it has what they lack.

        A consent of the person beyond those that they count, or a rotation to an epoch of which
        they have no asking key though they have older ones.
        """
        if fields["type"] in ("consent.granted", "consent.requested"):
            return fields.get("subject") in self._beyond
        epoch = fields.get("to_epoch") if fields["type"] == "tokens.rotated" else None
        return bool(self._asking) and isinstance(epoch, int) and epoch > self._newest

    def of_item(self, fields: Mapping[str, Json], item: int, subject: Json) -> Opening | None:
        """The opening of one item of the entry with these fields; None if it is not this person."""
        return self._asked(fields, "request", item, subject)

    def _asked(
        self, fields: Mapping[str, Json], name: str, item: int, subject: Json
    ) -> Opening | None:
        request, entry_type, actor = fields.get(name), str(fields["type"]), str(fields["actor"])
        if not isinstance(request, str) or not isinstance(subject, str):
            return None
        try:
            asked = bytes.fromhex(request)
        except ValueError:
            return None
        if len(asked) != subjects.REQUEST_ID_BYTES:
            return None
        for asker in self._asking:
            opening = Opening(asker.name, asker.salt(entry_type, actor, asked, item))
            if opening.commitment == subject:
                return opening
        return None


def _of_consents(key: bytes, count: int) -> Iterator[Opening]:
    name = subjects.record_id(key)
    for number in range(count):
        yield Opening(name, subjects.consent_salt(key, number))


def _objects(value: object) -> Iterator[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise SubjectKeyError("subject keys: evidence_keys and asking_keys are lists of objects")
    yield from value


def _key(fields: Mapping[str, object]) -> bytes:
    try:
        key = bytes.fromhex(str(fields.get("key")))
    except ValueError:
        key = b""
    if len(key) != subjects.KEY_BYTES:
        raise SubjectKeyError("subject keys: a key has 32 bytes, in hexadecimal")
    return key


def _number(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= MAX_CONSENTS:
        raise SubjectKeyError(f"subject keys: {name} is a number, at most {MAX_CONSENTS}")
    return value
