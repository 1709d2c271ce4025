"""Time as the stores keep it: integer microseconds since the epoch, UTC. Clocks are passed in."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Returns microseconds since the epoch, UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def system_clock() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000


def rfc3339(microseconds: int) -> str:
    """RFC 3339 in UTC with six decimals and "Z", as ledger entries carry it."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
