"""What an auditor is given."""

import json
from dataclasses import dataclass, field

from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """Finds a subject's consents in the ledger, see `concordat_privacy.log.subjects`."""

    key: bytes = field(repr=False)
    consents: int
    """How many there are: numbers 0 to consents - 1."""


@dataclass(frozen=True, slots=True)
class AskingKey:
    """Finds what was asked about a subject while the stores named it in one epoch."""

    epoch: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedSubject:
    """One subject's keys. Who has them finds everything about the subject in the ledger."""

    ledger: str
    """Origin of the ledger."""
    evidence_keys: tuple[EvidenceKey, ...]
    asking_keys: tuple[AskingKey, ...]
    receipt: Receipt
    """Of the entry that records the opening."""

    def keys_file(self) -> str:
        """The text of a subject's key file, as `concordat audit person --subject` reads it."""
        content = {
            "ledger": self.ledger,
            "evidence_keys": [
                {"key": one.key.hex(), "consents": one.consents} for one in self.evidence_keys
            ],
            "asking_keys": [{"epoch": one.epoch, "key": one.key.hex()} for one in self.asking_keys],
        }
        return json.dumps(content, indent=2) + "\n"
