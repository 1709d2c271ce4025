"""Tables of the two stores of subjects' keys: the evidence store and the live-key store.

They are apart, and apart from the others, because they live differently: an evidence key is kept
for as long as the ledger, a live key is destroyed with the subject's erasure and must be gone from
backups soon. Both hold an anchor: the largest state of the ledger that they have seen.
"""

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from concordat_store.schema import CLUSTERED, NAMING, big_int, exactly, small_int

EVIDENCE_METADATA = sa.MetaData(naming_convention=NAMING)
LIVE_METADATA = sa.MetaData(naming_convention=NAMING)

SEALED_KEY_BYTES = 60
"""Nonce (12), sealed key (32), tag (16)."""


class _Evidence(SQLModel):
    metadata = EVIDENCE_METADATA


class _Live(SQLModel):
    metadata = LIVE_METADATA


class EvidenceKey(_Evidence, table=True):
    """A subject's evidence key, sealed under the key file `evidence.key`."""

    __tablename__ = "evidence_key"
    __table_args__ = (
        exactly("key_id", 16),
        exactly("sealed", SEALED_KEY_BYTES),
        CLUSTERED,
    )

    key_id: bytes = Field(primary_key=True)
    sealed: bytes
    kept_at: int = big_int()
    """When it was made, or last asked for by a consent."""


class LiveKey(_Live, table=True):
    """A subject's live key, sealed under the key file `live.key`."""

    __tablename__ = "live_key"
    __table_args__ = (
        exactly("key_id", 16),
        exactly("sealed", SEALED_KEY_BYTES),
        CLUSTERED,
    )

    key_id: bytes = Field(primary_key=True)
    sealed: bytes
    kept_at: int = big_int()


class EvidenceAnchor(_Evidence, table=True):
    """The largest tree of the ledger that was seen: one row or none."""

    __tablename__ = "evidence_anchor"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"), exactly("root", 32))

    id: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    origin: str
    size: int = big_int()
    root: bytes


class LiveAnchor(_Live, table=True):
    """The largest tree of the ledger that was seen: one row or none."""

    __tablename__ = "live_anchor"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"), exactly("root", 32))

    id: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    origin: str
    size: int = big_int()
    root: bytes


evidence_key = EVIDENCE_METADATA.tables["evidence_key"]
evidence_anchor = EVIDENCE_METADATA.tables["evidence_anchor"]
live_key = LIVE_METADATA.tables["live_key"]
live_anchor = LIVE_METADATA.tables["live_anchor"]
