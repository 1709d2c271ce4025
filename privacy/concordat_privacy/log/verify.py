"""Re-check an exported log offline, trusting nobody but the holder of the log's key.

Checked are the checkpoint's signature and origin, the form and hash of every entry, every hash
tile, the root, the items of batch entries, and that no file is missing or extra. What is wrong is
named: an entry by its index, a file by its path. `localise` finds where the blame lies.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from concordat_privacy.log import leaf
from concordat_privacy.log.batch import check_items
from concordat_privacy.log.checkpoint import Checkpoint, VerifierKey, open_note
from concordat_privacy.log.cosignature import Quorum
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.localise import (
    Hashes,
    Settled,
    Verdict,
    choose,
    explain_bundle,
    settle,
)
from concordat_privacy.log.merkle import HASH_BYTES, leaf_hash, root_of
from concordat_privacy.log.report import Problem, ProblemKind, Report
from concordat_privacy.log.tiles import (
    CHECKPOINT,
    MAX_BUNDLE_BYTES,
    TILE_WIDTH,
    Tile,
    TileError,
    bundle_path,
    decode_bundle,
    decode_tile,
    item_hashes_path,
    items_path,
    levels_of,
    paths_of,
    read_file,
    tiles_of_level,
    timestamp_size,
)

__all__ = ["MAX_PROBLEMS", "Problem", "ProblemKind", "Report", "Visit", "verify_export"]

MAX_PROBLEMS = 1_000
_MAX_CHECKPOINT_BYTES = 1_000_000


Visit: TypeAlias = Callable[
    [int, Mapping[str, leaf.Json], Sequence[Mapping[str, leaf.Json]] | None], None
]
"""Takes an entry's index, its fields, and its items: None where the export lacks them."""


def verify_export(
    directory: Path,
    key: VerifierKey,
    *,
    without_items: bool = False,
    visit: Visit | None = None,
    quorum: Quorum | None = None,
) -> Report:
    """Check an export against the log's key. Whatever its files hold, the result is a Report.

    An export that lacks the items of its batch entries fails, unless `without_items` says that
    they were left out on purpose; then the report warns that they were not checked.

    With a `quorum` the checkpoint must carry the cosignatures that it needs: one without is as
    little authentic as one that the log did not sign.

    `visit` is given the entries in order as they are read, until the first problem. What it saw is
    proven only once the report is ok: throw it away otherwise.

    Raises NotADirectoryError if there is no such directory, OSError if a file cannot be read.
    """
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a directory")
    try:
        text = read_file(directory, CHECKPOINT, _MAX_CHECKPOINT_BYTES).decode()
        checkpoint = open_note(text, [key])
        cosigned = {} if quorum is None else quorum.check(text)
    except FileNotFoundError:
        problem = Problem(ProblemKind.MISSING, "there is no checkpoint", CHECKPOINT)
    except UnicodeDecodeError:
        problem = Problem(ProblemKind.CHECKPOINT, "not UTF-8", CHECKPOINT)
    except (CheckpointError, TileError) as error:
        problem = Problem(ProblemKind.CHECKPOINT, str(error), CHECKPOINT)
    else:
        report = _Verification(directory, checkpoint, without_items, visit).run()
        return replace(report, cosigned=cosigned)
    return Report(key.name, 0, "", (problem,), (), {}, complete=False)


class _TooManyProblems(Exception):
    pass


@dataclass(slots=True)
class _Bottom:
    """What the pass over level 0 leaves behind: roots of full tiles, and what does not agree."""

    entry_roots: list[bytes | None] = field(default_factory=list)
    tile_roots: list[bytes | None] = field(default_factory=list)
    edge: list[Hashes | None] = field(default_factory=list)
    suspects: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Bundle:
    """An entry bundle as read: no data if there is no file, no hashes if it cannot be split."""

    data: bytes | None
    entries: list[bytes] | None
    fault: TileError | None

    @property
    def hashes(self) -> Hashes | None:
        return None if self.entries is None else [leaf_hash(entry) for entry in self.entries]


