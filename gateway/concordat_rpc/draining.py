"""That a server is to stop, told to the streams that are being served.

A stream that its caller can go on with elsewhere ends then after what it has in hand, instead of
holding the process up until it is cut off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Draining:
    """Whether the server is to stop. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = False
        self._listeners: set[Callable[[], None]] = set()

    def begin(self) -> None:
        """The server is to stop: tell everybody, once."""
        with self._lock:
            self._begun = True
            listeners, self._listeners = self._listeners, set()
        for listener in listeners:
            listener()

    @contextmanager
    def telling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener`, on whatever thread, if it begins within the block or did before."""
        with self._lock:
            begun = self._begun
            if not begun:
                self._listeners.add(listener)
        if begun:
            listener()
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(listener)
