"""Subjects' keys and erasures. Items of the ledger no longer say whom they are about.

Consents that are there already keep the commitment of their grant's entry, and its salt.
"""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "control_0009"
down_revision = "control_0008"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_PAGE = 1_000
_CONSENTS = sa.text(
    "SELECT c.consent_id, c.subject, c.salt, e.leaf FROM consent c"
    " LEFT JOIN ledger_entry e ON e.entry_index = c.grant_entry"
    " WHERE c.consent_id > :after ORDER BY c.consent_id LIMIT :page"
)
_COMMIT = sa.text("UPDATE consent SET commitment = :commitment WHERE consent_id = :consent_id")


def upgrade() -> None:
    _commit_consents()
    _drop_openings()
    _make_subject_keys()
    _make_erasures()


def _commit_consents() -> None:
    op.add_column("consent", sa.Column("commitment", sa.LargeBinary(), nullable=True))
    connection = op.get_bind()
    after = b""
    while True:
        page = connection.execute(_CONSENTS, {"after": after, "page": _PAGE}).all()
        if not page:
            break
        connection.execute(
            _COMMIT,
            [{"consent_id": row.consent_id, "commitment": _commitment(row)} for row in page],
        )
        after = page[-1].consent_id
    with op.batch_alter_table("consent") as consent:
        consent.alter_column("commitment", existing_type=sa.LargeBinary(), nullable=False)
        consent.alter_column("salt", existing_type=sa.LargeBinary(), nullable=True)
        consent.create_check_constraint(
            op.f("ck_consent_commitment_length"), "length(commitment) = 32"
        )


def _commitment(row: sa.Row[Any]) -> bytes:
    try:
        # What the entry says: a rotation may have given the subject another name since.
        return bytes.fromhex(json.loads(row.leaf or b"")["subject"])
    except (ValueError, KeyError, TypeError):
        return hashlib.sha256(
            b"concordat/subject/v1" + bytes(row.salt) + bytes(row.subject)
        ).digest()


def _drop_openings() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_column("ledger_item", "subject")
        op.drop_column("ledger_item", "salt")
        return
    # SQLite drops no column that a constraint names.
    op.create_table(
        "ledger_item_next",
        sa.Column("entry_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("item", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_index", "item", name="pk_ledger_item"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO ledger_item_next SELECT entry_index, item, content FROM ledger_item")
    op.drop_table("ledger_item")
    op.rename_table("ledger_item_next", "ledger_item")


def _make_subject_keys() -> None:
    op.create_table(
        "subject_record",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("live_id", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_record", sa.LargeBinary(), nullable=False),
        sa.Column("next_consent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_subject_record"),
        sa.UniqueConstraint("live_id", name="uq_subject_record_live_id"),
        _exactly("subject_record", "subject", 32),
        _exactly("subject_record", "live_id", 16),
        _exactly("subject_record", "sealed_record", 44),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "subject_asking",
        sa.Column("live_id", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("live_id", "epoch", name="pk_subject_asking"),
        _exactly("subject_asking", "live_id", 16),
        _exactly("subject_asking", "sealed", 60),
        sqlite_with_rowid=False,
    )


def _make_erasures() -> None:
    op.create_table(
        "erasure",
        sa.Column("erasure_id", sa.LargeBinary(), nullable=False),
        sa.Column("member_id", sa.String(), nullable=False),
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("ground", sa.String(), nullable=False),
        sa.Column("evidence_sha256", sa.LargeBinary()),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("subject", sa.LargeBinary()),
        sa.Column("live_id", sa.LargeBinary()),
        sa.Column("requested_at", BigInt, nullable=False),
        sa.Column("requested_entry", BigInt, nullable=False),
        sa.Column("decided_at", BigInt),
        sa.Column("decided_entry", BigInt),
        sa.Column("erased_at", BigInt),
        sa.Column("basis", sa.String()),
        sa.Column("rows", BigInt),
        sa.Column("consents", sa.Integer()),
        sa.PrimaryKeyConstraint("erasure_id", name="pk_erasure"),
        _exactly("erasure", "erasure_id", 16),
        _exactly("erasure", "request_id", 16),
        _exactly("erasure", "evidence_sha256", 32),
        _exactly("erasure", "subject", 32),
        _exactly("erasure", "live_id", 16),
    )
    op.create_index("ix_erasure_state", "erasure", ["state"])
    op.create_index("ix_erasure_requested_entry", "erasure", ["requested_entry"], unique=True)
    op.create_table(
        "erased_name",
        sa.Column("mark", sa.LargeBinary(), nullable=False),
        sa.Column("erasure_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mark", "erasure_id", name="pk_erased_name"),
        _exactly("erased_name", "erasure_id", 16),
        _exactly("erased_name", "mark", 32),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erased_consent",
        sa.Column("consent_id", sa.LargeBinary(), nullable=False),
        sa.Column("evidence_id", sa.LargeBinary(), nullable=False),
        sa.Column("consents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("consent_id", name="pk_erased_consent"),
        _exactly("erased_consent", "consent_id", 16),
        _exactly("erased_consent", "evidence_id", 16),
        sqlite_with_rowid=False,
    )


def _exactly(table: str, column: str, length: int) -> sa.CheckConstraint:
    return sa.CheckConstraint(
        f"length({column}) = {length}", name=op.f(f"ck_{table}_{column}_length")
    )
