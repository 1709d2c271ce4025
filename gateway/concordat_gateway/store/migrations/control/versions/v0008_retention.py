"""When rows past their retention were last deleted."""

import sqlalchemy as sa
from alembic import op

revision = "control_0008"
down_revision = "control_0007"


def upgrade() -> None:
    op.create_table(
        "retention_run",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("adverse_years", sa.Integer(), nullable=False),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.CheckConstraint("id = 1", name="one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_retention_run"),
    )
