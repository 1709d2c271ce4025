"""The consents of a ledger, and whether their changes were legal."""

from collections.abc import Mapping
from typing import Final

from concordat_privacy.audit.consent import ENDED, Consent, State, consent_in
from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import (
    Entry,
    Fields,
    count_of,
    days_between,
    hex_of,
    moment_in,
    text_of,
)
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.live import LiveCount
from concordat_privacy.audit.policy import Policies, record_problems

# Change -> (states that allow it, state after it).
_CHANGES: Final[Mapping[str, tuple[frozenset[State], State]]] = {
    "consent.activated": (frozenset({State.REQUESTED}), State.ACTIVE),
    "consent.paused": (frozenset({State.ACTIVE}), State.PAUSED),
    "consent.resumed": (frozenset({State.PAUSED}), State.ACTIVE),
    "consent.withdrawn": (frozenset(State) - ENDED, State.WITHDRAWN),
    "consent.revoked": (frozenset(State) - ENDED, State.REVOKED),
}


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
        consent = consent_in(entry)
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


def _word(entry: Entry) -> str:
    return entry.type.rpartition(".")[2]
