"""The messages of a stream, the next of them taken off the wire while the last is worked on."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread
from typing import Generic, Self, TypeVar

_T = TypeVar("_T")


class Ahead(Iterator[_T], Generic[_T]):
    """Gives what an iterator gives, and knows whether the next is there. Leave it at the end.

    Two messages at most wait: so whoever sends is held up, and memory is bounded.
    """

    def __init__(self, messages: Iterator[_T]) -> None:
        self._messages = messages
        self._waiting: Queue[_T | _End] = Queue(maxsize=1)
        self._left = False
        # Nobody waits for it: it may be in the middle of a receive, which ends with the call.
        Thread(target=self._take, name="messages", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        with suppress(Empty):
            # Whoever waits to put the next down finds that there is no need to.
            self._waiting.get_nowait()

    def __next__(self) -> _T:
        found = self._waiting.get()
        if isinstance(found, _End):
            self._waiting.put(found)
            raise found.error
        return found

    def has_next(self) -> bool:
        """Whether `next` would answer at once, be it that there are no more."""
        return not self._waiting.empty()

    def _take(self) -> None:
        try:
            for message in self._messages:
                self._waiting.put(message)
                if self._left:
                    return
            end = _End(StopIteration())
        except Exception as error:  # noqa: BLE001 -- whoever takes the messages meets it
            end = _End(error)
        self._waiting.put(end)


class _End:
    """What comes after the last message."""

    def __init__(self, error: Exception) -> None:
        self.error = error
