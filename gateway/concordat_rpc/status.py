"""Refusals as google.rpc.Status (AIP-193), the one shape in which errors leave a server."""

from __future__ import annotations

import math
from collections.abc import Sequence

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from concordat_rpc.errors import FieldViolation, Refusal

ERROR_DOMAIN = "concordat"

# A gRPC client drops a reply whose metadata exceeds 8 KiB, and the details travel there twice
# over (base64, and the message percent-encoded), so the first violations must do.
_MAX_BAD_REQUEST_BYTES = 3000
_MAX_TEXT = 300


def to_grpc_status(refusal: Refusal) -> grpc.Status:
    """The refusal as ``ServicerContext.abort_with_status`` takes it."""
    status: grpc.Status = rpc_status.to_status(to_rpc_status(refusal))
    return status


def to_rpc_status(refusal: Refusal) -> status_pb2.Status:
    """The refusal as google.rpc.Status with its details."""
    status = status_pb2.Status(code=refusal.kind.value.value[0], message=_short(refusal.message))
    for detail in _details(refusal):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _details(refusal: Refusal) -> list[Message]:
    metadata = {} if refusal.error_id is None else {"error_id": refusal.error_id}
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=ERROR_DOMAIN, metadata=metadata)
    ]
    if refusal.violations:
        details.append(_bad_request(refusal.violations))
    if refusal.quota_subject is not None:
        details.append(
            error_details_pb2.QuotaFailure(
                violations=[
                    error_details_pb2.QuotaFailure.Violation(
                        subject=refusal.quota_subject, description=_short(refusal.message)
                    )
                ]
            )
        )
    if refusal.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        # Rounded up, so that who comes back then is let through.
        delay.FromMilliseconds(math.ceil(refusal.retry_after_seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details


def _bad_request(violations: Sequence[FieldViolation]) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for violation in violations:
        bad_request.field_violations.add(
            field=_short(violation.field), description=_short(violation.description)
        )
        if bad_request.ByteSize() > _MAX_BAD_REQUEST_BYTES:
            break
    return bad_request


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
