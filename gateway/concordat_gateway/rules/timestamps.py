"""Time-stamps of checkpoints: kept beside the ledger, handed out with exports."""

from collections.abc import Sequence

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.control_tables import ledger_timestamp

MAX_PAGE = 50
"""Responses may have 64 KiB, a message 4 MiB."""
_MAX_INTEGER = 2**63 - 1


def keep(journal: Journal, size: int, response: bytes) -> None:
    """Keep the verified time-stamp of the checkpoint of `size` entries; the first one stays.

    Raises Refusal UNAVAILABLE.
    """
    row = {"size": size, "response": response}
    journal.write(lambda transaction: transaction.connection.execute(_KEEP, row) and None)


def newest_size(journal: Journal) -> int:
    """The largest tree that has a time-stamp; 0 where none has."""
    with journal.read() as connection:
        return connection.execute(_NEWEST_SIZE).scalar() or 0


def after(journal: Journal, size: int) -> Sequence[tuple[int, bytes]]:
    """(tree size, response) of the time-stamps of larger trees, in order; some, or none left."""
    with journal.read() as connection:
        rows = connection.execute(_AFTER, {"size": min(size, _MAX_INTEGER)})
        return [(tree_size, response) for tree_size, response in rows]


_KEEP = sa.text(
    "INSERT INTO ledger_timestamp (tree_size, response) VALUES (:size, :response)"
    " ON CONFLICT DO NOTHING"
)
_NEWEST_SIZE = sa.select(sa.func.max(ledger_timestamp.c.tree_size))
_AFTER = (
    sa.select(ledger_timestamp.c.tree_size, ledger_timestamp.c.response)
    .where(ledger_timestamp.c.tree_size > sa.bindparam("size"))
    .order_by(ledger_timestamp.c.tree_size)
    .limit(MAX_PAGE)
)
