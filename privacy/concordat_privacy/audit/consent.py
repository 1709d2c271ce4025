"""One consent as the entries of a ledger tell it, and where it stands at a moment.

States and their words are those of docs/ledger.md. A consent is live at a moment if it is active
and the moment lies in its validity; expiry has no entry of its own.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from concordat_privacy.audit.entry import (
    CATEGORY_BITS,
    PURPOSE_BITS,
    UNITS,
    Entry,
    Malformed,
    Moment,
    count_of,
    hex_of,
    mask_in,
    moment_in,
    object_in,
    optional_text,
    text_of,
)
from concordat_privacy.jurisdictions import Policy


class State(Enum):
    """Where a consent stands; `expired` is a matter of the clock, not of an entry."""

    REQUESTED = "requested"
    ACTIVE = "active"
    PAUSED = "paused"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    ERASED = "erased"


ENDED: Final = frozenset({State.WITHDRAWN, State.REVOKED, State.ERASED})


@dataclass(slots=True)
class Consent:
    """One consent as the entries tell it."""

    id: str
    recipient: str
    subject: str
    """Commitment, hexadecimal."""
    purposes: int
    categories: int
    starts_at: Moment
    expires_at: Moment
    entry: int
    recorded_at: Moment
    state: State
    jurisdiction: str
    """Empty in entries written before jurisdictions were recorded."""
    policy: Policy | None = None
    """That of its jurisdiction; None where it, or its version, is not one that this audit has."""
    unit: str = ""
    """Of its frequency; empty where none is set."""
    limit: int = 0
    period: str = ""
    """The calendar unit that `used` counts in."""
    used: int = 0
    uses: int = 0
    """All permitted uses so far."""
    last_use: Moment = ""
    ended_at: Moment = ""
    ended_entry: int | None = None
    counted: bool = False
    """Belongs to `LiveCount`."""
    steps: list[tuple[int, Moment, str]] = field(default_factory=list)
    """(entry, time, type) of all that changed it, the first one included."""

    def why_not_live(self, moment: Moment) -> str:
        """What keeps it from being in force at a moment; empty if nothing does."""
        if self.state is not State.ACTIVE:
            if self.state is State.REQUESTED:
                return "only requested, not given"
            since = self.steps[-1]
            return f"{self.state.value} by entry {since[0]} at {since[1]}"
        if moment < self.starts_at:
            return f"not in force before {self.starts_at}"
        if moment >= self.expires_at:
            return f"expired at {self.expires_at}"
        return ""

    def state_at(self, moment: Moment) -> str:
        """The state in words, at a moment after the last entry about it."""
        if self.state not in ENDED and moment >= self.expires_at:
            return "expired"
        return self.state.value


def consent_in(entry: Entry) -> Consent:
    """The consent that a `consent.granted` or `consent.requested` records. Raises Malformed."""
    fields = entry.fields
    unit, limit = "", 0
    if "frequency" in fields:
        frequency = object_in(fields, "frequency")
        unit, limit = text_of(frequency, "unit"), count_of(frequency, "uses")
        if unit not in UNITS:
            raise Malformed(f"frequency.unit: one of {', '.join(UNITS)} is wanted")
    if "data_life" in fields and text_of(object_in(fields, "data_life"), "unit") not in UNITS:
        raise Malformed(f"data_life.unit: one of {', '.join(UNITS)} is wanted")
    return Consent(
        id=hex_of(fields, "consent", 16),
        recipient=text_of(fields, "recipient"),
        subject=hex_of(fields, "subject", 32),
        purposes=mask_in(fields, "purposes", PURPOSE_BITS),
        categories=mask_in(fields, "categories", CATEGORY_BITS),
        starts_at=moment_in(fields, "starts_at"),
        expires_at=moment_in(fields, "expires_at"),
        entry=entry.index,
        recorded_at=entry.time,
        state=State.ACTIVE if entry.type == "consent.granted" else State.REQUESTED,
        jurisdiction=optional_text(fields, "jurisdiction"),
        unit=unit,
        limit=limit,
        steps=[(entry.index, entry.time, entry.type)],
    )
