"""What callers get back. All frozen; times are in UTC."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

from concordat.enums import (
    AlarmKind,
    BatchState,
    ConsentState,
    Coverage,
    DataCategory,
    DisputeOutcome,
    DisputeReason,
    ErasureState,
    MemberState,
    NoticeCause,
    Purpose,
    SignalStatus,
    SubjectStatus,
    UsageKind,
)
from concordat.errors import NoConsent, ReceiptInvalid, UnknownSignal
from concordat.requests import ConsentId, RequestId
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint
from concordat_privacy.log.errors import LogError
from concordat_privacy.periods import Frequency, Period


@dataclass(frozen=True, slots=True)
class Receipt:
    """The gateway's signed word that an entry is in the ledger; keep it as evidence.

    The client has checked the signature, and that the entry is the calling member's and of the
    right kind; for lookups, questions, consents and contributions also that it carries this
    call's own request id, so that no older receipt can stand in for it. That the entry is in the
    tree is shown by `Client.verify_receipt`.
    """

    entry_index: int
    """Position in the ledger, from 0."""
    entry: bytes
    """The exact bytes, RFC 8785 JSON."""
    checkpoint: str
    """The signed checkpoint (C2SP signed note) of a tree that holds the entry."""

    @property
    def fields(self) -> dict[str, leaf.Json]:
        """The entry, parsed. Raises ReceiptInvalid for an entry not made by a gateway."""
        try:
            return leaf.check(self.entry)
        except LogError as error:
            raise ReceiptInvalid(f"the receipt's entry is malformed: {error}") from None


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A verified state of the ledger."""

    checkpoint: Checkpoint
    """Origin, size and root."""
    note: str
    """The signed text itself."""


@dataclass(frozen=True, slots=True)
class ItemRefusal:
    """Why one item was refused. The others are not affected."""

    item: int
    """Position in what was passed, from 0."""
    field: str
    """Path of the field at fault within the item."""
    reason: str
    """Stable upper-case word, e.g. NO_CONSENT: those of the contract's ItemRefusal, and WRONG_TYPE
    where the SDK itself refuses a value of another type than the field's, which it never sends."""
    description: str
    """Explanation for a person."""


@dataclass(frozen=True, slots=True)
class GrantedConsent:
    """One recorded consent."""

    item: int
    """Position in what was passed, from 0."""
    consent_id: ConsentId
    entry_index: int


