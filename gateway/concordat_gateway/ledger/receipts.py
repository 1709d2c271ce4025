"""What a caller is given as proof that its entry is in the ledger."""

from typing import TypeVar

from concordat.v1 import common_pb2
from concordat_gateway.ledger.journal import Committed, Entry

T = TypeVar("T")


def receipt_of(entry: Entry, committed: Committed[T]) -> common_pb2.Receipt:
    """The receipt of an entry that `committed` made durable."""
    return common_pb2.Receipt(
        entry_index=entry.index, entry=entry.leaf, checkpoint=committed.checkpoint
    )
