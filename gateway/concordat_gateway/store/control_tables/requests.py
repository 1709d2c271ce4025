"""Finished calls, which are answered once."""

from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.schema import big_int, exactly


class Request(Control, table=True):
    """A finished call, so that its repetition returns the same reply (AIP-155)."""

    __tablename__ = "request"
    __table_args__ = (exactly("request_id", 16), exactly("request_sha256", 32))

    caller: str = Field(primary_key=True)
    method: str = Field(primary_key=True)
    request_id: bytes = Field(primary_key=True)
    request_sha256: bytes
    entry: int | None = big_int(default=None)
    reply: bytes
    """The serialised response without its receipt's checkpoint."""
    created_at: int = big_int()


request = METADATA.tables["request"]
