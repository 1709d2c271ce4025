"""The rows of a staged batch become one value of the batch.

What is staged now is carried over: it may be accepted, and then it must be published.
"""

import struct

import sqlalchemy as sa
from alembic import op

revision = "signals_0006"
down_revision = "signals_0005"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_HEAD = struct.Struct(">I32sH")


def upgrade() -> None:
    connection = op.get_bind()
    op.create_table(
        "staged_batch_next",
        sa.Column("batch_id", sa.LargeBinary(), nullable=False),
        sa.Column("staged_at", BigInt, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_staged_batch_next"),
        sa.CheckConstraint("length(batch_id) = 16", name=op.f("ck_staged_batch_batch_id_length")),
    )
    batches = connection.execute(sa.text("SELECT batch_id, staged_at FROM staged_batch")).all()
    for batch_id, staged_at in batches:
        rows = connection.execute(
            sa.text(
                "SELECT row_no, subject, content FROM staged_row WHERE batch_id = :batch_id"
                " ORDER BY row_no"
            ),
            {"batch_id": batch_id},
        )
        content = b"".join(
            _HEAD.pack(number, bytes(subject), len(row)) + bytes(row)
            for number, subject, row in rows
        )
        connection.execute(
            sa.text("INSERT INTO staged_batch_next VALUES (:batch_id, :staged_at, :content)"),
            {"batch_id": batch_id, "staged_at": staged_at, "content": content},
        )
    op.drop_table("staged_row")
    op.drop_table("staged_batch")
    op.rename_table("staged_batch_next", "staged_batch")
    if connection.dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_staged_batch_next RENAME TO pk_staged_batch")
        # It is read once and deleted: to try to compress it is in vain.
        op.execute("ALTER TABLE staged_batch ALTER COLUMN content SET STORAGE EXTERNAL")