@dataclass(frozen=True, slots=True)
class GrantResult:
    """What became of the consents passed to `grant_consents`."""

    request_id: RequestId
    """Pass it again with the same consents to repeat the call without recording them twice."""
    granted: tuple[GrantedConsent, ...]
    refused: tuple[ItemRefusal, ...]
    receipts: tuple[Receipt, ...]
    """One for each request of up to 1,000 consents of which any was recorded."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A recorded consent of the calling member."""

    consent_id: ConsentId
    purposes: frozenset[Purpose]
    categories: frozenset[DataCategory]
    starts_at: datetime
    """Before it the consent permits nothing, whatever its state."""
    expires_at: datetime
    notice_version: str
    evidence_sha256: bytes | None
    """None where the evidence is a JWS, and until there is any."""
    state: ConsentState
    """When the reply was made."""
    granted_at: datetime
    """When it was recorded, given or only asked for."""
    withdrawn_at: datetime | None
    grant_entry_index: int
    notice_sha256: bytes | None = None
    language: str | None = None
    withdrawal_method: str | None = None
    jurisdiction: str | None = None
    """None for consents that were recorded before there were policies."""
    policies: int = 0
    """Version of the policies that it was checked against; 0 as above."""
    data_life: Period | None = None
    frequency: Frequency | None = None
    evidence_jws: str | None = None
    evidence_signer: str | None = None
    """"subject" or "manager:<id>"."""
    evidence_key: bytes | None = None
    """RFC 7638 thumbprint (SHA-256) of the key that signed."""
    evidence_subject: bytes | None = None
    """Binding of the signed terms to the subject, see docs/consents.md."""
    requested_at: datetime | None = None
    activated_at: datetime | None = None
    """When the subject had given it; None while it is only requested."""
    paused_at: datetime | None = None
    """None unless it is paused."""
    resumed_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    """"recipient", "operator" or "manager:<id>"."""
    reason: str | None = None
    """Why it is paused or was revoked."""
    asked_at: datetime | None = None
    """When the subject asked for the withdrawal, as far as it was told."""

    def permits_at(self, moment: datetime) -> bool:
        """Whether it permits its purposes at a moment, if nothing changes after the reply."""
        return self.state is ConsentState.ACTIVE and self.starts_at <= moment < self.expires_at


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What became of the consents passed to `request_consents`."""

    request_id: RequestId
    """Pass it again with the same consents to repeat the call without recording them twice."""
    requested: tuple[GrantedConsent, ...]
    refused: tuple[ItemRefusal, ...]
    receipts: tuple[Receipt, ...]
    """One for each request of up to 1,000 consents of which any was recorded."""


@dataclass(frozen=True, slots=True)
class ConsentChange:
    """A consent after it was activated, paused, resumed or revoked."""

    consent: Consent
    receipt: Receipt | None
    """None if the consent was in that state before: nothing changed, nothing was recorded."""


@dataclass(frozen=True, slots=True)
class ConsentManager:
    """Somebody whose signatures are evidence of consents."""

    manager_id: str
    """The `kid` of its signatures."""
    name: str
    jwk: str
    """Its public key, as JSON."""
    key: bytes
    """RFC 7638 thumbprint (SHA-256) of the key."""
    registered_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class ConsentManagerChange:
    """A registered or disabled consent manager."""

    manager: ConsentManager
    receipt: Receipt | None
    """None if nothing changed."""


@dataclass(frozen=True, slots=True)
class Dispute:
    """A subject's word that what is held about it is wrong, as the caller may see it."""

    dispute_id: bytes
    category: DataCategory
    reason: DisputeReason
    opened_at: datetime
    answer_by: datetime
    resolved_at: datetime | None
    outcome: DisputeOutcome | None
    """None while it is open; to a member that is to answer, its own answer."""
    to_answer: bool
    """Whether the calling member is to answer it and has not."""
    statement_sha256: bytes
    consent_ids: tuple[ConsentId, ...]
    """To a member that is to answer: its own consents, by which it knows whom it is about."""


@dataclass(frozen=True, slots=True)
class DisputeChange:
    """A dispute after it was opened, answered or extended."""

    dispute: Dispute
    receipt: Receipt | None
    """None if nothing changed."""


