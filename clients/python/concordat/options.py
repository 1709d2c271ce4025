"""How a client behaves: limits, retries, and what it takes from its surroundings."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from concordat._checks import checked_integer, checked_number, checked_timeout, checked_type
from concordat.errors import InvalidInput

MAX_CHANNELS = 4
MAX_PARALLELISM = 64
_MANY = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter: wait uniformly between 0 and a growing bound.

    A call never waits beyond its timeout. See `concordat._retry` for what is retried at all.

    Raises:
        InvalidInput: names a setting that is wrong.
    """

    max_attempts: int | None = None
    """Attempts of one request, the first one included; 1 switches retries off. None: as many as
    the timeout has room for, so that a call outlasts the restart of a gateway."""
    first_backoff_seconds: float = 0.1
    """Bound of the first wait; it doubles with every further one."""
    max_backoff_seconds: float = 1.0
    """Bound of the longest wait."""

    def __post_init__(self) -> None:
        if self.max_attempts is not None:
            checked_integer(self.max_attempts, "max_attempts", 1, _MANY)
        first = checked_number(self.first_backoff_seconds, "first_backoff_seconds")
        longest = checked_number(self.max_backoff_seconds, "max_backoff_seconds")
        if not 0 <= first <= longest:
            raise InvalidInput.field(
                "first_backoff_seconds", "from 0 to max_backoff_seconds wanted"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of a client. All have defaults that suit a scoring service.

    Raises:
        InvalidInput: names a setting that is wrong.
    """

    channels: int = 2
    """Connections, 1 to 4, used in turn. One connection stays with one worker of the gateway, so
    two keep two workers busy."""
    timeout_seconds: float = 10.0
    """For one request with its retries, unless the call says otherwise; at most a day."""
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
        checked_integer(self.channels, "channels", 1, MAX_CHANNELS)
        checked_integer(self.parallelism, "parallelism", 1, MAX_PARALLELISM)
        checked_integer(self.cached_tokens, "cached_tokens", 0, _MANY)
        checked_timeout(self.timeout_seconds, "timeout_seconds")
        checked_timeout(self.stream_timeout_seconds, "stream_timeout_seconds")
        checked_type(self.retry, RetryPolicy, "retry")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a client takes from outside, so that tests can give it instead."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds that never go back."""
    utc_now: Callable[[], datetime] = _utc_now
    """The time of day, with its time zone: says which key epoch is in use, and when was signed."""
    random: Callable[[], float] = random.random
    """A number in [0, 1), for jitter only."""
    random_bytes: Callable[[int], bytes] = os.urandom
    """Unpredictable bytes, for request ids and nonces."""
