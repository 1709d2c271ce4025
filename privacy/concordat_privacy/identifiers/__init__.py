"""Identifiers: from messy text to the one form that is tokenised.

Two members find each other's rows only if both normalise to the same bytes, so the form is fixed
by version and by the golden vectors in ``docs/vectors/identifiers.json``. Names are never a key.

    identifier = ResidentId("110100 1900-01-01 0010")
    oprf_input(identifier)
"""

from .base import (
    Identifier,
    IdentifierInvalid,
    Reason,
    compact,
    oprf_input,
)
from .china import ResidentId, UnifiedSocialCreditCode
from .phone import PhoneNumber
from .registry import DEFAULT_REGISTRY, IdentifierRegistry

__all__ = [
    "DEFAULT_REGISTRY",
    "Identifier",
    "IdentifierInvalid",
    "IdentifierRegistry",
    "PhoneNumber",
    "Reason",
    "ResidentId",
    "UnifiedSocialCreditCode",
    "compact",
    "oprf_input",
]
