"""ErasureService: translates, decides nothing; see rules.erasures."""

import grpc

from concordat.v1 import erasure_pb2, erasure_pb2_grpc
from concordat_gateway.ledger.journal import Entry, Journal
from concordat_gateway.rules import erasures
from concordat_gateway.rules.erasures import Erasure
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.services._translate import (
    receipt_of,
    seconds_left,
    stored_reply,
    timestamp_of,
    unsigned_receipt,
)
from concordat_gateway.store.signal_store import SignalStore
from concordat_rpc import call
from concordat_rpc.peer import Role


class ErasureServicer(erasure_pb2_grpc.ErasureServiceServicer):
    """See proto/concordat/v1/erasure.proto."""

    def __init__(self, journal: Journal, signals: SignalStore, subjects: Subjects) -> None:
        self._journal = journal
        self._signals = signals
        self._subjects = subjects

    def RequestErasure(
        self, request: erasure_pb2.RequestErasureRequest, _context: grpc.ServicerContext
    ) -> erasure_pb2.RequestErasureResponse:
        committed = erasures.request(
            self._journal,
            call.current().peer,
            request.request_id,
            request.token,
            request.epoch,
            request.ground,
            request.evidence_sha256,
            self._subjects,
            _request_reply,
            seconds_left(),
        )
        return stored_reply(erasure_pb2.RequestErasureResponse, committed)

    def ListErasures(
        self, request: erasure_pb2.ListErasuresRequest, _context: grpc.ServicerContext
    ) -> erasure_pb2.ListErasuresResponse:
        caller = call.current().peer
        page = erasures.list_page(
            self._journal,
            caller,
            request.page_size,
            request.page_token,
            request.case,
            seconds_left(),
        )
        to_staff = caller.role is not Role.MEMBER
        return erasure_pb2.ListErasuresResponse(
            erasures=[_message_of(one, to_staff=to_staff) for one in page.erasures],
            next_page_token=page.next_page_token,
        )

    def ExecuteErasure(
        self, request: erasure_pb2.ExecuteErasureRequest, _context: grpc.ServicerContext
    ) -> erasure_pb2.ExecuteErasureResponse:
        committed = erasures.execute(
            self._journal,
            self._signals,
            self._subjects.keys,
            call.current().peer,
            request.erasure_id,
            request.basis,
            seconds_left(),
        )
        decided = committed.value
        reply = erasure_pb2.ExecuteErasureResponse(
            erasure=_message_of(decided.erasure, to_staff=True)
        )
        if decided.entry is not None:
            reply.receipt.CopyFrom(receipt_of(decided.entry, committed))
        return reply

    def RefuseErasure(
        self, request: erasure_pb2.RefuseErasureRequest, _context: grpc.ServicerContext
    ) -> erasure_pb2.RefuseErasureResponse:
        committed = erasures.refuse(
            self._journal, call.current().peer, request.erasure_id, request.basis, seconds_left()
        )
        decided = committed.value
        reply = erasure_pb2.RefuseErasureResponse(
            erasure=_message_of(decided.erasure, to_staff=True)
        )
        if decided.entry is not None:
            reply.receipt.CopyFrom(receipt_of(decided.entry, committed))
        return reply


def _request_reply(erasure: Erasure, entry: Entry) -> bytes:
    return erasure_pb2.RequestErasureResponse(
        erasure=_message_of(erasure, to_staff=False), receipt=unsigned_receipt(entry)
    ).SerializeToString()


def _message_of(erasure: Erasure, *, to_staff: bool) -> erasure_pb2.Erasure:
    """How many rows and consents there were tells a member what others hold: staff only."""
    return erasure_pb2.Erasure(
        erasure_id=erasure.erasure_id,
        member_id=erasure.member_id,
        ground=erasure.ground,
        state=erasure_pb2.ErasureState.ValueType(erasure.state),
        requested_at=timestamp_of(erasure.requested_at),
        decided_at=None if erasure.decided_at is None else timestamp_of(erasure.decided_at),
        basis=erasure.basis or "",
        rows=(erasure.rows or 0) if to_staff else 0,
        consents=(erasure.consents or 0) if to_staff else 0,
        erased_at=None if erasure.erased_at is None else timestamp_of(erasure.erased_at),
    )
