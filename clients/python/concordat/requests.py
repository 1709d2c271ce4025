"""What callers hand in."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from concordat._checks import (
    frequency_fault,
    language_fault,
    members_fault,
    optional_bytes_fault,
    optional_text_fault,
    period_fault,
    row_ref_fault,
    text_fault,
    time_fault,
    token_fault,
)
from concordat.enums import DataCategory, Purpose
from concordat.errors import FieldViolation, InvalidInput
from concordat_privacy.catalogue.rows import REF_BYTES, RowRef
from concordat_privacy.catalogue.rows import Row as Record
from concordat_privacy.consent_terms import NONCE_BYTES
from concordat_privacy.oprf import Token
from concordat_privacy.periods import Frequency, Period

REQUEST_ID_BYTES = 16
CONSENT_ID_BYTES = 16
SHA256_BYTES = 32
MAX_NOTICE_VERSION_CHARACTERS = 64
MAX_WITHDRAWAL_METHOD_CHARACTERS = 200
MAX_JURISDICTION_CHARACTERS = 8
MAX_JWS_CHARACTERS = 2_048

RequestId = NewType("RequestId", bytes)
"""16 bytes that name a write: sent again, they return the first answer."""
ConsentId = NewType("ConsentId", bytes)
"""16 bytes that name a consent, made by the gateway."""


@dataclass(frozen=True, slots=True)
class ConsentDraft:
    """A consent that a subject gave to the calling member, or is asked for, to be recorded.

    Given, it has evidence of one kind, `evidence_sha256` or `evidence_jws`; asked for, none yet.
    Which fields may be left out is for the policy of its jurisdiction to say (docs/consents.md).

    Raises:
        InvalidInput: names each wrong field.
    """

    token: Token
    purposes: Collection[Purpose]
    """One or more."""
    categories: Collection[DataCategory]
    """One or more."""
    expires_at: datetime
    """With a time zone; at most five years after the start."""
    notice_version: str
    """Version of the notice that the subject was shown, 1 to 64 characters."""
    evidence_sha256: bytes | None = None
    """SHA-256 of the signed consent document that the member keeps, 32 bytes."""
    starts_at: datetime | None = None
    """With a time zone; None: from the moment the gateway records it."""
    notice_sha256: bytes | None = None
    """SHA-256 of the notice, 32 bytes."""
    language: str | None = None
    """Of notice and consent, a BCP 47 tag such as "zh-Hans-CN"."""
    withdrawal_method: str | None = None
    """How the subject can withdraw, such as a URL; 1 to 200 characters."""
    jurisdiction: str | None = None
    """Whose policy it is checked against, such as "CN"; None: the gateway's default."""
    data_life: Period | None = None
    """How long the member may keep what it learns."""
    frequency: Frequency | None = None
    """How often it may be used for lookups; None: without limit."""
    evidence_jws: str | None = None
    """Detached JWS over `concordat.consent_terms` of this draft."""
    evidence_nonce: bytes | None = None
    """16 random bytes, with a JWS now or later: they bind the terms to the subject."""

    def __post_init__(self) -> None:
        wrong = [
            FieldViolation(field, description)
            for field, description in (
                ("token", token_fault(self.token)),
                ("purposes", members_fault(self.purposes, Purpose)),
                ("categories", members_fault(self.categories, DataCategory)),
                ("expires_at", time_fault(self.expires_at)),
                ("starts_at", None if self.starts_at is None else time_fault(self.starts_at)),
                (
                    "notice_version",
                    text_fault(self.notice_version, MAX_NOTICE_VERSION_CHARACTERS),
                ),
                ("evidence_sha256", optional_bytes_fault(self.evidence_sha256, SHA256_BYTES)),
                ("notice_sha256", optional_bytes_fault(self.notice_sha256, SHA256_BYTES)),
                ("language", language_fault(self.language)),
                (
                    "withdrawal_method",
                    optional_text_fault(self.withdrawal_method, MAX_WITHDRAWAL_METHOD_CHARACTERS),
                ),
                (
                    "jurisdiction",
                    optional_text_fault(self.jurisdiction, MAX_JURISDICTION_CHARACTERS),
                ),
                ("data_life", period_fault(self.data_life)),
                ("frequency", frequency_fault(self.frequency)),
                ("evidence_jws", optional_text_fault(self.evidence_jws, MAX_JWS_CHARACTERS)),
                ("evidence_nonce", optional_bytes_fault(self.evidence_nonce, NONCE_BYTES)),
            )
            if description is not None
        ]
        if not wrong and self.evidence_sha256 is not None and self.evidence_jws is not None:
            wrong.append(FieldViolation("evidence_jws", "beside evidence_sha256; one is wanted"))
        if not wrong and self.starts_at is not None and self.starts_at >= self.expires_at:
            wrong.append(FieldViolation("expires_at", "not after starts_at"))
        if wrong:
            text = "; ".join(f"{fault.field}: {fault.description}" for fault in wrong)
            raise InvalidInput(text, violations=tuple(wrong))


@dataclass(frozen=True, slots=True)
class Row:
    """One row to contribute: whose, and what."""

    token: Token
    record: Record
    """An AccountSnapshot or an ApplicationEvent."""
    replaces: RowRef | None = None
    """On a correction: your own row that this one stands for from now on, of the same token,
    account and month (or application). `ContributionResult.row` and `UploadedPart.row` give it."""


@dataclass(frozen=True, slots=True)
class RowWithdrawal:
    """An account, with all its months, or an application that is to leave the pool.

    Raises:
        InvalidInput: names each wrong field.
    """

    token: Token
    row: RowRef
    """The row that the pool's newest month of the account, or the application, came from."""
    account_ref: bytes | None = None
    """Your own pseudonym of the account, 16 bytes; or `application_ref`, one of the two."""
    application_ref: bytes | None = None

    def __post_init__(self) -> None:
        wrong = [
            FieldViolation(field, description)
            for field, description in (
                ("token", token_fault(self.token)),
                ("row", row_ref_fault(self.row)),
                ("account_ref", optional_bytes_fault(self.account_ref, REF_BYTES)),
                ("application_ref", optional_bytes_fault(self.application_ref, REF_BYTES)),
            )
            if description is not None
        ]
        if not wrong and (self.account_ref is None) == (self.application_ref is None):
            wrong.append(FieldViolation("account_ref", "one of it and application_ref is wanted"))
        if wrong:
            text = "; ".join(f"{fault.field}: {fault.description}" for fault in wrong)
            raise InvalidInput(text, violations=tuple(wrong))
