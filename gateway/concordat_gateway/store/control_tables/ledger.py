"""The ledger: entries, their items, its head, and what others signed of it."""

import sqlalchemy as sa
from sqlmodel import Field

from concordat_gateway.store.control_tables._base import METADATA, Control
from concordat_store.schema import CLUSTERED, big_int, small_int


class LedgerEntry(Control, table=True):
    """One leaf, byte for byte as hashed, and the hashes of the subtrees that it completed.

    `hashes` is 32 bytes a level: the leaf's own hash first, then the nodes above it that end with
    it. Before the leaf, so that reading them never touches the pages of a long one.
    """

    __tablename__ = "ledger_entry"
    __table_args__ = (
        sa.CheckConstraint("length(hashes) > 0 AND length(hashes) % 32 = 0", name="hashes_length"),
    )

    entry_index: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    hashes: bytes
    leaf: bytes


class LedgerItem(Control, table=True):
    """One item under an entry's items_root, byte for byte as hashed."""

    __tablename__ = "ledger_item"
    __table_args__ = (CLUSTERED,)

    entry_index: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    item: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    content: bytes


class LedgerHead(Control, table=True):
    """The ledger's state, one row. Locking it is the fence between writing processes."""

    __tablename__ = "ledger_head"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: int = small_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int = big_int()
    frontier: bytes
    checkpoint: str
    time: int = big_int()
    """Time of the newest change; none that follows is earlier."""
    pool_version: int = big_int()
    """Grows with every change that may alter answers about the whole pool."""
    tokens_epoch: int = Field(sa_column_kwargs={"server_default": "1"})
    """Key epoch under which the stores name subjects; 0 while they are moved to the next."""
    witnessed_size: int = big_int(sa_column_kwargs={"server_default": "0"})
    """Largest tree that as many witnesses as the policy wants have seen: each cosigned it, or one
    that extends it."""
    unwitnessed_since: int | None = big_int(default=None)
    """Time of the first entry beyond it."""


class Cosignature(Control, table=True):
    """A witness's cosignature of the checkpoint of one tree.

    Kept are those of the newest tree that enough witnesses cosigned, of one such tree an hour
    before it, and each witness's newest beyond it.
    """

    __tablename__ = "cosignature"

    tree_size: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    witness: str = Field(primary_key=True)
    """Name and key id, as on the signature line."""
    line: str
    received_at: int = big_int()


class LedgerTimestamp(Control, table=True):
    """A time-stamping authority's answer (RFC 3161) about the checkpoint of one tree."""

    __tablename__ = "ledger_timestamp"

    tree_size: int = big_int(primary_key=True, sa_column_kwargs={"autoincrement": False})
    response: bytes


ledger_entry = METADATA.tables["ledger_entry"]
ledger_item = METADATA.tables["ledger_item"]
ledger_head = METADATA.tables["ledger_head"]
cosignature = METADATA.tables["cosignature"]
ledger_timestamp = METADATA.tables["ledger_timestamp"]
