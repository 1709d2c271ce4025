"""Members, consents, batches, requests, the ledger and budgets."""

import sqlalchemy as sa
from alembic import op

revision = "control_0001"
down_revision = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "member",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("member_no", sa.SmallInteger(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("invited_at", BigInt, nullable=False),
        sa.Column("joined_at", BigInt),
        sa.Column("certificate_serial", sa.String()),
        sa.PrimaryKeyConstraint("member_id", name="pk_member"),
        sa.UniqueConstraint("member_no", name="uq_member_member_no"),
    )
    op.create_table(
        "invitation",
        sa.Column("certificate_serial", sa.String(), nullable=False),
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("expires_at", BigInt, nullable=False),
        sa.Column("used_at", BigInt),
        sa.PrimaryKeyConstraint("certificate_serial", name="pk_invitation"),
    )
    op.create_index("ix_invitation_member_id", "invitation", ["member_id"])
    op.create_table(
        "consent",
        sa.Column("consent_id", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("purposes", sa.Integer(), nullable=False),
        sa.Column("categories", sa.Integer(), nullable=False),
        sa.Column("starts_at", BigInt, nullable=False),
        sa.Column("expires_at", BigInt, nullable=False),
        sa.Column("notice_version", sa.String(), nullable=False),
        sa.Column("evidence_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("granted_at", BigInt, nullable=False),
        sa.Column("withdrawn_at", BigInt),
        sa.Column("grant_entry", BigInt, nullable=False),
        sa.Column("withdraw_entry", BigInt),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("consent_id", name="pk_consent"),
        sa.CheckConstraint("length(consent_id) = 16", name=op.f("ck_consent_consent_id_length")),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_consent_subject_length")),
        sa.CheckConstraint(
            "length(evidence_sha256) = 32", name=op.f("ck_consent_evidence_sha256_length")
        ),
        sa.CheckConstraint("length(salt) = 16", name=op.f("ck_consent_salt_length")),
    )
    op.create_index("ix_consent_subject_recipient", "consent", ["subject", "recipient"])
    op.create_index("ix_consent_recipient_grant_entry", "consent", ["recipient", "grant_entry"])
    op.create_table(
        "batch",
        sa.Column("batch_id", sa.LargeBinary(), nullable=False),
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("rows_accepted", sa.Integer(), nullable=False),
        sa.Column("rows_refused", sa.Integer(), nullable=False),
        sa.Column("refused_rows", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("entry", BigInt, nullable=False),
        sa.Column("accepted_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_batch"),
        sa.UniqueConstraint("member_id", "request_id", name="uq_batch_member_id_request_id"),
        sa.CheckConstraint("length(batch_id) = 16", name=op.f("ck_batch_batch_id_length")),
        sa.CheckConstraint("length(request_id) = 16", name=op.f("ck_batch_request_id_length")),
        sa.CheckConstraint("length(root) = 32", name=op.f("ck_batch_root_length")),
    )
    op.create_table(
        "request",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("entry", BigInt),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("caller", "method", "request_id", name="pk_request"),
        sa.CheckConstraint("length(request_id) = 16", name=op.f("ck_request_request_id_length")),
        sa.CheckConstraint(
            "length(request_sha256) = 32", name=op.f("ck_request_request_sha256_length")
        ),
    )
    _create_ledger()
    op.create_table(
        "budget",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("cap_nano_rho", BigInt, nullable=False),
        sa.Column("spent_nano_rho", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_budget"),
    )
    op.create_table(
        "answer",
        sa.Column("question", sa.LargeBinary(), nullable=False),
        sa.Column("snapshot", BigInt, autoincrement=False, nullable=False),
        sa.Column("reply", sa.LargeBinary()),
        sa.Column("charged_nano_rho", BigInt, nullable=False),
        sa.Column("entry", BigInt, nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("question", "snapshot", name="pk_answer"),
        sa.CheckConstraint("length(question) = 32", name=op.f("ck_answer_question_length")),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger_entry",
        sa.Column("entry_index", BigInt, autoincrement=False, nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_index", name="pk_ledger_entry"),
    )
    op.create_table(
        "ledger_node",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("node_index", BigInt, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "node_index", name="pk_ledger_node"),
        sa.CheckConstraint("length(hash) = 32", name=op.f("ck_ledger_node_hash_length")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_item",
        sa.Column("entry_index", BigInt, autoincrement=False, nullable=False),
        sa.Column("item", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary()),
        sa.Column("salt", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("entry_index", "item", name="pk_ledger_item"),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_ledger_item_subject_length")),
        sa.CheckConstraint("length(salt) = 16", name=op.f("ck_ledger_item_salt_length")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("size", BigInt, nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=False),
        sa.Column("time", BigInt, nullable=False),
        sa.Column("pool_version", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_head"),
        sa.CheckConstraint("id = 1", name=op.f("ck_ledger_head_one_row")),
    )
