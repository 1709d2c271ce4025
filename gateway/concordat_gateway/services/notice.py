"""NoticeService: translates messages; the rules are in `rules.notices`."""

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from concordat.v1 import notice_pb2, notice_pb2_grpc
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import notices
from concordat_gateway.rules.notices import Notice
from concordat_gateway.services._translate import receipt_of, seconds_left, timestamp_of
from concordat_rpc import call
from concordat_rpc.timestamps import micros_of


class NoticeServicer(notice_pb2_grpc.NoticeServiceServicer):
    """See proto/concordat/v1/notice.proto."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def ListNotices(
        self, request: notice_pb2.ListNoticesRequest, _context: grpc.ServicerContext
    ) -> notice_pb2.ListNoticesResponse:
        found, next_page_token = notices.list_page(
            self._journal,
            call.current().peer,
            request.page_size,
            request.page_token,
            request.with_settled,
            seconds_left(),
        )
        return notice_pb2.ListNoticesResponse(
            notices=map(_message_of, found), next_page_token=next_page_token
        )

    def AcknowledgeNotice(
        self, request: notice_pb2.AcknowledgeNoticeRequest, _context: grpc.ServicerContext
    ) -> notice_pb2.AcknowledgeNoticeResponse:
        committed = notices.acknowledge(
            self._journal, call.current().peer, request.notice_id, seconds_left()
        )
        entry = committed.value.entry
        return notice_pb2.AcknowledgeNoticeResponse(
            notice=_message_of(committed.value.notice),
            receipt=receipt_of(entry, committed) if entry is not None else None,
        )

    def ConfirmDeletion(
        self, request: notice_pb2.ConfirmDeletionRequest, _context: grpc.ServicerContext
    ) -> notice_pb2.ConfirmDeletionResponse:
        told = micros_of(request.deleted_at) if request.HasField("deleted_at") else None
        committed = notices.confirm_deletion(
            self._journal,
            call.current().peer,
            request.notice_id,
            told,
            request.record_sha256,
            seconds_left(),
        )
        entry = committed.value.entry
        return notice_pb2.ConfirmDeletionResponse(
            notice=_message_of(committed.value.notice),
            receipt=receipt_of(entry, committed) if entry is not None else None,
        )


def _message_of(notice: Notice) -> notice_pb2.Notice:
    def at(moment: int | None) -> Timestamp | None:
        return None if moment is None else timestamp_of(moment)

    return notice_pb2.Notice(
        notice_id=notice.notice_id,
        consent_id=notice.consent_id,
        recipient=notice.recipient,
        cause=notice_pb2.NoticeCause.ValueType(notice.cause),
        issued_at=timestamp_of(notice.issued_at),
        acknowledge_by=timestamp_of(notice.acknowledge_by),
        delete_by=timestamp_of(notice.delete_by),
        acknowledged_at=at(notice.acknowledged_at),
        deleted_at=at(notice.deleted_at),
        confirmed_at=at(notice.confirmed_at),
    )
