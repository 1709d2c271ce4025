"""The RPCs that the SDK uses."""

from concordat._steps import Flow, Method, Repeat
from concordat.v1 import (
    aggregate_pb2,
    audit_pb2,
    consent_pb2,
    contribution_pb2,
    dispute_pb2,
    erasure_pb2,
    ledger_pb2,
    member_pb2,
    notice_pb2,
    signal_pb2,
    token_pb2,
    usage_pb2,
)

LIST_TOKEN_KEYS = Method(
    "TokenService",
    "ListTokenKeys",
    token_pb2.ListTokenKeysRequest,
    token_pb2.ListTokenKeysResponse,
    Repeat.SAFE,
)
# Safe to repeat: the key-holder knows the nonce again and charges the batch once.
EVALUATE = Method(
    "TokenService",
    "Evaluate",
    token_pb2.EvaluateRequest,
    token_pb2.EvaluateResponse,
    Repeat.SAFE,
)

GRANT_CONSENTS = Method(
    "ConsentService",
    "GrantConsents",
    consent_pb2.GrantConsentsRequest,
    consent_pb2.GrantConsentsResponse,
    Repeat.SAFE,
)
REQUEST_CONSENTS = Method(
    "ConsentService",
    "RequestConsents",
    consent_pb2.RequestConsentsRequest,
    consent_pb2.RequestConsentsResponse,
    Repeat.SAFE,
)
# A change to the state that a consent is in changes nothing.
ACTIVATE_CONSENT = Method(
    "ConsentService",
    "ActivateConsent",
    consent_pb2.ActivateConsentRequest,
    consent_pb2.ActivateConsentResponse,
    Repeat.SAFE,
)
PAUSE_CONSENT = Method(
    "ConsentService",
    "PauseConsent",
    consent_pb2.PauseConsentRequest,
    consent_pb2.PauseConsentResponse,
    Repeat.SAFE,
)
RESUME_CONSENT = Method(
    "ConsentService",
    "ResumeConsent",
    consent_pb2.ResumeConsentRequest,
    consent_pb2.ResumeConsentResponse,
    Repeat.SAFE,
)
REVOKE_CONSENT = Method(
    "ConsentService",
    "RevokeConsent",
    consent_pb2.RevokeConsentRequest,
    consent_pb2.RevokeConsentResponse,
    Repeat.SAFE,
)
WITHDRAW_CONSENT = Method(
    "ConsentService",
    "WithdrawConsent",
    consent_pb2.WithdrawConsentRequest,
    consent_pb2.WithdrawConsentResponse,
    Repeat.SAFE,
)
GET_CONSENT = Method(
    "ConsentService",
    "GetConsent",
    consent_pb2.GetConsentRequest,
    consent_pb2.GetConsentResponse,
    Repeat.SAFE,
)
LIST_CONSENTS = Method(
    "ConsentService",
    "ListConsents",
    consent_pb2.ListConsentsRequest,
    consent_pb2.ListConsentsResponse,
    Repeat.SAFE,
)
REGISTER_CONSENT_MANAGER = Method(
    "ConsentService",
    "RegisterConsentManager",
    consent_pb2.RegisterConsentManagerRequest,
    consent_pb2.RegisterConsentManagerResponse,
    Repeat.SAFE,
)
DISABLE_CONSENT_MANAGER = Method(
    "ConsentService",
    "DisableConsentManager",
    consent_pb2.DisableConsentManagerRequest,
    consent_pb2.DisableConsentManagerResponse,
    Repeat.SAFE,
)
LIST_CONSENT_MANAGERS = Method(
    "ConsentService",
    "ListConsentManagers",
    consent_pb2.ListConsentManagersRequest,
    consent_pb2.ListConsentManagersResponse,
    Repeat.SAFE,
)

