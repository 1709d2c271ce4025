"""Inclusion and consistency proofs from the stored tree.

A complete node never changes, and a tree that was once committed stays: so both may be remembered,
and most proofs of a busy ledger need one small read or none.
"""

from collections.abc import Callable

import sqlalchemy as sa

from concordat_gateway.ledger import tree
from concordat_privacy.log import merkle
from concordat_privacy.log.merkle import Frontier, GetNode
from concordat_rpc.errors import invalid, out_of_range
from concordat_store.database import Database

_REMEMBERED_NODES = 65_536
"""About 12 MB."""


class Prover:
    """Proves about the ledger of a control store. Thread-safe.

    Every method raises Refusal INTERNAL (LEDGER_DAMAGED) where the store lacks what it needs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._size = 0
        self._nodes: dict[tuple[int, int], bytes] = {}

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """RFC 9162 2.1.3 proof of an entry in the tree of `size` entries, leaf's side first.

        Raises Refusal OUT_OF_RANGE unless 0 <= index < size <= the ledger's size.
        """
        self._check_size("tree_size", size)
        if not 0 <= index < size:
            raise out_of_range("entry_index", f"the tree has {size} entries")
        return self._prove(lambda get_node: merkle.inclusion_proof(index, size, get_node))

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """RFC 9162 2.1.4 proof that the tree of `new` entries extends that of `old`.

        Raises Refusal OUT_OF_RANGE (new beyond the ledger), INVALID_ARGUMENT (old 0 or above new).
        """
        self._check_size("new_size", new)
        if not 0 < old <= new:
            raise invalid("old_size", f"1 to new_size ({new}) wanted")
        return self._prove(lambda get_node: merkle.consistency_proof(old, new, get_node))

    def root(self, size: int) -> bytes:
        """The root of the tree of the first `size` entries.

        Raises Refusal OUT_OF_RANGE (beyond the ledger).
        """
        self._check_size("tree_size", size)
        places = merkle.peaks_of(size)
        hashes = self._prove(lambda get_node: [get_node(*place) for place in places])
        return Frontier(size, tuple(hashes)).root

    def _check_size(self, field: str, size: int) -> None:
        if size <= self._size:
            return
        with self._database.read() as connection:
            known = tree.read_head(connection).frontier.size
        # A race between threads can only lower it: then the head is read once more.
        self._size = known
        if size > known:
            raise out_of_range(field, f"the ledger has {known} entries")

    def _prove(self, proof: Callable[[GetNode], list[bytes]]) -> list[bytes]:
        """Run a proof's algorithm: if nodes are missing once to learn which, then with them."""
        nodes = self._nodes
        missing: list[tuple[int, int]] = []

        def known(level: int, index: int) -> bytes:
            digest = nodes.get((level, index))
            if digest is None:
                missing.append((level, index))
                return bytes(merkle.HASH_BYTES)
            return digest

        hashes = proof(known)
        if not missing:
            return hashes
        with self._database.read() as connection:
            read = _read(connection, missing)
        hashes = proof(lambda level, index: read.get((level, index)) or nodes[level, index])
        if len(nodes) + len(read) > _REMEMBERED_NODES:
            # What lies higher is a part of more proofs.
            highest = sorted(nodes, reverse=True)[: _REMEMBERED_NODES // 2]
            self._nodes = {place: nodes[place] for place in highest} | read
        else:
            nodes.update(read)
        return hashes


def _read(connection: sa.Connection, places: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    read = tree.read_nodes(connection, places)
    absent = set(places) - read.keys()
    if absent:
        raise tree.lacks_entry(min(tree.last_entry_under(*place) for place in absent))
    return read
