"""Staging, publication marks, relations and inquiries."""

import sqlalchemy as sa
from alembic import op

revision = "signals_0001"
down_revision = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

BUCKETS = 256
PARTITIONS = 16


def upgrade() -> None:
    op.create_table(
        "staged_row",
        sa.Column("batch_id", sa.LargeBinary(), nullable=False),
        sa.Column("row_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "row_no", name="pk_staged_row"),
        sa.CheckConstraint("length(batch_id) = 16", name=op.f("ck_staged_row_batch_id_length")),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_staged_row_subject_length")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "staged_batch",
        sa.Column("batch_id", sa.LargeBinary(), nullable=False),
        sa.Column("staged_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_staged_batch"),
        sa.CheckConstraint("length(batch_id) = 16", name=op.f("ck_staged_batch_batch_id_length")),
    )
    op.create_table(
        "published_batch",
        sa.Column("batch_id", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_published_batch"),
        sa.CheckConstraint(
            "length(batch_id) = 16", name=op.f("ck_published_batch_batch_id_length")
        ),
    )
    op.create_table(
        "publisher",
        sa.Column("member_no", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("published_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("member_no", name="pk_publisher"),
    )
    op.create_table(
        "relation",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("member_no", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("account_ref", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("as_of_month", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("product", sa.SmallInteger(), nullable=False),
        sa.Column("opened_quarter", sa.SmallInteger(), nullable=False),
        sa.Column("limit_band", sa.SmallInteger(), nullable=False),
        sa.Column("balance_band", sa.SmallInteger(), nullable=False),
        sa.Column("past_due_band", sa.SmallInteger(), nullable=False),
        sa.Column("days_past_due", sa.SmallInteger(), nullable=False),
        sa.Column("utilisation", sa.SmallInteger(), nullable=False),
        sa.Column("spend_volatility", sa.SmallInteger(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "subject", "member_no", "account_ref", "bucket", name="pk_relation"
        ),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_relation_subject_length")),
        sa.CheckConstraint("length(account_ref) = 16", name=op.f("ck_relation_account_ref_length")),
        sa.CheckConstraint("length(profile) = 24", name=op.f("ck_relation_profile_length")),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (bucket)",
    )
    op.create_table(
        "inquiry",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("member_no", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("application_ref", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("product", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "subject", "member_no", "application_ref", "bucket", name="pk_inquiry"
        ),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_inquiry_subject_length")),
        sa.CheckConstraint(
            "length(application_ref) = 16", name=op.f("ck_inquiry_application_ref_length")
        ),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (bucket)",
    )
    if op.get_bind().dialect.name == "postgresql":
        _partition("relation")
        _partition("inquiry")


def _partition(table: str) -> None:
    width = BUCKETS // PARTITIONS
    for first in range(0, BUCKETS, width):
        op.execute(
            f"CREATE TABLE {table}_{first:02x} PARTITION OF {table}"
            f" FOR VALUES FROM ({first}) TO ({first + width})"
        )
