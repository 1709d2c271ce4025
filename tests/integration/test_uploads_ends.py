"""The end of an upload: recorded once, and no part after it."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest

from tests.contributing import allow, findings, relations, replayed
from tests.integration.test_uploads import Stream, get_upload, refusal_of, streaming
from tests.services import Consortium, account, fields_of, reason_of


def entries(consortium: Consortium, upload: bytes) -> list[tuple[int, dict[str, object]]]:
    """The entries of an upload, and their indexes."""
    leaves = [(index, json.loads(leaf)) for index, leaf, _ in consortium.journal.entries(0, 10_000)]
    return [(index, fields) for index, fields in leaves if fields.get("upload") == upload.hex()]


def outcome(stream: Stream) -> str:
    """The reason that the next message was refused with; empty where it was not."""
    try:
        next(stream.call)
    except grpc.RpcError as error:
        return reason_of(error)
    return ""


@pytest.fixture
def upload() -> bytes:
    return os.urandom(16)


@pytest.fixture
def begun(consortium: Consortium, upload: bytes) -> Iterator[Stream]:
    """An upload of two parts: three rows taken, one refused."""
    allow(consortium)
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [account(consortium, 1, 1), account(consortium, 2, 1)])
        stream.take(2, [account(consortium, 1, 2), account(consortium, 99, 2)])
        yield stream


def test_an_ended_upload_is_complete_and_the_ledger_says_of_how_many_parts_and_rows(
    consortium: Consortium, upload: bytes, begun: Stream
) -> None:
    before = get_upload(consortium.beta, upload)
    assert (before.complete, before.end_entry_index) == (False, 0)
    ended = begun.end(2)
    assert (ended.parts, ended.rows_accepted, ended.rows_refused) == (2, 3, 1)
    entry = json.loads(ended.receipt.entry)
    assert entry["type"] == "contribution.ended"
    said = {name: entry[name] for name in ("upload", "parts", "rows", "refused")}
    assert said == {"upload": upload.hex(), "parts": 2, "rows": 3, "refused": 1}
    after = get_upload(consortium.beta, upload)
    assert after.complete
    assert after.end_entry_index == ended.receipt.entry_index > after.last_entry_index
    assert (after.acknowledged_sequence, after.rows_accepted, after.rows_refused) == (2, 3, 1)
    assert entries(consortium, upload)[-1] == (ended.receipt.entry_index, entry)
    assert findings(replayed(consortium.journal)) == []


def test_an_end_that_comes_again_over_any_connection_is_answered_as_before(
    consortium: Consortium, upload: bytes, begun: Stream
) -> None:
    first = begun.end(2)
    second = begun.end(2)
    begun.finish()
    with streaming(consortium.beta, upload) as other:
        third = other.end(2)
    for again in (second, third):
        assert again.receipt.entry == first.receipt.entry
        assert again.receipt.entry_index == first.receipt.entry_index
        assert (again.parts, again.rows_accepted, again.rows_refused) == (2, 3, 1)
    assert len(entries(consortium, upload)) == 3


def test_after_the_end_no_new_part_is_taken_and_one_that_came_before_is_answered(
    consortium: Consortium, upload: bytes, begun: Stream
) -> None:
    begun.end(2)
    again = begun.take(2, [account(consortium, 1, 2), account(consortium, 99, 2)])
    assert again.rows_accepted == 1
    for sequence in (3, 4):
        with streaming(consortium.beta, upload) as stream:
            stream.send(sequence, [account(consortium, 3, 3)])
            error = refusal_of(stream)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (reason_of(error), fields_of(error)) == ("UPLOAD_ENDED", ["part.sequence"])
    assert relations(consortium, 3) == {}
    assert consortium.signal_store.staged() == []
    assert len(entries(consortium, upload)) == 3


@pytest.mark.parametrize("parts", [1, 3, 2**32 - 1])
def test_an_end_that_counts_other_parts_ends_nothing(
    consortium: Consortium, upload: bytes, begun: Stream, parts: int
) -> None:
    begun.say_end(parts)
    error = refusal_of(begun)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (reason_of(error), fields_of(error)) == ("PARTS_MISCOUNTED", ["end.parts"])
    assert not get_upload(consortium.beta, upload).complete
    with streaming(consortium.beta, upload) as stream:
        assert stream.take(3, [account(consortium, 3, 3)]).rows_accepted == 1


def test_an_upload_without_a_part_has_no_end(consortium: Consortium) -> None:
    allow(consortium)
    for parts, reason in ((0, "INVALID_FIELD"), (1, "PARTS_MISCOUNTED")):
        upload = os.urandom(16)
        with streaming(consortium.beta, upload) as stream:
            stream.say_end(parts)
            error = refusal_of(stream)
        assert reason_of(error) == reason
        assert fields_of(error) == ["end.parts"]
        assert entries(consortium, upload) == []


def test_a_member_ends_its_own_uploads_alone(
    consortium: Consortium, upload: bytes, begun: Stream
) -> None:
    with streaming(consortium.alpha, upload) as stream:
        stream.say_end(2)
        assert reason_of(refusal_of(stream)) == "PARTS_MISCOUNTED"
    assert not get_upload(consortium.beta, upload).complete


def test_of_an_end_and_a_part_at_once_the_one_that_is_second_is_refused(
    consortium: Consortium,
) -> None:
    allow(consortium)
    for _ in range(8):
        upload = os.urandom(16)
        with ExitStack() as stack:
            streams = [stack.enter_context(streaming(consortium.beta, upload)) for _ in range(2)]
            streams[0].take(1, [account(consortium, 1, 1)])
            # The second one learns of the first part.
            streams[1].take(1, [account(consortium, 1, 1)])
            streams[0].say_end(1)
            streams[1].send(2, [account(consortium, 2, 2)])
            outcomes = [outcome(stream) for stream in streams]
        assert outcomes in (["", "UPLOAD_ENDED"], ["PARTS_MISCOUNTED", ""])
        status = get_upload(consortium.beta, upload)
        assert status.complete is (outcomes[0] == "")
        assert status.acknowledged_sequence == (1 if status.complete else 2)
    assert findings(replayed(consortium.journal)) == []
