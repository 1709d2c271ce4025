"""Ends calls whose thread cannot look at the clock itself.

A synchronous handler blocks in gRPC while it waits for a request message or for the caller to read
a response. If the caller goes quiet there, only another thread can end the call.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """One thread that runs what is overdue. Starts with its first entry."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._entries: list[tuple[float, int]] = []
        self._actions: dict[int, Callable[[], object]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextmanager
    def guard(
        self, overdue_monotonic_seconds: float, action: Callable[[], object]
    ) -> Iterator[None]:
        """Run `action` on another thread unless the block ends before the given time."""
        number = self._add(overdue_monotonic_seconds, action)
        try:
            yield
        finally:
            # The heap keeps the number until its time; the action, and the call it holds, go now.
            self._actions.pop(number, None)

    def _add(self, overdue: float, action: Callable[[], object]) -> int:
        with self._condition:
            number = next(self._numbers)
            self._actions[number] = action
            heapq.heappush(self._entries, (overdue, number))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            elif self._entries[0][1] == number:
                self._condition.notify()
            return number

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._entries or self._entries[0][0] > time.monotonic():
                    wait = self._entries[0][0] - time.monotonic() if self._entries else None
                    self._condition.wait(wait)
                _, number = heapq.heappop(self._entries)
            action = self._actions.pop(number, None)
            if action is not None:
                action()
