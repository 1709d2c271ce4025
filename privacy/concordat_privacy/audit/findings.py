"""What an audit finds: each finding has a kind, a place in the log, and words for people."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_FINDINGS: Final = 10_000
"""Kept word for word; all are counted. So a log that breaks every rule still fits in memory."""


class Severity(Enum):
    """How much a finding says."""

    VIOLATION = "violation"
    """The entries contradict each other, or a rule that binds the consortium."""
    WARNING = "warning"
    """Somebody should look: the log alone does not decide whether a rule was broken."""


class Kind(Enum):
    """What sort of thing was found. The values are stable: programs may rely on them."""

    USE_WITHOUT_CONSENT = "use_without_consent"
    """A use names no consent, or one that the log does not hold."""
    USE_BY_ANOTHER = "use_by_another"
    """The consent was given to another recipient than the member who used it."""
    USE_NOT_LIVE = "use_not_live"
    """The consent was not in force: not begun, expired, requested only, paused or ended."""
    USE_BEYOND_PURPOSE = "use_beyond_purpose"
    """The consent does not cover the purpose of the use."""
    USE_BEYOND_CATEGORY = "use_beyond_category"
    """The consent does not cover a category of data that was used."""
    USE_BEYOND_FREQUENCY = "use_beyond_frequency"
    """More uses in a calendar unit than the consent allows."""
    REFUSAL_NAMES_CONSENT = "refusal_names_consent"
    """A refused lookup names a consent: it was no refusal, or the wrong one."""
    WITHHELD_UNFOUNDED = "withheld_unfounded"
    """An answer is said to have been kept back that never was permitted, or whose consents hold."""
    ROWS_MISCOUNTED = "rows_miscounted"
    """A batch's items do not add up to the rows that its entry counts."""
    REPLACED_UNKNOWN = "replaced_unknown"
    """A correction or withdrawal names a row that no earlier batch holds."""
    REPLACED_BY_ANOTHER = "replaced_by_another"
    """A correction or withdrawal names a row of another member."""
    REPLACED_TWICE = "replaced_twice"
    """A correction or withdrawal names a row that was replaced or withdrawn before."""
    UPLOAD_OUT_OF_ORDER = "upload_out_of_order"
    """A part of an upload that is not the next one: one is missing, or came again or too late."""
    UPLOAD_AFTER_END = "upload_after_end"
    """A part, or another end, of an upload that had ended."""
    UPLOAD_MISCOUNTED = "upload_miscounted"
    """The end of an upload counts other parts or rows than its parts' entries."""
    ADVERSE_WITHOUT_NOTICE = "adverse_without_notice"
    """Adverse rows without the prior notice that the consents' jurisdiction demands."""
    AGGREGATE_WITHOUT_BASIS = "aggregate_without_basis"
    """A question about the pool that does not rest on consents to contribute and to be counted."""
    BUDGET_INCONSISTENT = "budget_inconsistent"
    """Charges of privacy budget that contradict each other."""
    ILLEGAL_TRANSITION = "illegal_transition"
    """A consent changed in a way that its state does not allow, such as withdrawn twice."""
    CONSENT_UNKNOWN = "consent_unknown"
    """A change of a consent that the log does not hold."""
    CONSENT_MISMATCH = "consent_mismatch"
    """A change that names another recipient or subject than the consent, or another actor."""
    CONSENT_AGAINST_POLICY = "consent_against_policy"
    """The record lacks what its jurisdiction asks for, or allows more than that permits."""
    WITHDRAWAL_LATE = "withdrawal_late"
    """Recorded later after the subject asked than the jurisdiction allows."""
    NOTICE_MISSING = "notice_missing"
    """A consent ended by withdrawal, revocation or erasure without a notice to the recipient."""
    NOTICE_AGAINST_POLICY = "notice_against_policy"
    """A notice gives the recipient longer than the jurisdiction allows."""
    NOTICE_INCONSISTENT = "notice_inconsistent"
    """An acknowledgement, receipt or alarm that fits no notice, or comes twice."""
    ACKNOWLEDGEMENT_LATE = "acknowledgement_late"
    """The recipient acknowledged a notice too late, or has not though it was due."""
    DELETION_LATE = "deletion_late"
    """The recipient confirmed deletion too late, or has not though it was due."""
    DISPUTE_INCONSISTENT = "dispute_inconsistent"
    """A step of a dispute that its state does not allow, or an alarm without a reason."""
    DISPUTE_AGAINST_POLICY = "dispute_against_policy"
    """A dispute's deadline is later than the jurisdiction allows."""
    DISPUTE_LATE = "dispute_late"
    """A dispute was answered or resolved after its deadline, or is open past it."""
    ERASURE_INCONSISTENT = "erasure_inconsistent"
    """A step of an erasure that its state does not allow, or one that names a wrong consent."""
    ERASURE_LATE = "erasure_late"
    """An erasure asked for was neither executed nor refused in time."""
    RETENTION_LATE = "retention_late"
    """Data were deleted later than the jurisdiction's retention period ends."""
    MEMBER_UNKNOWN = "member_unknown"
    """A member acted, or is named, that has not joined."""
    MEMBER_SUSPENDED = "member_suspended"
    """A suspended member used data or recorded a consent."""
    MEMBER_INCONSISTENT = "member_inconsistent"
    """A membership changed in a way that its state does not allow."""
    WRONG_ACTOR = "wrong_actor"
    """An entry's actor cannot cause entries of its type."""
    QUOTA_EXCEEDED = "quota_exceeded"
    """A member looked up more than the quota that the log sets for it."""
    MANAGER_UNKNOWN = "manager_unknown"
    """A consent manager acted, or signed, that is not registered, or with another key."""
    KEY_INCONSISTENT = "key_inconsistent"
    """Key epochs adopted, retired or rotated in an order that is impossible."""
    UNKNOWN_TYPE = "unknown_type"
    """An entry of a type that this audit does not know: what it did was not checked."""
    MALFORMED = "malformed"
    """A field is missing, or has a value that it cannot have."""
    OLDER_FORM = "older_form"
    """An entry that cannot be re-checked, though entries of its type before it could be."""
    PERSON_CONSENT_MISSING = "person_consent_missing"
    """A consent of the person, by its key, that the log does not hold."""
    PERSON_CONSENT_TWICE = "person_consent_twice"
    """One of the person's consents is recorded more than once."""
    PERSON_CONSENT_BEYOND = "person_consent_beyond"
    """The log holds more consents of the person than its keys were said to have."""
    PERSON_USE_UNLINKED = "person_use_unlinked"
    """A lookup permitted by the person's consent that none of its asking keys finds."""
    PERSON_USE_UNDER_ANOTHER = "person_use_under_another"
    """A permitted lookup of the person under a consent that is not the person's."""
    PERSON_ERASURE_INCOMPLETE = "person_erasure_incomplete"
    """The person was erased, but one of its consents did not end with it."""

    @property
    def severity(self) -> Severity:
        """Warnings are what the log alone cannot decide."""
        return Severity.WARNING if self in _WARNINGS else Severity.VIOLATION


