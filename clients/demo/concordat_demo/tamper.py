"""Changes one byte of one entry in an exported ledger.

The export is a C2SP tlog-tiles log: entries stand in bundles of 256, each after its length in two
bytes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from concordat_privacy.log.tiles import CHECKPOINT, TILE_WIDTH, bundle_path

_LENGTH_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Change:
    """The one byte that was changed."""

    entry: int
    file: str
    offset: int
    """Position in the file."""
    before: int
    after: int


def ledger_size(export: Path) -> int:
    """The number of entries that the export's checkpoint signs: its second line."""
    return int((export / CHECKPOINT).read_text().splitlines()[1])


def change_one_byte(export: Path, *, seed: int) -> Change:
    """Flip one bit of one entry, both drawn from `seed`. The lengths stay as they are."""
    draw = random.Random(seed)
    size = ledger_size(export)
    entry = draw.randrange(size)
    bundle, position = divmod(entry, TILE_WIDTH)
    path = bundle_path(bundle, min(TILE_WIDTH, size - bundle * TILE_WIDTH))
    file = export / path
    content = bytearray(file.read_bytes())
    start, end = _span(content, position)
    offset = draw.randrange(start, end)
    before = content[offset]
    content[offset] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    return Change(entry, path, offset, before, content[offset])


def _span(bundle: bytearray, position: int) -> tuple[int, int]:
    """Where the bytes of an entry begin and end in its bundle."""
    start = _LENGTH_BYTES
    for _ in range(position):
        start += _length(bundle, start) + _LENGTH_BYTES
    return start, start + _length(bundle, start)


def _length(bundle: bytearray, start: int) -> int:
    return int.from_bytes(bundle[start - _LENGTH_BYTES : start], "big")
