"""MembershipService: translates messages; the rules are in `rules.members`."""

import grpc

from concordat.v1 import member_pb2, member_pb2_grpc
from concordat_gateway.ledger.journal import Committed, Journal
from concordat_gateway.rules import members
from concordat_gateway.rules.members import Admission, Change, Member, Registrar
from concordat_gateway.services._translate import (
    receipt_of,
    seconds_left,
    stored_reply,
    timestamp_of,
    unsigned_receipt,
)
from concordat_rpc import call


class MembershipServicer(member_pb2_grpc.MembershipServiceServicer):
    """See proto/concordat/v1/member.proto."""

    def __init__(self, journal: Journal, registrar: Registrar) -> None:
        self._journal = journal
        self._registrar = registrar

    def InviteMember(
        self, request: member_pb2.InviteMemberRequest, _context: grpc.ServicerContext
    ) -> member_pb2.InviteMemberResponse:
        committed = members.invite(
            self._journal,
            self._registrar,
            call.current().peer,
            request.request_id,
            request.member_id,
            request.display_name,
            request.csr_pem,
            _invited,
            seconds_left(),
        )
        return stored_reply(member_pb2.InviteMemberResponse, committed)

    def AcceptInvitation(
        self, request: member_pb2.AcceptInvitationRequest, _context: grpc.ServicerContext
    ) -> member_pb2.AcceptInvitationResponse:
        committed = members.accept(
            self._journal,
            self._registrar,
            call.current().peer,
            call.current().certificate_serial,
            request.request_id,
            request.csr_pem,
            _joined,
            seconds_left(),
        )
        return stored_reply(member_pb2.AcceptInvitationResponse, committed)

    def SuspendMember(
        self, request: member_pb2.SuspendMemberRequest, _context: grpc.ServicerContext
    ) -> member_pb2.SuspendMemberResponse:
        committed = members.suspend(
            self._journal,
            call.current().peer,
            request.member_id,
            request.reason,
            seconds_left(),
        )
        response = member_pb2.SuspendMemberResponse(member=_member(committed.value.member))
        _add_receipt(response, committed)
        return response

    def ReinstateMember(
        self, request: member_pb2.ReinstateMemberRequest, _context: grpc.ServicerContext
    ) -> member_pb2.ReinstateMemberResponse:
        committed = members.reinstate(
            self._journal,
            call.current().peer,
            request.member_id,
            request.reason,
            seconds_left(),
        )
        response = member_pb2.ReinstateMemberResponse(member=_member(committed.value.member))
        _add_receipt(response, committed)
        return response

    def ListMembers(
        self, request: member_pb2.ListMembersRequest, _context: grpc.ServicerContext
    ) -> member_pb2.ListMembersResponse:
        page, next_page_token = members.list_members(
            self._journal, request.page_size, request.page_token
        )
        return member_pb2.ListMembersResponse(
            members=map(_member, page), next_page_token=next_page_token
        )


def _invited(admission: Admission) -> bytes:
    response = member_pb2.InviteMemberResponse(
        member=_member(admission.member),
        certificate_pem=admission.certificate_pem,
        expires_at=timestamp_of(admission.expires_at),
        receipt=unsigned_receipt(admission.entry),
    )
    return response.SerializeToString()


def _joined(admission: Admission) -> bytes:
    response = member_pb2.AcceptInvitationResponse(
        member=_member(admission.member),
        certificate_pem=admission.certificate_pem,
        receipt=unsigned_receipt(admission.entry),
    )
    return response.SerializeToString()


def _add_receipt(
    response: member_pb2.SuspendMemberResponse | member_pb2.ReinstateMemberResponse,
    committed: Committed[Change],
) -> None:
    if committed.value.entry is not None:
        response.receipt.CopyFrom(receipt_of(committed.value.entry, committed))


def _member(member: Member) -> member_pb2.Member:
    return member_pb2.Member(
        member_id=member.member_id,
        display_name=member.display_name,
        state=member_pb2.MemberState.ValueType(member.state),
        invited_at=timestamp_of(member.invited_at),
        joined_at=None if member.joined_at is None else timestamp_of(member.joined_at),
    )
