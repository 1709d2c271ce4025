"""The one exception that may reach a caller.

Rules and services raise :class:`Refusal`. Anything else that escapes them becomes INTERNAL with a
random error id (see :mod:`concordat_rpc.interceptors`), so no exception text leaves the process.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import grpc


class Kind(enum.Enum):
    """What kind of refusal this is; the value is the gRPC status code it becomes."""

    INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
    DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED
    NOT_FOUND = grpc.StatusCode.NOT_FOUND
    ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS
    PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
    RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
    FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
    ABORTED = grpc.StatusCode.ABORTED
    OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
    UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
    INTERNAL = grpc.StatusCode.INTERNAL
    UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
    UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is at fault."""

    field: str
    """Path of the field from the request, e.g. ``consents[3].token``."""
    description: str
    """What is wrong with it, in words. Never carries a token or an identifier."""


class Refusal(Exception):
    """A clear no: a google.rpc.Status in the making."""

    def __init__(
        self,
        kind: Kind,
        reason: str,
        message: str,
        violations: Sequence[FieldViolation] = (),
        quota_subject: str | None = None,
        retry_after_seconds: float | None = None,
        error_id: str | None = None,
    ) -> None:
        """Make a refusal.

        Args:
            kind: the status code.
            reason: stable UPPER_CASE word of the contract (ErrorInfo.reason).
            message: explanation for a person; never a token, an identifier or an exception text.
            violations: fields at fault (BadRequest).
            quota_subject: scope of an exhausted limit (QuotaFailure).
            retry_after_seconds: when a repeat can succeed (RetryInfo).
            error_id: under which the operator's log has more (ErrorInfo.metadata).
        """
        super().__init__(message)
        self.kind = kind
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.quota_subject = quota_subject
        self.retry_after_seconds = retry_after_seconds
        self.error_id = error_id


def invalid(field: str, description: str) -> Refusal:
    """INVALID_ARGUMENT for one field."""
    return invalid_fields([FieldViolation(field, description)])


def invalid_fields(violations: Sequence[FieldViolation]) -> Refusal:
    """INVALID_ARGUMENT for several fields; `violations` must not be empty."""
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return Refusal(
        Kind.INVALID_ARGUMENT,
        "INVALID_FIELD",
        f"{first.field}: {first.description}{more}",
        violations,
    )


def not_found(reason: str, message: str) -> Refusal:
    """NOT_FOUND."""
    return Refusal(Kind.NOT_FOUND, reason, message)


def already_exists(reason: str, message: str) -> Refusal:
    """ALREADY_EXISTS."""
    return Refusal(Kind.ALREADY_EXISTS, reason, message)


def request_id_reused() -> Refusal:
    """ALREADY_EXISTS for a request_id that came before with other content (AIP-155)."""
    return already_exists(
        "REQUEST_ID_REUSED", "request_id was used before for a request with other content"
    )


def permission_denied(reason: str, message: str) -> Refusal:
    """PERMISSION_DENIED: the caller is known and may not do this."""
    return Refusal(Kind.PERMISSION_DENIED, reason, message)


def unauthenticated(reason: str, message: str) -> Refusal:
    """UNAUTHENTICATED: the certificate names nobody."""
    return Refusal(Kind.UNAUTHENTICATED, reason, message)


def failed_precondition(reason: str, message: str) -> Refusal:
    """FAILED_PRECONDITION: repeating does not help until something else changes."""
    return Refusal(Kind.FAILED_PRECONDITION, reason, message)


def out_of_range(field: str, description: str) -> Refusal:
    """OUT_OF_RANGE for one field."""
    return Refusal(
        Kind.OUT_OF_RANGE,
        "OUT_OF_RANGE",
        f"{field}: {description}",
        [FieldViolation(field, description)],
    )


def exhausted(
    reason: str, message: str, quota_subject: str, retry_after_seconds: float | None = None
) -> Refusal:
    """RESOURCE_EXHAUSTED: a limit or a budget, named by `quota_subject`."""
    return Refusal(
        Kind.RESOURCE_EXHAUSTED,
        reason,
        message,
        quota_subject=quota_subject,
        retry_after_seconds=retry_after_seconds,
    )


def again_in(seconds: float) -> str:
    """How long to wait, for a person; rounded up. As in "again in 95 s"."""
    if seconds <= 120:
        return f"again in {math.ceil(seconds)} s"
    if seconds <= 2 * 3600:
        return f"again in {math.ceil(seconds / 60)} minutes"
    if seconds <= 48 * 3600:
        return f"again in {math.ceil(seconds / 3600)} hours"
    return f"again in {math.ceil(seconds / 86_400)} days"


def unavailable(reason: str, message: str, retry_after_seconds: float | None = None) -> Refusal:
    """UNAVAILABLE: nothing happened; the same call can succeed later."""
    return Refusal(Kind.UNAVAILABLE, reason, message, retry_after_seconds=retry_after_seconds)


def deadline_exceeded() -> Refusal:
    """DEADLINE_EXCEEDED: the caller's deadline, or the one imposed on the call, has passed."""
    return Refusal(
        Kind.DEADLINE_EXCEEDED,
        "DEADLINE_EXCEEDED",
        "the call's deadline, its own or the imposed one, has passed",
    )
