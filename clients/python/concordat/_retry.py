"""When and how long after a failure a request is sent again.

| method                     | sent again after                                                |
|----------------------------|-----------------------------------------------------------------|
| reads; writes with their   | UNAVAILABLE; RESOURCE_EXHAUSTED that says when to come back     |
| own request id; evaluation | (RetryInfo), if that is within a minute. The request stays the  |
| of identifiers             | same: id, or nonce and signature.                               |
| lookups                    | UNAVAILABLE: an attempt that reached the gateway before the     |
|                            | connection broke has its own ledger entry. LOOKUPS_EXHAUSTED or |
|                            | CARRIED_EXHAUSTED that says when to come back: nothing was      |
|                            | recorded.                                                       |
| aggregate questions        | never: a repeat about a newer snapshot is charged again.        |

A quota that is spent for the day is not slept through: where the gateway asks for more than a
minute, or for more than the timeout has left, the error is raised at once. A rate is waited for
whenever the timeout has room.

Nothing is sent again once a reply has arrived, and never after the call's timeout. Up to then
there is no fixed number of attempts (a RetryPolicy may set one): a connection that broke fails at
once, time after time, until gRPC has made a new one, which takes some seconds after a restart.
"""

from collections.abc import Callable

from concordat._steps import Invoke, Method, Operation, Repeat, Reply, Request, Sleep
from concordat.errors import (
    Cancelled,
    ConcordatError,
    DeadlineExceeded,
    QuotaExhausted,
    ServerFault,
    TechnicalFault,
    Unavailable,
)
from concordat.options import Environment, RetryPolicy

# The gateway's own word that a lookup was refused before anything of it was recorded.
_NOTHING_RECORDED = frozenset({"LOOKUPS_EXHAUSTED", "CARRIED_EXHAUSTED"})
# Longer is for the caller to decide, whatever the timeout.
_LONGEST_ASKED_WAIT_SECONDS = 60.0

# A fault of the library, or of what lies between: what the gateway says itself has an error id.
_LIBRARY_FAULTS = frozenset({"INTERNAL", "UNKNOWN"})

# Waiting does not make a certificate right.
_PERMANENT = frozenset({"SERVER_CERTIFICATE_REFUSED"})


def send(
    environment: Environment,
    policy: RetryPolicy,
    method: Method[Request, Reply],
    request: Request | tuple[Request, ...],
    timeout_seconds: float,
) -> Operation[Reply]:
    """Invoke a method, and again where the table above says so, within one timeout."""
    started = environment.monotonic()
    left = timeout_seconds
    attempt = 1
    while True:
        try:
            reply: Reply = yield Invoke(method, request, left)
            return reply
        except ConcordatError as error:
            tried = environment.monotonic() - started
            wait = backoff_seconds(policy, method.repeat, error, attempt, environment.random)
            if wait is None or wait >= timeout_seconds - tried:
                _tell_tries(error, attempt, tried)
                raise
        yield Sleep(wait)
        left = timeout_seconds - (environment.monotonic() - started)
        attempt += 1


def backoff_seconds(
    policy: RetryPolicy,
    repeat: Repeat,
    error: ConcordatError,
    attempt: int,
    random: Callable[[], float],
) -> float | None:
    """How long to wait after failed attempt number `attempt` (from 1); None: do not try again."""
    last = policy.max_attempts is not None and attempt >= policy.max_attempts
    if last or not is_repeatable(repeat, error):
        return None
    asked = error.retry_after_seconds if isinstance(error, Unavailable | QuotaExhausted) else None
    if asked is not None and asked > _LONGEST_ASKED_WAIT_SECONDS and not _is_rate(error):
        return None
    # The exponent is bounded because a float is: 2.0**2000 raises.
    bound = policy.first_backoff_seconds * 2.0 ** min(attempt - 1, 64)
    jitter = random() * min(policy.max_backoff_seconds, bound)
    return (asked or 0.0) + jitter


def unavailable_where_broken(error: ConcordatError) -> ConcordatError:
    """What ends a stream but says nothing of what it carries, as an outage; else the error."""
    if isinstance(error, DeadlineExceeded | Cancelled) or (
        isinstance(error, ServerFault)
        and error.error_id is None
        and error.reason in _LIBRARY_FAULTS
    ):
        return Unavailable(error.message)
    return error


def is_repeatable(repeat: Repeat, error: ConcordatError) -> bool:
    """Whether a request of this kind may be sent again after this error."""
    if error.reason in _PERMANENT or repeat is Repeat.CHARGED:
        return False
    if isinstance(error, Unavailable):
        return True
    if not isinstance(error, QuotaExhausted) or error.retry_after_seconds is None:
        return False
    return repeat is Repeat.SAFE or error.reason in _NOTHING_RECORDED


def _is_rate(error: ConcordatError) -> bool:
    """Whether a rate was met, which passes as long as the caller's own timeout allows for."""
    return isinstance(error, QuotaExhausted) and (error.subject or "").endswith("/rate")


def _tell_tries(error: ConcordatError, attempts: int, seconds: float) -> None:
    if attempts > 1 and isinstance(error, TechnicalFault | QuotaExhausted):
        error.message += f" (gave up after {attempts} attempts in {seconds:.1f} s)"
