"""A message of millions of empty rows, consents or names is refused before it is parsed.

What comes after the fields in each message is no protobuf: who had parsed it would say so.
"""

import os
from collections.abc import Iterator

import grpc
import pytest

from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_rpc.limits import Limits
from concordat_rpc.peer import Role
from concordat_rpc.tls import channel_credentials
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    Consortium,
    account,
    fields_of,
    party,
    reason_of,
    token,
)

LIMITS = Limits()
GARBAGE = b"\xff\xff\xff"
SERVICE = "/concordat.v1"


@pytest.fixture
def channel(consortium: Consortium) -> Iterator[grpc.Channel]:
    """Beta's, for bytes of any kind."""
    credentials = channel_credentials(party(Role.MEMBER, "beta"))
    with grpc.secure_channel(f"localhost:{consortium.server.port}", credentials) as opened:
        yield opened


def many(element: bytes) -> bytes:
    """As many elements as the largest message holds."""
    return element * ((LIMITS.max_receive_bytes - 100) // len(element))


def within(tag: int, content: bytes) -> bytes:
    """Content as a field of another message."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([tag << 3 | 2]) + length + bytes([size]) + content


def upload_header() -> bytes:
    header = contribution_pb2.UploadHeader(
        upload_id=os.urandom(16), epoch=EPOCH, catalogue_version=CATALOGUE_VERSION
    )
    return contribution_pb2.ContributeStreamRequest(header=header).SerializeToString()


@pytest.mark.parametrize("row", [b"\x12\x00", b"\x1a\x00", b"\x1a\x01\x03"])
def test_a_part_of_millions_of_rows_is_refused_unparsed(channel: grpc.Channel, row: bytes) -> None:
    stream = channel.stream_stream(f"{SERVICE}.ContributionService/ContributeStream", None, None)
    message = within(2, many(row)) + GARBAGE
    replies = stream(iter([upload_header(), message]), timeout=CALL_SECONDS)
    next(replies)
    with pytest.raises(grpc.RpcError) as caught:
        next(replies)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "TOO_MANY_FIELDS"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("ConsentService/GrantConsents", many(b"\x12\x00")),
        ("SignalService/Lookup", many(b"\x1a\x00")),
        ("ContributionService/WithdrawRows", many(b"\x1a\x00")),
    ],
)
def test_so_is_any_other_message(channel: grpc.Channel, method: str, message: bytes) -> None:
    call = channel.unary_unary(f"{SERVICE}.{method}", None, None)
    with pytest.raises(grpc.RpcError) as caught:
        call(message + GARBAGE, timeout=CALL_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "TOO_MANY_FIELDS"


def test_the_largest_part_is_counted_and_taken(consortium: Consortium) -> None:
    """4,000 rows, as long as fields that nobody knows can make them; then one row more."""
    rows = [account(consortium, 1, ref) for ref in range(1, 4_001)]
    unknown = within(15, bytes(900))
    for row in rows:
        row.MergeFromString(unknown)
    header = contribution_pb2.ContributeStreamRequest.FromString(upload_header())
    part = contribution_pb2.UploadPart(sequence=1, rows=rows)
    message = contribution_pb2.ContributeStreamRequest(part=part)
    assert LIMITS.uncounted_bytes < message.ByteSize() < LIMITS.max_receive_bytes
    stream = consortium.beta.contributions.ContributeStream
    [_, reply] = stream(iter([header, message]), timeout=CALL_SECONDS)
    # Nobody consented: each row is refused, and the part is answered.
    assert len(reply.acknowledged.refused) == 4_000
    assert {one.reason for one in reply.acknowledged.refused} == {"NO_CONSENT"}
    message.part.rows.add(token=token(1))
    replies = stream(iter([header, message]), timeout=CALL_SECONDS)
    next(replies)
    with pytest.raises(grpc.RpcError) as caught:
        next(replies)
    assert (reason_of(caught.value), fields_of(caught.value)) == ("INVALID_FIELD", ["part.rows"])
