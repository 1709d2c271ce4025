"""What every test may ask of a ledger: nothing missing, nothing forked, everything provable."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_privacy.log.checkpoint import VerifierKey, open_note
from concordat_privacy.log.merkle import (
    Tree,
    leaf_hash,
    merkle_root,
    verify_consistency,
    verify_inclusion,
)


def appending(
    number: int, actor: str = "spiffe://concordat.test/member/alpha"
) -> Callable[[Transaction], Entry]:
    """A change that appends one entry with a number in it."""
    return lambda transaction: transaction.append("test.appended", actor, {"number": number})


def leaves_of(journal: Journal) -> list[bytes]:
    """All leaves, after checking that the indexes have no gap."""
    entries = list(journal.entries(0, journal.size))
    assert [index for index, _, _ in entries] == list(range(len(entries)))
    return [leaf for _, leaf, _ in entries]


def check_ledger(journal: Journal, key: VerifierKey) -> list[bytes]:
    """Verify a whole ledger from outside, root and proofs; returns its leaves."""
    leaves = leaves_of(journal)
    checkpoint = open_note(journal.checkpoint(), [key])
    assert checkpoint.size == len(leaves)
    assert checkpoint.root == merkle_root(leaves)
    size = len(leaves)
    for index in _sample(size):
        proof = journal.inclusion_proof(index, size)
        verify_inclusion(leaf_hash(leaves[index]), index, size, proof, checkpoint.root)
    tree = Tree.of(leaves)
    for old in _sample(size):
        if old:
            old_root = merkle_root(leaves[:old])
            proof = journal.consistency_proof(old, size)
            verify_consistency(old, size, old_root, tree.root, proof)
    return leaves


@dataclass(frozen=True)
class Acknowledged:
    """What a caller was told: an entry, and the signed checkpoint that came with it."""

    index: int
    leaf: bytes
    note: str


def check_acknowledged(
    journal: Journal, key: VerifierKey, acknowledged: Sequence[Acknowledged]
) -> list[bytes]:
    """Verify a whole ledger, and all that was ever promised about it; returns its leaves."""
    leaves = check_ledger(journal, key)
    newest = open_note(journal.checkpoint(), [key])
    indexes = {entry.index for entry in acknowledged}
    assert len(indexes) == len(acknowledged), "one place was promised twice"
    for entry in acknowledged:
        assert leaves[entry.index] == entry.leaf
        then, digest = open_note(entry.note, [key]), leaf_hash(entry.leaf)
        assert entry.index < then.size <= newest.size
        proof = journal.consistency_proof(then.size, newest.size)
        verify_consistency(then.size, newest.size, then.root, newest.root, proof)
        for tree in (then, newest):
            proof = journal.inclusion_proof(entry.index, tree.size)
            verify_inclusion(digest, entry.index, tree.size, proof, tree.root)
    return leaves


@contextmanager
def writer_held(journal: Journal) -> Iterator[None]:
    """Keeps the journal's writer busy inside the block: what is queued there becomes one group."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        entered.set()
        assert leave.wait(60)

    holder = threading.Thread(target=journal.write, args=(hold,))
    holder.start()
    assert entered.wait(60)
    try:
        yield
    finally:
        leave.set()
        holder.join()


def in_one_group(
    journal: Journal, changes: list[Callable[[Transaction], Any]]
) -> list[Future[Committed[Any]]]:
    """Queue changes, in order, so that the writer takes them all at once."""
    pool = ThreadPoolExecutor(len(changes))
    with writer_held(journal):
        futures = []
        for change in changes:
            queued = _queued(journal)
            futures.append(pool.submit(journal.write, change))
            while _queued(journal) == queued:
                threading.Event().wait(0.001)
    pool.shutdown()
    return futures


def _queued(journal: Journal) -> int:
    # Private: only a test needs to know that a blocked writer's change has reached the queue.
    return len(journal._waiting)


def _sample(size: int) -> list[int]:
    """Positions worth proving: the ends, around powers of two, and some between."""
    edges = {2**power + step for power in range(size.bit_length()) for step in (-1, 0, 1)}
    spread = range(0, size, max(1, size // 20))
    return sorted(at for at in {0, size - 1, *edges, *spread} if 0 <= at < size)
