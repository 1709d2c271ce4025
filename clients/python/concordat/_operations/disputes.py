"""Disputes: opened on a subject's behalf, listed, answered, extended."""

from concordat._checks import (
    checked_bytes,
    checked_integer,
    checked_member,
    checked_token,
    checked_type,
)
from concordat._context import Context
from concordat._convert import FetchPage, Page, member_of, time_of
from concordat._methods import ANSWER_DISPUTE, EXTEND_DISPUTE, LIST_DISPUTES, OPEN_DISPUTE
from concordat._steps import Operation
from concordat.enums import DataCategory, DisputeOutcome, DisputeReason
from concordat.errors import InvalidInput
from concordat.requests import SHA256_BYTES, ConsentId
from concordat.results import Dispute, DisputeChange, Receipt
from concordat.v1 import common_pb2, dispute_pb2
from concordat_privacy.log.leaf import Json
from concordat_privacy.oprf import Token

DISPUTE_ID_BYTES = 16
MAX_PAGE_SIZE = 1_000


def open_dispute(
    context: Context,
    token: Token,
    category: DataCategory,
    reason: DisputeReason,
    statement_sha256: bytes,
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[DisputeChange]:
    """Open a dispute on a subject's behalf."""
    request = dispute_pb2.OpenDisputeRequest(
        request_id=context.request_id(request_id),
        token=checked_token(token),
        epoch=token.epoch,
        category=common_pb2.DataCategory.ValueType(
            checked_member(category, DataCategory, "category")
        ),
        reason=dispute_pb2.DisputeReason.ValueType(checked_member(reason, DisputeReason, "reason")),
        statement_sha256=checked_bytes(statement_sha256, "statement_sha256", SHA256_BYTES),
    )
    reply = yield from context.send(OPEN_DISPUTE, request, timeout)
    recorded: dict[str, Json] = {
        "dispute": reply.dispute.dispute_id.hex(),
        "request": request.request_id.hex(),
    }
    receipt = context.ledger.receipt(reply.receipt, {"dispute.opened"}, recorded)
    return DisputeChange(_dispute(reply.dispute), receipt)


def list_disputes(
    context: Context, with_resolved: bool, page_size: int, timeout: float | None
) -> FetchPage[Dispute]:
    """Pages of disputes, oldest first."""
    size = checked_integer(page_size, "page_size", 1, MAX_PAGE_SIZE)
    resolved = checked_type(with_resolved, bool, "with_resolved")

    def fetch(page_token: str) -> Operation[Page[Dispute]]:
        request = dispute_pb2.ListDisputesRequest(
            page_size=size, page_token=page_token, with_resolved=resolved
        )
        reply = yield from context.send(LIST_DISPUTES, request, timeout)
        return Page([_dispute(one) for one in reply.disputes], reply.next_page_token)

    return fetch


def answer_dispute(
    context: Context,
    dispute_id: bytes,
    outcome: DisputeOutcome,
    statement_sha256: bytes,
    timeout: float | None,
) -> Operation[DisputeChange]:
    """Answer a dispute for the caller's own data."""
    if checked_member(outcome, DisputeOutcome, "outcome") is DisputeOutcome.NOT_ON_FILE:
        raise InvalidInput.field("outcome", "CORRECTED, DELETED or UPHELD is wanted")
    request = dispute_pb2.AnswerDisputeRequest(
        dispute_id=_checked_id(dispute_id),
        outcome=dispute_pb2.DisputeOutcome.ValueType(outcome),
        statement_sha256=checked_bytes(statement_sha256, "statement_sha256", SHA256_BYTES),
    )
    reply = yield from context.send(ANSWER_DISPUTE, request, timeout)
    return DisputeChange(
        _dispute(reply.dispute), _receipt(context, reply, "dispute.answered", dispute_id)
    )


def extend_dispute(
    context: Context, dispute_id: bytes, timeout: float | None
) -> Operation[DisputeChange]:
    """Put a dispute's deadline off."""
    request = dispute_pb2.ExtendDisputeRequest(dispute_id=_checked_id(dispute_id))
    reply = yield from context.send(EXTEND_DISPUTE, request, timeout)
    return DisputeChange(
        _dispute(reply.dispute), _receipt(context, reply, "dispute.extended", dispute_id)
    )


def _receipt(
    context: Context,
    reply: dispute_pb2.AnswerDisputeResponse | dispute_pb2.ExtendDisputeResponse,
    entry_type: str,
    dispute_id: bytes,
) -> Receipt | None:
    if not reply.HasField("receipt"):
        return None
    recorded: dict[str, Json] = {"dispute": bytes(dispute_id).hex()}
    return context.ledger.receipt(reply.receipt, {entry_type}, recorded)


def _checked_id(dispute_id: bytes) -> bytes:
    return checked_bytes(dispute_id, "dispute_id", DISPUTE_ID_BYTES)


def _dispute(dispute: dispute_pb2.Dispute) -> Dispute:
    resolved_at = None
    if dispute.HasField("resolved_at"):
        resolved_at = time_of(dispute.resolved_at, "resolved_at")
    outcome = None
    if dispute.outcome:
        outcome = member_of(DisputeOutcome, dispute.outcome, "dispute.outcome")
    return Dispute(
        dispute_id=dispute.dispute_id,
        category=member_of(DataCategory, dispute.category, "dispute.category"),
        reason=member_of(DisputeReason, dispute.reason, "dispute.reason"),
        opened_at=time_of(dispute.opened_at, "opened_at"),
        answer_by=time_of(dispute.answer_by, "answer_by"),
        resolved_at=resolved_at,
        outcome=outcome,
        to_answer=dispute.to_answer,
        statement_sha256=dispute.statement_sha256,
        consent_ids=tuple(map(ConsentId, dispute.consent_ids)),
    )
