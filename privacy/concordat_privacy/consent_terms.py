"""What is signed where a consent's evidence is a JWS: its terms, as RFC 8785 bytes.

The terms hold everything that the ledger's entry says of what was consented, the recipient, and a
binding to the subject, so that one signature stands for one subject, one recipient, these terms.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from concordat_privacy.log import leaf
from concordat_privacy.log.leaf import Json
from concordat_privacy.moments import rfc3339
from concordat_privacy.periods import Frequency, Period

NONCE_BYTES: Final = 16
TYPE: Final = "consent.terms"
"""`type` of the signed object: no ledger entry and no other statement has it."""
_DOMAIN: Final = b"concordat/consent-terms/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a subject consents to. Text fields that are empty, and None, are left out."""

    purposes: Collection[str]
    """Lower-case names, in the order of the contract's numbers."""
    categories: Collection[str]
    starts_at: int
    """Microseconds since 1970."""
    expires_at: int
    notice_version: str
    notice_sha256: bytes
    language: str
    withdrawal_method: str
    jurisdiction: str
    data_life: Period | None
    frequency: Frequency | None

    def fields(self) -> dict[str, Json]:
        """The fields as ledger entries and signed terms carry them."""
        fields: dict[str, Json] = {
            "purposes": [*self.purposes],
            "categories": [*self.categories],
            "starts_at": rfc3339(self.starts_at),
            "expires_at": rfc3339(self.expires_at),
            "notice_version": self.notice_version,
            "notice_sha256": self.notice_sha256.hex(),
            "language": self.language,
            "withdrawal_method": self.withdrawal_method,
            "jurisdiction": self.jurisdiction,
        }
        present = {name: value for name, value in fields.items() if value != ""}
        if self.data_life is not None:
            present["data_life"] = {
                "unit": self.data_life.unit.name.lower(),
                "value": self.data_life.value,
            }
        if self.frequency is not None:
            present["frequency"] = {
                "unit": self.frequency.unit.name.lower(),
                "uses": self.frequency.uses,
            }
        return present


def subject_binding(nonce: bytes, token: bytes) -> bytes:
    """SHA-256("concordat/consent-terms/v1" || nonce || token), 32 bytes.

    Whoever has only the signed terms cannot try tokens: the nonce stays with the recipient.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce of {len(nonce)} bytes, {NONCE_BYTES} wanted")
    return hashlib.sha256(_DOMAIN + nonce + token).digest()


def terms_bytes(terms: Mapping[str, Json], recipient: str, binding: bytes) -> bytes:
    """The bytes to sign, from the terms' fields (`Terms.fields`, or those of a ledger entry).

    Raises LeafError for text that is not in Unicode NFC.
    """
    return leaf.encode_item(
        {**terms, "v": 1, "type": TYPE, "recipient": recipient, "subject": binding.hex()}
    )
