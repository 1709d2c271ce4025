"""A log as files: C2SP tlog-tiles paths, hash tiles, entry bundles, and the writer of an export.

    checkpoint                        the signed note
    tile/<L>/<N>[.p/<W>]              hashes of the complete subtrees at level 8 L, 256 a file
    tile/entries/<N>[.p/<W>]          the entries themselves, each after its length in two bytes
    items/<index>.jsonl               the items of a batch entry, one canonical item a line
    items/<index>.hashes              their leaf hashes, 32 bytes each
    timestamps/<size>.tsr             an RFC 3161 response over the text of a checkpoint

Source: https://c2sp.org/tlog-tiles. The folders items and timestamps are this project's own:
`items_root` alone tells that an item changed, the hashes beside it tell which.
"""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from concordat_privacy.log.checkpoint import parse_checkpoint
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.leaf import MAX_LEAF_BYTES
from concordat_privacy.log.merkle import HASH_BYTES, Frontier, leaf_hash, root_of
from concordat_privacy.log.signed_note import parse_note

TILE_WIDTH = 256
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_LEAF_BYTES)
CHECKPOINT = "checkpoint"
_TIMESTAMP = re.compile(r"timestamps/([1-9][0-9]{0,18})\.tsr")


class TileError(LogError):
    """A tile or bundle is malformed, or an export does not fit its checkpoint.

    For an entry bundle, `entry` is the position of the first entry in it that cannot be read.
    """

    def __init__(self, message: str, entry: int | None = None) -> None:
        super().__init__(message)
        self.entry = entry


@dataclass(frozen=True, slots=True)
class Tile:
    """The place of one hash tile: level, index, and how many of its 256 hashes it has."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """Relative to the export's directory, with forward slashes."""
        return f"tile/{self.level}/{_position(self.index, self.width)}"


def bundle_path(index: int, width: int) -> str:
    """The path of an entry bundle, relative to the export's directory."""
    return f"tile/entries/{_position(index, width)}"


def items_path(entry: int) -> str:
    """The path of a batch entry's items."""
    return f"items/{entry}.jsonl"


def item_hashes_path(entry: int) -> str:
    """The path of the leaf hashes of a batch entry's items."""
    return f"items/{entry}.hashes"


def timestamp_path(size: int) -> str:
    """The path of the time-stamp of the checkpoint of `size` entries."""
    return f"timestamps/{size}.tsr"


def timestamp_size(path: str) -> int | None:
    """The size whose time-stamp this path is of; None for other paths."""
    found = _TIMESTAMP.fullmatch(path)
    return None if found is None else int(found[1])


def _position(index: int, width: int) -> str:
    if not 1 <= width <= TILE_WIDTH:
        raise TileError(f"a tile has 1 to {TILE_WIDTH} hashes, not {width}")
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def tiles_of_level(size: int, level: int) -> Iterator[Tile]:
    """The hash tiles that a log of this size has at one level, left to right."""
    hashes = size >> (8 * level)
    full, rest = divmod(hashes, TILE_WIDTH)
    for index in range(full):
        yield Tile(level, index, TILE_WIDTH)
    if rest:
        yield Tile(level, full, rest)


