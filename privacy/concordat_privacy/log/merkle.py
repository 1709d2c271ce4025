"""RFC 6962 Merkle trees: hashes, the growing edge of a log, proofs and their verification.

Sources: RFC 6962 section 2.1, RFC 9162 section 2.1 (the same hashes, clearer algorithms).
A complete subtree of 2^level leaves that starts at leaf position * 2^level is the *node* (level,
position). A log that stores every complete node once can prove anything about any of its sizes.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from concordat_privacy.log.errors import LogError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_SIZE = 2**63 - 1

_sha256 = hashlib.sha256


class ProofError(LogError):
    """A Merkle proof does not show what it claims, or asks for what no proof can show."""


class Node(NamedTuple):
    """The hash of a complete subtree: 2^level leaves, the first of them position * 2^level."""

    level: int
    position: int
    hash: bytes


GetNode: TypeAlias = Callable[[int, int], bytes]
"""(level, position) -> the 32-byte hash of that complete subtree."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root over leaf hashes, in order. No leaves have the root SHA-256("")."""
    row = list(leaf_hashes)
    if not row:
        return EMPTY_ROOT
    while len(row) > 1:
        # An unpaired last hash moves up unchanged: the tree of RFC 6962 read level by level.
        pairs = zip(row[::2], row[1::2], strict=False)
        above = [_sha256(b"\x01" + left + right).digest() for left, right in pairs]
        if len(row) % 2:
            above.append(row[-1])
        row = above
    return row[0]


def merkle_root(items: Iterable[bytes]) -> bytes:
    """The root over items, each hashed as a leaf first. The `items_root` of a batch."""
    return root_of([_sha256(b"\x00" + item).digest() for item in items])


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: all it takes to append and to know the root.

    `peaks` are the roots of the complete subtrees that the size's binary digits name, largest
    (leftmost) first. A frontier never changes; `extend` returns the next one, so an append that
    fails to commit leaves the old value in place.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise LogError(f"frontier: size {self.size} out of range")
        if len(self.peaks) != self.size.bit_count():
            raise LogError(f"frontier: size {self.size} wants {self.size.bit_count()} peaks")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise LogError("frontier: every peak has 32 bytes")

    @property
    def root(self) -> bytes:
        """The root of the tree of this size."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def extend(self, leaf_hashes: Iterable[bytes]) -> tuple["Frontier", list[Node]]:
        """Append leaves; returns the next frontier and every node that became complete.

        The nodes include the leaves themselves (level 0). Each is new: store them all.
        """
        frontier, completed = self.complete(leaf_hashes)
        nodes = [
            Node(level, position >> level, hashes[start : start + HASH_BYTES])
            for position, hashes in enumerate(completed, self.size)
            for level, start in enumerate(range(0, len(hashes), HASH_BYTES))
        ]
        return frontier, nodes

    def complete(self, leaf_hashes: Iterable[bytes]) -> tuple["Frontier", list[bytes]]:
        """As `extend`, with the nodes told by the leaf that completed them.

        For each leaf 32 bytes a level: its own hash, then those of the subtrees that end with it.
        """
        size, peaks, completed = self.size, list(self.peaks), []
        for digest in leaf_hashes:
            if len(digest) != HASH_BYTES:
                raise LogError(f"frontier: leaf hash has {len(digest)} bytes, wants 32")
            hashes, position = digest, size
            while position & 1:
                digest = _sha256(b"\x01" + peaks.pop() + digest).digest()
                hashes += digest
                position >>= 1
            peaks.append(digest)
            completed.append(hashes)
            size += 1
        return Frontier(size, tuple(peaks)), completed

    def to_bytes(self) -> bytes:
        """8 bytes of size (big-endian), then the peaks, 32 bytes each."""
        return self.size.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Frontier":
        """The inverse of `to_bytes`. Raises LogError."""
        if len(data) < 8 or (len(data) - 8) % HASH_BYTES:
            raise LogError(f"frontier: {len(data)} bytes are not 8 + 32 n")
        starts = range(8, len(data), HASH_BYTES)
        return cls(int.from_bytes(data[:8], "big"), tuple(data[at : at + 32] for at in starts))


class Tree:
    """A whole tree in memory, with every complete node. For batches of items and for tests."""

    def __init__(self, leaf_hashes: Iterable[bytes]) -> None:
        self._frontier, nodes = Frontier().extend(leaf_hashes)
        self._nodes = {(node.level, node.position): node.hash for node in nodes}

    @classmethod
    def of(cls, items: Iterable[bytes]) -> "Tree":
        """The tree over items, each hashed as a leaf first."""
        return cls(leaf_hash(item) for item in items)

    @property
    def size(self) -> int:
        return self._frontier.size

    @property
    def root(self) -> bytes:
        return self._frontier.root

    def node(self, level: int, position: int) -> bytes:
        """The hash of a complete subtree. Raises KeyError where there is none."""
        return self._nodes[level, position]

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Proves the leaf at index in the whole tree. Raises ProofError."""
        return inclusion_proof(index, self.size, self.node)

    def consistency_proof(self, old: int) -> list[bytes]:
        """Proves that the tree extends its first `old` leaves. Raises ProofError."""
        return consistency_proof(old, self.size, self.node)


