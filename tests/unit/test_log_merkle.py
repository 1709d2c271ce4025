"""Merkle roots, the frontier, inclusion and consistency proofs."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concordat_privacy.log.errors import LogError
from concordat_privacy.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    merkle_root,
    verify_consistency,
    verify_inclusion,
)

# The reference log of the Certificate Transparency project: eight leaves, and the root after each.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
FIRST_OF_EIGHT = [
    bytes.fromhex(text)
    for text in (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    )
]


# RFC 6962 section 2.1, transcribed word for word, as the oracle.


def split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def mth(data: Sequence[bytes]) -> bytes:
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\0" + data[0]).digest()
    k = split(len(data))
    return hashlib.sha256(b"\1" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: Sequence[bytes]) -> list[bytes]:
    if len(data) == 1:
        return []
    k = split(len(data))
    if m < k:
        return [*path(m, data[:k]), mth(data[k:])]
    return [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: Sequence[bytes], whole: bool) -> list[bytes]:
    if m == len(data):
        return [] if whole else [mth(data)]
    k = split(len(data))
    if m <= k:
        return [*subproof(m, data[:k], whole), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


def entries(size: int) -> list[bytes]:
    return [f"entry {index}".encode() for index in range(size)]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


bits = st.integers(0, 255)


def test_the_published_roots() -> None:
    assert merkle_root([]) == EMPTY_ROOT == Frontier().root
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for size, root in enumerate(ROOTS, start=1):
        assert merkle_root(LEAVES[:size]) == root
        assert Tree.of(LEAVES[:size]).root == root


def test_the_published_inclusion_proof() -> None:
    assert Tree.of(LEAVES).inclusion_proof(0) == FIRST_OF_EIGHT
    verify_inclusion(leaf_hash(LEAVES[0]), 0, 8, FIRST_OF_EIGHT, ROOTS[7])


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=8))
def test_appending_in_any_groups_gives_the_same_tree(groups: list[int]) -> None:
    frontier, stored = Frontier(), {}
    data = entries(sum(groups))
    for group in groups:
        batch = data[frontier.size : frontier.size + group]
        frontier, nodes = frontier.extend(map(leaf_hash, batch))
        for node in nodes:
            assert (node.level, node.position) not in stored, "a node is complete only once"
            stored[node.level, node.position] = node.hash
        assert frontier == Frontier.from_bytes(frontier.to_bytes())
    assert frontier.size == len(data)
    assert frontier.root == mth(data) == merkle_root(data)
    whole = {
        (level, position): mth(data[position << level : (position + 1) << level])
        for level in range(len(data).bit_length())
        for position in range(len(data) >> level)
    }
    assert stored == whole


@settings(deadline=None)
@given(st.integers(1, 140), st.data())
def test_inclusion_proofs_verify_and_no_bit_of_them_is_spare(
    size: int, data: st.DataObject
) -> None:
    leaves = entries(size)
    tree = Tree.of(leaves)
    index = data.draw(st.integers(0, size - 1))
    leaf, proof = leaf_hash(leaves[index]), tree.inclusion_proof(index)
    assert proof == path(index, leaves)
    verify_inclusion(leaf, index, size, proof, tree.root)
    bit = data.draw(bits)
    wrong = [(flipped(leaf, bit), proof, tree.root), (leaf, proof, flipped(tree.root, bit))]
    wrong += [(leaf, [*proof, leaf], tree.root), (leaf, [leaf, *proof], tree.root)]
    for at, sibling in enumerate(proof):
        wrong.append((leaf, [*proof[:at], flipped(sibling, bit), *proof[at + 1 :]], tree.root))
        wrong.append((leaf, proof[:at] + proof[at + 1 :], tree.root))
        wrong.append((leaf, [*proof[:at], sibling[:31], *proof[at + 1 :]], tree.root))
    for bad in wrong:
        with pytest.raises(ProofError):
            verify_inclusion(bad[0], index, size, bad[1], bad[2])
    for other in {index - 1, index + 1, index ^ 1} - {index}:
        with pytest.raises(ProofError):
            verify_inclusion(leaf, other, size, proof, tree.root)


@settings(deadline=None)
@given(st.integers(1, 140), st.data())
def test_consistency_proofs_verify_and_no_bit_of_them_is_spare(
    new: int, data: st.DataObject
) -> None:
    leaves = entries(new)
    tree = Tree.of(leaves)
    old = data.draw(st.integers(1, new))
    before, proof = mth(leaves[:old]), tree.consistency_proof(old)
    assert proof == subproof(old, leaves, True)
    verify_consistency(old, new, before, tree.root, proof)
    bit = data.draw(bits)
    wrong = [
        (flipped(before, bit), tree.root, proof),
        (before, flipped(tree.root, bit), proof),
        (before, tree.root, [*proof, before]),
    ]
    for at, digest in enumerate(proof):
        rest = proof[at + 1 :]
        wrong.append((before, tree.root, [*proof[:at], flipped(digest, bit), *rest]))
        wrong.append((before, tree.root, proof[:at] + rest))
    for bad in wrong:
        with pytest.raises(ProofError):
            verify_consistency(old, new, *bad)


@settings(deadline=None)
@given(st.integers(2, 140), st.data())
def test_a_rewritten_history_is_not_consistent(new: int, data: st.DataObject) -> None:
    leaves = entries(new)
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    forked = [*leaves[:changed], b"rewritten", *leaves[changed + 1 :]]
    tree = Tree.of(forked)
    with pytest.raises(ProofError):
        verify_consistency(old, new, mth(leaves[:old]), tree.root, tree.consistency_proof(old))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_there_is_no_inclusion_proof_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        inclusion_proof(index, size, Tree.of(entries(4)).node)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 3), (4, 3), (-1, 3)])
def test_there_is_no_consistency_proof_from_nothing_or_backwards(old: int, new: int) -> None:
    with pytest.raises(ProofError):
        consistency_proof(old, new, Tree.of(entries(4)).node)


def test_proofs_need_complete_nodes_only() -> None:
    """A store keeps complete subtrees; a proof at an old size asks for nothing else."""
    tree = Tree.of(entries(100))
    for size in range(1, 100):
        for index in range(0, size, 7):
            proof = inclusion_proof(index, size, tree.node)
            verify_inclusion(tree.node(0, index), index, size, proof, mth(entries(size)))


@pytest.mark.parametrize(
    "data",
    [b"", bytes(7), (1).to_bytes(8, "big"), (1).to_bytes(8, "big") + bytes(31), bytes(8 + 32)],
)
def test_a_malformed_frontier_is_refused(data: bytes) -> None:
    with pytest.raises(LogError):
        Frontier.from_bytes(data)


def test_the_frontier_takes_only_hashes() -> None:
    with pytest.raises(LogError):
        Frontier().extend([b"too short"])
