"""Consent managers."""

from dataclasses import dataclass
from datetime import datetime

from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class ConsentManager:
    """Somebody whose signatures are evidence of consents."""

    manager_id: str
    """The `kid` of its signatures."""
    name: str
    jwk: str
    """Its public key, as JSON."""
    key: bytes
    """RFC 7638 thumbprint (SHA-256) of the key."""
    registered_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class ConsentManagerChange:
    """A registered or disabled consent manager."""

    manager: ConsentManager
    receipt: Receipt | None
    """None if nothing changed."""