def inclusion_proof(index: int, size: int, get_node: GetNode) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962 section 2.1.1, from the leaf up.

    Raises ProofError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ProofError(f"no inclusion proof of leaf {index} in a tree of size {size}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _left_size(end - begin)
        if index < middle:
            path.append(_range_root(middle, end, get_node))
            end = middle
        else:
            path.append(_range_root(begin, middle, get_node))
            begin = middle
    path.reverse()
    return path


def consistency_proof(old: int, new: int, get_node: GetNode) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962 section 2.1.2, from the bottom up.

    Raises ProofError unless 0 < old <= new: there is nothing to prove about the empty tree.
    """
    if not 0 < old <= new:
        raise ProofError(f"no consistency proof from size {old} to {new}")
    path: list[bytes] = []
    begin, end = 0, new
    while end != old:
        middle = begin + _left_size(end - begin)
        if old <= middle:
            path.append(_range_root(middle, end, get_node))
            end = middle
        else:
            path.append(_range_root(begin, middle, get_node))
            begin = middle
    if begin:
        # The verifier knows the old root, but only the whole old tree has it.
        path.append(_range_root(begin, end, get_node))
    path.reverse()
    return path


def peaks_of(size: int) -> list[tuple[int, int]]:
    """(level, position) of the complete subtrees that make up a tree, left to right."""
    peaks, at = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append((level, at >> level))
            at += 1 << level
    return peaks


def _left_size(size: int) -> int:
    """The largest power of two below size."""
    return 1 << (size - 1).bit_length() - 1


def _range_root(begin: int, end: int, get_node: GetNode) -> bytes:
    """The root over leaves begin..end-1, where begin is aligned as RFC 6962 subtrees are."""
    size = end - begin
    if not size & (size - 1):
        # One complete subtree, as all but the last hash of a path are.
        level = size.bit_length() - 1
        return get_node(level, begin >> level)
    peaks: list[bytes] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        peaks.append(get_node(level, begin >> level))
        begin += 1 << level
    root = peaks.pop()
    while peaks:
        root = node_hash(peaks.pop(), root)
    return root


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """RFC 9162 section 2.1.3.2. `leaf` is the leaf's hash. Raises ProofError."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of size {size}")
    if len(leaf) != HASH_BYTES:
        raise ProofError("a leaf hash has 32 bytes")
    _check_lengths(proof)
    position, last, digest = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if position & 1 or position == last:
            digest = node_hash(sibling, digest)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ProofError("the inclusion proof is too short")
    if digest != root:
        raise ProofError(f"leaf {index} does not lead to the root of size {size}")


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """RFC 9162 section 2.1.4.2: the tree of size new extends that of size old. Raises ProofError.

    From size 0 it is an error: everything extends the empty tree, so such a proof says nothing.
    """
    if not 0 < old <= new:
        raise ProofError(f"no consistency from size {old} to {new} can be shown")
    _check_lengths(proof)
    if old == new:
        if proof:
            raise ProofError("equal sizes want an empty consistency proof")
        if old_root != new_root:
            raise ProofError(f"two different roots of size {old}")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofError("the consistency proof is empty")
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if position & 1 or position == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ProofError("the consistency proof is too short")
    if before != old_root:
        raise ProofError(f"the proof does not lead to the root of size {old}")
    if after != new_root:
        raise ProofError(f"the proof does not lead to the root of size {new}")


def _check_lengths(proof: Sequence[bytes]) -> None:
    # Hashes of other lengths could shift bytes between the two halves of a node.
    if any(len(sibling) != HASH_BYTES for sibling in proof):
        raise ProofError("every hash of a proof has 32 bytes")
