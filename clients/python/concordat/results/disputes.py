"""Disputes."""

from dataclasses import dataclass
from datetime import datetime

from concordat.enums import DataCategory, DisputeOutcome, DisputeReason
from concordat.requests import ConsentId
from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class Dispute:
    """A subject's word that what is held about it is wrong, as the caller may see it."""

    dispute_id: bytes
    category: DataCategory
    reason: DisputeReason
    opened_at: datetime
    answer_by: datetime
    resolved_at: datetime | None
    outcome: DisputeOutcome | None
    """None while it is open; to a member that is to answer, its own answer."""
    to_answer: bool
    """Whether the calling member is to answer it and has not."""
    statement_sha256: bytes
    consent_ids: tuple[ConsentId, ...]
    """To a member that is to answer: its own consents, by which it knows whom it is about."""


@dataclass(frozen=True, slots=True)
class DisputeChange:
    """A dispute after it was opened, answered or extended."""

    dispute: Dispute
    receipt: Receipt | None
    """None if nothing changed."""
