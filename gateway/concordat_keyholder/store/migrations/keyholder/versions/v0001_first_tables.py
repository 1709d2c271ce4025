"""Admitted members, nonces, allowances and meters."""

import sqlalchemy as sa
from alembic import op

revision = "keyholder_0001"
down_revision = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "admitted_member",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("public_key", sa.LargeBinary()),
        sa.Column("admitted_at", BigInt),
        sa.Column("expelled_at", BigInt),
        sa.Column("daily", BigInt),
        sa.Column("monthly", BigInt),
        sa.PrimaryKeyConstraint("member_id", name="pk_admitted_member"),
    )
    op.create_table(
        "nonce",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("expires_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("member_id", "nonce", name="pk_nonce"),
        sa.CheckConstraint("length(nonce) = 16", name=op.f("ck_nonce_nonce_length")),
        sa.CheckConstraint("length(content) = 32", name=op.f("ck_nonce_content_length")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_nonce_expires_at", "nonce", ["expires_at"])
    op.create_table(
        "allowance",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("granted", BigInt, nullable=False),
        sa.Column("used", BigInt, nullable=False),
        sa.Column("granted_at", BigInt, nullable=False),
        sa.Column("expires_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("member_id", name="pk_allowance"),
    )
    op.create_table(
        "usage",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("amount", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("member_id", "kind", "day", name="pk_usage"),
    )
    op.create_table(
        "usage_rate",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("arrival", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("member_id", "kind", name="pk_usage_rate"),
    )
