"""When and how long after a failure a request is sent again.

| method                     | sent again after                                                |
|----------------------------|-----------------------------------------------------------------|
| reads; writes with their   | UNAVAILABLE; RESOURCE_EXHAUSTED that says when to come back     |
| own request id             | (RetryInfo). The request id stays the same.                     |
| lookups                    | UNAVAILABLE only. An attempt that reached the gateway before    |
|                            | the connection broke has its own ledger entry.                  |
| aggregate questions        | never: a repeat about a newer snapshot is charged again.        |

Nothing is sent again once a reply has arrived, and never after the call's timeout.
"""

from collections.abc import Callable

from concordat._steps import Invoke, Method, Operation, Repeat, Reply, Request, Sleep
from concordat.errors import ConcordatError, QuotaExhausted, Unavailable
from concordat.options import Environment, RetryPolicy

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
    deadline = environment.monotonic() + timeout_seconds
    left = timeout_seconds
    attempt = 1
    while True:
        try:
            reply: Reply = yield Invoke(method, request, left)
            return reply
        except ConcordatError as error:
            left = deadline - environment.monotonic()
            wait = backoff_seconds(policy, method.repeat, error, attempt, environment.random)
            if wait is None or wait >= left:
                raise
        yield Sleep(wait)
        left = deadline - environment.monotonic()
        attempt += 1


def backoff_seconds(
    policy: RetryPolicy,
    repeat: Repeat,
    error: ConcordatError,
    attempt: int,
    random: Callable[[], float],
) -> float | None:
    """How long to wait after failed attempt number `attempt` (from 1); None: do not try again."""
    if attempt >= policy.max_attempts or not is_repeatable(repeat, error):
        return None
    asked = error.retry_after_seconds if isinstance(error, Unavailable | QuotaExhausted) else None
    # The exponent is bounded because a float is: 2.0**2000 raises.
    bound = policy.first_backoff_seconds * 2.0 ** min(attempt - 1, 64)
    jitter = random() * min(policy.max_backoff_seconds, bound)
    return (asked or 0.0) + jitter


def is_repeatable(repeat: Repeat, error: ConcordatError) -> bool:
    """Whether a request of this kind may be sent again after this error."""
    if error.reason in _PERMANENT or repeat is Repeat.CHARGED:
        return False
    if isinstance(error, Unavailable):
        return True
    return (
        repeat is Repeat.SAFE
        and isinstance(error, QuotaExhausted)
        and error.retry_after_seconds is not None
    )
