"""A request stream whose caller keeps quiet."""

import threading
import time
from collections.abc import Iterator

import pytest

from concordat_rpc.errors import Kind, Refusal
from concordat_rpc.reading import Messages, StreamReader, has_next

FOREVER_SECONDS = 3600.0


@pytest.fixture
def over() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def one_then_silence(over: threading.Event) -> Iterator[bytes]:
    yield b"first"
    over.wait(FOREVER_SECONDS)


def test_silence_between_messages_ends_a_stream_long_before_its_deadline(
    over: threading.Event,
) -> None:
    deadline = time.monotonic() + FOREVER_SECONDS
    reader = StreamReader(one_then_silence(over), deadline, idle_seconds=0.05)
    assert next(reader) == b"first"
    with pytest.raises(Refusal) as refusal:
        next(reader)
    assert refusal.value.reason == "STREAM_IDLE"


def test_a_deadline_that_comes_first_is_named_as_what_it_is(over: threading.Event) -> None:
    reader = StreamReader(
        one_then_silence(over), time.monotonic() + 0.05, idle_seconds=FOREVER_SECONDS
    )
    with pytest.raises(Refusal) as refusal:
        list(reader)
    assert refusal.value.reason == "DEADLINE_EXCEEDED"


def test_a_stream_that_is_to_end_gives_no_further_message(over: threading.Event) -> None:
    reader = StreamReader(
        one_then_silence(over), time.monotonic() + FOREVER_SECONDS, FOREVER_SECONDS
    )
    assert next(reader) == b"first"
    # Also to a handler that waits for one by then.
    threading.Timer(0.05, reader.end).start()
    for _ in range(2):
        with pytest.raises(Refusal) as refusal:
            next(reader)
        assert (refusal.value.kind, refusal.value.reason) == (Kind.UNAVAILABLE, "SHUTTING_DOWN")
    reader.close()


def test_a_stream_whose_caller_has_ended_it_ends_in_order_all_the_same() -> None:
    reader = StreamReader(iter([]), time.monotonic() + FOREVER_SECONDS, FOREVER_SECONDS)
    # The reading thread has put the end there before, or does it now.
    assert list(reader) == []
    over = StreamReader(iter([b"one"]), time.monotonic() + FOREVER_SECONDS, FOREVER_SECONDS)
    assert next(over) == b"one"
    while over._queue.empty():
        time.sleep(0.001)
    over.end()
    assert list(over) == []


def test_whether_a_message_is_there_is_known_before_it_is_taken(over: threading.Event) -> None:
    arrive, arrived = threading.Event(), threading.Event()

    def arriving() -> Iterator[bytes]:
        yield b"1"
        assert arrive.wait(FOREVER_SECONDS)
        yield b"2"
        arrived.set()
        assert over.wait(FOREVER_SECONDS)

    reader = StreamReader(arriving(), time.monotonic() + FOREVER_SECONDS, FOREVER_SECONDS)
    messages = Messages(reader, int)
    assert next(messages) == 1
    assert not has_next(messages)
    arrive.set()
    assert arrived.wait(FOREVER_SECONDS)
    assert has_next(messages)
    assert next(messages) == 2
    assert not has_next(messages)
    # That the stream is to end is an answer too.
    reader.end()
    assert has_next(messages)
    # Of another iterator nobody can tell.
    assert not has_next(iter([1]))
