"""What is counted of each member and day, and never of a subject."""

from enum import IntEnum

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_store import meters


class UsageKind(IntEnum):
    """What is counted. Numbers as in `concordat.v1` (usage.proto), beyond them our own."""

    LOOKUPS = 1
    """Subjects looked up, whatever for and whatever the answer."""
    LOOKUPS_REFUSED = 2
    """Those of them without a consent."""
    EVALUATIONS = 3
    """Blinded elements passed on to the key-holder."""
    CONSENTS = 4
    """Consents recorded."""
    CARRIED = 5
    """Elements of earlier epochs' tokens passed on to the key-holders, to be carried over."""
    QUOTA_EXHAUSTED = 100
    """1 on a day on which a quota refused a call."""


def count_evaluations(
    journal: Journal, member_id: str, elements: int, timeout_seconds: float
) -> None:
    """Count elements, before they are passed on: what the key-holder then does is its own count.

    Raises Refusal UNAVAILABLE, DEADLINE_EXCEEDED.
    """

    def change(transaction: Transaction) -> None:
        meters.count(
            transaction.connection, member_id, UsageKind.EVALUATIONS, elements, transaction.now
        )

    journal.write(change, timeout_seconds)


def count_consents(connection: sa.Connection, member_id: str, consents: int, now: int) -> None:
    """Count consents in the transaction that records them."""
    meters.count(connection, member_id, UsageKind.CONSENTS, consents, now)
