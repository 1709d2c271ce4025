"""Contributed batches, uploads of many, what replaces what, and how far retention has come."""

import sqlalchemy as sa
from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.schema import CLUSTERED, big_int, exactly, small_int


class Batch(Control, table=True):
    """An accepted contribution: a call's, one part of an upload, or a withdrawal of rows.

    Whether it is published is for the signals store to say.
    """

    __tablename__ = "batch"
    __table_args__ = (
        exactly("batch_id", 16),
        exactly("request_id", 16),
        exactly("root", 32),
        exactly("upload_id", 16),
        exactly("content_sha256", 32),
        sa.UniqueConstraint("member_id", "request_id"),
        sa.UniqueConstraint("member_id", "upload_id", "sequence"),
        sa.Index("ix_batch_member_id_entry", "member_id", "entry"),
    )

    batch_id: bytes = Field(primary_key=True)
    member_id: str
    request_id: bytes | None = Field(default=None)
    """Null for a part of an upload and, with `upload_id`, for a withdrawal."""
    rows_accepted: int
    rows_refused: int
    refused_rows: bytes
    """Numbers of the refused rows, each an unsigned 32-bit big-endian integer."""
    root: bytes
    entry: int = big_int()
    accepted_at: int = big_int()
    upload_id: bytes | None = Field(default=None)
    """The three that follow are null for a batch that is a call of its own."""
    sequence: int | None = big_int(default=None)
    content_sha256: bytes | None = Field(default=None)
    """Of the part's header and rows, see `rules.requests.Fingerprint`. This and `refusals` are
    null too once the upload has expired."""
    refusals: bytes | None = Field(default=None)
    """Why the refused rows of the part were refused, see `rules.refusals`. Names no token."""


class ReplacedRow(Control, table=True):
    """A row that a later one stands for, or that was withdrawn. It names no subject.

    One row a replaced row: of two that replace the same one, one is refused.
    """

    __tablename__ = "replaced_row"
    __table_args__ = (CLUSTERED,)

    entry: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    item: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """Its position in the batch of `entry`, as it was sent."""
    member_id: str
    by_entry: int = big_int()
    by_item: int


class Upload(Control, table=True):
    """How far a member's upload has come. There is one from its first part on."""

    __tablename__ = "upload"
    __table_args__ = (exactly("upload_id", 16), exactly("header_sha256", 32), CLUSTERED)

    member_id: str = Field(primary_key=True)
    upload_id: bytes = Field(primary_key=True)
    header_sha256: bytes
    acknowledged: int = big_int()
    """Sequence of the newest part."""
    rows_accepted: int = big_int()
    rows_refused: int = big_int()
    first_entry: int = big_int()
    last_entry: int = big_int()
    last_accepted_at: int = big_int()
    end_entry: int | None = big_int(default=None)
    """Entry of its end; after that no part is taken."""
    ended_at: int | None = big_int(default=None)
    """When it was ended; null too where that was before this was recorded."""
    expired_at: int | None = big_int(default=None)
    """From when on nothing is taken or answered, see `rules.upload_ages`."""
    forgotten: int = big_int(default=0)
    """Sequence up to which its parts' digests and refusals are given up, once it has expired."""
    deleted: int = big_int(default=0)
    """Sequence up to which the records of its parts are deleted."""


class RetentionRun(Control, table=True):
    """The newest day on which rows past their retention were deleted: one row or none."""

    __tablename__ = "retention_run"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    day: int
    """Counted from 1970-01-01."""
    adverse_years: int
    from_delinquency: bool
    """Whether they are counted from the first delinquency, where it is known."""
    finished: bool
    """False from the entry to the end of the deletion."""


batch = METADATA.tables["batch"]
replaced_row = METADATA.tables["replaced_row"]
upload = METADATA.tables["upload"]
retention_run = METADATA.tables["retention_run"]
