"""Uploads whose key epoch has ended: what was taken can be read and ended, nothing is added."""

import os
from collections.abc import Iterator

import grpc
import pytest

from concordat.v1 import contribution_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.rotation import rotate
from concordat_gateway.store.signal_store import SignalStore
from tests.integration.test_uploads import (
    Stream,
    allow,
    get_upload,
    refusal_of,
    streaming,
)
from tests.rotations import means_of
from tests.services import Caller, Consortium, account, reason_of, serving
from tests.stores import ManualClock
from tests.tokenkeys import TokenKeys


def part_of(
    caller: Caller, upload: bytes, sequence: int
) -> contribution_pb2.PartAcknowledged | None:
    """What the gateway says that a part was acknowledged with."""
    reply = get_upload(caller, upload, sequence)
    return reply.part if reply.HasField("part") else None


@pytest.fixture
def keys() -> TokenKeys:
    return TokenKeys.of_epochs(1, 2)


@pytest.fixture
def consortium(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, keys: TokenKeys
) -> Iterator[Consortium]:
    with serving(journal, signal_store, clock, keys) as running:
        allow(running)
        yield running


@pytest.fixture
def upload() -> bytes:
    return os.urandom(16)


@pytest.fixture
def begun(consortium: Consortium, upload: bytes) -> Iterator[Stream]:
    """An upload of two parts under epoch 1: three rows taken, one refused."""
    with streaming(consortium.beta, upload) as stream:
        stream.take(1, [account(consortium, 1, 1), account(consortium, 2, 1)])
        stream.take(2, [account(consortium, 1, 2), account(consortium, 99, 2)])
        yield stream


@pytest.fixture
def ended_epoch(consortium: Consortium, keys: TokenKeys, begun: Stream) -> None:
    """Epoch 1 has ended since."""
    means = means_of(consortium.journal, consortium.signal_store, keys, lambda _progress: None)
    rotate(means, None)
    keys.end(1, consortium.clock.microseconds + 60_000_000)
    consortium.clock.advance(60)


def test_what_a_part_was_acknowledged_with_can_be_read_again(
    consortium: Consortium, upload: bytes
) -> None:
    with streaming(consortium.beta, upload) as stream:
        first = stream.take(1, [account(consortium, 1, 1)])
        second = stream.take(2, [account(consortium, 99, 2), account(consortium, 1, 2)])
    for said in (first, second):
        read = part_of(consortium.beta, upload, said.sequence)
        assert read is not None
        assert read.receipt.entry == said.receipt.entry
        assert read.receipt.entry_index == said.receipt.entry_index
        assert (read.sequence, read.rows_accepted) == (said.sequence, said.rows_accepted)
        assert list(read.refused) == list(said.refused)
    assert [refusal.item for refusal in second.refused] == [0]


@pytest.mark.usefixtures("begun")
def test_a_part_that_was_not_taken_is_not_told_of(consortium: Consortium, upload: bytes) -> None:
    for sequence in (0, 3, 2**32 - 1):
        assert part_of(consortium.beta, upload, sequence) is None
    with pytest.raises(grpc.RpcError) as caught:
        part_of(consortium.alpha, upload, 1)
    assert reason_of(caught.value) == "UPLOAD_NOT_FOUND"


@pytest.mark.usefixtures("ended_epoch")
def test_after_its_key_epoch_an_upload_takes_no_part_and_tells_of_those_it_took(
    consortium: Consortium, upload: bytes
) -> None:
    rows = [account(consortium, 1, 2), account(consortium, 99, 2)]
    # Also one that came before: its rows' subjects can no longer be named.
    for sequence in (2, 3):
        with streaming(consortium.beta, upload) as stream:
            stream.send(sequence, rows)
            error = refusal_of(stream)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(error) == "EPOCH_NOT_ACTIVE"
    assert get_upload(consortium.beta, upload).acknowledged_sequence == 2
    read = part_of(consortium.beta, upload, 2)
    assert read is not None
    assert read.rows_accepted == 1


@pytest.mark.usefixtures("ended_epoch")
def test_after_its_key_epoch_an_upload_can_be_ended_and_none_can_begin(
    consortium: Consortium, upload: bytes
) -> None:
    with streaming(consortium.beta, upload) as stream:
        ended = stream.end(2)
    assert (ended.parts, ended.rows_accepted, ended.rows_refused) == (2, 3, 1)
    assert get_upload(consortium.beta, upload).complete
    refused = Stream(consortium.beta, os.urandom(16))
    assert reason_of(refusal_of(refused)) == "EPOCH_NOT_ACTIVE"
    refused.close()
