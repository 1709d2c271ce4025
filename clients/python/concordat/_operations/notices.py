"""Notices of consents that ended: listed, acknowledged, their deletion confirmed."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from concordat._checks import checked_bytes, checked_integer, checked_time, checked_type
from concordat._context import Context
from concordat._convert import FetchPage, Page, member_of, time_of, timestamp_of
from concordat._methods import ACKNOWLEDGE_NOTICE, CONFIRM_DELETION, LIST_NOTICES
from concordat._steps import Operation
from concordat.enums import NoticeCause
from concordat.errors import InvalidInput, ProtocolViolation
from concordat.requests import ConsentId
from concordat.results import Notice, NoticeChange
from concordat.v1 import notice_pb2
from concordat_privacy.log.leaf import Json

NOTICE_ID_BYTES = 16
RECORD_BYTES = 32
MAX_PAGE_SIZE = 1_000


def list_notices(
    context: Context, with_settled: bool, page_size: int, timeout: float | None
) -> FetchPage[Notice]:
    """Pages of notices, oldest first."""
    size = checked_integer(page_size, "page_size", 1, MAX_PAGE_SIZE)
    settled = checked_type(with_settled, bool, "with_settled")

    def fetch(page_token: str) -> Operation[Page[Notice]]:
        request = notice_pb2.ListNoticesRequest(
            page_size=size, page_token=page_token, with_settled=settled
        )
        reply = yield from context.send(LIST_NOTICES, request, timeout)
        return Page([_notice(notice) for notice in reply.notices], reply.next_page_token)

    return fetch


def acknowledge_notice(
    context: Context, notice_id: bytes, timeout: float | None
) -> Operation[NoticeChange]:
    """Acknowledge a notice."""
    request = notice_pb2.AcknowledgeNoticeRequest(
        notice_id=checked_bytes(notice_id, "notice_id", NOTICE_ID_BYTES)
    )
    reply = yield from context.send(ACKNOWLEDGE_NOTICE, request, timeout)
    return _change(context, reply, "notice.acknowledged", notice_id)


def confirm_deletion(
    context: Context,
    notice_id: bytes,
    deleted_at: datetime,
    record_sha256: bytes,
    timeout: float | None,
) -> Operation[NoticeChange]:
    """Confirm that what was learned under the consent is deleted."""
    at = checked_time(deleted_at, "deleted_at")
    if at is None:
        raise InvalidInput.field("deleted_at", "a time with its zone is wanted")
    request = notice_pb2.ConfirmDeletionRequest(
        notice_id=checked_bytes(notice_id, "notice_id", NOTICE_ID_BYTES),
        deleted_at=timestamp_of(at),
        record_sha256=checked_bytes(record_sha256, "record_sha256", RECORD_BYTES),
    )
    reply = yield from context.send(CONFIRM_DELETION, request, timeout)
    return _change(context, reply, "deletion.confirmed", notice_id)


def _change(
    context: Context,
    reply: notice_pb2.AcknowledgeNoticeResponse | notice_pb2.ConfirmDeletionResponse,
    entry_type: str,
    notice_id: bytes,
) -> NoticeChange:
    receipt = None
    if reply.HasField("receipt"):
        recorded: dict[str, Json] = {"notice": bytes(notice_id).hex()}
        receipt = context.ledger.receipt(reply.receipt, {entry_type}, recorded)
    return NoticeChange(_notice(reply.notice), receipt)


def _notice(notice: notice_pb2.Notice) -> Notice:
    if len(notice.notice_id) != NOTICE_ID_BYTES:
        raise ProtocolViolation(f"a notice's id has {len(notice.notice_id)} bytes")

    def at(name: str) -> datetime | None:
        value: Timestamp = getattr(notice, name)
        return time_of(value, name) if notice.HasField(name) else None  # type: ignore[arg-type]  # a field's name

    return Notice(
        notice_id=notice.notice_id,
        consent_id=ConsentId(notice.consent_id),
        recipient=notice.recipient,
        cause=member_of(NoticeCause, notice.cause, "notice.cause"),
        issued_at=time_of(notice.issued_at, "issued_at"),
        acknowledge_by=time_of(notice.acknowledge_by, "acknowledge_by"),
        delete_by=time_of(notice.delete_by, "delete_by"),
        acknowledged_at=at("acknowledged_at"),
        deleted_at=at("deleted_at"),
        confirmed_at=at("confirmed_at"),
    )
