"""The contract's enumerations. Numbers equal those of concordat.v1; 0 is never a valid input.

Those that computation needs too are defined with it, in concordat_privacy, and named here again.
"""

from enum import IntEnum

from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.signals import Coverage, SignalStatus
from concordat_privacy.dp.query import Dimension
from concordat_privacy.periods import TimeUnit

__all__ = [
    "AlarmKind",
    "BatchState",
    "ConsentState",
    "Coverage",
    "DataCategory",
    "Dimension",
    "DisputeOutcome",
    "DisputeReason",
    "ErasureState",
    "MemberState",
    "NoticeCause",
    "Purpose",
    "SignalStatus",
    "SubjectStatus",
    "TimeUnit",
    "UploadState",
    "UsageKind",
]


class Purpose(IntEnum):
    """What a consent allows its recipient to do. A new purpose is a new consent."""

    UNDERWRITING = 1
    CONTRIBUTION = 2
    PORTFOLIO_REVIEW = 3
    AGGREGATE_STATISTICS = 4
    MODEL_TRAINING = 5
    DISPUTE = 6


class ConsentState(IntEnum):
    """State of a consent when the reply was made."""

    ACTIVE = 1
    """Given; permits from its start to its expiry, see `Consent.permits_at`."""
    WITHDRAWN = 2
    """Ended by the subject."""
    EXPIRED = 3
    REQUESTED = 4
    """Asked for, not given yet."""
    PAUSED = 5
    """Permits nothing until it is resumed."""
    REVOKED = 6
    """Ended by another than the subject."""


class DisputeReason(IntEnum):
    """What is wrong, as the subject says."""

    NOT_MINE = 1
    INCORRECT = 2
    OUT_OF_DATE = 3
    OTHER = 4


class DisputeOutcome(IntEnum):
    """How a dispute ended, or what one member answered."""

    CORRECTED = 1
    DELETED = 2
    UPHELD = 3
    """What is held is right."""
    NOT_ON_FILE = 4
    """Nobody contributes such data. Never an answer."""


class NoticeCause(IntEnum):
    """Why the consent ended that a notice is about."""

    WITHDRAWN = 1
    """By the subject."""
    REVOKED = 2
    """By another."""
    ERASED = 3
    """With the subject."""


class SubjectStatus(IntEnum):
    """Outcome of a lookup for one subject."""

    OK = 1
    """Consent held; each signal has its own status."""
    NO_CONSENT = 2
    """No live consent for this member and purpose, or no such subject. Not about credit."""


class BatchState(IntEnum):
    """State of a contributed batch."""

    ACCEPTED = 1
    """In the ledger, not yet visible to lookups."""
    PUBLISHED = 2
    """Visible to lookups."""


class UploadState(IntEnum):
    """State of an upload."""

    OPEN = 1
    """Takes parts."""
    ABANDONED = 2
    """Not ended, and without a part for long (30 days, unless the operator says otherwise). The
    next part makes it open again."""
    COMPLETE = 3
    """Ended."""
    EXPIRED = 4
    """Ended or abandoned long ago (180 days, unless the operator says otherwise): nothing is taken
    or answered, and its refused rows are not listed."""


class MemberState(IntEnum):
    """State of a membership."""

    INVITED = 1
    ACTIVE = 2
    SUSPENDED = 3


class UsageKind(IntEnum):
    """What is counted of a member."""

    LOOKUPS = 1
    """Subjects looked up, refused ones included."""
    LOOKUPS_REFUSED = 2
    """Subjects whose lookup was refused for want of a consent."""
    EVALUATIONS = 3
    """Blinded elements passed on to the key-holder."""
    CONSENTS = 4
    """Consents recorded."""
    CARRIED = 5
    """Tokens of earlier epochs that the key-holders carried over."""


class ErasureState(IntEnum):
    """How far the erasure of a subject is."""

    REQUESTED = 1
    """The operator has not decided."""
    EXECUTED = 2
    """Nothing of the subject can be used or found any more; some store still has something to
    destroy."""
    ERASED = 3
    """Everything is destroyed."""
    REFUSED = 4
    """The request is not followed."""


class AlarmKind(IntEnum):
    """Patterns that guessing leaves in counts."""

    REFUSED_SHARE = 1
    """Most lookups of the day were refused: subjects are tried without consent."""
    UNUSED_TOKENS = 2
    """Far more tokens were made than consents recorded and lookups made: identifiers are
    enumerated."""
    LOOKUP_SURGE = 3
    """The day's lookups are far above the member's own past."""
    EVALUATION_SURGE = 4
    """The day's evaluations are far above the member's own past."""
    QUOTA_EXHAUSTED = 5
    """A quota was exhausted."""
    NOTICE_OVERDUE = 6
    """A notice was not acknowledged in time, or the deletion not confirmed."""
    DISPUTE_OVERDUE = 7
    """A dispute was not answered in time."""
