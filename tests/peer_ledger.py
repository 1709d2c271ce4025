"""The peer's ledger, in memory."""

from datetime import UTC, datetime

from concordat.v1 import common_pb2
from concordat_privacy.log import leaf, merkle
from concordat_privacy.log.checkpoint import Checkpoint, SigningKey, sign

ORIGIN = "concordat.test/ledger"
SPIFFE_ID = "spiffe://concordat.test/member/alpha"


class Ledger:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.key = SigningKey.generate(ORIGIN)
        self.leaves: list[bytes] = []
        self.append("ledger.opened")

    def append(self, kind: str, **fields: leaf.Json) -> int:
        """Add an entry; returns its index."""
        time = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        header = {"v": 1, "type": kind, "time": time, "actor": SPIFFE_ID}
        self.leaves.append(leaf.encode(header | fields))
        return len(self.leaves) - 1

    def rewrite_history(self) -> None:
        """Replace the first entry, as a dishonest operator would."""
        self.leaves[0] = self.leaves[0].replace(b"ledger.opened", b"ledger.forged")

    def tree(self, size: int | None = None) -> merkle.Tree:
        return merkle.Tree.of(self.leaves[:size])

    def note(self) -> str:
        """The signed checkpoint of all entries."""
        tree = self.tree()
        return sign(Checkpoint(ORIGIN, tree.size, tree.root), self.key)

    def receipt(self, kind: str, **fields: leaf.Json) -> common_pb2.Receipt:
        """Add an entry; returns its receipt."""
        return self.receipt_of(self.append(kind, **fields))

    def receipt_of(self, index: int) -> common_pb2.Receipt:
        return common_pb2.Receipt(
            entry_index=index, entry=self.leaves[index], checkpoint=self.note()
        )
