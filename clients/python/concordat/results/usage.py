"""What members have asked."""

from dataclasses import dataclass
from datetime import date, datetime

from concordat.enums import AlarmKind, UsageKind


@dataclass(frozen=True, slots=True)
class Usage:
    """One counter of one member. Days and months begin at midnight UTC."""

    kind: UsageKind
    today: int
    this_month: int
    daily_limit: int | None
    """Most a day; None where there is no limit."""
    monthly_limit: int | None
    """Most a month; None where there is no limit."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A pattern in a member's counts that guessing leaves, and other things too."""

    kind: AlarmKind
    day: date
    """Day (UTC) it was seen."""
    description: str
    """In words, with the figures."""


@dataclass(frozen=True, slots=True)
class MemberUsage:
    """What one member has asked, and what stood out. Counts only: nothing names a subject."""

    member_id: str
    usage: tuple[Usage, ...]
    """One of each kind."""
    alarms: tuple[Alarm, ...]
    """Of the last 31 days, newest first."""
    as_of: datetime
    """When the counts were read."""

    def __getitem__(self, kind: UsageKind) -> Usage:
        """The counter of a kind. Raises KeyError."""
        for counter in self.usage:
            if counter.kind is kind:
                return counter
        raise KeyError(kind)
