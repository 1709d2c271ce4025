"""Replay a verified log: every entry in order, each held against what those before it allow.

Memory grows with consents, members, notices, disputes, erasures, charged questions, uploads and
replaced rows, and by a few bytes a batch; not with lookups and rows, which are most of a log.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from concordat_privacy.audit.consent import Consent
from concordat_privacy.audit.consents import Consents, Managers
from concordat_privacy.audit.context import Context
from concordat_privacy.audit.disputes import Disputes
from concordat_privacy.audit.entry import Actor, Entry, Fields, Malformed, Moment, actor_of, text_of
from concordat_privacy.audit.erasures import Erasures
from concordat_privacy.audit.findings import Finding, Findings, Kind, Severity
from concordat_privacy.audit.members import Members
from concordat_privacy.audit.notices import Notices
from concordat_privacy.audit.policy import Policies
from concordat_privacy.audit.pool import Keys, Pool, Retention
from concordat_privacy.audit.uploads import Uploads
from concordat_privacy.audit.uses import Uses

_Handler = Callable[[Entry], None]

# Roles that may cause entries of these types; those of all other types are not limited.
_ACTORS: Mapping[str, frozenset[str]] = {
    "lookup": frozenset({"member"}),
    "contribution.batch": frozenset({"member"}),
    "contribution.ended": frozenset({"member"}),
    "contribution.withdrawn": frozenset({"member"}),
    "consent.granted": frozenset({"member"}),
    "consent.requested": frozenset({"member"}),
    "consent.activated": frozenset({"member"}),
    "notice.acknowledged": frozenset({"member"}),
    "deletion.confirmed": frozenset({"member"}),
    "member.invited": frozenset({"operator"}),
    "member.joined": frozenset({"invitation", "member"}),
    "member.suspended": frozenset({"operator"}),
    "member.reinstated": frozenset({"operator"}),
    "quota.set": frozenset({"operator"}),
    "manager.registered": frozenset({"operator"}),
    "manager.disabled": frozenset({"operator"}),
    "notice.overdue": frozenset({"gateway"}),
    "dispute.refused": frozenset({"member"}),
    "dispute.extended": frozenset({"member", "operator"}),
    "dispute.overdue": frozenset({"gateway"}),
}
_UNKNOWN = Actor("", "", "")


class Follower(Protocol):
    """Who looks at each entry with the replay, after it was checked."""

    def follow(self, entry: Entry, replay: "Replay") -> None:
        """One entry of the log."""


@dataclass(frozen=True, slots=True)
class StaffView:
    """A look that staff took, as the log records it."""

    entry: int
    time: Moment
    actor: str
    view: str
    case: str


class Replay:
    """One audit of one log. Give it entries by `visit`, then `finish` it once."""

    def __init__(
        self,
        as_of: Moment | None = None,
        followers: Sequence[Follower] = (),
        policies: Policies | None = None,
    ) -> None:
        """`as_of`: entries later than this moment are left out, and what was due by it counts as
        due; without it, the last entry's time."""
        rules = policies or Policies.current()
        self.findings = Findings()
        self._context = Context(self.findings)
        self._as_of = as_of
        self._followers = followers
        self.policies = rules
        managers = Managers(self._context)
        self.consents = Consents(self._context, rules, managers)
        self.members = Members(self._context)
        self.notices = Notices(self._context)
        self.disputes = Disputes(self._context, rules)
        self.erasures = Erasures(self._context, self.consents, self.notices, rules)
        self.uses = Uses(self._context, self.consents, self.members)
        self.uploads = Uploads(self._context, self.members)
        self.pool = Pool(self._context, self.consents)
        self.retention = Retention(self._context, rules)
        self.staff_views: list[StaffView] = []
        keys = Keys(self._context)
        self.entries = 0
        self.left_out = 0
        """Entries later than `as_of`."""
        self.types: Counter[str] = Counter()
        self.last_time: Moment = ""
        self._domain = ""
        self._handlers: Mapping[str, _Handler] = {
            "consent.granted": self.consents.recorded,
            "consent.requested": self.consents.recorded,
            "consent.activated": self.consents.changed,
            "consent.paused": self._with_reason,
            "consent.resumed": self._with_reason,
            "consent.withdrawn": self._ended,
            "consent.revoked": self._ended,
            "manager.registered": managers.registered,
            "manager.disabled": managers.disabled,
            "lookup": self.uses.lookup,
            "lookup.withheld": self.uses.withheld,
            "contribution.batch": self._contributed,
            "contribution.ended": self.uploads.ended,
            "contribution.withdrawn": self.uses.withdrawn,
            "aggregate.charged": self.pool.charged,
            "aggregate.repeated": self.pool.answered_again,
            "aggregate.refused": self.pool.exhausted,
            "training.run": self._trained,
            "dispute.opened": self._disputed,
            "dispute.refused": self.uses.dispute_refused,
            "dispute.extended": self.disputes.extended,
            "dispute.answered": self.disputes.answered,
            "dispute.resolved": self.disputes.resolved,
            "dispute.overdue": self.disputes.overdue,
            "staff.viewed": self._viewed,
            "notice.acknowledged": self.notices.acknowledged,
            "deletion.confirmed": self.notices.deleted,
            "notice.overdue": self.notices.overdue,
            "erasure.requested": self.erasures.requested,
            "erasure.executed": self.erasures.executed,
            "erasure.refused": self.erasures.refused,
            "retention.executed": self.retention.executed,
            "member.invited": self.members.invited,
            "member.joined": self.members.joined,
            "member.suspended": self.members.moved,
            "member.reinstated": self.members.moved,
            "quota.set": self.members.quota_set,
            "tokens.rotated": keys.rotated,
            "key.adopted": keys.adopted,
            "key.retired": keys.retired,
        }

    @property
    def as_of(self) -> Moment:
        """The moment that the audit speaks of; empty for an empty log."""
        return self._as_of or self.last_time

    def visit(self, index: int, fields: Fields, items: Sequence[Fields] | None) -> None:
        """One entry of the log, its form checked, and its items where the export has them."""
        time = fields["time"]
        assert isinstance(time, str)  # the form of an entry
        if self._as_of is not None and time > self._as_of:
            self.left_out += 1
            return
        kind = str(fields["type"])
        self.entries += 1
        self.types[kind] += 1
        self.last_time = time
        entry = self._context.entry = Entry(index, kind, time, _UNKNOWN, fields, items)
        try:
            entry = Entry(index, kind, time, actor_of(text_of(fields, "actor")), fields, items)
            self._context.entry = entry
            self._check_actor(entry)
            handler = self._handlers.get(kind)
            if handler is None:
                message = f"{kind}: this audit does not know what it did"
                self._context.find(Kind.UNKNOWN_TYPE, message)
            else:
                handler(entry)
        except Malformed as error:
            self._context.find(Kind.MALFORMED, str(error))
        for follower in self._followers:
            follower.follow(entry, self)

    def finish(self) -> None:
        """Report what is due and not done at the audit's moment. Call it once, at the end."""
        self._context.entry = None
        if self.as_of:
            self.notices.finish(self.as_of)
            self.disputes.finish(self.as_of)
            self.erasures.finish(self.as_of)

    def find(self, kind: Kind, message: str, *, item: int | None = None, consent: str = "") -> None:
        """For followers: report something about the entry at hand."""
        self._context.find(kind, message, item=item, consent=consent)

    def sorted_findings(self) -> list[Finding]:
        """Violations and warnings as they stand in the log; those of the whole log come last."""
        return sorted(
            self.findings.kept,
            key=lambda found: (found.entry is None, found.entry or 0, found.item or 0),
        )

    @property
    def violations(self) -> int:
        """How many findings are no mere warnings."""
        counts = self.findings.counts.items()
        return sum(count for kind, count in counts if kind.severity is Severity.VIOLATION)

    def consent_of(self, consent_id: object) -> Consent | None:
        """The consent of an id, if the log holds it."""
        return self.consents.by_id.get(consent_id) if isinstance(consent_id, str) else None

    def _check_actor(self, entry: Entry) -> None:
        self._domain = self._domain or entry.actor.domain
        if entry.actor.domain != self._domain:
            message = f"an actor of {entry.actor.domain}; the log began with one of {self._domain}"
            self._context.find(Kind.WRONG_ACTOR, message)
        roles = _ACTORS.get(entry.type)
        if roles is not None and entry.actor.role not in roles:
            message = f"{entry.type} by {entry.actor.role} {entry.actor.name}"
            self._context.find(Kind.WRONG_ACTOR, message)
        if entry.actor.role == "member" and entry.type != "member.joined":
            self.members.acting(entry)

    def _with_reason(self, entry: Entry) -> None:
        text_of(entry.fields, "reason")
        self.consents.changed(entry)

    def _ended(self, entry: Entry) -> None:
        """A withdrawal or revocation, and its notice if the consent was not ended before."""
        consent = self.consent_of(entry.fields.get("consent"))
        ended_before = consent is not None and consent.ended_at
        self.consents.changed(entry)
        if consent is not None and not ended_before:
            self.notices.caused(entry, consent, entry.fields, None)

    def _contributed(self, entry: Entry) -> None:
        self.uploads.part(entry)
        self.uses.contribution(entry)

    def _trained(self, entry: Entry) -> None:
        self.pool.trained(entry)
        self.uses.training(entry)

    def _disputed(self, entry: Entry) -> None:
        self.disputes.opened(entry)
        self.uses.dispute(entry)

    def _viewed(self, entry: Entry) -> None:
        view = StaffView(
            entry.index,
            entry.time,
            f"{entry.actor.role} {entry.actor.name}",
            text_of(entry.fields, "view"),
            str(entry.fields.get("case", "")),
        )
        self.staff_views.append(view)
