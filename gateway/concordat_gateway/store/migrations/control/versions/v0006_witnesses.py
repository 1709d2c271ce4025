"""Cosignatures of witnesses, how far the ledger is witnessed, and time-stamps."""

import sqlalchemy as sa
from alembic import op

revision = "control_0006"
down_revision = "control_0005"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cosignature",
        sa.Column("tree_size", BigInt, autoincrement=False, nullable=False),
        sa.Column("witness", sa.String(), nullable=False),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("received_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("tree_size", "witness", name="pk_cosignature"),
    )
    op.create_table(
        "ledger_timestamp",
        sa.Column("tree_size", BigInt, autoincrement=False, nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tree_size", name="pk_ledger_timestamp"),
    )
    op.add_column(
        "ledger_head", sa.Column("witnessed_size", BigInt, nullable=False, server_default="0")
    )
    op.add_column("ledger_head", sa.Column("unwitnessed_since", BigInt, nullable=True))
    # What is there already counts from the newest change: nobody could cosign it before.
    op.execute("UPDATE ledger_head SET unwitnessed_since = time WHERE size > 0")
