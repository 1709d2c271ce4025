"""Erasures: requested, then executed or refused; each consent of the subject ends with a notice."""

from dataclasses import dataclass
from typing import Final

from concordat_privacy.audit.consent import ENDED
from concordat_privacy.audit.consents import Consents
from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import (
    Entry,
    Malformed,
    Moment,
    count_of,
    days_between,
    hex_of,
    text_of,
)
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.notices import Notices
from concordat_privacy.audit.policy import Policies


@dataclass(slots=True)
class Erasure:
    """One request to erase a subject."""

    id: str
    subject: str
    entry: int
    requested_at: Moment
    decided_at: Moment = ""
    outcome: str = "requested"
    basis: str = ""
    consents: int | None = None
    """How many consents it ended; None where the export does not hold its items."""


class Erasures:
    """All erasures so far, by id."""

    def __init__(
        self, context: Context, consents: Consents, notices: Notices, policies: Policies
    ) -> None:
        self._context = context
        self._consents = consents
        self._notices = notices
        # An erasure names no jurisdiction, so the strictest of all days is what it is held to.
        self._days: Final = min(policy.deletion_days for policy in policies.by_code.values())
        self.by_id: dict[str, Erasure] = {}
        self.items_unchecked = 0

    def requested(self, entry: Entry) -> None:
        """`erasure.requested`."""
        erasure_id = hex_of(entry.fields, "erasure", 16)
        if erasure_id in self.by_id:
            self._inconsistent(self.by_id[erasure_id], "requested before")
            return
        subject = hex_of(entry.fields, "subject", 32)
        self.by_id[erasure_id] = Erasure(erasure_id, subject, entry.index, entry.time)

    def executed(self, entry: Entry) -> None:
        """`erasure.executed`: its items are the subject's consents, which end here."""
        erasure = self._decided(entry, "executed")
        if "rows" in entry.fields:
            count_of(entry.fields, "rows")
        if entry.items is None:
            if "items_root" in entry.fields:
                self.items_unchecked += 1
            elif erasure is not None:
                erasure.consents = 0
            return
        if erasure is not None:
            erasure.consents = len(entry.items)
        for item, fields in enumerate(entry.items):
            try:
                known = self._consents.by_id.get(str(fields.get("consent")))
                # The recipient of a consent that had ended was told then.
                told = known is not None and known.state in ENDED
                consent = self._consents.erased(entry, item, fields)
                if consent is not None and not (told and "notice" not in fields):
                    self._notices.caused(entry, consent, fields, item)
            except Malformed as error:
                self._context.find(Kind.MALFORMED, str(error), item=item)

    def refused(self, entry: Entry) -> None:
        """`erasure.refused`."""
        self._decided(entry, "refused")

    def finish(self, as_of: Moment) -> None:
        """Report what was asked for and is not decided at a moment after the last entry."""
        for erasure in self.by_id.values():
            days = days_between(erasure.requested_at, as_of)
            if not erasure.decided_at and days > self._days:
                message = f"erasure {erasure.id}: asked for {days} days ago, and not decided"
                self._context.find_at(Kind.ERASURE_LATE, message, erasure.entry)

    def _decided(self, entry: Entry, outcome: str) -> Erasure | None:
        erasure_id, basis = hex_of(entry.fields, "erasure", 16), text_of(entry.fields, "basis")
        erasure = self.by_id.get(erasure_id)
        if erasure is None:
            message = f"{outcome}, but erasure {erasure_id} was not requested"
            self._context.find(Kind.ERASURE_INCONSISTENT, message)
            return None
        if erasure.decided_at:
            self._inconsistent(erasure, f"{outcome}, but it was {erasure.outcome} already")
            return erasure
        erasure.decided_at, erasure.outcome, erasure.basis = entry.time, outcome, basis
        days = days_between(erasure.requested_at, entry.time)
        if days > self._days:
            message = f"erasure {erasure.id}: {outcome} {days} days after it was asked for"
            self._context.find(Kind.ERASURE_LATE, message)
        return erasure

    def _inconsistent(self, erasure: Erasure, message: str) -> None:
        self._context.find(Kind.ERASURE_INCONSISTENT, f"erasure {erasure.id}: {message}")
