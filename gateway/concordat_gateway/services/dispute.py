"""DisputeService: translates messages; the rules are in `rules.disputes` and beside it."""

import grpc

from concordat.v1 import common_pb2, dispute_pb2, dispute_pb2_grpc
from concordat_gateway.ledger.journal import Entry, Journal
from concordat_gateway.rules import dispute_deadlines, dispute_views, disputes
from concordat_gateway.rules.dispute_views import Dispute
from concordat_gateway.rules.disputes import Complaint, Opening
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.services._translate import (
    receipt_of,
    seconds_left,
    stored_reply,
    timestamp_of,
    unsigned_receipt,
)
from concordat_privacy.metering import Quota
from concordat_rpc import call


class DisputeServicer(dispute_pb2_grpc.DisputeServiceServicer):
    """See proto/concordat/v1/dispute.proto."""

    def __init__(self, journal: Journal, subjects: Subjects, gateway: str, quota: Quota) -> None:
        """`gateway`: its SPIFFE id. `quota`: the configured one of lookups."""
        self._journal = journal
        self._subjects = subjects
        self._gateway = gateway
        self._quota = quota

    def OpenDispute(
        self, request: dispute_pb2.OpenDisputeRequest, _context: grpc.ServicerContext
    ) -> dispute_pb2.OpenDisputeResponse:
        opening = Opening.of(
            call.current().peer,
            request.request_id,
            request.token,
            request.epoch,
            Complaint.of(request.category, request.reason, request.statement_sha256),
        )
        committed = disputes.open_dispute(
            self._journal,
            self._subjects,
            opening,
            self._quota,
            self._gateway,
            _opened,
            seconds_left(),
        )
        return stored_reply(dispute_pb2.OpenDisputeResponse, committed)

    def ListDisputes(
        self, request: dispute_pb2.ListDisputesRequest, _context: grpc.ServicerContext
    ) -> dispute_pb2.ListDisputesResponse:
        found, next_page_token = dispute_views.list_page(
            self._journal,
            call.current().peer,
            request.page_size,
            request.page_token,
            request.with_resolved,
            seconds_left(),
        )
        return dispute_pb2.ListDisputesResponse(
            disputes=map(_message_of, found), next_page_token=next_page_token
        )

    def AnswerDispute(
        self, request: dispute_pb2.AnswerDisputeRequest, _context: grpc.ServicerContext
    ) -> dispute_pb2.AnswerDisputeResponse:
        committed = disputes.answer(
            self._journal,
            call.current().peer,
            request.dispute_id,
            request.outcome,
            request.statement_sha256,
            self._gateway,
            seconds_left(),
        )
        entry = committed.value.entry
        return dispute_pb2.AnswerDisputeResponse(
            dispute=_message_of(committed.value.dispute),
            receipt=receipt_of(entry, committed) if entry is not None else None,
        )

    def ExtendDispute(
        self, request: dispute_pb2.ExtendDisputeRequest, _context: grpc.ServicerContext
    ) -> dispute_pb2.ExtendDisputeResponse:
        committed = dispute_deadlines.extend(
            self._journal, call.current().peer, request.dispute_id, seconds_left()
        )
        entry = committed.value.entry
        return dispute_pb2.ExtendDisputeResponse(
            dispute=_message_of(committed.value.dispute),
            receipt=receipt_of(entry, committed) if entry is not None else None,
        )


def _opened(dispute: Dispute, entry: Entry) -> bytes:
    response = dispute_pb2.OpenDisputeResponse(
        dispute=_message_of(dispute), receipt=unsigned_receipt(entry)
    )
    return response.SerializeToString()


def _message_of(dispute: Dispute) -> dispute_pb2.Dispute:
    return dispute_pb2.Dispute(
        dispute_id=dispute.dispute_id,
        category=common_pb2.DataCategory.ValueType(dispute.category),
        reason=dispute_pb2.DisputeReason.ValueType(dispute.reason),
        opened_at=timestamp_of(dispute.opened_at),
        answer_by=timestamp_of(dispute.answer_by),
        resolved_at=None if dispute.resolved_at is None else timestamp_of(dispute.resolved_at),
        outcome=dispute_pb2.DisputeOutcome.ValueType(dispute.outcome),
        to_answer=dispute.to_answer,
        statement_sha256=dispute.statement_sha256,
        consent_ids=dispute.consent_ids,
    )
