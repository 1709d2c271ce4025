"""From when the years of adverse rows were counted in the newest run of retention."""

import sqlalchemy as sa
from alembic import op

revision = "control_0013"
down_revision = "control_0012"


def upgrade() -> None:
    # Runs of before counted from the newest report.
    with op.batch_alter_table("retention_run") as table:
        table.add_column(
            sa.Column("from_delinquency", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("retention_run") as table:
        table.alter_column("from_delinquency", server_default=None)
