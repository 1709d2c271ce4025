"""Notices."""

from dataclasses import dataclass
from datetime import datetime

from concordat.enums import NoticeCause
from concordat.requests import ConsentId
from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class Notice:
    """That a consent has ended: to be acknowledged, and what was learned under it deleted."""

    notice_id: bytes
    consent_id: ConsentId
    recipient: str
    cause: NoticeCause
    issued_at: datetime
    acknowledge_by: datetime
    delete_by: datetime
    acknowledged_at: datetime | None
    deleted_at: datetime | None
    """As the recipient said."""
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class NoticeChange:
    """A notice after it was acknowledged, or its deletion confirmed."""

    notice: Notice
    receipt: Receipt | None
    """None if that was so before: nothing changed, nothing was recorded."""
