"""Tables of the signals store: staged batches, and the state that lookups read.

Large and keyed by subject. `bucket` is the subject's first byte and last in every primary key:
PostgreSQL partitions by it, batch work is cut along it. Every statement on these tables carries
subject or bucket (staging and publication: the batch), so that the store can be distributed by
subject. Bands are numbers of the contract's enums. Moments are integer microseconds since the
epoch, UTC; months, quarters and days are counted from January 1970, as the catalogue counts them.
"""

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from concordat_store.schema import CLUSTERED, NAMING, big_int, exactly, small_int

METADATA = sa.MetaData(naming_convention=NAMING)

_NO_SEQUENCE = {"autoincrement": False}
_BY_BUCKET = {**CLUSTERED, "postgresql_partition_by": "RANGE (bucket)"}


class _Signals(SQLModel):
    metadata = METADATA


class StagedBatch(_Signals, table=True):
    """A batch whose rows no lookup sees yet, and since when: how an abandoned one is found."""

    __tablename__ = "staged_batch"
    __table_args__ = (exactly("batch_id", 16),)

    batch_id: bytes = Field(primary_key=True)
    staged_at: int = big_int()
    content: bytes
    """Its rows, as `staging.encode_rows` encodes them."""


class PublishedBatch(_Signals, table=True):
    """A batch whose rows lookups see. The mark commits with the rows."""

    __tablename__ = "published_batch"
    __table_args__ = (exactly("batch_id", 16),)

    batch_id: bytes = Field(primary_key=True)
    published_at: int = big_int()


class Publisher(_Signals, table=True):
    """A row to lock: the batches of one member are published one after another."""

    __tablename__ = "publisher"

    member_no: int = small_int(primary_key=True, sa_column_kwargs=_NO_SEQUENCE)
    published_at: int = big_int()


class Relation(_Signals, table=True):
    """One account that one member holds of a subject: newest snapshot and 24 months of history."""

    __tablename__ = "relation"
    __table_args__ = (
        exactly("subject", 32),
        exactly("account_ref", 16),
        exactly("profile", 24),
        sa.CheckConstraint("length(bands) <= 255", name="bands_length"),
        _BY_BUCKET,
    )

    subject: bytes = Field(primary_key=True)
    member_no: int = small_int(primary_key=True, sa_column_kwargs=_NO_SEQUENCE)
    account_ref: bytes = Field(primary_key=True)
    bucket: int = small_int(primary_key=True, sa_column_kwargs=_NO_SEQUENCE)
    as_of_month: int = small_int()
    status: int = small_int()
    product: int = small_int()
    opened_quarter: int = small_int()
    first_delinquency_month: int = small_int()
    """0 where none is known."""
    bands: bytes
    """Bands by the catalogue's positions, one a byte, without unknown ones at the end: a store
    need not change when the catalogue grows."""
    profile: bytes
    """24 days-past-due bands, newest month first; the first belongs to as_of_month."""
    source_entry: int = big_int()
    """Ledger entry of the batch whose row gave as_of_month; 0 for rows of before it was kept."""
    source_item: int
    """That row's position in the batch."""


class Inquiry(_Signals, table=True):
    """One application for credit that one member received from a subject."""

    __tablename__ = "inquiry"
    __table_args__ = (exactly("subject", 32), exactly("application_ref", 16), _BY_BUCKET)

    subject: bytes = Field(primary_key=True)
    member_no: int = small_int(primary_key=True, sa_column_kwargs=_NO_SEQUENCE)
    application_ref: bytes = Field(primary_key=True)
    bucket: int = small_int(primary_key=True, sa_column_kwargs=_NO_SEQUENCE)
    day: int
    product: int = small_int()
    outcome: int = small_int()
    source_entry: int = big_int()
    """As a relation's."""
    source_item: int


class SubjectEpoch(_Signals, table=True):
    """The key epoch under which this store names subjects, 0 while they are moved to the next.

    Read in the same snapshot as whatever is read of subjects. No row: the first epoch, as in every
    store that was never rotated.
    """

    __tablename__ = "subject_epoch"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: int = small_int(primary_key=True, sa_column_kwargs=_NO_SEQUENCE)
    epoch: int


class Erased(_Signals, table=True):
    """An erasure that was carried out here. The mark commits with the deletion.

    Where it is missing, this store is from before, and holds what was erased.
    """

    __tablename__ = "erased"
    __table_args__ = (exactly("erasure_id", 16),)

    erasure_id: bytes = Field(primary_key=True)
    erased_at: int = big_int()


staged_batch = METADATA.tables["staged_batch"]
published_batch = METADATA.tables["published_batch"]
publisher = METADATA.tables["publisher"]
relation = METADATA.tables["relation"]
inquiry = METADATA.tables["inquiry"]
erased = METADATA.tables["erased"]
subject_epoch = METADATA.tables["subject_epoch"]
