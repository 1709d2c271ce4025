"""Calendar units, lengths of time and frequencies, as consents name them (ReBIT), in UTC.

Numbers of `TimeUnit` equal those of concordat.v1 (consent.proto).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from concordat_privacy.moments import moment_of

_MICROSECONDS_AN_HOUR: Final = 3_600 * 1_000_000
_HOURS_A_DAY: Final = 24


class TimeUnit(IntEnum):
    """A calendar unit; INF stands for no end."""

    HOUR = 1
    DAY = 2
    MONTH = 3
    YEAR = 4
    INF = 5


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time: `value` units; 0 of INF."""

    unit: TimeUnit
    value: int


@dataclass(frozen=True, slots=True)
class Frequency:
    """At most `uses` a calendar unit; of INF, over the whole life."""

    unit: TimeUnit
    uses: int


def span_number(unit: TimeUnit, moment: int) -> int:
    """Which hour, day, month or year (from 1970, UTC) a moment lies in; of INF always 0.

    `moment` in microseconds since 1970.
    """
    match unit:
        case TimeUnit.HOUR:
            return moment // _MICROSECONDS_AN_HOUR
        case TimeUnit.DAY:
            return moment // (_MICROSECONDS_AN_HOUR * _HOURS_A_DAY)
        case TimeUnit.MONTH:
            at = moment_of(moment)
            return (at.year - 1970) * 12 + at.month - 1
        case TimeUnit.YEAR:
            return moment_of(moment).year - 1970
        case TimeUnit.INF:
            return 0
