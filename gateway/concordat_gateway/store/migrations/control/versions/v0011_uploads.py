"""Uploads, and the batches that are parts of one."""

import sqlalchemy as sa
from alembic import op

revision = "control_0011"
down_revision = "control_0010"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("batch") as batch:
        batch.alter_column("request_id", existing_type=sa.LargeBinary(), nullable=True)
        batch.add_column(sa.Column("upload_id", sa.LargeBinary(), nullable=True))
        batch.add_column(sa.Column("sequence", BigInt, nullable=True))
        batch.add_column(sa.Column("content_sha256", sa.LargeBinary(), nullable=True))
        batch.add_column(sa.Column("refusals", sa.LargeBinary(), nullable=True))
        batch.create_check_constraint(op.f("ck_batch_upload_id_length"), "length(upload_id) = 16")
        batch.create_check_constraint(
            op.f("ck_batch_content_sha256_length"), "length(content_sha256) = 32"
        )
        batch.create_unique_constraint(
            op.f("uq_batch_member_id_upload_id_sequence"), ["member_id", "upload_id", "sequence"]
        )
    op.create_table(
        "upload",
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("upload_id", sa.LargeBinary(), nullable=False),
        sa.Column("header_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("acknowledged", BigInt, nullable=False),
        sa.Column("rows_accepted", BigInt, nullable=False),
        sa.Column("rows_refused", BigInt, nullable=False),
        sa.Column("first_entry", BigInt, nullable=False),
        sa.Column("last_entry", BigInt, nullable=False),
        sa.Column("last_accepted_at", BigInt, nullable=False),
        sa.CheckConstraint("length(upload_id) = 16", name="upload_id_length"),
        sa.CheckConstraint("length(header_sha256) = 32", name="header_sha256_length"),
        sa.PrimaryKeyConstraint("member_id", "upload_id", name="pk_upload"),
        sqlite_with_rowid=False,
    )
