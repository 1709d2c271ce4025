"""The consents of a ledger: their records, their states, and whether a change was legal.

States and their words are those of docs/ledger.md. A consent is live at a moment if it is active
and the moment lies in its validity; expiry has no entry of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import (
    CATEGORY_BITS,
    PURPOSE_BITS,
    UNITS,
    Entry,
    Fields,
    Malformed,
    Moment,
    count_of,
    days_between,
    hex_of,
    mask_in,
    moment_in,
    object_in,
    optional_text,
    text_of,
)
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.live import LiveCount
from concordat_privacy.audit.policy import Policies, record_problems
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

# Change -> (states that allow it, state after it).
_CHANGES: Final[Mapping[str, tuple[frozenset[State], State]]] = {
    "consent.activated": (frozenset({State.REQUESTED}), State.ACTIVE),
    "consent.paused": (frozenset({State.ACTIVE}), State.PAUSED),
    "consent.resumed": (frozenset({State.PAUSED}), State.ACTIVE),
    "consent.withdrawn": (frozenset(State) - ENDED, State.WITHDRAWN),
    "consent.revoked": (frozenset(State) - ENDED, State.REVOKED),
}


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


class Consents:
    """All consents so far, by id."""

    def __init__(self, context: Context, policies: Policies, managers: "Managers") -> None:
        self._context = context
        self._policies = policies
        self._managers = managers
        self._newer_form = False
        self.by_id: dict[str, Consent] = {}
        self.live = LiveCount()
        self.without_jurisdiction = 0
        """Consents whose policy cannot be checked, since their entry names no jurisdiction."""
        self.other_policies = 0
        """Consents recorded under a version of the policies that this audit does not have."""

    def recorded(self, entry: Entry) -> None:
        """`consent.granted` and `consent.requested`."""
        fields, find = entry.fields, self._context.find
        consent_id = hex_of(fields, "consent", 16)
        if consent_id in self.by_id:
            earlier = self.by_id[consent_id].entry
            message = f"recorded before, by entry {earlier}"
            find(Kind.ILLEGAL_TRANSITION, message, consent=consent_id)
            return
        consent = _consent(consent_id, entry)
        self.by_id[consent_id] = consent
        self.live.add(consent, entry.time)
        if entry.actor.member != consent.recipient:
            message = f"recorded by {entry.actor.name}, given to {consent.recipient}"
            find(Kind.CONSENT_MISMATCH, message, consent=consent_id)
        if consent.starts_at >= consent.expires_at:
            message = "expires before it begins"
            find(Kind.CONSENT_AGAINST_POLICY, message, consent=consent_id)
        self._check_policy(entry, consent)
        if entry.type == "consent.granted":
            self._check_evidence(entry, consent)

    def changed(self, entry: Entry) -> None:
        """The entries that move a consent from one state to another."""
        consent = self._named(entry)
        if consent is None:
            return
        allowed, after = _CHANGES[entry.type]
        find = self._context.find
        if consent.state not in allowed:
            message = f"{_word(entry)}, but it was {consent.state.value} already"
            if consent.state not in ENDED and consent.state is not after:
                message = f"{_word(entry)}, but it is {consent.state.value}"
            find(Kind.ILLEGAL_TRANSITION, message, consent=consent.id)
            if consent.state in ENDED:
                return  # it stays ended, whatever is written
        elif after not in ENDED and entry.time >= consent.expires_at:
            message = f"{_word(entry)}, but it expired at {consent.expires_at}"
            find(Kind.ILLEGAL_TRANSITION, message, consent=consent.id)
        self._step(entry, consent, after)
        if entry.type == "consent.activated":
            self._check_evidence(entry, consent)
        elif entry.type == "consent.withdrawn":
            self._check_delay(entry, consent)
        elif entry.type == "consent.revoked":
            self._managers.check_revocation(entry, consent.id)

    def erased(self, entry: Entry, item: int, fields: Fields) -> Consent | None:
        """One item of an `erasure.executed`; returns its consent."""
        consent_id = hex_of(fields, "consent", 16)
        consent = self.by_id.get(consent_id)
        if consent is None:
            message = "erased, but the log holds no such consent"
            self._context.find(Kind.CONSENT_UNKNOWN, message, item=item, consent=consent_id)
            return None
        if fields.get("recipient") != consent.recipient:
            message = f"its recipient is {consent.recipient}"
            self._context.find(Kind.CONSENT_MISMATCH, message, item=item, consent=consent_id)
        if consent.state is State.ERASED:
            message = f"erased before, by entry {consent.ended_entry}"
            self._context.find(Kind.ILLEGAL_TRANSITION, message, item=item, consent=consent_id)
            return consent
        self._step(entry, consent, State.ERASED)
        return consent

    def _named(self, entry: Entry) -> Consent | None:
        """The consent that an entry is about, if the log holds it."""
        consent_id = hex_of(entry.fields, "consent", 16)
        consent = self.by_id.get(consent_id)
        find = self._context.find
        if consent is None:
            message = f"{_word(entry)}, but the log holds no such consent"
            find(Kind.CONSENT_UNKNOWN, message, consent=consent_id)
            return None
        if entry.fields.get("recipient") != consent.recipient:
            message = f"its recipient is {consent.recipient}"
            find(Kind.CONSENT_MISMATCH, message, consent=consent_id)
        if entry.fields.get("subject") != consent.subject:
            message = f"not the subject that entry {consent.entry} commits to"
            find(Kind.CONSENT_MISMATCH, message, consent=consent_id)
        if entry.actor.member and entry.actor.member != consent.recipient:
            message = f"{_word(entry)} by {entry.actor.member}, given to {consent.recipient}"
            find(Kind.CONSENT_MISMATCH, message, consent=consent_id)
        return consent

    def _step(self, entry: Entry, consent: Consent, after: State) -> None:
        consent.state = after
        consent.steps.append((entry.index, entry.time, entry.type))
        if after in ENDED and not consent.ended_at:
            consent.ended_at, consent.ended_entry = entry.time, entry.index
        self.live.refresh(consent, entry.time)

    def _check_policy(self, entry: Entry, consent: Consent) -> None:
        find = self._context.find
        if not consent.jurisdiction:
            self.without_jurisdiction += 1
            if self._newer_form:
                message = "names no jurisdiction, though consents before it do"
                find(Kind.OLDER_FORM, message, consent=consent.id)
            return
        self._newer_form = True
        if count_of(entry.fields, "policies") != self._policies.version:
            self.other_policies += 1
            return
        policy = self._policies.by_code.get(consent.jurisdiction)
        if policy is None:
            message = f"no jurisdiction is called {consent.jurisdiction!r}"
            find(Kind.CONSENT_AGAINST_POLICY, message, consent=consent.id)
            return
        consent.policy = policy
        purposes = consent.purposes.bit_count()
        for message in record_problems(
            policy, entry.fields, purposes, consent.starts_at, consent.expires_at
        ):
            find(Kind.CONSENT_AGAINST_POLICY, message, consent=consent.id)

    def _check_evidence(self, entry: Entry, consent: Consent) -> None:
        fields, find = entry.fields, self._context.find
        if "evidence_sha256" in fields:
            hex_of(fields, "evidence_sha256", 32)
        elif "evidence_jws_sha256" in fields:
            hex_of(fields, "evidence_jws_sha256", 32)
            signer, key = text_of(fields, "evidence_signer"), text_of(fields, "evidence_key")
            if signer != "subject":
                self._managers.check_signer(signer, key, consent.id)
        else:
            message = "no evidence: neither a document's hash nor a signature's"
            find(Kind.CONSENT_AGAINST_POLICY, message, consent=consent.id)

    def _check_delay(self, entry: Entry, consent: Consent) -> None:
        if "asked_at" not in entry.fields:
            return
        asked, find = moment_in(entry.fields, "asked_at"), self._context.find
        if asked > entry.time:
            find(Kind.MALFORMED, "asked_at: asked for after it was recorded", consent=consent.id)
            return
        policy = consent.policy
        if policy is None:
            return
        days = days_between(asked, entry.time)
        if days > policy.withdrawal_days:
            message = (
                f"recorded {days} days after the subject asked; {policy.code} allows "
                f"{policy.withdrawal_days}"
            )
            find(Kind.WITHDRAWAL_LATE, message, consent=consent.id)


class Managers:
    """Registered consent managers: id -> thumbprint of the key in force, empty once disabled."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._keys: dict[str, str] = {}

    def registered(self, entry: Entry) -> None:
        """`manager.registered`. Again with another key, it is a change of key."""
        self._keys[text_of(entry.fields, "manager")] = text_of(entry.fields, "key")

    def disabled(self, entry: Entry) -> None:
        """`manager.disabled`."""
        manager = text_of(entry.fields, "manager")
        if not self._keys.get(manager):
            message = f"{manager} is disabled, but was not registered"
            self._context.find(Kind.MANAGER_UNKNOWN, message)
        self._keys[manager] = ""

    def check_signer(self, signer: str, key: str, consent: str) -> None:
        """Evidence signed by a manager: with its key, while it was registered."""
        registered = self._key_of(signer)
        if not registered:
            message = f"evidence signed by {signer}, which is not registered"
            self._context.find(Kind.MANAGER_UNKNOWN, message, consent=consent)
        elif registered != key:
            message = f"evidence signed by {signer} with another key than the registered one"
            self._context.find(Kind.MANAGER_UNKNOWN, message, consent=consent)

    def check_revocation(self, entry: Entry, consent: str) -> None:
        """Who revoked: the recipient, the operator, or a registered manager."""
        by = text_of(entry.fields, "by")
        if by in ("recipient", "operator"):
            return
        if not self._key_of(by):
            message = f"revoked by {by}, which is not registered"
            self._context.find(Kind.MANAGER_UNKNOWN, message, consent=consent)

    def _key_of(self, name: str) -> str:
        kind, _, manager = name.partition(":")
        return self._keys.get(manager, "") if kind == "manager" else ""


def _consent(consent_id: str, entry: Entry) -> Consent:
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
        id=consent_id,
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


def _word(entry: Entry) -> str:
    return entry.type.rpartition(".")[2]