CONTRIBUTE = Method(
    "ContributionService",
    "Contribute",
    contribution_pb2.ContributeRequest,
    contribution_pb2.ContributeResponse,
    Repeat.SAFE,
    Flow.UPLOAD,
)
GET_BATCH = Method(
    "ContributionService",
    "GetBatch",
    contribution_pb2.GetBatchRequest,
    contribution_pb2.GetBatchResponse,
    Repeat.SAFE,
)
WITHDRAW_ROWS = Method(
    "ContributionService",
    "WithdrawRows",
    contribution_pb2.WithdrawRowsRequest,
    contribution_pb2.WithdrawRowsResponse,
    Repeat.SAFE,
)
# Safe to repeat: a part is taken once, however often it arrives.
CONTRIBUTE_STREAM = Method(
    "ContributionService",
    "ContributeStream",
    contribution_pb2.ContributeStreamRequest,
    contribution_pb2.ContributeStreamResponse,
    Repeat.SAFE,
    Flow.CONVERSATION,
)
GET_UPLOAD = Method(
    "ContributionService",
    "GetUpload",
    contribution_pb2.GetUploadRequest,
    contribution_pb2.GetUploadResponse,
    Repeat.SAFE,
)
LIST_REFUSED_ROWS = Method(
    "ContributionService",
    "ListRefusedRows",
    contribution_pb2.ListRefusedRowsRequest,
    contribution_pb2.ListRefusedRowsResponse,
    Repeat.SAFE,
)

LOOKUP = Method(
    "SignalService",
    "Lookup",
    signal_pb2.LookupRequest,
    signal_pb2.LookupResponse,
    Repeat.RECORDED,
)
BATCH_LOOKUP = Method(
    "SignalService",
    "BatchLookup",
    signal_pb2.BatchLookupRequest,
    signal_pb2.BatchLookupResponse,
    Repeat.RECORDED,
)
REVIEW_PORTFOLIO = Method(
    "SignalService",
    "ReviewPortfolio",
    signal_pb2.ReviewPortfolioRequest,
    signal_pb2.ReviewPortfolioResponse,
    Repeat.RECORDED,
    Flow.CONVERSATION,
)
LIST_SIGNALS = Method(
    "SignalService",
    "ListSignals",
    signal_pb2.ListSignalsRequest,
    signal_pb2.ListSignalsResponse,
    Repeat.SAFE,
)

COUNT = Method(
    "AggregateService",
    "Count",
    aggregate_pb2.CountRequest,
    aggregate_pb2.CountResponse,
    Repeat.CHARGED,
)
GET_BUDGET = Method(
    "AggregateService",
    "GetBudget",
    aggregate_pb2.GetBudgetRequest,
    aggregate_pb2.GetBudgetResponse,
    Repeat.SAFE,
)

ADD_COSIGNATURE = Method(
    "LedgerService",
    "AddCosignature",
    ledger_pb2.AddCosignatureRequest,
    ledger_pb2.AddCosignatureResponse,
    Repeat.SAFE,
)

LIST_TIMESTAMPS = Method(
    "LedgerService",
    "ListTimestamps",
    ledger_pb2.ListTimestampsRequest,
    ledger_pb2.ListTimestampsResponse,
    Repeat.SAFE,
)

GET_COSIGNED_CHECKPOINT = Method(
    "LedgerService",
    "GetCosignedCheckpoint",
    ledger_pb2.GetCosignedCheckpointRequest,
    ledger_pb2.GetCosignedCheckpointResponse,
    Repeat.SAFE,
)

GET_CHECKPOINT = Method(
    "LedgerService",
    "GetCheckpoint",
    ledger_pb2.GetCheckpointRequest,
    ledger_pb2.GetCheckpointResponse,
    Repeat.SAFE,
)
GET_INCLUSION_PROOF = Method(
    "LedgerService",
    "GetInclusionProof",
    ledger_pb2.GetInclusionProofRequest,
    ledger_pb2.GetInclusionProofResponse,
    Repeat.SAFE,
)
GET_CONSISTENCY_PROOF = Method(
    "LedgerService",
    "GetConsistencyProof",
    ledger_pb2.GetConsistencyProofRequest,
    ledger_pb2.GetConsistencyProofResponse,
    Repeat.SAFE,
)
EXPORT_ENTRIES = Method(
    "LedgerService",
    "ExportEntries",
    ledger_pb2.ExportEntriesRequest,
    ledger_pb2.ExportEntriesResponse,
    Repeat.SAFE,
    Flow.DOWNLOAD,
)

