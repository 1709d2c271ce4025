"""Erasures: requested by members, decided by the operator."""

from concordat._checks import (
    checked_bytes,
    checked_integer,
    checked_text,
    checked_token,
    checked_type,
)
from concordat._context import Context
from concordat._convert import FetchPage, Page, member_of, time_of
from concordat._methods import EXECUTE_ERASURE, LIST_ERASURES, REFUSE_ERASURE, REQUEST_ERASURE
from concordat._operations.consents import MAX_PAGE_SIZE
from concordat._steps import Operation
from concordat.enums import ErasureState
from concordat.requests import SHA256_BYTES
from concordat.results import Erasure, ErasureChange
from concordat.v1 import common_pb2, erasure_pb2
from concordat_privacy.log.leaf import Json
from concordat_privacy.oprf import Token

ERASURE_ID_BYTES = 16
MAX_TEXT_CHARACTERS = 500


def request_erasure(
    context: Context,
    token: Token,
    ground: str,
    evidence_sha256: bytes,
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[ErasureChange]:
    """Pass a subject's request to be erased on."""
    request = erasure_pb2.RequestErasureRequest(
        request_id=context.request_id(request_id),
        token=checked_token(token),
        epoch=token.epoch,
        ground=checked_text(ground, "ground", MAX_TEXT_CHARACTERS),
        evidence_sha256=checked_bytes(evidence_sha256, "evidence_sha256", SHA256_BYTES),
    )
    reply = yield from context.send(REQUEST_ERASURE, request, timeout)
    recorded: dict[str, Json] = {
        "erasure": reply.erasure.erasure_id.hex(),
        "request": request.request_id.hex(),
        "ground": ground,
    }
    receipt = context.ledger.receipt(reply.receipt, {"erasure.requested"}, recorded)
    return ErasureChange(_erasure(reply.erasure), receipt)


def list_erasures(
    context: Context, case: str, page_size: int, timeout: float | None
) -> FetchPage[Erasure]:
    """Read erasures page by page. Raises InvalidInput at once."""
    checked_integer(page_size, "page_size", 1, MAX_PAGE_SIZE)
    checked_type(case, str, "case")

    def fetch(page_token: str) -> Operation[Page[Erasure]]:
        request = erasure_pb2.ListErasuresRequest(
            page_size=page_size, page_token=page_token, case=case
        )
        reply = yield from context.send(LIST_ERASURES, request, timeout)
        return Page([_erasure(one) for one in reply.erasures], reply.next_page_token)

    return fetch


def execute_erasure(
    context: Context, erasure_id: bytes, basis: str, timeout: float | None
) -> Operation[ErasureChange]:
    """Erase the subject of a request."""
    request = erasure_pb2.ExecuteErasureRequest(
        erasure_id=_checked_id(erasure_id),
        basis=checked_text(basis, "basis", MAX_TEXT_CHARACTERS),
    )
    reply = yield from context.send(EXECUTE_ERASURE, request, timeout)
    return _change(context, reply, "erasure.executed", erasure_id)


def refuse_erasure(
    context: Context, erasure_id: bytes, basis: str, timeout: float | None
) -> Operation[ErasureChange]:
    """Record that a request is not followed."""
    request = erasure_pb2.RefuseErasureRequest(
        erasure_id=_checked_id(erasure_id),
        basis=checked_text(basis, "basis", MAX_TEXT_CHARACTERS),
    )
    reply = yield from context.send(REFUSE_ERASURE, request, timeout)
    return _change(context, reply, "erasure.refused", erasure_id)


def _change(
    context: Context,
    reply: erasure_pb2.ExecuteErasureResponse | erasure_pb2.RefuseErasureResponse,
    entry_type: str,
    erasure_id: bytes,
) -> ErasureChange:
    receipt = None
    if reply.HasField("receipt"):
        sent: common_pb2.Receipt = reply.receipt
        recorded: dict[str, Json] = {"erasure": bytes(erasure_id).hex()}
        receipt = context.ledger.receipt(sent, {entry_type}, recorded)
    return ErasureChange(_erasure(reply.erasure), receipt)


def _checked_id(erasure_id: bytes) -> bytes:
    return checked_bytes(erasure_id, "erasure_id", ERASURE_ID_BYTES)


def _erasure(message: erasure_pb2.Erasure) -> Erasure:
    is_decided, is_erased = message.HasField("decided_at"), message.HasField("erased_at")
    return Erasure(
        erasure_id=message.erasure_id,
        member_id=message.member_id,
        ground=message.ground,
        state=member_of(ErasureState, message.state, "erasure.state"),
        requested_at=time_of(message.requested_at, "erasure.requested_at"),
        decided_at=time_of(message.decided_at, "erasure.decided_at") if is_decided else None,
        erased_at=time_of(message.erased_at, "erasure.erased_at") if is_erased else None,
        basis=message.basis or None,
        rows=message.rows,
        consents=message.consents,
    )
