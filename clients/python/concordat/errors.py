"""Every exception that the methods of a client raise.

ConcordatError
├── InvalidInput           what was passed cannot be sent, or the gateway refused it
├── ProfileError           the profile folder is incomplete, wrong or unsafe
├── NoConsent              signals of a result without consent were read
├── UnknownSignal          a signal was read that the result does not hold
├── NotPermitted           this identity may not do this
│   └── Suspended          the member is suspended
├── NotFound
├── Conflict               e.g. a request id used again for other content
├── FailedPrecondition     the state of the gateway does not allow it now
├── QuotaExhausted         a limit or the privacy budget
├── ClientClosed           the client was closed, or belongs to the process before a fork
└── TechnicalFault         nothing was decided: never a reason to decline anybody
    ├── Unavailable
    ├── DeadlineExceeded
    ├── Cancelled
    ├── ServerFault        a fault inside the gateway; error_id finds it in its log
    └── ProtocolViolation  the reply does not hold what it must
        ├── ProofInvalid   evaluated under another key than the pinned one
        ├── KeyLogInvalid  a key log that the pinned key has not signed, or that makes no sense
        │   └── KeyLogForked   it does not begin with every entry of the one seen before
        ├── ReceiptInvalid not signed by the pinned ledger key, not of this call, or not in the
        │                  ledger
        └── LedgerForked   the ledger's history differs from what was seen before

Outside of this tree: what an iterable or a progress function of the caller's raises passes as it
is. What works without a client is Python's own: the constructors of identifiers raise
IdentifierInvalid, a ValueError; the banding functions ValueError, and TypeError for what is no
number.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

__all__ = [
    "Cancelled",
    "ClientClosed",
    "ConcordatError",
    "Conflict",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "InvalidInput",
    "KeyLogForked",
    "KeyLogInvalid",
    "LedgerForked",
    "NoConsent",
    "NotFound",
    "NotPermitted",
    "ProfileError",
    "ProofInvalid",
    "ProtocolViolation",
    "QuotaExhausted",
    "ReceiptInvalid",
    "ServerFault",
    "Suspended",
    "TechnicalFault",
    "Unavailable",
    "UnknownSignal",
]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field: its path, and what is wrong with it."""

    field: str
    description: str


class ConcordatError(Exception):
    """Base of all errors of the SDK.

    Attributes:
        message: what happened, for a person.
        operation: the public method that failed, e.g. "lookup"; empty outside of calls.
        reason: stable upper-case word to act upon.
        error_id: names the fault in the gateway's log; None where there is none.
        partial: of a call that may need several requests, what was answered before the failure,
            perhaps nothing yet, in the method's own result type (of `lookup_batch` a tuple);
            None where nothing can have been done.
    """

    default_reason: ClassVar[str] = "ERROR"

    # All keywords have defaults so that exceptions survive pickling between processes.
    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        reason: str | None = None,
        error_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.reason = reason or self.default_reason
        self.error_id = error_id
        self.partial: object | None = None

    def __str__(self) -> str:
        where = f"{self.operation}: " if self.operation else ""
        identified = f", error id {self.error_id}" if self.error_id else ""
        return f"{where}{self.message} [{self.reason}{identified}]"


class InvalidInput(ConcordatError):
    """What was passed is wrong. `violations` names each field.

    Raised before anything is sent where the SDK can tell, else from the gateway's answer.
    """

    default_reason = "INVALID_INPUT"

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        operation: str = "",
        reason: str | None = None,
        error_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, reason=reason, error_id=error_id)
        self.violations = violations

    @classmethod
    def field(cls, field: str, description: str) -> "InvalidInput":
        """One wrong field."""
        return cls(f"{field}: {description}", violations=(FieldViolation(field, description),))


class ProfileError(ConcordatError):
    """A profile cannot be used. `path` is the file, `key` the entry within it (or None)."""

    default_reason = "PROFILE_INVALID"

    def __init__(
        self,
        message: str,
        *,
        path: Path | None = None,
        key: str | None = None,
        operation: str = "",
        reason: str | None = None,
        error_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, reason=reason, error_id=error_id)
        self.path = path
        self.key = key


class NoConsent(ConcordatError):
    """Signals were read from a result that has none because there is no consent."""

    default_reason = "NO_CONSENT"


class UnknownSignal(ConcordatError, KeyError):
    """A signal was read that the result does not hold. Also a KeyError."""

    default_reason = "UNKNOWN_SIGNAL"


class NotPermitted(ConcordatError):
    """The caller's identity may not do this."""

    default_reason = "NOT_PERMITTED"


class Suspended(NotPermitted):
    """The caller's membership is suspended; every call is refused until it is reinstated."""

    default_reason = "MEMBER_SUSPENDED"


