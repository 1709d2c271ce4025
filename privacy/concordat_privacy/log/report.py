"""What a verification found, for programs and for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from concordat_privacy.moments import moment_of
from concordat_privacy.shown import printable

_SHOWN = 20


def moment_text(seconds: int) -> str:
    """A time in POSIX seconds, for people: RFC 3339, UTC; the number itself beyond year 9999."""
    try:
        moment = moment_of(seconds * 1_000_000)
    except OverflowError:
        return f"POSIX time {seconds}"
    return moment.replace(tzinfo=None).isoformat() + "Z"


class ProblemKind(Enum):
    """What sort of thing is wrong."""

    CHECKPOINT = "checkpoint"
    """The checkpoint is malformed, or not signed by the log."""
    ROOT = "root"
    """The files do not lead to the root that the checkpoint signs."""
    ENTRY = "entry"
    """An entry's bytes are not those that the log holds."""
    LEAF = "leaf"
    """An entry or item is in the log as it stands, but breaks the rules for leaves."""
    ORDER = "order"
    """An entry's time lies before that of an earlier entry."""
    TILE = "tile"
    """A hash tile is malformed, or not what the log holds."""
    ITEM = "item"
    """An item of a batch entry, or the hash of one, is not what the entry commits to."""
    MISSING = "missing"
    """A file is not there."""
    UNEXPECTED = "unexpected"
    """A file that does not belong to an export of this size."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where. `entry` is an index in the log, `item` in a batch."""

    kind: ProblemKind
    message: str
    file: str | None = None
    entry: int | None = None
    item: int | None = None

    def __str__(self) -> str:
        names = []
        if self.entry is not None:
            names.append(f"entry {self.entry}")
        if self.item is not None:
            names.append(f"item {self.item}")
        if self.file is not None:
            names.append(f"({self.file})" if names else self.file)
        return f"{' '.join(names)}: {self.message}" if names else self.message


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a verification.

    `size` and `root` (hexadecimal) are the checkpoint's; 0 and "" if it is not authentic, since
    nothing else is checked then. `counts` has the readable entries by type.
    """

    origin: str
    size: int
    root: str
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    counts: Mapping[str, int]
    complete: bool = True
    """False if the verification stopped early: no authentic checkpoint, or too many problems."""
    cosigned: Mapping[str, int] = field(default_factory=dict)
    """When the witnesses that were asked for cosigned the checkpoint, by name, in POSIX seconds."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. Warnings do not count."""
        return self.complete and not self.problems

    @property
    def first_wrong_entry(self) -> int | None:
        """The lowest index of an entry that a problem names."""
        return min((p.entry for p in self.problems if p.entry is not None), default=None)

    def summary(self) -> str:
        """The outcome in plain language, several lines. Safe to print, whatever the export says."""
        lines = self._good() if self.ok else self._bad()
        lines += [f"Warning: {warning}" for warning in self.warnings]
        lines += [f"{count:>9}  {kind}" for kind, count in sorted(self.counts.items())]
        return "\n".join(map(printable, lines))

    def _good(self) -> list[str]:
        lines = [
            f"The ledger {self.origin} verifies: {self.size} entries, root {self.root}.",
            "The checkpoint is signed by the log's key, and every file of the export fits it.",
        ]
        if not self.cosigned:
            lines.append(
                "What no export can show: entries that were never written, and whether others were "
                "shown the same history. Compare checkpoints and receipts for that."
            )
            return lines
        for name, seconds in sorted(self.cosigned.items()):
            lines.append(f"Cosigned by {name} at {moment_text(seconds)}.")
        lines.append("What no export can show: entries that were never written.")
        return lines

    def _bad(self) -> list[str]:
        found = len(self.problems)
        lines = [f"The ledger {self.origin} does NOT verify. Problems: {found}."]
        if self.first_wrong_entry is not None:
            lines.append(f"First wrong entry: {self.first_wrong_entry}")
        lines += [f"  {problem}" for problem in self.problems[:_SHOWN]]
        if found > _SHOWN:
            lines.append(f"  and {found - _SHOWN} more")
        if not self.complete:
            lines.append("The verification stopped here; more may be wrong.")
        return lines
