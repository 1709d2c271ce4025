"""Notices to recipients that a consent has ended: what the entry that ends it says of them."""

from collections.abc import Mapping
from enum import Enum

from concordat_gateway.ledger.journal import Transaction
from concordat_gateway.rules.consent_records import Consent
from concordat_privacy.log.leaf import Json


class NoticeCause(Enum):
    """Why a consent ended."""

    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    ERASED = "erased"


def notice_fields(
    _transaction: Transaction, _consent: Consent, _cause: NoticeCause
) -> Mapping[str, Json]:
    """Fields that the entry gains; none while no notices are issued."""
    return {}
