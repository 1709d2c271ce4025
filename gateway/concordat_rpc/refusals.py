"""Refusals as they arrive: what another server of ours said, for whoever passes it on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concordat_rpc.errors import FieldViolation, Kind, Refusal
from concordat_rpc.status import ERROR_DOMAIN


def refusal_of(error: grpc.RpcError) -> Refusal | None:
    """The refusal that a server of ours sent; None for a status that is not one.

    Its text was written for the caller of that server: pass it on only where the reason is known
    to be meant for one's own caller.
    """
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    if status is None:
        return None
    details: Iterable[Any] = status.details
    reason, violations = "", []
    quota_subject: str | None = None
    retry_after_seconds: float | None = None
    for detail in details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        quota, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
            reason = info.reason
        elif detail.Unpack(bad):
            violations = [FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(quota) and quota.violations:
            quota_subject = quota.violations[0].subject
        elif detail.Unpack(retry):
            retry_after_seconds = retry.retry_delay.ToMilliseconds() / 1000
    code = error.code()
    if not reason or code not in _KINDS:
        return None
    return Refusal(
        _KINDS[code], reason, status.message, violations, quota_subject, retry_after_seconds
    )


_KINDS = {kind.value: kind for kind in Kind}
