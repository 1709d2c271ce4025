"""Days and years of moments. A moment is in microseconds since 1970-01-01 UTC."""

from concordat_privacy.moments import moment_of

LAST_MOMENT = 253_402_300_799_999_999
"""The last microsecond of the year 9999, where google.protobuf.Timestamp ends."""

DAY_MICROSECONDS = 86_400 * 1_000_000


def day_of(moment: int) -> int:
    """Days from 1970-01-01 to the UTC day the moment lies in."""
    return moment // DAY_MICROSECONDS


def more_than_years_apart(start: int, end: int, years: int) -> bool:
    """Whether `end` is later than the same day and time `years` calendar years after `start`.

    Both from 1970 to LAST_MOMENT.
    """
    # As tuples, because 29 February has no counterpart in most years.
    year, *rest = _parts(end)
    return (year - years, *rest) > _parts(start)


def _parts(moment: int) -> tuple[int, ...]:
    at = moment_of(moment)
    return (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
