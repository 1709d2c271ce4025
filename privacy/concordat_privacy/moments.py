"""Moments: integer microseconds since 1970, UTC; as a datetime, and as RFC 3339 text."""

from datetime import UTC, datetime, timedelta
from typing import Final

_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def micros_of(when: datetime) -> int:
    """Microseconds since 1970 of a time with its zone."""
    return (when - _ZERO) // timedelta(microseconds=1)


def moment_of(micros: int) -> datetime:
    """The time in UTC, to the microsecond. OverflowError beyond the years 1 to 9999."""
    return _ZERO + timedelta(microseconds=micros)


def rfc3339(micros: int) -> str:
    """RFC 3339 in UTC with six decimals and "Z", as logs and ledger entries carry it."""
    return moment_of(micros).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
