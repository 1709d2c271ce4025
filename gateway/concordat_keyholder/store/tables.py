"""Tables of the key-holder's store. All times are integer microseconds since the epoch, UTC.

The meters' tables, `usage` and `usage_rate`, are `concordat_store.meters`'; their kinds are the
numbers of the contract's EvaluationQuota, of members, and `updates.KIND`, of gateways.
"""

import sqlalchemy as sa

from concordat_store.meters import define_meters
from concordat_store.schema import CLUSTERED, NAMING, BigInt, exactly

METADATA = sa.MetaData(naming_convention=NAMING)
define_meters(METADATA)

admitted_member = sa.Table(
    "admitted_member",
    METADATA,
    sa.Column("member_id", sa.String, primary_key=True),
    # DER of its SubjectPublicKeyInfo; NULL before a first admission.
    sa.Column("public_key", sa.LargeBinary),
    sa.Column("admitted_at", BigInt),
    sa.Column("expelled_at", BigInt),
    # Of its own; NULL: the configuration's.
    sa.Column("daily", BigInt),
    sa.Column("monthly", BigInt),
)
"""A member by the key that it signs its batches with."""

nonce = sa.Table(
    "nonce",
    METADATA,
    sa.Column("member_id", sa.String, primary_key=True),
    sa.Column("nonce", sa.LargeBinary, primary_key=True),
    # SHA-256 of the signed statement.
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("repeats", sa.Integer, nullable=False),
    sa.Column("expires_at", BigInt, nullable=False),
    exactly("nonce", 16),
    exactly("content", 32),
    sa.Index(None, "expires_at"),
    sqlite_with_rowid=CLUSTERED["sqlite_with_rowid"],
)
"""A batch that was charged, for as long as it could be brought again."""

allowance = sa.Table(
    "allowance",
    METADATA,
    sa.Column("member_id", sa.String, primary_key=True),
    sa.Column("granted", BigInt, nullable=False),
    sa.Column("used", BigInt, nullable=False),
    sa.Column("granted_at", BigInt, nullable=False),
    sa.Column("expires_at", BigInt, nullable=False),
)
"""Evaluations that a member may have beside its quota, to tokenise a portfolio."""
