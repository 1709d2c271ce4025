"""What a subject, or a consent manager, signs where a consent's evidence is a JWS."""

from datetime import datetime
from typing import TypeVar

from concordat._checks import checked_text
from concordat.errors import InvalidInput
from concordat.requests import ConsentDraft
from concordat.results import Consent
from concordat_privacy.consent_terms import Terms, subject_binding, terms_bytes
from concordat_privacy.log.leaf import LeafError
from concordat_privacy.moments import micros_of

_T = TypeVar("_T")
_MAX_MEMBER_ID_CHARACTERS = 40


def consent_terms(consent: ConsentDraft | Consent, recipient: str) -> bytes:
    """The exact bytes that a consent's JWS signs (RFC 8785 JSON; docs/consents.md).

    They say what was consented, to which member, and bind it to the subject without naming it.

    Args:
        consent: a draft that is to be granted, with `starts_at`, `jurisdiction` and
            `evidence_nonce`; or a requested consent as the gateway gives it (`get_consent`), whose
            draft had an `evidence_nonce`.
        recipient: member id of the lender that receives the consent.

    Raises:
        InvalidInput: one of these is missing, or a text is not in Unicode NFC.
    """
    if isinstance(consent, Consent):
        binding = _present(consent.evidence_subject, "evidence_subject")
    elif isinstance(consent, ConsentDraft):
        nonce = _present(consent.evidence_nonce, "evidence_nonce")
        binding = subject_binding(bytes(nonce), consent.token.value)
    else:
        raise InvalidInput.field(
            "consent", f"a ConsentDraft or Consent wanted, {type(consent).__name__} given"
        )
    starts_at: datetime = _present(consent.starts_at, "starts_at")
    terms = Terms(
        purposes=[purpose.name.lower() for purpose in sorted(consent.purposes)],
        categories=[category.name.lower() for category in sorted(consent.categories)],
        starts_at=micros_of(starts_at),
        expires_at=micros_of(consent.expires_at),
        notice_version=consent.notice_version,
        notice_sha256=bytes(consent.notice_sha256 or b""),
        language=consent.language or "",
        withdrawal_method=consent.withdrawal_method or "",
        jurisdiction=_present(consent.jurisdiction, "jurisdiction"),
        data_life=consent.data_life,
        frequency=consent.frequency,
    )
    checked_text(recipient, "recipient", _MAX_MEMBER_ID_CHARACTERS)
    try:
        return terms_bytes(terms.fields(), recipient, binding)
    except LeafError as error:
        raise InvalidInput.field("consent", str(error)) from None


def _present(value: _T | None, field: str) -> _T:
    if value is None:
        raise InvalidInput.field(field, "it is signed, so it must be there")
    return value
