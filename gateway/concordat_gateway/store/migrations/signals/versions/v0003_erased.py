"""Which erasures were carried out here."""

import sqlalchemy as sa
from alembic import op

revision = "signals_0003"
down_revision = "signals_0002"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "erased",
        sa.Column("erasure_id", sa.LargeBinary(), nullable=False),
        sa.Column("erased_at", BigInt, nullable=False),
        sa.PrimaryKeyConstraint("erasure_id", name="pk_erased"),
        sa.CheckConstraint("length(erasure_id) = 16", name=op.f("ck_erased_erasure_id_length")),
    )
