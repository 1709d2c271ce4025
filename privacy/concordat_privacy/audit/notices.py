"""Notices to recipients whose consent ended: acknowledged, deletion confirmed, in time or not."""

from collections.abc import Iterator
from dataclasses import dataclass

from concordat_privacy.audit.consent import Consent
from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import (
    Entry,
    Fields,
    Malformed,
    Moment,
    hex_of,
    moment_in,
    text_of,
)
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.policy import too_late


@dataclass(slots=True)
class Notice:
    """One notice, and what the recipient made of it."""

    id: str
    consent: str
    member: str
    entry: int
    sent_at: Moment
    acknowledge_by: Moment
    delete_by: Moment
    acknowledged_at: Moment = ""
    deleted_at: Moment = ""
    """When the log holds the receipt; the recipient's own time of deletion may be earlier."""


class Notices:
    """All notices so far, by id."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._expected = False
        self.by_id: dict[str, Notice] = {}
        self.not_recheckable = 0
        """Consents that ended in an older form of entry, which had no notices."""

    def caused(self, entry: Entry, consent: Consent, fields: Fields, item: int | None) -> None:
        """A consent ended: its entry, or its item of an erasure, holds the notice."""
        find = self._context.find
        if "notice" not in fields:
            if not consent.jurisdiction and not self._expected and item is None:
                self.not_recheckable += 1
                return
            message = f"ended without a notice to {consent.recipient}"
            find(
                Kind.NOTICE_MISSING,
                message,
                item=item,
                consent=consent.id,
                member=consent.recipient,
            )
            return
        self._expected = True
        notice = Notice(
            hex_of(fields, "notice", 16),
            consent.id,
            consent.recipient,
            entry.index,
            entry.time,
            moment_in(fields, "acknowledge_by"),
            moment_in(fields, "delete_by"),
        )
        if notice.id in self.by_id:
            message = f"notice {notice.id} was sent before, by entry {self.by_id[notice.id].entry}"
            find(Kind.NOTICE_INCONSISTENT, message, item=item, consent=consent.id)
            return
        self.by_id[notice.id] = notice
        policy = consent.policy
        if policy is None:
            return
        for what, deadline, days in (
            ("acknowledgement", notice.acknowledge_by, policy.acknowledge_days),
            ("deletion", notice.delete_by, policy.deletion_days),
        ):
            if too_late(entry.time, deadline, days):
                message = f"{what} by {deadline}, {policy.code} allows {days} days"
                find(
                    Kind.NOTICE_AGAINST_POLICY,
                    message,
                    item=item,
                    consent=consent.id,
                    member=consent.recipient,
                )

    def acknowledged(self, entry: Entry) -> None:
        """`notice.acknowledged`."""
        notice = self._named(entry, entry.actor.member)
        if notice is None:
            return
        if notice.acknowledged_at:
            self._inconsistent(notice, f"acknowledged before, at {notice.acknowledged_at}")
            return
        notice.acknowledged_at = entry.time
        if entry.time > notice.acknowledge_by:
            message = f"acknowledged at {entry.time}, due by {notice.acknowledge_by}"
            self._late(Kind.ACKNOWLEDGEMENT_LATE, message, notice)

    def deleted(self, entry: Entry) -> None:
        """`deletion.confirmed`."""
        notice = self._named(entry, entry.actor.member)
        if notice is None:
            return
        hex_of(entry.fields, "record_sha256", 32)
        told = moment_in(entry.fields, "deleted_at")
        if told > entry.time:
            raise Malformed("deleted_at: later than the receipt itself")
        if notice.deleted_at:
            self._inconsistent(notice, f"deletion confirmed before, at {notice.deleted_at}")
            return
        notice.deleted_at = entry.time
        # What counts is when the log held the receipt: the recipient's own time proves nothing.
        if entry.time > notice.delete_by:
            message = (
                f"deletion confirmed at {entry.time} (said to be done at {told}), due by "
                f"{notice.delete_by}"
            )
            self._late(Kind.DELETION_LATE, message, notice)

    def overdue(self, entry: Entry) -> None:
        """`notice.overdue`: an alarm must have a reason."""
        notice = self._named(entry, "")
        if notice is None:
            return
        what, due = text_of(entry.fields, "what"), moment_in(entry.fields, "due")
        done, by = {
            "acknowledgement": (notice.acknowledged_at, notice.acknowledge_by),
            "deletion": (notice.deleted_at, notice.delete_by),
        }.get(what, ("", ""))
        if not by:
            raise Malformed("what: acknowledgement or deletion is wanted")
        if done or due != by or entry.time < by:
            self._inconsistent(notice, f"{what} is said to be overdue, but it is not")

    def finish(self, as_of: Moment) -> None:
        """Report what is due and not done at a moment after the last entry."""
        for notice in self.by_id.values():
            if not notice.acknowledged_at and as_of > notice.acknowledge_by:
                message = f"not acknowledged, due by {notice.acknowledge_by}"
                self._outstanding(Kind.ACKNOWLEDGEMENT_LATE, message, notice)
            if not notice.deleted_at and as_of > notice.delete_by:
                message = f"no deletion confirmed, due by {notice.delete_by}"
                self._outstanding(Kind.DELETION_LATE, message, notice)

    def of_member(self, member: str) -> Iterator[Notice]:
        """The notices to one member, oldest first."""
        return (notice for notice in self.by_id.values() if notice.member == member)

    def _named(self, entry: Entry, actor: str) -> Notice | None:
        notice_id = hex_of(entry.fields, "notice", 16)
        notice = self.by_id.get(notice_id)
        if notice is None:
            message = f"the log holds no notice {notice_id}"
            self._context.find(Kind.NOTICE_INCONSISTENT, message)
            return None
        if entry.fields.get("member") != notice.member or (actor and actor != notice.member):
            self._inconsistent(notice, f"it was sent to {notice.member}")
        if "consent" in entry.fields and entry.fields["consent"] != notice.consent:
            self._inconsistent(notice, "it was about another consent")
        return notice

    def _inconsistent(self, notice: Notice, message: str) -> None:
        self._context.find(
            Kind.NOTICE_INCONSISTENT,
            f"notice {notice.id}: {message}",
            consent=notice.consent,
            member=notice.member,
        )

    def _late(self, kind: Kind, message: str, notice: Notice) -> None:
        self._context.find(kind, message, consent=notice.consent, member=notice.member)

    def _outstanding(self, kind: Kind, message: str, notice: Notice) -> None:
        self._context.find_at(
            kind, message, notice.entry, consent=notice.consent, member=notice.member
        )
