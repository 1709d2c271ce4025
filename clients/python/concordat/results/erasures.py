"""Erasures."""

from dataclasses import dataclass
from datetime import datetime

from concordat.enums import ErasureState
from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class Erasure:
    """A request to erase a subject, and what became of it."""

    erasure_id: bytes
    member_id: str
    """The member that passed the request on."""
    ground: str
    """Why the subject may ask for it, as the member says."""
    state: ErasureState
    requested_at: datetime
    decided_at: datetime | None
    erased_at: datetime | None
    """When the last store held nothing any more."""
    basis: str | None
    """Why it was executed or refused."""
    rows: int
    """Rows of signals that were held when it was executed; 0 to members."""
    consents: int
    """Consents that it ended; 0 to members."""


@dataclass(frozen=True, slots=True)
class ErasureChange:
    """An erasure after a step; `receipt` is None where it had been taken before."""

    erasure: Erasure
    receipt: Receipt | None
