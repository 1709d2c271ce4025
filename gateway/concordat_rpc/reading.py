"""A caller's request stream, read so that a silent caller meets the deadline.

gRPC's own request iterator blocks for as long as the caller sends nothing. Here a thread of the
stream's own does that blocking, and the handler waits for it no longer than the call may last.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

import grpc

from concordat_rpc.errors import Kind, Refusal, deadline_exceeded, unavailable

_T = TypeVar("_T")

# Messages read ahead of the handler; bounds what a stream holds in memory.
_READ_AHEAD = 1
# Wakes a handler that waits for a message.
_WAKE = b""
# Where the handler has left early, the reader must notice that nobody takes its messages.
_HANDOVER_SECONDS = 1.0


class StreamReader:
    """Iterates over raw messages; raises Refusal or what gRPC raised.

    DEADLINE_EXCEEDED, for a silent caller too, and UNAVAILABLE (SHUTTING_DOWN) after `end`.
    """

    def __init__(
        self, messages: Iterator[bytes], deadline_monotonic_seconds: float, idle_seconds: float
    ) -> None:
        self._messages = messages
        self._deadline = deadline_monotonic_seconds
        self._idle_seconds = idle_seconds
        self._queue: queue.Queue[bytes | Exception | None] = queue.Queue(_READ_AHEAD)
        self._abandoned = threading.Event()
        self._ending = False
        threading.Thread(target=self._read, name="stream-reader", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            left = max(0.0, self._deadline - time.monotonic())
            message = self._queue.get(timeout=0 if self._ending else min(left, self._idle_seconds))
        except queue.Empty:
            if self._ending:
                raise _shutting_down() from None
            if left > self._idle_seconds:
                raise _idle(self._idle_seconds) from None
            raise deadline_exceeded() from None
        if message is None:
            raise StopIteration
        if isinstance(message, Exception):
            raise message
        if self._ending:
            raise _shutting_down()
        return message

    def has_next(self) -> bool:
        """Whether `next` would answer at once, be it that there is no more. Thread-safe."""
        return not self._queue.empty()

    def end(self) -> None:
        """Give the handler no further message: what it has in hand is its last. Thread-safe."""
        self._ending = True
        with suppress(queue.Full):
            self._queue.put_nowait(_WAKE)

    def close(self) -> None:
        """Let the reading thread end; the handler wants no more."""
        self._abandoned.set()

    def _read(self) -> None:
        try:
            for message in self._messages:
                if not self._hand_over(message):
                    return
            self._hand_over(None)
        except grpc.RpcError as error:
            self._hand_over(error)

    def _hand_over(self, message: bytes | Exception | None) -> bool:
        while not self._abandoned.is_set():
            with suppress(queue.Full):
                self._queue.put(message, timeout=_HANDOVER_SECONDS)
                return True
        return False


class Messages(Iterator[_T], Generic[_T]):
    """A stream's messages, parsed one by one as the handler takes them."""

    def __init__(self, reader: StreamReader, parse: Callable[[bytes], _T]) -> None:
        self._reader = reader
        self._parse = parse

    def __next__(self) -> _T:
        return self._parse(next(self._reader))

    def has_next(self) -> bool:
        """Whether the next is there, or is known not to come: `next` does not wait then."""
        return self._reader.has_next()


def has_next(messages: Iterator[object]) -> bool:
    """Whether the next of a handler's messages is there already; False where nobody can tell."""
    return isinstance(messages, Messages) and messages.has_next()


def _shutting_down() -> Refusal:
    return unavailable("SHUTTING_DOWN", "the server is shutting down; go on with another")


def _idle(seconds: float) -> Refusal:
    return Refusal(
        Kind.DEADLINE_EXCEEDED, "STREAM_IDLE", f"no message of the stream for {seconds:g} s"
    )
