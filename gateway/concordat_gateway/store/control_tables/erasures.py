"""Erasures of subjects, and what is left of whom was erased."""

import sqlalchemy as sa
from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.schema import CLUSTERED, big_int, exactly, small_int


class Erasure(Control, table=True):
    """A request to erase a subject, and what became of it.

    `state` is a number of `rules.erasures.ErasureState`. Once everything is destroyed nothing here
    names the subject.
    """

    __tablename__ = "erasure"
    __table_args__ = (
        exactly("erasure_id", 16),
        exactly("request_id", 16),
        exactly("evidence_sha256", 32),
        exactly("subject", 32),
        exactly("live_id", 16),
        sa.Index(None, "state"),
        sa.Index(None, "requested_entry", unique=True),
    )

    erasure_id: bytes = Field(primary_key=True)
    member_id: str
    """Who passed the subject's request on."""
    request_id: bytes
    ground: str
    evidence_sha256: bytes | None = Field(default=None)
    state: int = small_int()
    subject: bytes | None = Field(default=None)
    """Its present name, until the erasure is refused or done."""
    live_id: bytes | None = Field(default=None)
    """The live key that is to be destroyed, for good: it may come back with a backup."""
    requested_at: int = big_int()
    requested_entry: int = big_int()
    decided_at: int | None = big_int(default=None)
    decided_entry: int | None = big_int(default=None)
    erased_at: int | None = big_int(default=None)
    """When no store held anything any more."""
    basis: str | None = Field(default=None)
    rows: int | None = big_int(default=None)
    """Rows of signals that were held when it was decided."""
    consents: int | None = Field(default=None)


class ErasedName(Control, table=True):
    """A name that an erased subject had, as only the evidence secret can recognise it."""

    __tablename__ = "erased_name"
    __table_args__ = (exactly("erasure_id", 16), exactly("mark", 32), CLUSTERED)

    mark: bytes = Field(primary_key=True)
    erasure_id: bytes = Field(primary_key=True)


class ErasedConsent(Control, table=True):
    """What is left of an erased consent: which evidence key, for an auditor who has its id."""

    __tablename__ = "erased_consent"
    __table_args__ = (exactly("consent_id", 16), exactly("evidence_id", 16), CLUSTERED)

    consent_id: bytes = Field(primary_key=True)
    evidence_id: bytes
    consents: int
    """How many were recorded under that key."""


erasure = METADATA.tables["erasure"]
erased_name = METADATA.tables["erased_name"]
erased_consent = METADATA.tables["erased_consent"]
