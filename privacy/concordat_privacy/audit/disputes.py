"""Disputes: opened, perhaps extended, answered, resolved, each by its deadline."""

from dataclasses import dataclass, field
from typing import Final

from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import Entry, Malformed, Moment, hex_of, moment_in, text_of
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.policy import Policies, too_late
from concordat_privacy.jurisdictions import Policy

OUTCOMES: Final = frozenset({"corrected", "deleted", "upheld", "not_on_file"})
"""`not_on_file`: by the gateway, where nobody contributes such data."""


@dataclass(slots=True)
class Dispute:
    """One dispute."""

    id: str
    jurisdiction: str
    entry: int
    opened_at: Moment
    answer_by: Moment
    policy: Policy | None
    member: str = ""
    answered_by: set[str] = field(default_factory=set)
    """Members, by entries that name them."""
    extended: bool = False
    answered_at: Moment = ""
    resolved_at: Moment = ""
    outcome: str = ""

    @property
    def state(self) -> str:
        """In one word."""
        if self.resolved_at:
            return "resolved"
        if self.answered_at:
            return "answered"
        return "extended" if self.extended else "open"


class Disputes:
    """All disputes so far, by id."""

    def __init__(self, context: Context, policies: Policies) -> None:
        self._context = context
        self._policies = policies
        self.by_id: dict[str, Dispute] = {}

    def opened(self, entry: Entry) -> None:
        """`dispute.opened`."""
        fields = entry.fields
        dispute_id, code = hex_of(fields, "dispute", 16), text_of(fields, "jurisdiction")
        if dispute_id in self.by_id:
            message = f"opened before, by entry {self.by_id[dispute_id].entry}"
            self._find(Kind.DISPUTE_INCONSISTENT, self.by_id[dispute_id], message)
            return
        policy = self._policies.by_code.get(code)
        dispute = Dispute(
            dispute_id, code, entry.index, entry.time, moment_in(fields, "answer_by"), policy
        )
        self.by_id[dispute_id] = dispute
        if policy is None:
            message = f"no jurisdiction is called {code!r}"
            self._find(Kind.DISPUTE_AGAINST_POLICY, dispute, message)
        elif too_late(entry.time, dispute.answer_by, policy.dispute_days):
            message = f"answer by {dispute.answer_by}, {code} allows {policy.dispute_days} days"
            self._find(Kind.DISPUTE_AGAINST_POLICY, dispute, message)

    def extended(self, entry: Entry) -> None:
        """`dispute.extended`: once, before the deadline, and no longer than the policy allows."""
        dispute = self._named(entry)
        if dispute is None:
            return
        # One of several furnishers may have answered: the others are given the time.
        if dispute.extended or dispute.resolved_at:
            message = f"extended, but it was {dispute.state} already"
            self._find(Kind.DISPUTE_INCONSISTENT, dispute, message)
        if entry.time > dispute.answer_by:
            message = f"extended at {entry.time}, after its deadline {dispute.answer_by}"
            self._find(Kind.DISPUTE_LATE, dispute, message)
        dispute.extended, dispute.answer_by = True, moment_in(entry.fields, "answer_by")
        if dispute.policy is not None:
            days = dispute.policy.dispute_days + dispute.policy.dispute_extension_days
            if too_late(dispute.opened_at, dispute.answer_by, days):
                code = dispute.jurisdiction
                message = f"answer by {dispute.answer_by}, {code} allows {days} days in all"
                self._find(Kind.DISPUTE_AGAINST_POLICY, dispute, message)

    def answered(self, entry: Entry) -> None:
        """`dispute.answered`: by a member who furnished what is disputed. There may be several.

        Each is held to the deadline. No entry before it says who is to answer: that somebody does
        not shows in `dispute.overdue`, and in that the dispute is not resolved.
        """
        dispute = self._named(entry)
        if dispute is None:
            return
        self._check_ending(entry, dispute)
        if dispute.resolved_at:
            self._find(Kind.DISPUTE_INCONSISTENT, dispute, "answered, but it was resolved already")
        self._check_deadline(entry, dispute)
        dispute.answered_at = dispute.answered_at or entry.time
        dispute.answered_by.add(dispute.member)

    def resolved(self, entry: Entry) -> None:
        """`dispute.resolved`."""
        dispute = self._named(entry)
        if dispute is None:
            return
        self._check_ending(entry, dispute)
        if dispute.resolved_at:
            self._find(Kind.DISPUTE_INCONSISTENT, dispute, "resolved, but it was resolved already")
            return
        if not dispute.answered_at:
            self._check_deadline(entry, dispute)
        dispute.resolved_at = entry.time
        dispute.outcome = str(entry.fields.get("outcome", dispute.outcome))

    def overdue(self, entry: Entry) -> None:
        """`dispute.overdue`: an alarm must have a reason."""
        dispute = self._named(entry)
        if dispute is None:
            return
        member, due = text_of(entry.fields, "member"), moment_in(entry.fields, "due")
        done = dispute.resolved_at or member in dispute.answered_by
        if done or due != dispute.answer_by or entry.time <= due:
            message = f"the answer of {member} is said to be overdue, but it is not"
            self._find(Kind.DISPUTE_INCONSISTENT, dispute, message)

    def finish(self, as_of: Moment) -> None:
        """Report what is open past its deadline at a moment after the last entry."""
        for dispute in self.by_id.values():
            if dispute.resolved_at or as_of <= dispute.answer_by:
                continue
            word = "not by all" if dispute.answered_at else "not"
            message = f"dispute {dispute.id}: {word} answered, due by {dispute.answer_by}"
            self._context.find_at(Kind.DISPUTE_LATE, message, dispute.entry, member=dispute.member)

    def _check_ending(self, entry: Entry, dispute: Dispute) -> None:
        fields = entry.fields
        if "outcome" in fields and text_of(fields, "outcome") not in OUTCOMES:
            raise Malformed(f"outcome: one of {', '.join(sorted(OUTCOMES))} is wanted")
        if entry.type == "dispute.answered":
            text_of(fields, "outcome")
        if "statement_sha256" in fields:
            hex_of(fields, "statement_sha256", 32)
        member = entry.actor.member
        if "member" in fields:
            dispute.member = text_of(fields, "member")
            if entry.type == "dispute.answered" and member and member != dispute.member:
                message = f"answered by {member} in the name of {dispute.member}"
                self._find(Kind.DISPUTE_INCONSISTENT, dispute, message)

    def _check_deadline(self, entry: Entry, dispute: Dispute) -> None:
        if entry.time > dispute.answer_by:
            word = entry.type.rpartition(".")[2]
            message = f"{word} at {entry.time}, due by {dispute.answer_by}"
            self._find(Kind.DISPUTE_LATE, dispute, message)

    def _named(self, entry: Entry) -> Dispute | None:
        dispute_id = hex_of(entry.fields, "dispute", 16)
        dispute = self.by_id.get(dispute_id)
        if dispute is None:
            message = f"the log holds no dispute {dispute_id}"
            self._context.find(Kind.DISPUTE_INCONSISTENT, message)
        return dispute

    def _find(self, kind: Kind, dispute: Dispute, message: str) -> None:
        self._context.find(kind, f"dispute {dispute.id}: {message}")