_WARNINGS: Final = frozenset(
    {Kind.BUDGET_INCONSISTENT, Kind.ERASURE_LATE, Kind.OLDER_FORM, Kind.RETENTION_LATE}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. `entry` is an index in the log, `item` a position in its items."""

    kind: Kind
    message: str
    entry: int | None = None
    item: int | None = None
    consent: str = ""
    """Consent id, hexadecimal."""
    member: str = ""

    @property
    def severity(self) -> Severity:
        """That of its kind."""
        return self.kind.severity

    def __str__(self) -> str:
        place = [] if self.entry is None else [f"entry {self.entry}"]
        place += [] if self.item is None else [f"item {self.item}"]
        return f"{' '.join(place) or 'as a whole'}: {self.kind.value}: {self.message}"


class Findings:
    """The findings of one audit, in the order in which they were made."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[Kind] = Counter()

    @property
    def complete(self) -> bool:
        """Whether all findings were kept."""
        return self.counts.total() == len(self.kept)

    def add(
        self,
        kind: Kind,
        message: str,
        entry: int | None = None,
        item: int | None = None,
        consent: str = "",
        member: str = "",
    ) -> None:
        """Count a finding, and keep it unless there are too many."""
        self.counts[kind] += 1
        if len(self.kept) < MAX_FINDINGS:
            self.kept.append(Finding(kind, message, entry, item, consent, member))
