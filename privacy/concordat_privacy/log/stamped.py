"""The time-stamps in an export, held against its entries and the authority's certificates."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from concordat_privacy.log.checkpoint import Checkpoint
from concordat_privacy.log.merkle import Frontier
from concordat_privacy.log.tiles import (
    TILE_WIDTH,
    Tile,
    TileError,
    decode_tile,
    read_file,
    timestamp_path,
    timestamp_size,
)
from concordat_privacy.log.timestamp import MAX_RESPONSE_BYTES, TimestampError, verify_timestamp
from concordat_privacy.moments import micros_of, rfc3339
from concordat_privacy.shown import printable

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Stamps:
    """What an authority attests: (size, time) in order of size, and what is wrong."""

    times: tuple[tuple[int, datetime], ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are time-stamps, and all are right."""
        return bool(self.times) and not self.problems

    def summary(self) -> str:
        """The outcome in plain language, several lines."""
        lines = [f"Wrong time-stamp: {problem}" for problem in self.problems[:_SHOWN]]
        if not self.times and not self.problems:
            lines.append("There are no time-stamps in this export.")
        if self.times:
            (first, began), (last, ended) = self.times[0], self.times[-1]
            lines.append(
                f"Time-stamps that verify: {len(self.times)}. {first} entries existed at "
                f"{rfc3339(micros_of(began))}, {last} at {rfc3339(micros_of(ended))}."
            )
        return "\n".join(map(printable, lines))


def check_timestamps(
    directory: Path, origin: str, size: int, trusted: list[x509.Certificate]
) -> Stamps:
    """Check the time-stamps of an export that was verified before, of this origin and size.

    Each must be over the checkpoint of the tree that its name says, made of the export's own
    entries. Raises TimestampError where the library is missing, OSError.
    """
    folder = directory / "timestamps"
    names = sorted(
        stamped
        for file in (folder.iterdir() if folder.is_dir() else ())
        if (stamped := timestamp_size(f"timestamps/{file.name}")) is not None and stamped <= size
    )
    times: list[tuple[int, datetime]] = []
    problems: list[str] = []
    for stamped, root in _roots(directory, size, names):
        path = timestamp_path(stamped)
        body = Checkpoint(origin, stamped, root).body()
        try:
            response = read_file(directory, path, MAX_RESPONSE_BYTES)
            time = verify_timestamp(response, body, trusted)
        except (TimestampError, TileError) as error:
            problems.append(f"{path}: {error}")
            continue
        if times and time < times[-1][1]:
            problems.append(f"{path}: earlier than that of a smaller tree")
            continue
        times.append((stamped, time))
    return Stamps(tuple(times), tuple(problems))


def _roots(directory: Path, size: int, wanted: list[int]) -> Iterator[tuple[int, bytes]]:
    """The root at each of the wanted sizes, ascending, from the hash tiles."""
    frontier, tile = Frontier(), None
    hashes: list[bytes] = []
    for stop in wanted:
        while frontier.size < stop:
            index, position = divmod(frontier.size, TILE_WIDTH)
            if tile != index:
                tile, hashes = index, _leaf_hashes(directory, size, index)
            take = min(stop - frontier.size, len(hashes) - position)
            frontier, _ = frontier.extend(hashes[position : position + take])
        yield stop, frontier.root


def _leaf_hashes(directory: Path, size: int, index: int) -> list[bytes]:
    width = min(TILE_WIDTH, size - index * TILE_WIDTH)
    tile = Tile(0, index, width)
    return decode_tile(read_file(directory, tile.path, width * 32), width)
