"""A thread of its own for the length of a block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_background(
    name: str, run: Callable[[threading.Event], None], join_seconds: float | None = None
) -> Iterator[None]:
    """Run beside the block. `run` returns soon after its event is set, when the block ends.

    The block's end waits for it, at most `join_seconds` if they are given.
    """
    stopping = threading.Event()
    thread = threading.Thread(target=run, args=(stopping,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(join_seconds)
