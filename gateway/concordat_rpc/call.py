"""The call being served, for everything below the interceptors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from concordat_rpc.peer import Peer, Serial


@dataclass(frozen=True, slots=True)
class Call:
    """One call, after its caller was identified and its deadline settled."""

    peer: Peer
    certificate_serial: Serial
    method: str
    """Full name, e.g. ``/concordat.v1.SignalService/Lookup``."""
    deadline_monotonic_seconds: float
    """When work must be done, on ``time.monotonic``'s clock; lies a little before the caller's own
    deadline, so that the answer still has time to travel."""

    @property
    def deadline_seconds_left(self) -> float:
        """Seconds left for work; never negative."""
        return max(0.0, self.deadline_monotonic_seconds - time.monotonic())


_current: ContextVar[Call] = ContextVar("concordat_rpc.call")


def current() -> Call:
    """The call this code runs for; LookupError outside of one."""
    return _current.get()


@contextmanager
def serving(call: Call) -> Iterator[None]:
    """Make `call` the current one; for the interceptors, and for tests of rules."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)
