"""A stream whose next message is taken off the wire while the last is worked on."""

import threading
from collections.abc import Iterator

import pytest

from concordat_gateway.services._ahead import Ahead

SECONDS = 30


class Wire(Iterator[int]):
    """Gives numbers as they are put on it, and knows how many were taken off."""

    def __init__(self, numbers: int) -> None:
        self._left = iter(range(numbers))
        self.taken = 0
        self.ended = threading.Event()

    def __next__(self) -> int:
        try:
            number = next(self._left)
        except StopIteration:
            self.ended.set()
            raise
        self.taken += 1
        return number


def until(condition: threading.Event) -> None:
    assert condition.wait(SECONDS)


def test_messages_come_in_their_order_to_the_last() -> None:
    with Ahead(iter(range(100))) as messages:
        assert list(messages) == list(range(100))
        # There are still none.
        assert messages.has_next()
        assert list(messages) == []


def test_an_error_comes_after_the_messages_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ConnectionResetError("the other side is gone")

    with Ahead(broken()) as messages:
        assert [next(messages), next(messages)] == [1, 2]
        for _ in range(2):
            with pytest.raises(ConnectionResetError, match="gone"):
                next(messages)


def test_whether_another_message_is_there_is_known_before_it_is_taken() -> None:
    arrive = threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        until(arrive)
        yield 2

    with Ahead(slow()) as messages:
        assert next(messages) == 1
        assert not messages.has_next()
        arrive.set()
        assert next(messages) == 2


def test_no_more_is_taken_off_the_wire_than_can_wait() -> None:
    wire = Wire(1_000)
    with Ahead(wire) as messages:
        for expected in range(10):
            assert next(messages) == expected
            # The one at hand, and two behind it.
            assert wire.taken <= expected + 3


def test_leaving_early_lets_go_of_the_wire() -> None:
    before = set(threading.enumerate())
    with Ahead(iter(range(1_000))) as messages:
        assert next(messages) == 0
        [reader] = set(threading.enumerate()) - before
    reader.join(SECONDS)
    assert not reader.is_alive()
