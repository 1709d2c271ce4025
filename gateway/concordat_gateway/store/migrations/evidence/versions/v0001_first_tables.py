"""Subjects' sealed keys, and the anchor of the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "evidence_0001"
down_revision = None

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "evidence_key",
        sa.Column("key_id", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("kept_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_evidence_key"),
        sa.CheckConstraint("length(key_id) = 16", name=op.f("ck_evidence_key_key_id_length")),
        sa.CheckConstraint("length(sealed) = 60", name=op.f("ck_evidence_key_sealed_length")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "evidence_anchor",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("size", BigInt, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_evidence_anchor"),
        sa.CheckConstraint("id = 1", name=op.f("ck_evidence_anchor_one_row")),
        sa.CheckConstraint("length(root) = 32", name=op.f("ck_evidence_anchor_root_length")),
    )
