"""Tables of the control store: members, consents, subjects, batches, ledger, budgets, usage.

Small and strictly serialised: every change goes through the journal. All times are integer
microseconds since the epoch, UTC. The lower-case names at the end are the same tables for
SQLAlchemy Core, which the hot paths use. A subject column holds a `SubjectKey`, never a token.
"""

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from concordat_store.meters import define_meters
from concordat_store.schema import CLUSTERED, NAMING, big_int, exactly, small_int

METADATA = sa.MetaData(naming_convention=NAMING)


class _Control(SQLModel):
    metadata = METADATA


class Member(_Control, table=True):
    """A lender of the consortium. `state` is a number of the contract's MemberState."""

    __tablename__ = "member"

    member_id: str = Field(primary_key=True)
    member_no: int = small_int(unique=True)
    display_name: str
    state: int = small_int()
    invited_at: int = big_int()
    joined_at: int | None = big_int(default=None)
    certificate_serial: str | None = Field(default=None)
    """Serial number of the certificate the member joined with, lower-case hexadecimal."""


class Invitation(_Control, table=True):
    """A one-time certificate with which an invited member sends its own CSR."""

    __tablename__ = "invitation"

    certificate_serial: str = Field(primary_key=True)
    member_id: str = Field(index=True)
    expires_at: int = big_int()
    used_at: int | None = big_int(default=None)


class Consent(_Control, table=True):
    """One subject's consent for one recipient. Bit n of a mask stands for enum number n.

    Its state follows from its times alone, see `rules.consent_states`.
    """

    __tablename__ = "consent"
    __table_args__ = (
        exactly("consent_id", 16),
        exactly("subject", 32),
        exactly("evidence_sha256", 32),
        exactly("salt", 16),
        exactly("commitment", 32),
        exactly("notice_sha256", 32),
        exactly("evidence_subject", 32),
        exactly("evidence_terms_sha256", 32),
        exactly("evidence_key", 32),
        sa.Index(None, "subject", "recipient"),
        sa.Index(None, "recipient", "grant_entry"),
        # One signature is good for one consent, also where it is written in another way.
        sa.Index("uq_consent_evidence_terms_sha256", "evidence_terms_sha256", unique=True),
    )

    consent_id: bytes = Field(primary_key=True)
    subject: bytes
    recipient: str
    purposes: int
    categories: int
    starts_at: int = big_int()
    expires_at: int = big_int()
    notice_version: str
    evidence_sha256: bytes | None = Field(default=None)
    granted_at: int = big_int()
    """When it was recorded, given or only requested."""
    withdrawn_at: int | None = big_int(default=None)
    grant_entry: int = big_int()
    withdraw_entry: int | None = big_int(default=None)
    salt: bytes | None = Field(default=None)
    """Of consents that were recorded before subjects had keys: opens their commitment, with the
    name that the subject had then."""
    commitment: bytes
    """How all entries about the consent name its subject."""
    notice_sha256: bytes | None = Field(default=None)
    language: str | None = Field(default=None)
    withdrawal_method: str | None = Field(default=None)
    jurisdiction: str | None = Field(default=None)
    """Null for consents that were recorded before there were policies."""
    policies: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    data_life_unit: int | None = small_int(default=None)
    data_life_value: int | None = Field(default=None)
    frequency_unit: int | None = small_int(default=None)
    frequency_uses: int | None = Field(default=None)
    used_span: int | None = big_int(default=None)
    """The calendar unit (`concordat_privacy.periods.span_number`) that `used` counts."""
    used: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    evidence_subject: bytes | None = Field(default=None)
    """Binding of signed terms to the subject: of its token and a nonce, which is not kept."""
    evidence_jws: str | None = Field(default=None)
    evidence_terms_sha256: bytes | None = Field(default=None)
    """Hash of the terms that `evidence_jws` signs."""
    evidence_signer: str | None = Field(default=None)
    evidence_key: bytes | None = Field(default=None)
    requested_at: int | None = big_int(default=None)
    activated_at: int | None = big_int(default=None)
    paused_at: int | None = big_int(default=None)
    """Since when it is paused; null unless it is."""
    resumed_at: int | None = big_int(default=None)
    revoked_at: int | None = big_int(default=None)
    revoked_by: str | None = Field(default=None)
    revoke_entry: int | None = big_int(default=None)
    reason: str | None = Field(default=None)
    """Why it is paused or was revoked."""
    asked_at: int | None = big_int(default=None)
    """When the subject asked for the withdrawal."""


