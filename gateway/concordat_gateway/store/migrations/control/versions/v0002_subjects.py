"""Key epochs: sealed elements, aliases, rotations, and the epoch of the subjects' names.

Subjects that are there already keep their names, as those of epoch 1, and have no sealed element.
"""

import sqlalchemy as sa
from alembic import op

revision = "control_0002"
down_revision = "control_0001"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "ledger_head",
        sa.Column("tokens_epoch", sa.Integer(), server_default="1", nullable=False),
    )
    op.create_table(
        "subject_element",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_subject_element"),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_subject_element_subject_length")),
        sa.CheckConstraint("length(sealed) = 60", name=op.f("ck_subject_element_sealed_length")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "subject_alias",
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("old_subject", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("recipient", "old_subject", name="pk_subject_alias"),
        sa.CheckConstraint(
            "length(old_subject) = 32", name=op.f("ck_subject_alias_old_subject_length")
        ),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_subject_alias_subject_length")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_subject_alias_subject", "subject_alias", ["subject"])
    op.create_table(
        "rotation",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("from_epoch", sa.Integer(), nullable=False),
        sa.Column("to_epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("moved", BigInt, nullable=False),
        sa.Column("owner", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rotation"),
        sa.CheckConstraint("id = 1", name=op.f("ck_rotation_one_row")),
        sa.CheckConstraint("length(owner) = 16", name=op.f("ck_rotation_owner_length")),
    )
    op.create_table(
        "rotation_pair",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("new_subject", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_rotation_pair"),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_rotation_pair_subject_length")),
        sa.CheckConstraint(
            "length(new_subject) = 32", name=op.f("ck_rotation_pair_new_subject_length")
        ),
        sa.CheckConstraint("length(sealed) = 60", name=op.f("ck_rotation_pair_sealed_length")),
        sqlite_with_rowid=False,
    )
