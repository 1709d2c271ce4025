"""Subjects: their names, keys and elements, and how they are renamed when keys rotate."""

import sqlalchemy as sa
from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.schema import CLUSTERED, big_int, exactly, small_int


class SubjectElement(Control, table=True):
    """The element of a subject, sealed: what its name under the next key epoch is made of.

    `epoch` is the one whose pepper names and seals it.
    """

    __tablename__ = "subject_element"
    __table_args__ = (exactly("subject", 32), exactly("sealed", 60), CLUSTERED)

    subject: bytes = Field(primary_key=True)
    epoch: int
    sealed: bytes


class SubjectAlias(Control, table=True):
    """What one recipient's subject was called under an earlier key epoch.

    A recipient finds by it the subjects that it has recorded consents of, and no others: a name
    that another member's subject had is as unknown to it as any. Kept until the subject is erased.
    Whoever has no old pepper can compute no old name.
    """

    __tablename__ = "subject_alias"
    __table_args__ = (
        exactly("old_subject", 32),
        exactly("subject", 32),
        sa.Index(None, "subject"),
        CLUSTERED,
    )

    recipient: str = Field(primary_key=True)
    old_subject: bytes = Field(primary_key=True)
    subject: bytes
    """Its present name."""


class SubjectRecord(Control, table=True):
    """The one way from a subject's name to its evidence key, and only with its live key.

    See `store.subject_keys`.
    """

    __tablename__ = "subject_record"
    __table_args__ = (
        exactly("subject", 32),
        exactly("live_id", 16),
        exactly("sealed_record", 44),
        sa.UniqueConstraint("live_id"),
        CLUSTERED,
    )

    subject: bytes = Field(primary_key=True)
    live_id: bytes
    """Which live key."""
    sealed_record: bytes
    """The evidence key's id, sealed under the live key."""
    next_consent: int
    """How many consents were recorded under the evidence key."""


class SubjectAsking(Control, table=True):
    """An asking key that a subject had under an earlier epoch, sealed under its live key."""

    __tablename__ = "subject_asking"
    __table_args__ = (exactly("live_id", 16), exactly("sealed", 60), CLUSTERED)

    live_id: bytes = Field(primary_key=True)
    epoch: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sealed: bytes


class Rotation(Control, table=True):
    """The rotation to the next key epoch that is under way, if one is: one row or none.

    `state` is a number of `store.rotation_sql.State`.
    """

    __tablename__ = "rotation"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"), exactly("owner", 16))

    id: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    from_epoch: int
    to_epoch: int
    state: int = small_int()
    moved: int = big_int()
    """Subjects that control has moved."""
    owner: bytes
    """Random number of the process that works on it."""


class RotationPair(Control, table=True):
    """A subject's name and its sealed element under the epoch that is being rotated to.

    Gone as soon as control has moved the subject.
    """

    __tablename__ = "rotation_pair"
    __table_args__ = (
        exactly("subject", 32),
        exactly("new_subject", 32),
        exactly("sealed", 60),
        CLUSTERED,
    )

    subject: bytes = Field(primary_key=True)
    new_subject: bytes
    sealed: bytes


subject_element = METADATA.tables["subject_element"]
subject_alias = METADATA.tables["subject_alias"]
subject_record = METADATA.tables["subject_record"]
subject_asking = METADATA.tables["subject_asking"]
rotation = METADATA.tables["rotation"]
rotation_pair = METADATA.tables["rotation_pair"]
