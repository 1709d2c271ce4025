"""How a client behaves: limits, retries, and what it takes from its surroundings."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from concordat.errors import InvalidInput

MAX_CHANNELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter: wait uniformly between 0 and a growing bound.

    A call never waits beyond its timeout. See `concordat._retry` for what is retried at all.
    """

    max_attempts: int = 5
    """Attempts of one request, the first one included; 1 switches retries off."""
    first_backoff_seconds: float = 0.1
    """Bound of the first wait; it doubles with every further one."""
    max_backoff_seconds: float = 5.0
    """Bound of the longest wait."""

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise InvalidInput.field("max_attempts", f"{self.max_attempts}, at least 1 wanted")
        if not 0 <= self.first_backoff_seconds <= self.max_backoff_seconds:
            raise InvalidInput.field(
                "first_backoff_seconds", "from 0 to max_backoff_seconds wanted"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of a client. All have defaults that suit a scoring service."""

    channels: int = 2
    """Connections, 1 to 4, used in turn. One connection stays with one worker of the gateway, so
    two keep two workers busy."""
    timeout_seconds: float = 10.0
    """For one request with its retries, unless the call says otherwise."""
    stream_timeout_seconds: float = 120.0
    """The same for contributions and exports."""
    parallelism: int = 4
    """Threads that blind, send and verify batches of identifiers at once. The arithmetic runs
    outside Python's lock, so more threads than one use more cores than one."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """When a failed request is tried again."""
    cached_tokens: int = 0
    """Tokens kept in memory, least recently used first out; 0 keeps none. Off by default: the
    cache links identifiers that were seen to their tokens for as long as the client lives."""

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise InvalidInput.field("channels", f"{self.channels}, 1 to {MAX_CHANNELS} wanted")
        if not 1 <= self.parallelism <= 64:
            raise InvalidInput.field("parallelism", f"{self.parallelism}, 1 to 64 wanted")
        if self.cached_tokens < 0:
            raise InvalidInput.field("cached_tokens", f"{self.cached_tokens}, 0 or more wanted")
        for name in ("timeout_seconds", "stream_timeout_seconds"):
            if not getattr(self, name) > 0:
                raise InvalidInput.field(name, "more than 0 wanted")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a client takes from outside, so that tests can give it instead."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds that never go back."""
    utc_now: Callable[[], datetime] = _utc_now
    """The time of day, with its time zone."""
    random: Callable[[], float] = random.random
    """A number in [0, 1), for jitter only."""
    random_bytes: Callable[[int], bytes] = os.urandom
    """Unpredictable bytes, for request ids."""
