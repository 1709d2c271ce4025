"""Consents, who signs as evidence of them, and notices that they have ended."""

import sqlalchemy as sa
from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.schema import big_int, exactly, small_int


class Consent(Control, table=True):
    """One subject's consent for one recipient. Bit n of a mask stands for enum number n.

    Its state follows from its times alone, see `rules.consent_states`.
    """

    __tablename__ = "consent"
    __table_args__ = (
        exactly("consent_id", 16),
        exactly("subject", 32),
        exactly("evidence_sha256", 32),
        exactly("salt", 16),
        exactly("commitment", 32),
        exactly("notice_sha256", 32),
        exactly("evidence_subject", 32),
        exactly("evidence_terms_sha256", 32),
        exactly("evidence_key", 32),
        sa.Index(None, "subject", "recipient"),
        sa.Index(None, "recipient", "grant_entry"),
        # One signature is good for one consent, also where it is written in another way.
        sa.Index("uq_consent_evidence_terms_sha256", "evidence_terms_sha256", unique=True),
    )

    consent_id: bytes = Field(primary_key=True)
    subject: bytes
    recipient: str
    purposes: int
    categories: int
    starts_at: int = big_int()
    expires_at: int = big_int()
    notice_version: str
    evidence_sha256: bytes | None = Field(default=None)
    granted_at: int = big_int()
    """When it was recorded, given or only requested."""
    withdrawn_at: int | None = big_int(default=None)
    grant_entry: int = big_int()
    withdraw_entry: int | None = big_int(default=None)
    salt: bytes | None = Field(default=None)
    """Of consents that were recorded before subjects had keys: opens their commitment, with the
    name that the subject had then."""
    commitment: bytes
    """How all entries about the consent name its subject."""
    notice_sha256: bytes | None = Field(default=None)
    language: str | None = Field(default=None)
    withdrawal_method: str | None = Field(default=None)
    jurisdiction: str | None = Field(default=None)
    """Null for consents that were recorded before there were policies."""
    policies: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    data_life_unit: int | None = small_int(default=None)
    data_life_value: int | None = Field(default=None)
    frequency_unit: int | None = small_int(default=None)
    frequency_uses: int | None = Field(default=None)
    used_span: int | None = big_int(default=None)
    """The calendar unit (`concordat_privacy.periods.span_number`) that `used` counts."""
    used: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    evidence_subject: bytes | None = Field(default=None)
    """Binding of signed terms to the subject: of its token and a nonce, which is not kept."""
    evidence_jws: str | None = Field(default=None)
    evidence_terms_sha256: bytes | None = Field(default=None)
    """Hash of the terms that `evidence_jws` signs."""
    evidence_signer: str | None = Field(default=None)
    evidence_key: bytes | None = Field(default=None)
    requested_at: int | None = big_int(default=None)
    activated_at: int | None = big_int(default=None)
    paused_at: int | None = big_int(default=None)
    """Since when it is paused; null unless it is."""
    resumed_at: int | None = big_int(default=None)
    revoked_at: int | None = big_int(default=None)
    revoked_by: str | None = Field(default=None)
    revoke_entry: int | None = big_int(default=None)
    reason: str | None = Field(default=None)
    """Why it is paused or was revoked."""
    asked_at: int | None = big_int(default=None)
    """When the subject asked for the withdrawal."""


class ConsentManager(Control, table=True):
    """Somebody whose signatures are evidence of consents. Never deleted, and no key twice."""

    __tablename__ = "consent_manager"
    __table_args__ = (exactly("thumbprint", 32), sa.UniqueConstraint("thumbprint"))

    manager_id: str = Field(primary_key=True)
    name: str
    jwk: str
    thumbprint: bytes
    registered_at: int = big_int()
    disabled_at: int | None = big_int(default=None)


class Notice(Control, table=True):
    """That a consent has ended, told to its recipient, who must acknowledge and delete in time."""

    __tablename__ = "notice"
    __table_args__ = (
        exactly("notice_id", 16),
        exactly("consent_id", 16),
        sa.Index(None, "recipient", "notice_no"),
    )

    notice_id: bytes = Field(primary_key=True)
    notice_no: int = big_int(unique=True)
    consent_id: bytes
    recipient: str
    cause: int = small_int()
    """A number of the contract's NoticeCause."""
    issued_at: int = big_int()
    acknowledge_by: int = big_int()
    delete_by: int = big_int()
    acknowledged_at: int | None = big_int(default=None)
    deleted_at: int | None = big_int(default=None)
    """As the recipient says."""
    confirmed_at: int | None = big_int(default=None)
    late_since: int | None = big_int(default=None)
    """When it was recorded that the acknowledgement is overdue."""
    undeleted_since: int | None = big_int(default=None)
    """When it was recorded that the deletion is overdue."""


consent = METADATA.tables["consent"]
consent_manager = METADATA.tables["consent_manager"]
notice = METADATA.tables["notice"]
