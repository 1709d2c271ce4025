"""Consents and what became of them."""

from dataclasses import dataclass
from datetime import datetime

from concordat.enums import ConsentState, DataCategory, Purpose
from concordat.requests import ConsentId, RequestId
from concordat.results.items import ItemRefusal
from concordat.results.ledger import Receipt
from concordat_privacy.periods import Frequency, Period


@dataclass(frozen=True, slots=True)
class GrantedConsent:
    """One recorded consent."""

    item: int
    """Position in what was passed, from 0."""
    consent_id: ConsentId
    entry_index: int


@dataclass(frozen=True, slots=True)
class GrantResult:
    """What became of the consents passed to `grant_consents`."""

    request_id: RequestId
    """Pass it again with the same consents to repeat the call without recording them twice."""
    granted: tuple[GrantedConsent, ...]
    refused: tuple[ItemRefusal, ...]
    receipts: tuple[Receipt, ...]
    """One for each request of up to 1,000 consents of which any was recorded."""


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What became of the consents passed to `request_consents`."""

    request_id: RequestId
    """Pass it again with the same consents to repeat the call without recording them twice."""
    requested: tuple[GrantedConsent, ...]
    refused: tuple[ItemRefusal, ...]
    receipts: tuple[Receipt, ...]
    """One for each request of up to 1,000 consents of which any was recorded."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A recorded consent of the calling member."""

    consent_id: ConsentId
    purposes: frozenset[Purpose]
    categories: frozenset[DataCategory]
    starts_at: datetime
    """Before it the consent permits nothing, whatever its state."""
    expires_at: datetime
    notice_version: str
    evidence_sha256: bytes | None
    """None where the evidence is a JWS, and until there is any."""
    state: ConsentState
    """When the reply was made."""
    granted_at: datetime
    """When it was recorded, given or only asked for."""
    withdrawn_at: datetime | None
    grant_entry_index: int
    notice_sha256: bytes | None = None
    language: str | None = None
    withdrawal_method: str | None = None
    jurisdiction: str | None = None
    """None for consents that were recorded before there were policies."""
    policies: int = 0
    """Version of the policies that it was checked against; 0 as above."""
    data_life: Period | None = None
    frequency: Frequency | None = None
    evidence_jws: str | None = None
    evidence_signer: str | None = None
    """"subject" or "manager:<id>"."""
    evidence_key: bytes | None = None
    """RFC 7638 thumbprint (SHA-256) of the key that signed."""
    evidence_subject: bytes | None = None
    """Binding of the signed terms to the subject, see docs/consents.md."""
    requested_at: datetime | None = None
    activated_at: datetime | None = None
    """When the subject had given it; None while it is only requested."""
    paused_at: datetime | None = None
    """None unless it is paused."""
    resumed_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    """"recipient", "operator" or "manager:<id>"."""
    reason: str | None = None
    """Why it is paused or was revoked."""
    asked_at: datetime | None = None
    """When the subject asked for the withdrawal, as far as it was told."""

    def permits_at(self, moment: datetime) -> bool:
        """Whether it permits its purposes at a moment, if nothing changes after the reply."""
        return self.state is ConsentState.ACTIVE and self.starts_at <= moment < self.expires_at


@dataclass(frozen=True, slots=True)
class ConsentChange:
    """A consent after it was activated, paused, resumed or revoked."""

    consent: Consent
    receipt: Receipt | None
    """None if the consent was in that state before: nothing changed, nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A consent after its withdrawal."""

    consent: Consent
    receipt: Receipt | None
    """None if the consent was withdrawn before: nothing changed, nothing was recorded."""
