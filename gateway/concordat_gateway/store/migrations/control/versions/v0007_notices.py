"""Notices to recipients of consents that ended."""

import sqlalchemy as sa
from alembic import op

revision = "control_0007"
down_revision = "control_0006"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "notice",
        sa.Column("notice_id", sa.LargeBinary(), nullable=False),
        sa.Column("notice_no", BigInt, nullable=False),
        sa.Column("consent_id", sa.LargeBinary(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("cause", sa.SmallInteger(), nullable=False),
        sa.Column("issued_at", BigInt, nullable=False),
        sa.Column("acknowledge_by", BigInt, nullable=False),
        sa.Column("delete_by", BigInt, nullable=False),
        sa.Column("acknowledged_at", BigInt, nullable=True),
        sa.Column("deleted_at", BigInt, nullable=True),
        sa.Column("confirmed_at", BigInt, nullable=True),
        sa.Column("late_since", BigInt, nullable=True),
        sa.Column("undeleted_since", BigInt, nullable=True),
        sa.CheckConstraint("length(notice_id) = 16", name="notice_id_length"),
        sa.CheckConstraint("length(consent_id) = 16", name="consent_id_length"),
        sa.PrimaryKeyConstraint("notice_id", name="pk_notice"),
        sa.UniqueConstraint("notice_no", name="uq_notice_notice_no"),
    )
    op.create_index("ix_notice_recipient_notice_no", "notice", ["recipient", "notice_no"])