@dataclass(frozen=True, slots=True)
class Notice:
    """That a consent has ended: to be acknowledged, and what was learned under it deleted."""

    notice_id: bytes
    consent_id: ConsentId
    recipient: str
    cause: NoticeCause
    issued_at: datetime
    acknowledge_by: datetime
    delete_by: datetime
    acknowledged_at: datetime | None
    deleted_at: datetime | None
    """As the recipient said."""
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class NoticeChange:
    """A notice after it was acknowledged, or its deletion confirmed."""

    notice: Notice
    receipt: Receipt | None
    """None if that was so before: nothing changed, nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A consent after its withdrawal."""

    consent: Consent
    receipt: Receipt | None
    """None if the consent was withdrawn before: nothing changed, nothing was recorded."""


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """One batch of a contribution."""

    request_id: RequestId
    """Names the batch, see `Client.get_batch`."""
    first_row: int
    """Number of its first row, from 0."""
    rows_accepted: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class ContributionResult:
    """What became of the rows passed to `contribute`."""

    request_id: RequestId
    """Pass it again with the same rows to go on after a failure: batches that were taken are
    answered from the record."""
    rows_accepted: int
    refused: tuple[ItemRefusal, ...]
    """In order of row; `item` is the row's number, from 0."""
    batches: tuple[BatchReceipt, ...]


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """What became of one batch."""

    state: BatchState
    rows_accepted: int
    rows_refused: int
    entry_index: int
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal about a subject."""

    name: str
    status: SignalStatus
    """PRESENT: the band holds. STALE: it holds but is older than the signal's maximum age.
    NOT_FOUND: nobody contributed what the signal is computed from; not negative. SUPPRESSED: too
    little history stands behind a spending pattern. NO_CONSENT: the consent does not cover the
    signal's category."""
    band: int
    """Band number within the signal; 0 where the status has no band."""
    band_label: str
    """The band in words, e.g. "3-4"; empty where the status has no band."""
    as_of: date | None
    """First day of the newest month behind it; None where the status has no band."""
    coverage: Coverage
    """What stands behind the signal's category. THIN: one contributing member, or less than three
    months of history. PARTIAL: two, or less than a year. FULL: three or more and at least a year.
    UNSPECIFIED: nothing was computed."""

    @property
    def has_band(self) -> bool:
        """Whether `band` says anything."""
        return self.status in (SignalStatus.PRESENT, SignalStatus.STALE)


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The answer about one subject. There is one only if the gateway answered.

    Read a signal with `result["lenders_open"]`. Where there is no consent, reading any raises
    NoConsent, so that a missing consent cannot be taken for an empty history.
    """

    status: SubjectStatus
    purpose: Purpose
    receipt: Receipt
    """The ledger entry of this lookup, or of its refusal. Subjects of one batch share it."""
    _signals: tuple[Signal, ...] = field(repr=False)

    @property
    def signals(self) -> tuple[Signal, ...]:
        """All signals, in the catalogue's order. Raises NoConsent."""
        if self.status is SubjectStatus.NO_CONSENT:
            raise NoConsent(
                "there is no live consent of this subject for this member and purpose "
                f"{self.purpose.name}, or no such subject; this says nothing about the subject's "
                "credit",
                operation="lookup",
            )
        return self._signals

    def __getitem__(self, name: str) -> Signal:
        """The signal of that name. Raises NoConsent, UnknownSignal."""
        for signal in self.signals:
            if signal.name == name:
                return signal
        known = ", ".join(signal.name for signal in self._signals)
        raise UnknownSignal(f"no signal {name!r} in this result (it has: {known})")

    def __iter__(self) -> Iterator[Signal]:
        """The signals. Raises NoConsent."""
        return iter(self.signals)

    def __contains__(self, name: object) -> bool:
        """Whether there is a signal of that name. Raises NoConsent."""
        return any(signal.name == name for signal in self.signals)


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """One signal that the gateway releases."""

    name: str
    band_labels: tuple[str, ...]
    """The label of band b stands at position b - 1."""
    category: DataCategory
    """What a consent must cover."""
    max_age_months: int
    """Age after which the signal is STALE."""
    reason_en: str
    """Reason for an adverse action notice, English."""
    reason_zh: str
    """The same in Chinese."""


