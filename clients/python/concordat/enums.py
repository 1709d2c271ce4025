"""The contract's enumerations. Numbers equal those of concordat.v1; 0 is never a valid input."""

from enum import IntEnum

from concordat_privacy.catalogue.bands import DataCategory

__all__ = [
    "BatchState",
    "ConsentState",
    "Coverage",
    "DataCategory",
    "Dimension",
    "MemberState",
    "Purpose",
    "SignalStatus",
    "SubjectStatus",
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
    WITHDRAWN = 2
    EXPIRED = 3


class SubjectStatus(IntEnum):
    """Outcome of a lookup for one subject."""

    OK = 1
    """Consent held; each signal has its own status."""
    NO_CONSENT = 2
    """No live consent for this member and purpose, or no such subject. Not about credit."""


class SignalStatus(IntEnum):
    """State of one signal."""

    PRESENT = 1
    """The band holds."""
    NOT_FOUND = 2
    """Nobody contributed what the signal is computed from. Not negative."""
    SUPPRESSED = 3
    """Held back: it would tell who contributed, or too little data stands behind it."""
    STALE = 4
    """The band holds but is older than the signal's maximum age."""
    NO_CONSENT = 5
    """The consent does not cover the signal's category."""


class Coverage(IntEnum):
    """How much stands behind a subject's signals."""

    UNKNOWN = 0
    """Nothing was computed."""
    THIN = 1
    """One contributing member, or less than three months of history."""
    PARTIAL = 2
    """Two contributing members, or less than a year of history."""
    FULL = 3
    """Three or more members and at least a year of history."""


class Dimension(IntEnum):
    """What cohorts of an aggregate question are cut along."""

    PRODUCT = 1
    STATUS = 2
    DAYS_PAST_DUE = 3
    BALANCE = 4
    LIMIT = 5
    UTILISATION = 6


class BatchState(IntEnum):
    """State of a contributed batch."""

    ACCEPTED = 1
    """In the ledger, not yet visible to lookups."""
    PUBLISHED = 2
    """Visible to lookups."""


class MemberState(IntEnum):
    """State of a membership."""

    INVITED = 1
    ACTIVE = 2
    SUSPENDED = 3
