"""The tree's nodes, each with the entry that completed it: one row an entry, not three."""

import sqlalchemy as sa
from alembic import op

revision = "control_0004"
down_revision = "control_0003"

_PAGE = 10_000
_RULE = "length(hashes) > 0 AND length(hashes) % 32 = 0"
_LEAVES = (
    "SELECT leaf FROM ledger_entry WHERE entry_index >= ? AND entry_index < ? ORDER BY entry_index"
)
_NODES = (
    "SELECT node_index, hash FROM ledger_node"
    " WHERE level = ? AND node_index >= ? AND node_index < ? ORDER BY node_index"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _make_anew()
    else:
        _add_column()
    op.drop_table("ledger_node")


def _add_column() -> None:
    op.add_column("ledger_entry", sa.Column("hashes", sa.LargeBinary(), nullable=True))
    # A node of 2^level leaves is completed by the last of them.
    op.execute(
        "UPDATE ledger_entry SET hashes = node.hashes FROM ("
        " SELECT ((node_index + 1) << level) - 1 AS entry_index,"
        " string_agg(hash, ''::bytea ORDER BY level) AS hashes FROM ledger_node GROUP BY 1"
        ") AS node WHERE node.entry_index = ledger_entry.entry_index"
    )
    op.alter_column("ledger_entry", "hashes", nullable=False)
    op.create_check_constraint(op.f("ck_ledger_entry_hashes_length"), "ledger_entry", _RULE)


def _make_anew() -> None:
    """SQLite adds columns at the end only, where a long leaf is in the way of reading them."""
    connection = op.get_bind()
    entries = connection.scalar(
        sa.text("SELECT coalesce(max(entry_index) + 1, 0) FROM ledger_entry")
    )
    op.create_table(
        "ledger_entry_next",
        sa.Column("entry_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_index", name="pk_ledger_entry"),
        sa.CheckConstraint(_RULE, name=op.f("ck_ledger_entry_hashes_length")),
    )
    for start in range(0, entries, _PAGE):
        stop = min(start + _PAGE, entries)
        leaves = connection.exec_driver_sql(_LEAVES, (start, stop)).scalars().all()
        hashes = [b""] * (stop - start)
        for level in range(stop.bit_length()):
            # The nodes that end before an entry are those that fit into as many entries.
            span = (level, start >> level, stop >> level)
            for node_index, digest in connection.exec_driver_sql(_NODES, span):
                hashes[((node_index + 1) << level) - 1 - start] += digest
        rows = list(zip(range(start, stop), hashes, leaves, strict=True))
        connection.exec_driver_sql("INSERT INTO ledger_entry_next VALUES (?, ?, ?)", rows)
    op.drop_table("ledger_entry")
    op.rename_table("ledger_entry_next", "ledger_entry")