@dataclass(frozen=True, slots=True)
class SignalCatalogue:
    """All signals that the gateway releases."""

    version: int
    signals: tuple[SignalInfo, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of an aggregate answer."""

    band: int
    """Band number within the grouping dimension; 0 for a plain count."""
    band_label: str
    count: int
    """Noisy number of persons; can be negative."""


@dataclass(frozen=True, slots=True)
class CountResult:
    """A differentially private answer."""

    cells: tuple[Cell, ...]
    """In order of band; exactly one for a plain count."""
    error_95: int
    """Half-width of the interval that holds a cell's bounded count with probability >= 95 %.

    Bounded: each person in at most `cells_per_person` cells. With `group_by` a person who has more
    is left out of the rest, so a cell's true count can be higher; without it the two are equal.
    """
    mechanism: str
    charged_rho: float
    """What this call was charged, in rho of zCDP; 0 for a repeated question."""
    snapshot: int
    """The pool's snapshot that was asked."""
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Budget:
    """A privacy budget in zero-concentrated differential privacy (Bun and Steinke 2016)."""

    scope: str
    """"pool" or "member:<member id>"."""
    cap_rho: float
    spent_rho: float
    spent_epsilon: float
    """Epsilon that the spent rho implies at delta = 1e-6, rounded up."""

    @property
    def left_rho(self) -> float:
        """What may still be spent."""
        return max(0.0, self.cap_rho - self.spent_rho)


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """A receipt whose entry was shown to be in the ledger."""

    entry_index: int
    fields: dict[str, leaf.Json]
    """The entry, parsed."""
    checkpoint: SignedCheckpoint
    """The ledger's newest state, which holds the entry and extends what was seen before."""


@dataclass(frozen=True, slots=True)
class LedgerTimestamp:
    """A time-stamping authority's answer (RFC 3161) about one checkpoint, not verified."""

    size: int
    """Of the checkpoint's tree."""
    response: bytes
    """TimeStampResp in DER, see `concordat_privacy.log.timestamp.verify_timestamp`."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One exported entry."""

    index: int
    entry: bytes
    items: tuple[bytes, ...]
    """The entry's items as canonical JSON, in order; empty for entries without items."""
    checkpoint: SignedCheckpoint
    """The signed state of the exported tree, the same for all entries of an export."""


@dataclass(frozen=True, slots=True)
class TokenKeyInfo:
    """A token key epoch, as the verified key log says."""

    epoch: int
    public_key: bytes
    valid_from: datetime
    valid_to: datetime | None
    """The epoch's last moment, exclusive; None while no end has been set."""
    pinned: bool
    """Whether the key log in the profile has this key; else a later log that extends it."""
    threshold: int
    """How many key-holders answer together; 1 where the key is whole."""
    holders: int
    """How many key-holders have a share of the key; 0 where it is whole."""


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


@dataclass(frozen=True, slots=True)
class Member:
    """A member institution."""

    member_id: str
    display_name: str
    state: MemberState
    invited_at: datetime
    joined_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvitedMember:
    """An invitation."""

    member: Member
    certificate_pem: bytes
    """Chain of the invitation's certificate, which opens `accept_invitation` once."""
    expires_at: datetime
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class JoinedMember:
    """An accepted invitation."""

    member: Member
    certificate_pem: bytes
    """Chain of the member's certificate."""
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """A suspended or reinstated member."""

    member: Member
    receipt: Receipt | None
    """None if the member was in that state before."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A request to erase a subject, and what became of it."""

    erasure_id: bytes
    member_id: str
    """The member that passed the request on."""
    ground: str
    """Why the subject may ask for it, as the member says."""
    state: ErasureState
    requested_at: datetime
    decided_at: datetime | None
    erased_at: datetime | None
    """When the last store held nothing any more."""
    basis: str | None
    """Why it was executed or refused."""
    rows: int
    """Rows of signals that were held when it was executed; 0 to members."""
    consents: int
    """Consents that it ended; 0 to members."""


@dataclass(frozen=True, slots=True)
class ErasureChange:
    """An erasure after a step; `receipt` is None where it had been taken before."""

    erasure: Erasure
    receipt: Receipt | None


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """Finds a subject's consents in the ledger, see `concordat_privacy.log.subjects`."""

    key: bytes = field(repr=False)
    consents: int
    """How many there are: numbers 0 to consents - 1."""


@dataclass(frozen=True, slots=True)
class AskingKey:
    """Finds what was asked about a subject while the stores named it in one epoch."""

    epoch: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedSubject:
    """One subject's keys. Who has them finds everything about the subject in the ledger."""

    ledger: str
    """Origin of the ledger."""
    evidence_keys: tuple[EvidenceKey, ...]
    asking_keys: tuple[AskingKey, ...]
    receipt: Receipt
    """Of the entry that records the opening."""

    def keys_file(self) -> str:
        """The text of a subject's key file, as `concordat audit person --subject` reads it."""
        content = {
            "ledger": self.ledger,
            "evidence_keys": [
                {"key": one.key.hex(), "consents": one.consents} for one in self.evidence_keys
            ],
            "asking_keys": [{"epoch": one.epoch, "key": one.key.hex()} for one in self.asking_keys],
        }
        return json.dumps(content, indent=2) + "\n"
