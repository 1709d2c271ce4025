"""States of a consent and what leads from one to another: pure functions of recorded times.

    requested -> active <-> paused, each -> withdrawn | revoked | expired

Withdrawn (by the subject) and revoked (by another) are final. Expiry is a matter of time alone; an
expired consent can still be withdrawn or revoked, because its data may be held on.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from concordat_rpc.errors import Refusal, failed_precondition


class ConsentState(IntEnum):
    """Numbers as in `concordat.v1` (consent.proto)."""

    ACTIVE = 1
    WITHDRAWN = 2
    EXPIRED = 3
    REQUESTED = 4
    PAUSED = 5
    REVOKED = 6


class Change(Enum):
    """What can be done to a consent; the value is the word for it in messages."""

    ACTIVATE = "activated"
    PAUSE = "paused"
    RESUME = "resumed"
    WITHDRAW = "withdrawn"
    REVOKE = "revoked"


@dataclass(frozen=True, slots=True)
class Times:
    """What decides a consent's state. Microseconds since the epoch; None: it has not happened."""

    starts_at: int
    expires_at: int
    activated_at: int | None
    paused_at: int | None
    """Since when it is paused; None where it is not."""
    withdrawn_at: int | None
    revoked_at: int | None


def state_of(times: Times, now: int) -> ConsentState:
    """The state at a moment. A consent that has not started yet is ACTIVE and permits nothing."""
    if times.withdrawn_at is not None:
        return ConsentState.WITHDRAWN
    if times.revoked_at is not None:
        return ConsentState.REVOKED
    if now >= times.expires_at:
        return ConsentState.EXPIRED
    if times.activated_at is None:
        return ConsentState.REQUESTED
    if times.paused_at is not None:
        return ConsentState.PAUSED
    return ConsentState.ACTIVE


def permits_at(times: Times, now: int) -> bool:
    """Whether a consent permits its purposes at a moment: active and begun."""
    return state_of(times, now) is ConsentState.ACTIVE and times.starts_at <= now


_TARGET: Final = {
    Change.ACTIVATE: ConsentState.ACTIVE,
    Change.PAUSE: ConsentState.PAUSED,
    Change.RESUME: ConsentState.ACTIVE,
    Change.WITHDRAW: ConsentState.WITHDRAWN,
    Change.REVOKE: ConsentState.REVOKED,
}
_OPEN: Final = frozenset(
    {
        ConsentState.REQUESTED,
        ConsentState.ACTIVE,
        ConsentState.PAUSED,
        ConsentState.EXPIRED,
    }
)
_FROM: Final = {
    Change.ACTIVATE: frozenset({ConsentState.REQUESTED}),
    Change.PAUSE: frozenset({ConsentState.ACTIVE}),
    Change.RESUME: frozenset({ConsentState.PAUSED}),
    Change.WITHDRAW: _OPEN,
    Change.REVOKE: _OPEN,
}


def changes(state: ConsentState, change: Change) -> bool:
    """Whether the change alters a consent in this state; False where it is there already.

    Raises Refusal FAILED_PRECONDITION, reason CONSENT_<STATE>, where it is not possible.
    """
    if state is _TARGET[change]:
        return False
    if state not in _FROM[change]:
        raise wrong_state(state, change)
    return True


def wrong_state(state: ConsentState, change: Change) -> Refusal:
    """FAILED_PRECONDITION for a change that the state does not allow."""
    return failed_precondition(
        f"CONSENT_{state.name}",
        f"the consent is {state.name.lower()} and cannot be {change.value}",
    )
