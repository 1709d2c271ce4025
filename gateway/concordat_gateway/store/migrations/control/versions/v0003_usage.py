"""Meters, the quotas that the operator sets, and alarms."""

import sqlalchemy as sa
from alembic import op

revision = "control_0003"
down_revision = "control_0002"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
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
    op.create_table(
        "lookup_quota",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("daily", BigInt, nullable=False),
        sa.Column("monthly", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("member_id", name="pk_lookup_quota"),
    )
    op.create_table(
        "alarm",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("member_id", "day", "kind", name="pk_alarm"),
    )
