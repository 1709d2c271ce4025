"""Disputes, and who is to answer them."""

import sqlalchemy as sa
from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.schema import big_int, exactly, small_int


class Dispute(Control, table=True):
    """A subject's word that what is held about it is wrong, passed on by a member."""

    __tablename__ = "dispute"
    __table_args__ = (
        exactly("dispute_id", 16),
        exactly("subject", 32),
        exactly("statement_sha256", 32),
        sa.Index(None, "subject"),
    )

    dispute_id: bytes = Field(primary_key=True)
    dispute_no: int = big_int(unique=True)
    opener: str = Field(index=True)
    subject: bytes
    category: int = small_int()
    reason: int = small_int()
    jurisdiction: str
    statement_sha256: bytes
    opened_at: int = big_int()
    answer_by: int = big_int()
    extended_at: int | None = big_int(default=None)
    resolved_at: int | None = big_int(default=None)
    outcome: int = small_int()
    """A number of the contract's DisputeOutcome; 0 while it is open."""


class DisputeTask(Control, table=True):
    """That a member is to answer a dispute."""

    __tablename__ = "dispute_task"
    __table_args__ = (exactly("dispute_id", 16), sa.Index(None, "member_id", "dispute_id"))

    dispute_id: bytes = Field(primary_key=True)
    member_id: str = Field(primary_key=True)
    answered_at: int | None = big_int(default=None)
    outcome: int = small_int()
    late_since: int | None = big_int(default=None)
    """When the alarm was raised that it is overdue."""


dispute = METADATA.tables["dispute"]
dispute_task = METADATA.tables["dispute_task"]
