"""The key epoch under which this store names subjects."""

import sqlalchemy as sa
from alembic import op

revision = "signals_0002"
down_revision = "signals_0001"


def upgrade() -> None:
    op.create_table(
        "subject_epoch",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_subject_epoch"),
        sa.CheckConstraint("id = 1", name=op.f("ck_subject_epoch_one_row")),
    )
