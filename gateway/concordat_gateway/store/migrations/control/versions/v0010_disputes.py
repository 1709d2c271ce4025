"""Disputes, and who is to answer them."""

import sqlalchemy as sa
from alembic import op

revision = "control_0010"
down_revision = "control_0009"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "dispute",
        sa.Column("dispute_id", sa.LargeBinary(), nullable=False),
        sa.Column("dispute_no", BigInt, nullable=False),
        sa.Column("opener", sa.String(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("category", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.Column("jurisdiction", sa.String(), nullable=False),
        sa.Column("statement_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("opened_at", BigInt, nullable=False),
        sa.Column("answer_by", BigInt, nullable=False),
        sa.Column("extended_at", BigInt, nullable=True),
        sa.Column("resolved_at", BigInt, nullable=True),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("length(dispute_id) = 16", name="dispute_id_length"),
        sa.CheckConstraint("length(subject) = 32", name="subject_length"),
        sa.CheckConstraint("length(statement_sha256) = 32", name="statement_sha256_length"),
        sa.PrimaryKeyConstraint("dispute_id", name="pk_dispute"),
        sa.UniqueConstraint("dispute_no", name="uq_dispute_dispute_no"),
    )
    op.create_index("ix_dispute_opener", "dispute", ["opener"])
    op.create_index("ix_dispute_subject", "dispute", ["subject"])
    op.create_table(
        "dispute_task",
        sa.Column("dispute_id", sa.LargeBinary(), nullable=False),
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("answered_at", BigInt, nullable=True),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("late_since", BigInt, nullable=True),
        sa.CheckConstraint("length(dispute_id) = 16", name="dispute_id_length"),
        sa.PrimaryKeyConstraint("dispute_id", "member_id", name="pk_dispute_task"),
    )
    op.create_index(
        "ix_dispute_task_member_id_dispute_id", "dispute_task", ["member_id", "dispute_id"]
    )
