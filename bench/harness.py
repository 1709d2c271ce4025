"""What every benchmark group shares: the figure, the clock and the table."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROWS = 1_000_000
ROWS_VARIABLE = "CONCORDAT_BENCH_ROWS"
"""Environment variable that says how many rows the group `signals` has, else ROWS."""
GIGABYTES = 1.0
GIGABYTES_VARIABLE = "CONCORDAT_BENCH_GIGABYTES"
"""Environment variable that says how long the stream of the group `streams` is, else GIGABYTES."""


@dataclass(frozen=True)
class Figure:
    """One measured figure beside the reference measured in the same run."""

    name: str
    """`group.figure`, the name by which documents quote it."""
    value: float
    """The measured value, in `unit`."""
    unit: str
    reference: float | None
    """The reference's value in the same unit; None where there is none."""
    ratio: float | None
    """value / reference, or what the target speaks of; None without reference."""
    target: str
    """What was asked for, in words, e.g. ">= 0.9"."""
    holds: bool | None
    """Whether the target holds in this run; None where there is no target."""
    note: str = ""
    """How it was measured, and why it falls short where it does."""


def best_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of `repeats` runs: the one that other processes disturbed least."""
    return min(_seconds(work) for _ in range(repeats))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def write(figures: Sequence[Figure], path: Path) -> None:
    """Writes the figures as JSON, replacing groups measured now and keeping the others."""
    measured = {figure.name.split(".")[0] for figure in figures}
    kept = []
    if path.exists():
        kept = [
            row for row in json.loads(path.read_text()) if row["name"].split(".")[0] not in measured
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept + [asdict(figure) for figure in figures], indent=2) + "\n")


def table(figures: Sequence[Figure]) -> str:
    """The figures as text, one line each."""
    rows = [("figure", "value", "unit", "reference", "ratio", "target", "holds")]
    rows += [
        (
            figure.name,
            _number(figure.value),
            figure.unit,
            _number(figure.reference),
            _number(figure.ratio),
            figure.target or "-",
            {True: "yes", False: "NO", None: "-"}[figure.holds],
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
