"""Members."""

from dataclasses import dataclass
from datetime import datetime

from concordat.enums import MemberState
from concordat.results.ledger import Receipt


@dataclass(frozen=True, slots=True)
class Member:
    """A member institution."""

    member_id: str
    display_name: str
    state: MemberState
    invited_at: datetime
    joined_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvitedMember:
    """An invitation."""

    member: Member
    certificate_pem: bytes
    """Chain of the invitation's certificate, which opens `accept_invitation` once."""
    expires_at: datetime
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class JoinedMember:
    """An accepted invitation."""

    member: Member
    certificate_pem: bytes
    """Chain of the member's certificate."""
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """A suspended or reinstated member."""

    member: Member
    receipt: Receipt | None
    """None if the member was in that state before."""