class ConsentManager(_Control, table=True):
    """Somebody whose signatures are evidence of consents. Never deleted, and no key twice."""

    __tablename__ = "consent_manager"
    __table_args__ = (exactly("thumbprint", 32), sa.UniqueConstraint("thumbprint"))

    manager_id: str = Field(primary_key=True)
    name: str
    jwk: str
    thumbprint: bytes
    registered_at: int = big_int()
    disabled_at: int | None = big_int(default=None)


class SubjectElement(_Control, table=True):
    """The element of a subject, sealed: what its name under the next key epoch is made of.

    `epoch` is the one whose pepper names and seals it.
    """

    __tablename__ = "subject_element"
    __table_args__ = (exactly("subject", 32), exactly("sealed", 60), CLUSTERED)

    subject: bytes = Field(primary_key=True)
    epoch: int
    sealed: bytes


class SubjectAlias(_Control, table=True):
    """What one recipient's subject was called under an earlier key epoch.

    A recipient finds by it the subjects that it has recorded consents of, and no others: a name
    that another member's subject had is as unknown to it as any. Kept until the subject is erased.
    Whoever has no old pepper can compute no old name.
    """

    __tablename__ = "subject_alias"
    __table_args__ = (
        exactly("old_subject", 32),
        exactly("subject", 32),
        sa.Index(None, "subject"),
        CLUSTERED,
    )

    recipient: str = Field(primary_key=True)
    old_subject: bytes = Field(primary_key=True)
    subject: bytes
    """Its present name."""


class SubjectRecord(_Control, table=True):
    """The one way from a subject's name to its evidence key, and only with its live key.

    See `store.subject_keys`.
    """

    __tablename__ = "subject_record"
    __table_args__ = (
        exactly("subject", 32),
        exactly("live_id", 16),
        exactly("sealed_record", 44),
        sa.UniqueConstraint("live_id"),
        CLUSTERED,
    )

    subject: bytes = Field(primary_key=True)
    live_id: bytes
    """Which live key."""
    sealed_record: bytes
    """The evidence key's id, sealed under the live key."""
    next_consent: int
    """How many consents were recorded under the evidence key."""


class SubjectAsking(_Control, table=True):
    """An asking key that a subject had under an earlier epoch, sealed under its live key."""

    __tablename__ = "subject_asking"
    __table_args__ = (exactly("live_id", 16), exactly("sealed", 60), CLUSTERED)

    live_id: bytes = Field(primary_key=True)
    epoch: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sealed: bytes


class Erasure(_Control, table=True):
    """A request to erase a subject, and what became of it.

    `state` is a number of `rules.erasures.ErasureState`. Once everything is destroyed nothing here
    names the subject.
    """

    __tablename__ = "erasure"
    __table_args__ = (
        exactly("erasure_id", 16),
        exactly("request_id", 16),
        exactly("evidence_sha256", 32),
        exactly("subject", 32),
        exactly("live_id", 16),
        sa.Index(None, "state"),
        sa.Index(None, "requested_entry", unique=True),
    )

    erasure_id: bytes = Field(primary_key=True)
    member_id: str
    """Who passed the subject's request on."""
    request_id: bytes
    ground: str
    evidence_sha256: bytes | None = Field(default=None)
    state: int = small_int()
    subject: bytes | None = Field(default=None)
    """Its present name, until the erasure is refused or done."""
    live_id: bytes | None = Field(default=None)
    """The live key that is to be destroyed, for good: it may come back with a backup."""
    requested_at: int = big_int()
    requested_entry: int = big_int()
    decided_at: int | None = big_int(default=None)
    decided_entry: int | None = big_int(default=None)
    erased_at: int | None = big_int(default=None)
    """When no store held anything any more."""
    basis: str | None = Field(default=None)
    rows: int | None = big_int(default=None)
    """Rows of signals that were held when it was decided."""
    consents: int | None = Field(default=None)


class ErasedName(_Control, table=True):
    """A name that an erased subject had, as only the evidence secret can recognise it."""

    __tablename__ = "erased_name"
    __table_args__ = (exactly("erasure_id", 16), exactly("mark", 32), CLUSTERED)

    mark: bytes = Field(primary_key=True)
    erasure_id: bytes = Field(primary_key=True)


