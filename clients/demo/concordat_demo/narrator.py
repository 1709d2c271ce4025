"""What the person at the terminal sees: one line a step, a bar while it runs.

Where the output is no terminal there are no bars and no colours, only lines.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn


class Step:
    """A running step. `advance` may be called from any thread."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars

    def bar(self, name: str, total: int) -> Bar:
        """A bar of its own within the step."""
        if self._bars is None:
            return Bar(None, TaskID(0))
        return Bar(self._bars, self._bars.add_task(name, total=total))


class Bar:
    """How far one part of a step is."""

    def __init__(self, bars: Progress | None, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, by: int = 1) -> None:
        """So many more are done."""
        if self._bars is not None:
            self._bars.advance(self._task, by)

    def done(self, count: int) -> None:
        """So many are done in all."""
        if self._bars is not None:
            self._bars.update(self._task, completed=count)


class Narrator:
    """Prints the story and times its steps."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._steps = 0
        self.seconds: dict[str, float] = {}
        """Seconds of each finished step, by its key."""
        self.current: str | None = None
        """Title of the step that runs, or of the one that failed."""

    def say(self, text: str = "") -> None:
        """One paragraph under the current step."""
        self._console.print(escape(text))

    def warn(self, text: str) -> None:
        """A line that must be seen."""
        self._console.print(f"[bold red]{escape(text)}[/]")

    def figure(self, name: str, value: str) -> None:
        """One figure, under its step."""
        self._console.print(f"     [dim]{escape(name):<42}[/] [bold]{escape(value)}[/]")

    def table(self, rows: Sequence[tuple[str, str, str]]) -> None:
        """A table of two columns beside the names; the first row is its head."""
        for position, (name, left, right) in enumerate(rows):
            style = "dim" if position == 0 else "bold"
            cells = f"{escape(left):>10}  {escape(right):>20}"
            self._console.print(f"     [dim]{escape(name):<52}[/] [{style}]{cells}[/]")

    @property
    def seconds_total(self) -> float:
        """Seconds of all finished steps."""
        return round(sum(self.seconds.values()), 3)

    @contextmanager
    def step(self, key: str, title: str) -> Iterator[Step]:
        """Run one step: title before, seconds after."""
        self._steps += 1
        self.current = title
        started = time.monotonic()
        self._console.print(f"[bold cyan]{self._steps:>2}[/]  [bold]{escape(title)}[/]")
        if self._console.is_terminal:
            with self._progress() as bars:
                yield Step(bars)
        else:
            yield Step(None)
        self.seconds[key] = round(time.monotonic() - started, 3)
        self._console.print(f"     [dim]{self.seconds[key]:.1f} s[/]")
        self.current = None

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("     {task.description:<8}"),
            BarColumn(40),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,
        )
