"""Check the items of a batch entry in an export against the entry's `items` and `items_root`."""

from collections.abc import Iterator
from pathlib import Path

from concordat_privacy.log import leaf
from concordat_privacy.log.localise import Hashes
from concordat_privacy.log.merkle import HASH_BYTES, leaf_hash, root_of
from concordat_privacy.log.report import Problem, ProblemKind
from concordat_privacy.log.tiles import (
    TileError,
    decode_tile,
    item_hashes_path,
    items_path,
    read_file,
)


def check_items(
    directory: Path,
    entry: int,
    count: int,
    root: bytes,
    parsed: list[dict[str, leaf.Json]] | None = None,
) -> Iterator[Problem]:
    """Yield what is wrong with the items of one entry; nothing if they are what was logged.

    The items are added to `parsed`: all of them if nothing is yielded.
    """
    path, hashes_path = items_path(entry), item_hashes_path(entry)
    try:
        lines = list(_lines(directory / path, count))
    except FileNotFoundError:
        yield Problem(ProblemKind.MISSING, f"its {count} items are missing", path, entry)
        return
    stored: Hashes | None = None
    try:
        stored = decode_tile(read_file(directory, hashes_path, count * HASH_BYTES), count)
    except FileNotFoundError:
        yield Problem(ProblemKind.MISSING, "no hashes of its items", hashes_path, entry)
    except TileError as error:
        yield Problem(ProblemKind.ITEM, f"hashes of its items: {error}", hashes_path, entry)
    computed = [leaf_hash(line) for line in lines]
    if len(lines) != count or root_of(computed) != root:
        yield _blame(entry, count, root, computed, stored)
        return
    if stored is not None and stored != computed:
        wrong = _first_difference(stored, computed)
        message = "its hash is wrong, the item itself is right"
        yield Problem(ProblemKind.ITEM, message, hashes_path, entry, wrong)
    for position, line in enumerate(lines):
        try:
            item = leaf.parse_item(line)
        except leaf.LeafError as error:
            yield Problem(ProblemKind.LEAF, f"in the log, but {error}", path, entry, position)
            continue
        if parsed is not None:
            parsed.append(item)


def _blame(entry: int, count: int, root: bytes, computed: Hashes, stored: Hashes | None) -> Problem:
    path = items_path(entry)
    if stored is None or root_of(stored) != root:
        message = f"its items are not the {count} with root {root.hex()} that it commits to"
        return Problem(ProblemKind.ITEM, message, path, entry)
    wrong = _first_difference(computed, stored)
    if wrong == count:
        return Problem(ProblemKind.ITEM, f"more than its {count} items", path, entry)
    message = "not the item that was logged" if wrong < len(computed) else "missing"
    return Problem(ProblemKind.ITEM, message, path, entry, wrong)


def _first_difference(left: Hashes, right: Hashes) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(left), len(right)))


def _lines(file: Path, count: int) -> Iterator[bytes]:
    """Up to count + 1 lines without their newlines; an overlong line comes in pieces."""
    if not file.is_file():
        raise FileNotFoundError(file)
    with file.open("rb") as stream:
        for _ in range(count + 1):
            line = stream.readline(leaf.MAX_LEAF_BYTES + 2)
            if not line:
                return
            # An item holds no newline: one is added to a line cut short, so that it fits nothing.
            yield line[:-1] if line.endswith(b"\n") else line + b"\n"
