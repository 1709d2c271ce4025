"""Members as the entries tell them: who had joined, who was suspended, what each one did."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import Entry, Moment, count_of, text_of
from concordat_privacy.audit.findings import Kind


class Standing(Enum):
    """Where a membership stands."""

    INVITED = "invited"
    JOINED = "joined"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"
    """Acted or was named, but never joined."""


# What a suspended member may still do: end consents, and do what it owes to subjects.
_ALLOWED_SUSPENDED: Final = frozenset(
    {
        "consent.withdrawn",
        "consent.revoked",
        "consent.paused",
        "lookup.withheld",
        "notice.acknowledged",
        "deletion.confirmed",
        "dispute.opened",
        "dispute.extended",
        "dispute.answered",
        "dispute.resolved",
        "erasure.requested",
    }
)
_MOVES: Final = {
    "member.suspended": (Standing.JOINED, Standing.SUSPENDED),
    "member.reinstated": (Standing.SUSPENDED, Standing.JOINED),
}


@dataclass(slots=True)
class Member:
    """One member, and the sums of what it did."""

    id: str
    name: str = ""
    standing: Standing = Standing.UNKNOWN
    since: Moment = ""
    permitted: int = 0
    """Subjects looked up with a consent; those withheld afterwards included."""
    refused: int = 0
    withheld: int = 0
    lookups_unchecked: int = 0
    """Lookup entries whose items this export does not hold."""
    disputes_refused: int = 0
    """Disputes that it wanted to open without a consent to it."""
    rows: int = 0
    """Rows contributed, each re-checked against its consent."""
    rows_unchecked: int = 0
    rows_refused: int = 0
    uploads: int = 0
    """Uploads begun: contributions of many parts."""
    uploads_ended: int = 0
    """Those of them that it ended."""
    trained_on: int = 0
    corrected: int = 0
    """Rows contributed in place of earlier ones."""
    withdrawn: int = 0
    """Accounts and applications that it took out of the pool."""
    quota: tuple[int, int] | None = None
    """Lookups a day and a month, where the log sets them."""
    counted: dict[str, int] = field(default_factory=dict)
    """Lookups of the current day and month, by the prefix of the time that names it."""


class Members:
    """All members so far, by id."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.by_id: dict[str, Member] = {}

    def acting(self, entry: Entry) -> None:
        """Check the standing of a member who caused an entry."""
        member = entry.actor.member
        if not member:
            return
        known = self.of(member)
        if known.standing is Standing.JOINED:
            return
        if known.standing is not Standing.SUSPENDED:
            message = f"{member} acts, but has not joined"
            self._context.find(Kind.MEMBER_UNKNOWN, message, member=member)
        elif entry.type not in _ALLOWED_SUSPENDED:
            message = f"{member} acts, but is suspended since {known.since}"
            self._context.find(Kind.MEMBER_SUSPENDED, message, member=member)

    def of(self, member: str) -> Member:
        """A member, known or not."""
        found = self.by_id.get(member)
        if found is None:
            found = self.by_id[member] = Member(member)
        return found

    def invited(self, entry: Entry) -> None:
        """`member.invited`. Again while the first invitation was not taken."""
        member = self.of(text_of(entry.fields, "member"))
        member.name = text_of(entry.fields, "name")
        if member.standing in (Standing.JOINED, Standing.SUSPENDED):
            self._inconsistent(member, "invited, but has joined already")
            return
        member.standing, member.since = Standing.INVITED, entry.time

    def joined(self, entry: Entry) -> None:
        """`member.joined`, caused by the invitation, which carries the member's id."""
        member = self.of(text_of(entry.fields, "member"))
        if entry.actor.name != member.id:
            self._inconsistent(member, f"joined through the invitation of {entry.actor.name}")
        if member.standing is not Standing.INVITED:
            self._inconsistent(member, f"joined, but it is {member.standing.value}")
        member.standing, member.since = Standing.JOINED, entry.time

    def moved(self, entry: Entry) -> None:
        """`member.suspended` and `member.reinstated`."""
        member = self.of(text_of(entry.fields, "member"))
        text_of(entry.fields, "reason")
        before, after = _MOVES[entry.type]
        if member.standing is not before:
            word = entry.type.rpartition(".")[2]
            self._inconsistent(member, f"{word}, but it is {member.standing.value}")
        member.standing, member.since = after, entry.time

    def quota_set(self, entry: Entry) -> None:
        """`quota.set`: what the member may look up from now on."""
        member = self.of(text_of(entry.fields, "member"))
        if member.standing is Standing.UNKNOWN:
            self._inconsistent(member, "given a quota, but was never invited")
        fields = entry.fields
        member.quota = (count_of(fields, "lookups_daily"), count_of(fields, "lookups_monthly"))

    def looked_up(self, member: Member, entry: Entry, subjects: int) -> None:
        """Count a lookup's subjects against the quota that the log sets, if it does."""
        day, month = entry.time[:10], entry.time[:7]
        member.counted = {
            day: member.counted.get(day, 0) + subjects,
            month: member.counted.get(month, 0) + subjects,
        }
        if member.quota is None:
            return
        for unit, limit in zip((day, month), member.quota, strict=True):
            if member.counted[unit] > limit:
                message = f"{member.counted[unit]} lookups in {unit}, its quota is {limit}"
                self._context.find(Kind.QUOTA_EXCEEDED, message, member=member.id)

    def _inconsistent(self, member: Member, message: str) -> None:
        self._context.find(Kind.MEMBER_INCONSISTENT, f"{member.id} is {message}", member=member.id)
