"""When an upload ended and expired, and how far the records of its parts are given up."""

import sqlalchemy as sa
from alembic import op

revision = "control_0015"
down_revision = "control_0014"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # When an upload was ended before this is not recorded but in its entry.
    with op.batch_alter_table("upload") as table:
        table.add_column(sa.Column("ended_at", BigInt, nullable=True))
        table.add_column(sa.Column("expired_at", BigInt, nullable=True))
        table.add_column(sa.Column("forgotten", BigInt, nullable=False, server_default="0"))
        table.add_column(sa.Column("deleted", BigInt, nullable=False, server_default="0"))
    with op.batch_alter_table("upload") as table:
        table.alter_column("forgotten", server_default=None)
        table.alter_column("deleted", server_default=None)
