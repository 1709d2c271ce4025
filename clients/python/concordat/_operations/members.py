"""Membership: for operators, and for institutions that were invited."""

from concordat._checks import checked_integer, checked_text
from concordat._context import Context
from concordat._convert import FetchPage, Page, member_of, time_of
from concordat._methods import (
    ACCEPT_INVITATION,
    INVITE_MEMBER,
    LIST_MEMBERS,
    REINSTATE_MEMBER,
    SUSPEND_MEMBER,
)
from concordat._steps import Operation
from concordat.enums import MemberState
from concordat.errors import InvalidInput
from concordat.results import InvitedMember, JoinedMember, Member, MembershipChange
from concordat.v1 import member_pb2

MAX_MEMBER_ID_CHARACTERS = 40
MAX_DISPLAY_NAME_CHARACTERS = 200
MAX_REASON_CHARACTERS = 500
MAX_CSR_BYTES = 8 * 1024
MAX_PAGE_SIZE = 1_000


def invite_member(
    context: Context,
    member_id: str,
    display_name: str,
    csr_pem: bytes,
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[InvitedMember]:
    """Invite an institution."""
    request = member_pb2.InviteMemberRequest(
        request_id=context.request_id(request_id),
        member_id=_member_id(member_id),
        display_name=checked_text(display_name, "display_name", MAX_DISPLAY_NAME_CHARACTERS),
        csr_pem=_csr(csr_pem),
    )
    reply = yield from context.send(INVITE_MEMBER, request, timeout)
    return InvitedMember(
        member=_member(reply.member),
        certificate_pem=reply.certificate_pem,
        expires_at=time_of(reply.expires_at, "expires_at"),
        receipt=context.ledger.receipt(reply.receipt, {"member.invited"}),
    )


def accept_invitation(
    context: Context, csr_pem: bytes, request_id: bytes | None, timeout: float | None
) -> Operation[JoinedMember]:
    """Accept the invitation whose certificate the client uses."""
    request = member_pb2.AcceptInvitationRequest(
        request_id=context.request_id(request_id), csr_pem=_csr(csr_pem)
    )
    reply = yield from context.send(ACCEPT_INVITATION, request, timeout)
    return JoinedMember(
        member=_member(reply.member),
        certificate_pem=reply.certificate_pem,
        receipt=context.ledger.receipt(reply.receipt, {"member.joined"}),
    )


def suspend_member(
    context: Context, member_id: str, reason: str, timeout: float | None
) -> Operation[MembershipChange]:
    """Suspend a member."""
    request = member_pb2.SuspendMemberRequest(
        member_id=_member_id(member_id), reason=_reason(reason)
    )
    reply = yield from context.send(SUSPEND_MEMBER, request, timeout)
    receipt = None
    if reply.HasField("receipt"):
        receipt = context.ledger.receipt(reply.receipt, {"member.suspended"})
    return MembershipChange(_member(reply.member), receipt)


def reinstate_member(
    context: Context, member_id: str, reason: str, timeout: float | None
) -> Operation[MembershipChange]:
    """Lift a suspension."""
    request = member_pb2.ReinstateMemberRequest(
        member_id=_member_id(member_id), reason=_reason(reason)
    )
    reply = yield from context.send(REINSTATE_MEMBER, request, timeout)
    receipt = None
    if reply.HasField("receipt"):
        receipt = context.ledger.receipt(reply.receipt, {"member.reinstated"})
    return MembershipChange(_member(reply.member), receipt)


def list_members(context: Context, page_size: int, timeout: float | None) -> FetchPage[Member]:
    """Read members page by page. Raises InvalidInput at once."""
    checked_integer(page_size, "page_size", 1, MAX_PAGE_SIZE)

    def fetch(page_token: str) -> Operation[Page[Member]]:
        request = member_pb2.ListMembersRequest(page_size=page_size, page_token=page_token)
        reply = yield from context.send(LIST_MEMBERS, request, timeout)
        return Page([_member(member) for member in reply.members], reply.next_page_token)

    return fetch


def _member_id(member_id: str) -> str:
    return checked_text(member_id, "member_id", MAX_MEMBER_ID_CHARACTERS)


def _reason(reason: str) -> str:
    return checked_text(reason, "reason", MAX_REASON_CHARACTERS)


def _csr(csr_pem: bytes) -> bytes:
    if not isinstance(csr_pem, bytes) or not 0 < len(csr_pem) <= MAX_CSR_BYTES:
        raise InvalidInput.field(
            "csr_pem", f"a PEM certificate request of up to {MAX_CSR_BYTES} bytes wanted"
        )
    return csr_pem


def _member(member: member_pb2.Member) -> Member:
    joined = member.HasField("joined_at")
    return Member(
        member_id=member.member_id,
        display_name=member.display_name,
        state=member_of(MemberState, member.state, "state"),
        invited_at=time_of(member.invited_at, "invited_at"),
        joined_at=time_of(member.joined_at, "joined_at") if joined else None,
    )