class ErasedConsent(_Control, table=True):
    """What is left of an erased consent: which evidence key, for an auditor who has its id."""

    __tablename__ = "erased_consent"
    __table_args__ = (exactly("consent_id", 16), exactly("evidence_id", 16), CLUSTERED)

    consent_id: bytes = Field(primary_key=True)
    evidence_id: bytes
    consents: int
    """How many were recorded under that key."""


class Rotation(_Control, table=True):
    """The rotation to the next key epoch that is under way, if one is: one row or none.

    `state` is a number of `store.rotation_sql.State`.
    """

    __tablename__ = "rotation"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"), exactly("owner", 16))

    id: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    from_epoch: int
    to_epoch: int
    state: int = small_int()
    moved: int = big_int()
    """Subjects that control has moved."""
    owner: bytes
    """Random number of the process that works on it."""


class RotationPair(_Control, table=True):
    """A subject's name and its sealed element under the epoch that is being rotated to.

    Gone as soon as control has moved the subject.
    """

    __tablename__ = "rotation_pair"
    __table_args__ = (
        exactly("subject", 32),
        exactly("new_subject", 32),
        exactly("sealed", 60),
        CLUSTERED,
    )

    subject: bytes = Field(primary_key=True)
    new_subject: bytes
    sealed: bytes


class Notice(_Control, table=True):
    """That a consent has ended, told to its recipient, who must acknowledge and delete in time."""

    __tablename__ = "notice"
    __table_args__ = (
        exactly("notice_id", 16),
        exactly("consent_id", 16),
        sa.Index(None, "recipient", "notice_no"),
    )

    notice_id: bytes = Field(primary_key=True)
    notice_no: int = big_int(unique=True)
    consent_id: bytes
    recipient: str
    cause: int = small_int()
    """A number of the contract's NoticeCause."""
    issued_at: int = big_int()
    acknowledge_by: int = big_int()
    delete_by: int = big_int()
    acknowledged_at: int | None = big_int(default=None)
    deleted_at: int | None = big_int(default=None)
    """As the recipient says."""
    confirmed_at: int | None = big_int(default=None)
    late_since: int | None = big_int(default=None)
    """When it was recorded that the acknowledgement is overdue."""
    undeleted_since: int | None = big_int(default=None)
    """When it was recorded that the deletion is overdue."""


class Dispute(_Control, table=True):
    """A subject's word that what is held about it is wrong, passed on by a member."""

    __tablename__ = "dispute"
    __table_args__ = (
        exactly("dispute_id", 16),
        exactly("subject", 32),
        exactly("statement_sha256", 32),
        sa.Index(None, "subject"),
    )

    dispute_id: bytes = Field(primary_key=True)
    dispute_no: int = big_int(unique=True)
    opener: str = Field(index=True)
    subject: bytes
    category: int = small_int()
    reason: int = small_int()
    jurisdiction: str
    statement_sha256: bytes
    opened_at: int = big_int()
    answer_by: int = big_int()
    extended_at: int | None = big_int(default=None)
    resolved_at: int | None = big_int(default=None)
    outcome: int = small_int()
    """A number of the contract's DisputeOutcome; 0 while it is open."""


class DisputeTask(_Control, table=True):
    """That a member is to answer a dispute."""

    __tablename__ = "dispute_task"
    __table_args__ = (exactly("dispute_id", 16), sa.Index(None, "member_id", "dispute_id"))

    dispute_id: bytes = Field(primary_key=True)
    member_id: str = Field(primary_key=True)
    answered_at: int | None = big_int(default=None)
    outcome: int = small_int()
    late_since: int | None = big_int(default=None)
    """When the alarm was raised that it is overdue."""


class RetentionRun(_Control, table=True):
    """The newest day on which rows past their retention were deleted: one row or none."""

    __tablename__ = "retention_run"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    day: int
    """Counted from 1970-01-01."""
    adverse_years: int
    from_delinquency: bool
    """Whether they are counted from the first delinquency, where it is known."""
    finished: bool
    """False from the entry to the end of the deletion."""


