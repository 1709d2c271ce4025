"""What callers get back, one file a service. All frozen; times are in UTC."""

from concordat.results.aggregates import Budget, Cell, CountResult
from concordat.results.audits import AskingKey, EvidenceKey, OpenedSubject
from concordat.results.consents import (
    Consent,
    ConsentChange,
    GrantedConsent,
    GrantResult,
    RequestResult,
    Withdrawal,
)
from concordat.results.contributions import (
    BatchReceipt,
    BatchStatus,
    ContributionResult,
    RowWithdrawalResult,
)
from concordat.results.disputes import Dispute, DisputeChange
from concordat.results.erasures import Erasure, ErasureChange
from concordat.results.items import ItemRefusal
from concordat.results.ledger import (
    LedgerEntry,
    LedgerTimestamp,
    Receipt,
    SignedCheckpoint,
    VerifiedReceipt,
)
from concordat.results.lookups import LookupResult, Signal, SignalCatalogue, SignalInfo
from concordat.results.managers import ConsentManager, ConsentManagerChange
from concordat.results.members import InvitedMember, JoinedMember, Member, MembershipChange
from concordat.results.notices import Notice, NoticeChange
from concordat.results.tokens import TokenKeyInfo
from concordat.results.uploads import RefusedRow, UploadedPart, UploadStatus
from concordat.results.usage import Alarm, MemberUsage, Usage

__all__ = [
    "Alarm",
    "AskingKey",
    "BatchReceipt",
    "BatchStatus",
    "Budget",
    "Cell",
    "Consent",
    "ConsentChange",
    "ConsentManager",
    "ConsentManagerChange",
    "ContributionResult",
    "CountResult",
    "Dispute",
    "DisputeChange",
    "Erasure",
    "ErasureChange",
    "EvidenceKey",
    "GrantResult",
    "GrantedConsent",
    "InvitedMember",
    "ItemRefusal",
    "JoinedMember",
    "LedgerEntry",
    "LedgerTimestamp",
    "LookupResult",
    "Member",
    "MemberUsage",
    "MembershipChange",
    "Notice",
    "NoticeChange",
    "OpenedSubject",
    "Receipt",
    "RefusedRow",
    "RequestResult",
    "RowWithdrawalResult",
    "Signal",
    "SignalCatalogue",
    "SignalInfo",
    "SignedCheckpoint",
    "TokenKeyInfo",
    "UploadStatus",
    "UploadedPart",
    "Usage",
    "VerifiedReceipt",
    "Withdrawal",
]
