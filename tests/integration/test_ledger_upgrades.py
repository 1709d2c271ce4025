"""Ledgers of earlier schemas under this build."""

import pytest
import sqlalchemy as sa
from alembic import command

from concordat_gateway.ledger.tree import read_nodes
from concordat_gateway.store.migrate import CONTROL, upgrade_stores
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign
from concordat_privacy.log.merkle import Frontier, Tree, leaf_hash
from concordat_store.database import Database
from tests.ledgers import appending, check_ledger
from tests.stores import ManualClock, StoreUrls, open_journal

_OLD_ENTRY = sa.text("INSERT INTO ledger_entry (entry_index, leaf) VALUES (:entry, :leaf)")
_OLD_NODE = sa.text(
    "INSERT INTO ledger_node (level, node_index, hash) VALUES (:level, :position, :hash)"
)


@pytest.mark.parametrize("entries", [0, 1, 13, 10_001])
def test_trees_of_the_third_schema_keep_every_node(
    empty_urls: StoreUrls, ledger_key: SigningKey, clock: ManualClock, entries: int
) -> None:
    leaves = [b'{"number":%d}' % number for number in range(entries)]
    tree = Tree.of(leaves)
    frontier = Frontier().extend(map(leaf_hash, leaves))[0]
    head = sa.text(
        "INSERT INTO ledger_head (id, size, frontier, checkpoint, time, pool_version)"
        " VALUES (1, :size, :frontier, :checkpoint, 0, 0)"
    ).bindparams(
        size=entries,
        frontier=frontier.to_bytes(),
        checkpoint=sign(Checkpoint(ledger_key.name, entries, tree.root), ledger_key),
    )
    database = Database.open(empty_urls.control_url)
    config = CONTROL.config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "control_0003")
        connection.execute(head)
        for number, data in enumerate(leaves):
            connection.execute(_OLD_ENTRY, {"entry": number, "leaf": data})
        for level in range(entries.bit_length()):
            for position in range(entries >> level):
                place = {"level": level, "position": position, "hash": tree.node(level, position)}
                connection.execute(_OLD_NODE, place)
    database.close()
    upgrade_stores(*empty_urls.all)

    with open_journal(empty_urls, clock, ledger_key) as journal:
        assert check_ledger(journal, ledger_key.verifier) == leaves
        everything = [(level, at) for level in range(15) for at in range(entries >> level)]
        with journal.read() as connection:
            stored = read_nodes(connection, everything)
        assert stored == {place: tree.node(*place) for place in everything}
        journal.write(appending(0))
        check_ledger(journal, ledger_key.verifier)
