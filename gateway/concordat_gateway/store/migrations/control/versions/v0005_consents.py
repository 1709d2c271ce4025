"""The consent record of TS 27560, its life cycle, frequencies, and consent managers.

Consents that are there already were granted at once, with a document as evidence, and without a
jurisdiction: there were no policies to check them against.
"""

import sqlalchemy as sa
from alembic import op

revision = "control_0005"
down_revision = "control_0004"

BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # Recreated on SQLite, which cannot lift a NOT NULL.
    with op.batch_alter_table("consent") as consent:
        consent.alter_column("evidence_sha256", existing_type=sa.LargeBinary(), nullable=True)
        for column in (
            sa.Column("notice_sha256", sa.LargeBinary()),
            sa.Column("language", sa.String()),
            sa.Column("withdrawal_method", sa.String()),
            sa.Column("jurisdiction", sa.String()),
            sa.Column("policies", sa.Integer(), server_default="0", nullable=False),
            sa.Column("data_life_unit", sa.SmallInteger()),
            sa.Column("data_life_value", sa.Integer()),
            sa.Column("frequency_unit", sa.SmallInteger()),
            sa.Column("frequency_uses", sa.Integer()),
            sa.Column("used_span", BigInt),
            sa.Column("used", sa.Integer(), server_default="0", nullable=False),
            sa.Column("evidence_subject", sa.LargeBinary()),
            sa.Column("evidence_jws", sa.String()),
            sa.Column("evidence_terms_sha256", sa.LargeBinary()),
            sa.Column("evidence_signer", sa.String()),
            sa.Column("evidence_key", sa.LargeBinary()),
            sa.Column("requested_at", BigInt),
            sa.Column("activated_at", BigInt),
            sa.Column("paused_at", BigInt),
            sa.Column("resumed_at", BigInt),
            sa.Column("revoked_at", BigInt),
            sa.Column("revoked_by", sa.String()),
            sa.Column("revoke_entry", BigInt),
            sa.Column("reason", sa.String()),
            sa.Column("asked_at", BigInt),
        ):
            consent.add_column(column)
        for name, length in (
            ("notice_sha256", 32),
            ("evidence_subject", 32),
            ("evidence_terms_sha256", 32),
            ("evidence_key", 32),
        ):
            consent.create_check_constraint(
                op.f(f"ck_consent_{name}_length"), f"length({name}) = {length}"
            )
    op.create_index(
        "uq_consent_evidence_terms_sha256", "consent", ["evidence_terms_sha256"], unique=True
    )
    op.execute("UPDATE consent SET activated_at = granted_at")
    op.create_table(
        "consent_manager",
        sa.Column("manager_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("jwk", sa.String(), nullable=False),
        sa.Column("thumbprint", sa.LargeBinary(), nullable=False),
        sa.Column("registered_at", BigInt, nullable=False),
        sa.Column("disabled_at", BigInt),
        sa.PrimaryKeyConstraint("manager_id", name="pk_consent_manager"),
        sa.UniqueConstraint("thumbprint", name="uq_consent_manager_thumbprint"),
        sa.CheckConstraint(
            "length(thumbprint) = 32", name=op.f("ck_consent_manager_thumbprint_length")
        ),
    )