class Batch(_Control, table=True):
    """An accepted contribution: a call's, one part of an upload, or a withdrawal of rows.

    Whether it is published is for the signals store to say.
    """

    __tablename__ = "batch"
    __table_args__ = (
        exactly("batch_id", 16),
        exactly("request_id", 16),
        exactly("root", 32),
        exactly("upload_id", 16),
        exactly("content_sha256", 32),
        sa.UniqueConstraint("member_id", "request_id"),
        sa.UniqueConstraint("member_id", "upload_id", "sequence"),
        sa.Index("ix_batch_member_id_entry", "member_id", "entry"),
    )

    batch_id: bytes = Field(primary_key=True)
    member_id: str
    request_id: bytes | None = Field(default=None)
    """Null for a part of an upload and, with `upload_id`, for a withdrawal."""
    rows_accepted: int
    rows_refused: int
    refused_rows: bytes
    """Numbers of the refused rows, each an unsigned 32-bit big-endian integer."""
    root: bytes
    entry: int = big_int()
    accepted_at: int = big_int()
    upload_id: bytes | None = Field(default=None)
    """The three that follow are null for a batch that is a call of its own."""
    sequence: int | None = big_int(default=None)
    content_sha256: bytes | None = Field(default=None)
    """Of the part's header and rows, see `rules.requests.Fingerprint`. This and `refusals` are
    null too once the upload has expired."""
    refusals: bytes | None = Field(default=None)
    """Why the refused rows of the part were refused, see `rules.refusals`. Names no token."""


class ReplacedRow(_Control, table=True):
    """A row that a later one stands for, or that was withdrawn. It names no subject.

    One row a replaced row: of two that replace the same one, one is refused.
    """

    __tablename__ = "replaced_row"
    __table_args__ = (CLUSTERED,)

    entry: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    item: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """Its position in the batch of `entry`, as it was sent."""
    member_id: str
    by_entry: int = big_int()
    by_item: int


class Upload(_Control, table=True):
    """How far a member's upload has come. There is one from its first part on."""

    __tablename__ = "upload"
    __table_args__ = (exactly("upload_id", 16), exactly("header_sha256", 32), CLUSTERED)

    member_id: str = Field(primary_key=True)
    upload_id: bytes = Field(primary_key=True)
    header_sha256: bytes
    acknowledged: int = big_int()
    """Sequence of the newest part."""
    rows_accepted: int = big_int()
    rows_refused: int = big_int()
    first_entry: int = big_int()
    last_entry: int = big_int()
    last_accepted_at: int = big_int()
    end_entry: int | None = big_int(default=None)
    """Entry of its end; after that no part is taken."""
    ended_at: int | None = big_int(default=None)
    """When it was ended; null too where that was before this was recorded."""
    expired_at: int | None = big_int(default=None)
    """From when on nothing is taken or answered, see `rules.upload_ages`."""
    forgotten: int = big_int(default=0)
    """Sequence up to which its parts' digests and refusals are given up, once it has expired."""
    deleted: int = big_int(default=0)
    """Sequence up to which the records of its parts are deleted."""


class Request(_Control, table=True):
    """A finished call, so that its repetition returns the same reply (AIP-155)."""

    __tablename__ = "request"
    __table_args__ = (exactly("request_id", 16), exactly("request_sha256", 32))

    caller: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    request_id: bytes = Field(primary_key=True)
    request_sha256: bytes
    entry: int | None = big_int(default=None)
    reply: bytes
    """The serialised response without its receipt's checkpoint."""
    created_at: int = big_int()


class LedgerEntry(_Control, table=True):
    """One leaf, byte for byte as hashed, and the hashes of the subtrees that it completed.

    `hashes` is 32 bytes a level: the leaf's own hash first, then the nodes above it that end with
    it. Before the leaf, so that reading them never touches the pages of a long one.
    """

    __tablename__ = "ledger_entry"
    __table_args__ = (
        sa.CheckConstraint("length(hashes) > 0 AND length(hashes) % 32 = 0", name="hashes_length"),
    )

    entry_index: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    hashes: bytes
    leaf: bytes


class LedgerItem(_Control, table=True):
    """One item under an entry's items_root, byte for byte as hashed."""

    __tablename__ = "ledger_item"
    __table_args__ = (CLUSTERED,)

    entry_index: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    item: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    content: bytes


