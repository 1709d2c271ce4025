"""Reads entries, items and proofs out of the files of an export."""

from collections.abc import Iterator
from pathlib import Path

from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import Checkpoint, parse_checkpoint
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.leaf import Json
from concordat_privacy.log.merkle import (
    Frontier,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
)
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.tiles import (
    CHECKPOINT,
    MAX_BUNDLE_BYTES,
    TILE_WIDTH,
    Tile,
    bundle_path,
    decode_bundle,
    decode_tile,
    items_path,
    read_file,
    tiles_of_level,
)

_MAX_NOTE_BYTES = 1_000_000


class ExportFiles:
    """One export that `verify_export` has found right. Reads what is asked for, keeps little."""

    def __init__(self, directory: Path) -> None:
        """Raises FileNotFoundError or LogError if there is no well-formed checkpoint."""
        self._directory = directory
        self.note = read_file(directory, CHECKPOINT, _MAX_NOTE_BYTES).decode()
        self.checkpoint: Checkpoint = parse_checkpoint(parse_note(self.note).text)
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self.checkpoint.size

    def entries(self) -> Iterator[tuple[int, bytes, dict[str, Json]]]:
        """(index, bytes, fields) of every entry, in order."""
        for tile in tiles_of_level(self.size, 0):
            path = bundle_path(tile.index, tile.width)
            data = read_file(self._directory, path, MAX_BUNDLE_BYTES)
            for at, entry in enumerate(decode_bundle(data, tile.width)):
                yield tile.index * TILE_WIDTH + at, entry, leaf.check(entry)

    def items(self, entry: int) -> list[bytes]:
        """The canonical items of a batch entry; none if the export lacks them."""
        file = self._directory / items_path(entry)
        if not file.is_file():
            return []
        # Items never hold a raw line break: JSON escapes it.
        return file.read_bytes().split(b"\n")[:-1]

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Proves an entry in the tree of the export's checkpoint."""
        return inclusion_proof(index, self.size, self._node)

    def consistency_proof(self, old: int) -> list[bytes]:
        """Proves that the export extends its first `old` entries; none for 0."""
        return consistency_proof(old, self.size, self._node) if old else []

    def root(self, size: int) -> bytes:
        """The root that the export's first `size` entries have. Raises LogError beyond its end."""
        if not 0 <= size <= self.size:
            raise LogError(f"the export has {self.size} entries, not {size}")
        peaks, begin = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                peaks.append(self._node(level, begin >> level))
                begin += 1 << level
        return Frontier(size, tuple(peaks)).root

    def _node(self, level: int, position: int) -> bytes:
        """A complete subtree's hash, from the tile that holds its largest stored parts."""
        row, height = divmod(level, 8)
        first = position << height
        index, at = divmod(first, TILE_WIDTH)
        hashes = self._tile(row, index)[at : at + (1 << height)]
        return root_of(hashes)

    def _tile(self, level: int, index: int) -> list[bytes]:
        if (level, index) not in self._tiles:
            width = min(TILE_WIDTH, (self.size >> 8 * level) - index * TILE_WIDTH)
            tile = Tile(level, index, width)
            data = read_file(self._directory, tile.path, TILE_WIDTH * 32)
            self._tiles[level, index] = decode_tile(data, width)
        return self._tiles[level, index]


def items_tree(items: list[bytes]) -> Tree:
    """The tree over a batch's items, for their proofs."""
    return Tree(leaf_hash(item) for item in items)
