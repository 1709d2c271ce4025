"""Bands of an account in one column, by the catalogue's positions; outcomes of applications.

Rewrites every relation once: on a large store, minutes.
"""

import sqlalchemy as sa
from alembic import op

revision = "signals_0004"
down_revision = "signals_0003"

# In the catalogue's order, which only grows.
PACKED = (
    "limit_band",
    "balance_band",
    "past_due_band",
    "days_past_due",
    "utilisation",
    "spend_volatility",
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()
    else:
        _on_sqlite()


def _on_postgresql() -> None:
    for table, column in (
        ("relation", sa.Column("first_delinquency_month", sa.SmallInteger())),
        ("relation", sa.Column("bands", sa.LargeBinary())),
        ("inquiry", sa.Column("outcome", sa.SmallInteger())),
    ):
        op.add_column(table, column)
    digits = " || ".join(f"lpad(to_hex({name}::integer), 2, '0')" for name in PACKED)
    op.execute(
        f"UPDATE relation SET first_delinquency_month = 0, bands = decode({digits}, 'hex')"  # noqa: S608
    )
    op.execute("UPDATE inquiry SET outcome = 0")
    for table, name in (
        ("relation", "first_delinquency_month"),
        ("relation", "bands"),
        ("inquiry", "outcome"),
    ):
        op.alter_column(table, name, nullable=False)
    for name in PACKED:
        op.drop_column("relation", name)
    op.create_check_constraint(op.f("ck_relation_bands_length"), "relation", "length(bands) <= 255")


def _on_sqlite() -> None:
    # A column cannot be made NOT NULL in place: the tables are written anew.
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
        sa.PrimaryKeyConstraint(
            "subject", "member_no", "account_ref", "bucket", name="pk_relation"
        ),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_relation_subject_length")),
        sa.CheckConstraint("length(account_ref) = 16", name=op.f("ck_relation_account_ref_length")),
        sa.CheckConstraint("length(profile) = 24", name=op.f("ck_relation_profile_length")),
        sa.CheckConstraint("length(bands) <= 255", name=op.f("ck_relation_bands_length")),
        sqlite_with_rowid=False,
    )
    form = "%02x" * len(PACKED)
    packed = f"unhex(printf('{form}', {', '.join(PACKED)}))"
    op.execute(
        "INSERT INTO relation_next SELECT subject, member_no, account_ref, bucket, as_of_month,"  # noqa: S608
        f" status, product, opened_quarter, 0, {packed}, profile FROM relation"
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
        sa.PrimaryKeyConstraint(
            "subject", "member_no", "application_ref", "bucket", name="pk_inquiry"
        ),
        sa.CheckConstraint("length(subject) = 32", name=op.f("ck_inquiry_subject_length")),
        sa.CheckConstraint(
            "length(application_ref) = 16", name=op.f("ck_inquiry_application_ref_length")
        ),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO inquiry_next SELECT subject, member_no, application_ref, bucket, day,"
        " product, 0 FROM inquiry"
    )
    for table in ("relation", "inquiry"):
        op.drop_table(table)
        op.rename_table(f"{table}_next", table)