class LedgerHead(_Control, table=True):
    """The ledger's state, one row. Locking it is the fence between writing processes."""

    __tablename__ = "ledger_head"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int = big_int()
    frontier: bytes
    checkpoint: str
    time: int = big_int()
    """Time of the newest change; none that follows is earlier."""
    pool_version: int = big_int()
    """Grows with every change that may alter answers about the whole pool."""
    tokens_epoch: int = Field(sa_column_kwargs={"server_default": "1"})
    """Key epoch under which the stores name subjects; 0 while they are moved to the next."""
    witnessed_size: int = big_int(sa_column_kwargs={"server_default": "0"})
    """Largest tree that as many witnesses as the policy wants have seen: each cosigned it, or one
    that extends it."""
    unwitnessed_since: int | None = big_int(default=None)
    """Time of the first entry beyond it."""


class Cosignature(_Control, table=True):
    """A witness's cosignature of the checkpoint of one tree.

    Kept are those of the newest tree that enough witnesses cosigned, of one such tree an hour
    before it, and each witness's newest beyond it.
    """

    __tablename__ = "cosignature"

    tree_size: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    witness: str = Field(primary_key=True)
    """Name and key id, as on the signature line."""
    line: str
    received_at: int = big_int()


class LedgerTimestamp(_Control, table=True):
    """A time-stamping authority's answer (RFC 3161) about the checkpoint of one tree."""

    __tablename__ = "ledger_timestamp"

    tree_size: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    response: bytes


class Budget(_Control, table=True):
    """Privacy budget of a scope ("pool", "member:<member_id>") in billionths of zCDP rho."""

    __tablename__ = "budget"

    scope: str = Field(primary_key=True)
    cap_nano_rho: int = big_int()
    spent_nano_rho: int = big_int()


class Answer(_Control, table=True):
    """A question to one snapshot of the pool; `reply` is null from the charge to the answer."""

    __tablename__ = "answer"
    __table_args__ = (exactly("question", 32),)

    question: bytes = Field(primary_key=True)
    snapshot: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    reply: bytes | None = Field(default=None)
    charged_nano_rho: int = big_int()
    entry: int = big_int()
    asked_by: str


class LookupQuota(_Control, table=True):
    """Limits of lookups that the operator set for one member; others have the configured ones."""

    __tablename__ = "lookup_quota"

    member_id: str = Field(primary_key=True)
    daily: int = big_int()
    monthly: int = big_int()


class Alarm(_Control, table=True):
    """A pattern that a member's counters showed on a day. Counts only, nothing of subjects."""

    __tablename__ = "alarm"

    member_id: str = Field(primary_key=True)
    day: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """Counted from 1970-01-01."""
    kind: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """A number of the contract's AlarmKind."""
    description: str


define_meters(METADATA)

member = METADATA.tables["member"]
invitation = METADATA.tables["invitation"]
consent = METADATA.tables["consent"]
consent_manager = METADATA.tables["consent_manager"]
subject_element = METADATA.tables["subject_element"]
subject_alias = METADATA.tables["subject_alias"]
subject_record = METADATA.tables["subject_record"]
subject_asking = METADATA.tables["subject_asking"]
erasure = METADATA.tables["erasure"]
erased_name = METADATA.tables["erased_name"]
erased_consent = METADATA.tables["erased_consent"]
rotation = METADATA.tables["rotation"]
rotation_pair = METADATA.tables["rotation_pair"]
notice = METADATA.tables["notice"]
dispute = METADATA.tables["dispute"]
dispute_task = METADATA.tables["dispute_task"]
retention_run = METADATA.tables["retention_run"]
batch = METADATA.tables["batch"]
replaced_row = METADATA.tables["replaced_row"]
upload = METADATA.tables["upload"]
request = METADATA.tables["request"]
ledger_entry = METADATA.tables["ledger_entry"]
ledger_item = METADATA.tables["ledger_item"]
ledger_head = METADATA.tables["ledger_head"]
ledger_timestamp = METADATA.tables["ledger_timestamp"]
cosignature = METADATA.tables["cosignature"]
budget = METADATA.tables["budget"]
answer = METADATA.tables["answer"]
usage = METADATA.tables["usage"]
usage_rate = METADATA.tables["usage_rate"]
lookup_quota = METADATA.tables["lookup_quota"]
alarm = METADATA.tables["alarm"]