class NotFound(ConcordatError):
    """What was named does not exist, or belongs to another member."""

    default_reason = "NOT_FOUND"


class Conflict(ConcordatError):
    """It exists already with other content; reason REQUEST_ID_REUSED: so does the request."""

    default_reason = "CONFLICT"


class FailedPrecondition(ConcordatError):
    """The gateway's state does not allow this now; repeating it unchanged will not help."""

    default_reason = "FAILED_PRECONDITION"


class QuotaExhausted(ConcordatError):
    """A limit is reached. Says nothing about any subject: never decline because of it.

    `reason` EVALUATIONS_EXHAUSTED, PORTFOLIO_EXHAUSTED, LOOKUPS_EXHAUSTED or CARRIED_EXHAUSTED
    (tokens of earlier epochs; newer ones are not limited by it): a quota of the member.

    Attributes:
        subject: the scope of the exhausted quota, e.g. "pool"; None for a rate limit.
        retry_after_seconds: when to try again, a day or a month perhaps; None where waiting does
            not help.
    """

    default_reason = "QUOTA_EXHAUSTED"

    def __init__(
        self,
        message: str,
        *,
        subject: str | None = None,
        retry_after_seconds: float | None = None,
        operation: str = "",
        reason: str | None = None,
        error_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, reason=reason, error_id=error_id)
        self.subject = subject
        self.retry_after_seconds = retry_after_seconds


class ClientClosed(ConcordatError):
    """The client was closed, or was opened by the process that this one was forked from."""

    default_reason = "CLIENT_CLOSED"


class TechnicalFault(ConcordatError):
    """No answer was given. Says nothing about any subject: never decline because of it."""

    default_reason = "TECHNICAL_FAULT"


class Unavailable(TechnicalFault):
    """The gateway, or a part of it, cannot be reached.

    Attributes:
        retry_after_seconds: what the gateway asked to wait; None where it did not say.
    """

    default_reason = "UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        operation: str = "",
        reason: str | None = None,
        error_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, reason=reason, error_id=error_id)
        self.retry_after_seconds = retry_after_seconds


class DeadlineExceeded(TechnicalFault):
    """No reply within the timeout. A write may have happened: repeat it with its request id."""

    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(TechnicalFault):
    """The call was cancelled, for example because the client was closed meanwhile."""

    default_reason = "CANCELLED"


class ServerFault(TechnicalFault):
    """A fault inside the gateway. Tell its operator the `error_id`."""

    default_reason = "INTERNAL"


class ProtocolViolation(TechnicalFault):
    """The gateway's reply breaks the contract; nothing of it is used."""

    default_reason = "PROTOCOL_VIOLATION"


class ProofInvalid(ProtocolViolation):
    """The tokens were not made with the pinned key. No token of the reply is returned.

    Attributes:
        holder: of a split key, the number of the key-holder whose answer, as the gateway passed
            it on, does not verify; None where the key is whole.
    """

    default_reason = "PROOF_INVALID"

    def __init__(
        self,
        message: str,
        *,
        holder: int | None = None,
        operation: str = "",
        reason: str | None = None,
        error_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, reason=reason, error_id=error_id)
        self.holder = holder


class KeyLogInvalid(ProtocolViolation):
    """The gateway's key log is malformed, or the pinned key has not signed it."""

    default_reason = "KEY_LOG_INVALID"


class KeyLogForked(KeyLogInvalid):
    """The gateway's key log does not begin with every entry of the one seen before.

    The key that signs the log has shown this client other token keys than somebody else.

    Attributes:
        seen: the key log (text) that this client had verified before.
        offered: the key log (text) that does not extend it. Both are signed: together they are
            evidence that anybody with the log's public key can check.
    """

    default_reason = "KEY_LOG_FORKED"

    def __init__(
        self,
        message: str,
        *,
        seen: str = "",
        offered: str = "",
        operation: str = "",
        reason: str | None = None,
        error_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, reason=reason, error_id=error_id)
        self.seen = seen
        self.offered = offered


class ReceiptInvalid(ProtocolViolation):
    """A receipt or proof does not verify under the pinned ledger key, or is another call's."""

    default_reason = "RECEIPT_INVALID"


class LedgerForked(ProtocolViolation):
    """Two signed checkpoints contradict each other: the ledger's history was changed.

    Attributes:
        seen: the signed checkpoint (text) that this client had verified before.
        offered: the signed checkpoint (text) that does not extend it. Together they are
            evidence that anybody with the ledger's public key can check.
    """

    default_reason = "LEDGER_FORKED"

    def __init__(
        self,
        message: str,
        *,
        seen: str = "",
        offered: str = "",
        operation: str = "",
        reason: str | None = None,
        error_id: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, reason=reason, error_id=error_id)
        self.seen = seen
        self.offered = offered
