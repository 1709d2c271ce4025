"""Find which file of an export is wrong, when entries, tiles and checkpoint disagree.

An export says everything twice: a tile's hashes stand in its file, and they follow from the
entries (or tiles) below it. The checkpoint's root, and from there every tile already proven,
decides which of the two is right. A single fault is therefore always pinned to its place; several
faults are, as long as one of the two copies of each hash survives.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from concordat_privacy.log.merkle import Frontier, leaf_hash, root_of
from concordat_privacy.log.tiles import TILE_WIDTH, Tile, levels_of, tiles_of_level

Hashes: TypeAlias = list[bytes]


@dataclass(frozen=True, slots=True)
class Settled:
    """The hashes of one tile. Unproven ones are the best guess, None where there is none."""

    hashes: Hashes | None
    proven: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The settled tiles of level 1 and up, `levels[level - 1][index]`, and level 0's edge."""

    levels: tuple[tuple[Settled, ...], ...]
    edge: Settled | None
    root_proven: bool

    def parent(self, tile: Tile) -> tuple[bytes | None, bool]:
        """The hash that a full tile must have for its root, and whether it is proven."""
        above = self.levels[tile.level][tile.index // TILE_WIDTH]
        if above.hashes is None:
            return None, False
        return above.hashes[tile.index % TILE_WIDTH], above.proven


def settle(
    size: int,
    root: bytes,
    stored: Sequence[Sequence[Hashes | None]],
    entry_roots: Sequence[bytes | None],
    tile_roots: Sequence[bytes | None],
    edge: Sequence[Hashes | None],
) -> Verdict:
    """Decide the hashes of every tile above level 0, and of level 0's unfinished tile.

    `stored[i]` are the tiles of level i + 1 as read; `entry_roots` and `tile_roots` the roots of
    level 0's full tiles, computed from entries and from tile files; `edge` the candidates for
    level 0's unfinished tile, if it has one. None stands for what could not be read.
    """
    candidates: dict[Tile, list[Hashes]] = {}
    from_entries, from_tiles = list(entry_roots), list(tile_roots)
    for level in levels_of(size)[1:]:
        row = stored[level - 1]
        for tile in tiles_of_level(size, level):
            span = slice(tile.index * TILE_WIDTH, tile.index * TILE_WIDTH + tile.width)
            told = (row[tile.index], from_entries[span], from_tiles[span])
            candidates[tile] = _distinct(_complete(hashes) for hashes in told)
        full = (size >> (8 * level)) // TILE_WIDTH
        from_tiles = [_root(hashes) for hashes in row[:full]]
        starts = range(0, full * TILE_WIDTH, TILE_WIDTH)
        from_entries = [_root(_complete(from_entries[at : at + TILE_WIDTH])) for at in starts]
    bottom = [tile for tile in tiles_of_level(size, 0) if tile.width < TILE_WIDTH]
    for tile in bottom:
        candidates[tile] = _distinct(edge)
    edges, root_proven = _settle_edges(size, root, candidates)
    rows: list[tuple[Settled, ...]] = []
    for level in reversed(levels_of(size)[1:]):
        settled: list[Settled] = []
        for tile in tiles_of_level(size, level):
            if tile.width < TILE_WIDTH:
                settled.append(edges[tile])
                continue
            above = rows[-1][tile.index // TILE_WIDTH]
            wanted = above.hashes[tile.index % TILE_WIDTH] if above.hashes else None
            found = choose(candidates[tile], wanted)
            settled.append(Settled(found.hashes, found.proven and above.proven))
        rows.append(tuple(settled))
    return Verdict(tuple(reversed(rows)), edges[bottom[0]] if bottom else None, root_proven)


def choose(candidates: Sequence[Hashes], root: bytes | None) -> Settled:
    """The candidate with this root, else the first of all as a guess."""
    for hashes in candidates:
        if root_of(hashes) == root:
            return Settled(hashes, True)
    return Settled(candidates[0] if candidates else None, False)


def _settle_edges(
    size: int, root: bytes, candidates: dict[Tile, list[Hashes]]
) -> tuple[dict[Tile, Settled], bool]:
    """Find the candidates for the unfinished tiles that make up the root, together."""
    edges = sorted(
        (tile for tile in candidates if tile.width < TILE_WIDTH),
        key=lambda tile: tile.level,
        reverse=True,
    )
    for chosen in product(*(candidates[tile] for tile in edges)):
        # The peaks of the unfinished tiles, highest level first, are the peaks of the tree.
        peaks = [peak for hashes in chosen for peak in Frontier().extend(hashes)[0].peaks]
        if Frontier(size, tuple(peaks)).root == root:
            pairs = zip(edges, chosen, strict=True)
            return {tile: Settled(hashes, True) for tile, hashes in pairs}, True
    return {tile: choose(candidates[tile], None) for tile in edges}, False


@dataclass(frozen=True, slots=True)
class EntryFault:
    """What is wrong with one entry of a bundle; position None means behind the last entry."""

    position: int | None
    message: str


def explain_bundle(
    data: bytes, expected: Sequence[bytes]
) -> tuple[list[EntryFault], dict[int, bytes]]:
    """Hold a bundle against the leaf hashes it should have.

    Returns the faults and, by position, the entries that are intact. A damaged length does not
    hide the entries behind it: the length that gives the expected hash is searched for.
    """
    faults: list[EntryFault] = []
    intact: dict[int, bytes] = {}
    at, run_start = 0, None
    for position, digest in enumerate(expected):
        start = at + 2
        length = int.from_bytes(data[at:start], "big")
        readable = start + length <= len(data)
        fitting = length if readable and leaf_hash(data[start : start + length]) == digest else None
        if fitting is None and run_start is None:
            fitting = _fitting_length(data, start, digest)
            if fitting is not None:
                text = f"its length prefix says {length} bytes, {fitting} bytes have its hash"
                faults.append(EntryFault(position, text))
        if fitting is not None:
            intact[position] = data[start : start + fitting]
            at, run_start = start + fitting, None
            continue
        if run_start is None:
            run_start = len(faults)
        if not readable:
            faults.append(EntryFault(position, "the bundle ends inside it"))
            at = len(data)
            break
        faults.append(EntryFault(position, "its bytes do not have the hash that the log holds"))
        at = start + length
    if run_start is not None and run_start + 1 < len(faults):
        # Nothing after the first of them fits: it may have moved the rest, so blame only it.
        first = faults[run_start]
        del faults[run_start:]
        faults.append(EntryFault(first.position, f"{first.message}; nor does the rest of its file"))
    elif at < len(data):
        faults.append(EntryFault(None, f"{len(data) - at} bytes follow the last entry"))
    return faults, intact


def _fitting_length(data: bytes, start: int, digest: bytes) -> int | None:
    state = hashlib.sha256(b"\x00")
    for length, at in enumerate(range(start, min(len(data), start + 65_535) + 1)):
        if state.digest() == digest:
            return length
        state.update(data[at : at + 1])
    return None


def _complete(hashes: Sequence[bytes | None] | None) -> Hashes | None:
    if hashes is None:
        return None
    known = [digest for digest in hashes if digest is not None]
    return known if len(known) == len(hashes) else None


def _root(hashes: Hashes | None) -> bytes | None:
    return None if hashes is None else root_of(hashes)


def _distinct(candidates: Iterable[Hashes | None]) -> list[Hashes]:
    distinct: list[Hashes] = []
    for hashes in candidates:
        if hashes is not None and hashes not in distinct:
            distinct.append(hashes)
    return distinct