INVITE_MEMBER = Method(
    "MembershipService",
    "InviteMember",
    member_pb2.InviteMemberRequest,
    member_pb2.InviteMemberResponse,
    Repeat.SAFE,
)
ACCEPT_INVITATION = Method(
    "MembershipService",
    "AcceptInvitation",
    member_pb2.AcceptInvitationRequest,
    member_pb2.AcceptInvitationResponse,
    Repeat.SAFE,
)
# Suspending a suspended member changes nothing, nor does reinstating an active one.
SUSPEND_MEMBER = Method(
    "MembershipService",
    "SuspendMember",
    member_pb2.SuspendMemberRequest,
    member_pb2.SuspendMemberResponse,
    Repeat.SAFE,
)
REINSTATE_MEMBER = Method(
    "MembershipService",
    "ReinstateMember",
    member_pb2.ReinstateMemberRequest,
    member_pb2.ReinstateMemberResponse,
    Repeat.SAFE,
)
LIST_MEMBERS = Method(
    "MembershipService",
    "ListMembers",
    member_pb2.ListMembersRequest,
    member_pb2.ListMembersResponse,
    Repeat.SAFE,
)

LIST_USAGE = Method(
    "UsageService",
    "ListUsage",
    usage_pb2.ListUsageRequest,
    usage_pb2.ListUsageResponse,
    Repeat.SAFE,
)
SET_LOOKUP_QUOTA = Method(
    "UsageService",
    "SetLookupQuota",
    usage_pb2.SetLookupQuotaRequest,
    usage_pb2.SetLookupQuotaResponse,
    Repeat.SAFE,
)

LIST_NOTICES = Method(
    "NoticeService",
    "ListNotices",
    notice_pb2.ListNoticesRequest,
    notice_pb2.ListNoticesResponse,
    Repeat.SAFE,
)
ACKNOWLEDGE_NOTICE = Method(
    "NoticeService",
    "AcknowledgeNotice",
    notice_pb2.AcknowledgeNoticeRequest,
    notice_pb2.AcknowledgeNoticeResponse,
    Repeat.SAFE,
)
CONFIRM_DELETION = Method(
    "NoticeService",
    "ConfirmDeletion",
    notice_pb2.ConfirmDeletionRequest,
    notice_pb2.ConfirmDeletionResponse,
    Repeat.SAFE,
)
REQUEST_ERASURE = Method(
    "ErasureService",
    "RequestErasure",
    erasure_pb2.RequestErasureRequest,
    erasure_pb2.RequestErasureResponse,
    Repeat.SAFE,
)
LIST_ERASURES = Method(
    "ErasureService",
    "ListErasures",
    erasure_pb2.ListErasuresRequest,
    erasure_pb2.ListErasuresResponse,
    Repeat.SAFE,
)
# A decision that was made already changes nothing.
EXECUTE_ERASURE = Method(
    "ErasureService",
    "ExecuteErasure",
    erasure_pb2.ExecuteErasureRequest,
    erasure_pb2.ExecuteErasureResponse,
    Repeat.SAFE,
)
REFUSE_ERASURE = Method(
    "ErasureService",
    "RefuseErasure",
    erasure_pb2.RefuseErasureRequest,
    erasure_pb2.RefuseErasureResponse,
    Repeat.SAFE,
)

# An opening that is asked for again is recorded again.
OPEN_SUBJECT = Method(
    "AuditService",
    "OpenSubject",
    audit_pb2.OpenSubjectRequest,
    audit_pb2.OpenSubjectResponse,
    Repeat.SAFE,
)

OPEN_DISPUTE = Method(
    "DisputeService",
    "OpenDispute",
    dispute_pb2.OpenDisputeRequest,
    dispute_pb2.OpenDisputeResponse,
    Repeat.SAFE,
)

LIST_DISPUTES = Method(
    "DisputeService",
    "ListDisputes",
    dispute_pb2.ListDisputesRequest,
    dispute_pb2.ListDisputesResponse,
    Repeat.SAFE,
)

ANSWER_DISPUTE = Method(
    "DisputeService",
    "AnswerDispute",
    dispute_pb2.AnswerDisputeRequest,
    dispute_pb2.AnswerDisputeResponse,
    Repeat.SAFE,
)

EXTEND_DISPUTE = Method(
    "DisputeService",
    "ExtendDispute",
    dispute_pb2.ExtendDisputeRequest,
    dispute_pb2.ExtendDisputeResponse,
    Repeat.SAFE,
)
