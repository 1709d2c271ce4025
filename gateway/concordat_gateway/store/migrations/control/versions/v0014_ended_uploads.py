"""Uploads that their members ended."""

import sqlalchemy as sa
from alembic import op

revision = "control_0014"
down_revision = "control_0013"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("upload", sa.Column("end_entry", BigInt, nullable=True))
