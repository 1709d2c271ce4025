"""From when the years of adverse rows were counted in the newest run of retention."""

import sqlalchemy as sa
from alembic import op

revision = "control_0013"
down_revision = "control_0012"


def upgrade() -> None:
    # Runs of before counted from the newest report.
    op.add_column(
        "retention_run",
        sa.Column("from_delinquency", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
