"""Rows that later ones replaced, and batches by their entries."""

import sqlalchemy as sa
from alembic import op

revision = "control_0012"
down_revision = "control_0011"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_index("ix_batch_member_id_entry", "batch", ["member_id", "entry"])
    op.create_table(
        "replaced_row",
        sa.Column("entry", BigInt, autoincrement=False, nullable=False),
        sa.Column("item", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("by_entry", BigInt, nullable=False),
        sa.Column("by_item", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("entry", "item", name="pk_replaced_row"),
        sqlite_with_rowid=False,
    )