class _Verification:
    """One run over one export, with what it has found so far."""

    def __init__(
        self,
        directory: Path,
        checkpoint: Checkpoint,
        without_items: bool,
        visit: Visit | None,
    ) -> None:
        self._directory = directory
        self._checkpoint = checkpoint
        self._without_items = without_items
        self._visit = visit
        self._problems: list[Problem] = []
        self._counts: Counter[str] = Counter()
        self._last_time = ""
        self._has_items = (directory / "items").is_dir()
        self._batches: list[int] = []
        self._unreadable: set[int] = set()

    def run(self) -> Report:
        with suppress(_TooManyProblems):
            bottom = self._read_bottom()
            verdict = self._settle(bottom)
            for tile in tiles_of_level(self._checkpoint.size, 0):
                self._judge_bottom(tile, bottom, verdict)
            self._check_items_present()
            self._check_file_names()
        return Report(
            self._checkpoint.origin,
            self._checkpoint.size,
            self._checkpoint.root.hex(),
            tuple(sorted(self._problems, key=lambda p: (p.entry is None, p.entry or 0))),
            tuple(self._warnings()),
            dict(self._counts),
            complete=len(self._problems) < MAX_PROBLEMS,
        )

    def _report(self, problem: Problem) -> None:
        self._problems.append(problem)
        self._visit = None
        if len(self._problems) >= MAX_PROBLEMS:
            raise _TooManyProblems

    def _warnings(self) -> Iterator[str]:
        if self._batches and not self._has_items and self._without_items:
            count = len(self._batches)
            yield f"the items of {count} batch entries are missing and were not checked"

    # First pass: read all, check what agrees, remember what does not.

    def _read_bottom(self) -> _Bottom:
        bottom = _Bottom()
        for tile in tiles_of_level(self._checkpoint.size, 0):
            bundle, stored = self._bundle(tile), self._tile(tile)
            self._report_unreadable(tile, bundle)
            computed = bundle.hashes
            if bundle.entries is None or computed != stored:
                bottom.suspects.add(tile.index)
            else:
                first = tile.index * TILE_WIDTH
                self._check_times(self._check_leaves(first, enumerate(bundle.entries)))
            if tile.width < TILE_WIDTH:
                bottom.edge = [stored, computed]
                continue
            root = None if computed is None else root_of(computed)
            bottom.entry_roots.append(root)
            if stored is not None and stored != computed:
                root = root_of(stored)
            bottom.tile_roots.append(root)
        return bottom

    def _bundle(self, tile: Tile) -> _Bundle:
        path = bundle_path(tile.index, tile.width)
        data: bytes | None = None
        try:
            data = read_file(self._directory, path, MAX_BUNDLE_BYTES)
            return _Bundle(data, decode_bundle(data, tile.width), None)
        except FileNotFoundError:
            return _Bundle(None, None, None)
        except TileError as error:
            return _Bundle(data, None, error)

    def _report_unreadable(self, tile: Tile, bundle: _Bundle) -> None:
        """Report a bundle without usable bytes; others wait until their hashes are known."""
        if bundle.data is not None:
            return
        path, first = bundle_path(tile.index, tile.width), tile.index * TILE_WIDTH
        span = f"entries {first} to {first + tile.width - 1}"
        if bundle.fault is None:
            self._report(Problem(ProblemKind.MISSING, f"{span} are missing", path, first))
        else:
            self._report(Problem(ProblemKind.ENTRY, f"{span}: {bundle.fault}", path, first))

    def _tile(self, tile: Tile, *, again: bool = False) -> Hashes | None:
        try:
            data = read_file(self._directory, tile.path, TILE_WIDTH * HASH_BYTES)
            return decode_tile(data, tile.width)
        except FileNotFoundError:
            problem = Problem(ProblemKind.MISSING, "the hash tile is missing", tile.path)
        except TileError as error:
            problem = Problem(ProblemKind.TILE, str(error), tile.path)
        if not again:
            self._report(problem)
        return None

    # Second pass: the root decides between what tiles say and what entries say.

    def _settle(self, bottom: _Bottom) -> Verdict:
        size, root = self._checkpoint.size, self._checkpoint.root
        stored = [
            [self._tile(tile) for tile in tiles_of_level(size, level)]
            for level in levels_of(size)[1:]
        ]
        verdict = settle(size, root, stored, bottom.entry_roots, bottom.tile_roots, bottom.edge)
        if not verdict.root_proven:
            message = f"the files do not lead to the signed root {root.hex()}"
            self._report(Problem(ProblemKind.ROOT, message))
        for level, row in enumerate(stored, start=1):
            for tile in tiles_of_level(size, level):
                self._judge_tile(tile, row[tile.index], verdict.levels[level - 1][tile.index])
        return verdict

    def _judge_tile(self, tile: Tile, stored: Hashes | None, settled: Settled) -> None:
        if stored is None or settled.hashes is None:
            return  # reported when it was read
        if stored != settled.hashes:
            pairs = enumerate(zip(stored, settled.hashes, strict=True))
            wrong = next(at for at, (told, right) in pairs if told != right)
            message = f"hash {wrong} of {tile.width} is not what the log holds"
            self._report(Problem(ProblemKind.TILE, message, tile.path))
        elif not settled.proven and tile.width == TILE_WIDTH:
            message = "does not lead to the tile above it"
            self._report(Problem(ProblemKind.TILE, message, tile.path))

    def _judge_bottom(self, tile: Tile, bottom: _Bottom, verdict: Verdict) -> None:
        if tile.index in bottom.suspects:
            self._judge_suspect(tile, verdict)
            return
        if tile.width < TILE_WIDTH:
            return  # it agrees with its entries; whether both fit the root is said already
        wanted, proven = verdict.parent(tile)
        if proven and bottom.entry_roots[tile.index] != wanted:
            first = tile.index * TILE_WIDTH
            message = (
                f"entries {first} to {first + TILE_WIDTH - 1} agree with it, but it does not lead "
                "to the tile above it: at least one of them was changed, and this tile with it"
            )
            self._report(Problem(ProblemKind.TILE, message, tile.path))

    def _judge_suspect(self, tile: Tile, verdict: Verdict) -> None:
        bundle, stored = self._bundle(tile), self._tile(tile, again=True)
        settled = verdict.edge
        if tile.width == TILE_WIDTH or settled is None:
            told = [hashes for hashes in (stored, bundle.hashes) if hashes is not None]
            settled = choose(told, verdict.parent(tile)[0])
        self._judge_tile(tile, stored, settled)
        first, path = tile.index * TILE_WIDTH, bundle_path(tile.index, tile.width)
        self._unreadable.update(range(first, first + tile.width))
        if bundle.data is None:
            return
        if stored is None and not settled.proven:
            self._report(_without_hashes(tile, bundle))
            return
        faults, intact = explain_bundle(bundle.data, settled.hashes or [])
        for fault in faults:
            entry = None if fault.position is None else first + fault.position
            self._report(Problem(ProblemKind.ENTRY, fault.message, path, entry))
        self._unreadable.difference_update(first + position for position in intact)
        self._check_leaves(first, intact.items())

    # Entries and files.

    def _check_leaves(
        self, first: int, entries: Iterable[tuple[int, bytes]]
    ) -> list[tuple[int, str]]:
        """Check entries whose hashes are right; returns (index, time) of the well-formed."""
        times: list[tuple[int, str]] = []
        for position, data in entries:
            index = first + position
            try:
                fields = leaf.check(data)
            except leaf.LeafError as error:
                message = f"in the log, but {error}"
                self._unreadable.add(index)
                self._report(Problem(ProblemKind.LEAF, message, entry=index))
                continue
            self._counts[str(fields["type"])] += 1
            times.append((index, str(fields["time"])))
            batch = leaf.batch_of(fields)
            items: list[dict[str, leaf.Json]] | None = None
            if batch is not None:
                self._batches.append(index)
                if self._has_items:
                    items = None if self._visit is None else []
                    for problem in check_items(self._directory, index, *batch, items):
                        self._report(problem)
            if self._visit is not None:
                self._visit(index, fields, items)
        return times

    def _check_times(self, times: Iterable[tuple[int, str]]) -> None:
        for index, time in times:
            # One form, always UTC: times compare as text.
            if time < self._last_time:
                # A gateway never writes this: entries were reordered, or made up.
                message = f"its time {time} lies before that of an earlier entry"
                self._report(Problem(ProblemKind.ORDER, message, entry=index))
            self._last_time = max(time, self._last_time)

    def _check_items_present(self) -> None:
        if self._batches and not self._has_items and not self._without_items:
            message = (
                f"the items of {len(self._batches)} batch entries are not part of this export. "
                "Get one with them; `ledger verify` and `audit` take it as it is by --without-items"
            )
            self._report(Problem(ProblemKind.MISSING, message, "items"))

    def _check_file_names(self) -> None:
        expected = {CHECKPOINT, *paths_of(self._checkpoint.size)}
        # An entry that cannot be read may well have had items.
        for entry in (*self._batches, *self._unreadable):
            expected |= {items_path(entry), item_hashes_path(entry)}
        for folder, folders, names in os.walk(self._directory):
            inside = Path(folder).relative_to(self._directory).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            # A folder of items has as many files as the log has batches, and more.
            for position, name in enumerate((*folders, *names)):
                path = f"{prefix}{name}"
                if (self._directory / path).is_symlink():
                    message = "a symbolic link: what it shows may be outside, and may change"
                    self._report(Problem(ProblemKind.UNEXPECTED, message, path))
                elif position >= len(folders) and path not in expected:
                    # Time-stamps are not the log's: who trusts their authority looks at them.
                    stamped = timestamp_size(path)
                    if stamped is not None and stamped <= self._checkpoint.size:
                        continue
                    message = "not part of an export of this size"
                    self._report(Problem(ProblemKind.UNEXPECTED, message, path))


def _without_hashes(tile: Tile, bundle: _Bundle) -> Problem:
    """What can be said of a bundle that is wrong, when its tile is unusable too."""
    first, path = tile.index * TILE_WIDTH, bundle_path(tile.index, tile.width)
    span = f"entries {first} to {first + tile.width - 1}"
    if bundle.fault is None:
        message = f"at least one of {span} was changed; without its tile there is no telling which"
        return Problem(ProblemKind.ENTRY, message, path)
    entry = None if bundle.fault.entry is None else first + bundle.fault.entry
    return Problem(ProblemKind.ENTRY, str(bundle.fault), path, entry)
