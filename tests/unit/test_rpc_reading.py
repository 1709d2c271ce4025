"""A request stream whose caller keeps quiet."""

import threading
import time
from collections.abc import Iterator

import pytest

from concordat_rpc.errors import Refusal
from concordat_rpc.reading import StreamReader

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
