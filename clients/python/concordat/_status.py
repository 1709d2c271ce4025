"""The one place where what gRPC reports becomes an exception of the SDK."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeGuard

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from concordat._fields import own_name
from concordat.errors import (
    Cancelled,
    ConcordatError,
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    InvalidInput,
    NotFound,
    NotPermitted,
    QuotaExhausted,
    ServerFault,
    Suspended,
    Unavailable,
)

DOMAIN = "concordat"
_STATUS_TRAILER = "grpc-status-details-bin"
_MAX_LIBRARY_TEXT = 500
# What gRPC writes when the gateway's certificate fails: its issuer, or its name.
_REFUSED_BY_US = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed")
# In TLS 1.3 a client learns that its certificate was refused by being cut off.
_REFUSED_BY_IT = " (a gateway that refuses this client's certificate looks like this too)"


class _Failed(Protocol):
    """What the errors of both gRPC stacks offer."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> object: ...


class _Details:
    """The parts of google.rpc.Status that the contract uses."""

    def __init__(self, status: status_pb2.Status | None) -> None:
        self.message = status.message if status else ""
        self.reason: str | None = None
        self.error_id: str | None = None
        self.violations: tuple[FieldViolation, ...] = ()
        self.quota_subject: str | None = None
        self.retry_after_seconds: float | None = None
        for packed in status.details if status else ():
            self._add(packed)

    def _add(self, packed: Any) -> None:
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        quota = error_details_pb2.QuotaFailure()
        retry = error_details_pb2.RetryInfo()
        if _unpack(packed, info) and info.domain == DOMAIN:
            self.reason = info.reason or None
            self.error_id = info.metadata.get("error_id") or None
        elif _unpack(packed, bad_request):
            self.violations = tuple(
                FieldViolation(violation.field, violation.description)
                for violation in bad_request.field_violations
            )
        elif _unpack(packed, quota) and quota.violations:
            self.quota_subject = quota.violations[0].subject
        elif _unpack(packed, retry):
            delay = retry.retry_delay
            self.retry_after_seconds = max(0.0, delay.seconds + delay.nanos / 1e9)


@contextmanager
def named(operation: str) -> Iterator[None]:
    """Give errors of the block the name of the public method, and map those of gRPC."""
    try:
        yield
    except grpc.RpcError as failure:
        error = from_rpc_error(failure)
        error.operation = operation
        raise error from failure
    except ConcordatError as error:
        error.operation = error.operation or operation
        raise


def from_rpc_error(error: grpc.RpcError) -> ConcordatError:
    """The exception for a failed call. Never raises itself."""
    if not _is_failed(error):
        return ServerFault(f"the call failed: {type(error).__name__}")
    details = _Details(_status_of(error))
    code = error.code()
    if details.reason is None:
        return _without_reason(code, error, details)
    return _with_reason(code, details)


def _with_reason(code: grpc.StatusCode, details: _Details) -> ConcordatError:
    """The gateway itself answered."""
    message = details.message or "the gateway gave no explanation"
    reason, error_id = details.reason, details.error_id
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.OUT_OF_RANGE:
            return InvalidInput(
                _with_violations(message, details.violations),
                violations=tuple(map(_in_own_words, details.violations)),
                reason=reason,
                error_id=error_id,
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return QuotaExhausted(
                message,
                subject=details.quota_subject,
                retry_after_seconds=details.retry_after_seconds,
                reason=reason,
                error_id=error_id,
            )
        case grpc.StatusCode.UNAVAILABLE:
            return Unavailable(
                message,
                retry_after_seconds=details.retry_after_seconds,
                reason=reason,
                error_id=error_id,
            )
        case grpc.StatusCode.PERMISSION_DENIED if reason == Suspended.default_reason:
            return Suspended(message, reason=reason, error_id=error_id)
    kind = _KINDS.get(code, ServerFault)
    return kind(message, reason=reason, error_id=error_id)


def _without_reason(code: grpc.StatusCode, error: _Failed, details: _Details) -> ConcordatError:
    """The gRPC library or something between here and the gateway answered."""
    text = (details.message or error.details() or "no explanation")[:_MAX_LIBRARY_TEXT]
    match code:
        case grpc.StatusCode.UNAVAILABLE if any(sign in text for sign in _REFUSED_BY_US):
            return Unavailable(
                "the gateway's certificate is not signed by the profile's ca.pem or is not "
                f"for its server_name ({text})",
                reason="SERVER_CERTIFICATE_REFUSED",
            )
        case grpc.StatusCode.UNAVAILABLE:
            hint = _REFUSED_BY_IT if "Socket closed" in text else ""
            return Unavailable(
                f"the gateway cannot be reached: {text}{hint}",
                retry_after_seconds=details.retry_after_seconds,
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded("no reply within the timeout")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return QuotaExhausted(text, retry_after_seconds=details.retry_after_seconds)
        case grpc.StatusCode.UNIMPLEMENTED:
            return ServerFault(
                f"the gateway does not offer this call: {text}",
                reason="UNIMPLEMENTED",
            )
    return _KINDS.get(code, ServerFault)(text, reason=code.name)


_KINDS: dict[grpc.StatusCode, type[ConcordatError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.OUT_OF_RANGE: InvalidInput,
    grpc.StatusCode.UNAUTHENTICATED: NotPermitted,
    grpc.StatusCode.PERMISSION_DENIED: NotPermitted,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
}


def _with_violations(message: str, violations: tuple[FieldViolation, ...]) -> str:
    missing = []
    for violation in violations:
        theirs, ours = _told(violation), _told(_in_own_words(violation))
        if theirs in message:
            message = message.replace(theirs, ours)
        else:
            missing.append(ours)
    return "; ".join([message, *missing])


def _told(violation: FieldViolation) -> str:
    return f"{violation.field}: {violation.description}"


def _in_own_words(violation: FieldViolation) -> FieldViolation:
    return FieldViolation(own_name(violation.field), violation.description)


def _status_of(error: _Failed) -> status_pb2.Status | None:
    trailers = error.trailing_metadata() or ()
    if not isinstance(trailers, tuple | list) and not hasattr(trailers, "__iter__"):
        return None
    for key, value in trailers:
        if key == _STATUS_TRAILER:
            try:
                return status_pb2.Status.FromString(value)
            except (DecodeError, TypeError):
                return None
    return None


def _unpack(packed: Any, message: Message) -> bool:
    try:
        return packed.Unpack(message)
    except DecodeError:
        return False


def _is_failed(error: object) -> TypeGuard[_Failed]:
    return isinstance(error, grpc.Call | grpc.aio.AioRpcError)
