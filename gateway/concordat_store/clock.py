"""Time as the stores keep it: integer microseconds since the epoch, UTC. Clocks are passed in."""

import time
from collections.abc import Callable
from typing import TypeAlias

from concordat_privacy.moments import rfc3339

__all__ = ["Clock", "rfc3339", "system_clock"]

Clock: TypeAlias = Callable[[], int]
"""Returns microseconds since the epoch, UTC."""


def system_clock() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000
