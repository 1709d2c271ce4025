"""The row that the newest month of each account, and each application, came from.

Of rows of before it is not known: entry 0, which is never a batch's. On SQLite this rewrites both
tables once: on a large store, minutes.
"""

import sqlalchemy as sa
from alembic import op

revision = "signals_0005"
down_revision = "signals_0004"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()
    else:
        _on_sqlite()


def _on_postgresql() -> None:
    for table in ("relation", "inquiry"):
        for name, kind in (("source_entry", BigInt), ("source_item", sa.Integer())):
            # A constant default is kept beside the table: no row is written.
            op.add_column(table, sa.Column(name, kind, nullable=False, server_default="0"))
            op.alter_column(table, name, server_default=None)


def _on_sqlite() -> None:
    # A column cannot lose its default in place: the tables are written anew.
    op.create_table(
        "relation_next",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("member_no", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("account_ref", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("as_of_month", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("product", sa.SmallInteger(), nullable=False),
        sa.Column("opened_quarter", sa.SmallInteger(), nullable=False),
        sa.Column("first_delinquency_month", sa.SmallInteger(), nullable=False),
        sa.Column("bands", sa.LargeBinary(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.Column("source_entry", BigInt, nullable=False),
        sa.Column("source_item", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "subject", "member_no", "account_ref", "bucket", name="pk_relation"
        ),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_relation_subject_length")),
        sa.CheckConstraint("length(account_ref) = 16", name=op.f("ck_relation_account_ref_length")),
        sa.CheckConstraint("length(profile) = 24", name=op.f("ck_relation_profile_length")),
        sa.CheckConstraint("length(bands) <= 255", name=op.f("ck_relation_bands_length")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "inquiry_next",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("member_no", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("application_ref", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("product", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("source_entry", BigInt, nullable=False),
        sa.Column("source_item", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "subject", "member_no", "application_ref", "bucket", name="pk_inquiry"
        ),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_inquiry_subject_length")),
        sa.CheckConstraint(
            "length(application_ref) = 16", name=op.f("ck_inquiry_application_ref_length")
        ),
        sqlite_with_rowid=False,
    )
    for table in ("relation", "inquiry"):
        op.execute(f"INSERT INTO {table}_next SELECT *, 0, 0 FROM {table}")  # noqa: S608
        op.drop_table(table)
        op.rename_table(f"{table}_next", table)