def levels_of(size: int) -> range:
    """The tile levels that a log of this size has."""
    return range((size.bit_length() + 7) // 8)


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries, each after its length (two bytes, big-endian). Raises TileError."""
    parts: list[bytes] = []
    for position, entry in enumerate(entries):
        if len(entry) > MAX_LEAF_BYTES:
            raise TileError(f"entry has {len(entry)} bytes, at most {MAX_LEAF_BYTES}", position)
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle. Raises TileError with the position that cannot be read."""
    entries: list[bytes] = []
    at, end = 0, len(data)
    for position in range(width):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > end or at > end:
            raise TileError("the bundle ends inside an entry", position)
        entries.append(data[start:at])
    if at != end:
        raise TileError(f"{end - at} bytes follow the last entry")
    return entries


def encode_tile(hashes: Iterable[bytes]) -> bytes:
    """Hashes, one after another."""
    return b"".join(hashes)


def decode_tile(data: bytes, width: int) -> list[bytes]:
    """The `width` hashes of a tile. Raises TileError."""
    if len(data) != width * HASH_BYTES:
        raise TileError(f"{len(data)} bytes, {width} hashes have {width * HASH_BYTES}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def read_file(directory: Path, path: str, max_bytes: int) -> bytes:
    """A file of an export. Raises FileNotFoundError, or TileError if it is longer than allowed."""
    file = directory / path
    if not file.is_file():
        raise FileNotFoundError(path)
    with file.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise TileError(f"longer than {max_bytes} bytes")
    return data


def write_export(
    directory: Path,
    entries: Iterable[bytes],
    checkpoint_text: str,
    items: Iterable[tuple[int, Iterable[bytes]]] = (),
    timestamps: Iterable[tuple[int, bytes]] = (),
) -> None:
    """Write a log's first `size` entries, as the checkpoint counts them, into a new directory.

    `items` gives the canonical items of batch entries by entry index, `timestamps` the time-stamp
    responses of the log's checkpoints by size. All are read once, so they
    may stream from a database. The files are written aside and moved into place at the end: the
    directory is there whole or not at all.

    Raises FileExistsError if the directory exists, TileError if the entries do not have the size
    and root of the checkpoint. Signatures and leaves are not looked at: see `verify`.
    """
    if directory.exists():
        raise FileExistsError(f"{directory} exists already")
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        _write_log(aside, entries, checkpoint_text)
        for entry, batch in items:
            _write_items(aside, entry, batch)
        for size, response in timestamps:
            _write(aside, timestamp_path(size), response)
        aside.chmod(0o755)
        aside.rename(directory)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _write_log(directory: Path, entries: Iterable[bytes], checkpoint_text: str) -> None:
    checkpoint = parse_checkpoint(parse_note(checkpoint_text).text)
    writer = _TileWriter(directory)
    stream = iter(entries)
    while bundle := list(islice(stream, TILE_WIDTH)):
        path = bundle_path(writer.size // TILE_WIDTH, len(bundle))
        _write(directory, path, encode_bundle(bundle))
        writer.add(leaf_hash(entry) for entry in bundle)
    root = writer.finish()
    if (writer.size, root) != (checkpoint.size, checkpoint.root):
        raise TileError(
            f"{writer.size} entries with root {root.hex()} do not fit the checkpoint "
            f"of size {checkpoint.size} with root {checkpoint.root.hex()}"
        )
    _write(directory, CHECKPOINT, checkpoint_text.encode())


def _write_items(directory: Path, entry: int, batch: Iterable[bytes]) -> None:
    folder = directory / "items"
    folder.mkdir(exist_ok=True)
    with (
        (directory / items_path(entry)).open("xb") as lines,
        (directory / item_hashes_path(entry)).open("xb") as hashes,
    ):
        for item in batch:
            lines.write(item + b"\n")
            hashes.write(leaf_hash(item))


def _write(directory: Path, path: str, data: bytes) -> None:
    file = directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


class _TileWriter:
    """Writes hash tiles as they fill up; holds at most one unfinished tile a level."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pending: list[list[bytes]] = []
        self._written: list[int] = []
        self._frontier = Frontier()

    @property
    def size(self) -> int:
        return self._frontier.size

    def add(self, leaf_hashes: Iterable[bytes]) -> None:
        hashes = list(leaf_hashes)
        self._frontier, _ = self._frontier.extend(hashes)
        for digest in hashes:
            self._push(0, digest)

    def finish(self) -> bytes:
        """Write the unfinished tiles; returns the root."""
        for level, hashes in enumerate(self._pending):
            if hashes:
                self._flush(level)
        return self._frontier.root

    def _push(self, level: int, digest: bytes) -> None:
        if level == len(self._pending):
            self._pending.append([])
            self._written.append(0)
        hashes = self._pending[level]
        hashes.append(digest)
        if len(hashes) == TILE_WIDTH:
            # The root of a full tile is one hash of the tile above it.
            above = root_of(hashes)
            self._flush(level)
            self._push(level + 1, above)

    def _flush(self, level: int) -> None:
        hashes = self._pending[level]
        tile = Tile(level, self._written[level], len(hashes))
        _write(self._directory, tile.path, encode_tile(hashes))
        self._pending[level] = []
        self._written[level] += 1


def paths_of(size: int) -> Iterator[str]:
    """Every tile and bundle that an export of this size has."""
    for level in levels_of(size):
        for tile in tiles_of_level(size, level):
            yield tile.path
    yield from (bundle_path(tile.index, tile.width) for tile in tiles_of_level(size, 0))
