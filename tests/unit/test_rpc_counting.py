"""Fields are counted before a message is parsed: no parser makes more objects than were counted."""

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from concordat.v1 import consent_pb2, contribution_pb2, signal_pb2
from concordat_rpc.counting import Counter

Sent = contribution_pb2.ContributeStreamRequest
UPLOADS = Counter(Sent.DESCRIPTOR)
EMPTY_ROWS = (b"\x12\x00", b"\x1a\x00")
"""An empty row of a part, as a message and packed."""


def length_of(content: bytes) -> bytes:
    size, encoded = len(content), b""
    while size > 127:
        encoded, size = encoded + bytes([size & 127 | 128]), size >> 7
    return encoded + bytes([size])


def part(content: bytes) -> bytes:
    """A message that carries a part of this content."""
    return b"\x12" + length_of(content) + content


def elements(sent: contribution_pb2.ContributeStreamRequest) -> int:
    return len(sent.part.rows) + len(sent.part.packed_rows)


@pytest.mark.parametrize("row", EMPTY_ROWS)
@pytest.mark.parametrize("most", [1, 50, 4_000])
def test_as_many_fields_as_are_allowed_pass_and_one_more_does_not(row: bytes, most: int) -> None:
    """The part itself is one of them."""
    for rows, too_many in ((most - 1, False), (most, True), (100 * most, True)):
        message = part(row * rows)
        assert elements(Sent.FromString(message)) == rows
        assert UPLOADS.has_more_than(most, message) == too_many


def test_rows_are_not_looked_into() -> None:
    row = contribution_pb2.ContributionRow(
        token=bytes(32),
        account=contribution_pb2.AccountSnapshot(account_ref=bytes(16), as_of_month=680, limit=5),
    )
    message = Sent(part=contribution_pb2.UploadPart(sequence=1, rows=[row] * 100))
    # The part, its sequence, its rows.
    assert UPLOADS.has_more_than(101, message.SerializeToString())
    assert not UPLOADS.has_more_than(102, message.SerializeToString())


@pytest.mark.parametrize(
    ("message", "counted"),
    [
        (contribution_pb2.ContributeRequest(chunk={"rows": [{}] * 200}), 201),
        (contribution_pb2.WithdrawRowsRequest(rows=[{}] * 200), 200),
        (consent_pb2.GrantConsentsRequest(consents=[{}] * 200), 200),
        (signal_pb2.LookupRequest(signals=[""] * 200), 200),
        (signal_pb2.ReviewPortfolioRequest(header={"signals": [""] * 200}), 201),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_message_has_many_of_is_counted(message: Message, counted: int) -> None:
    counter, data = Counter(message.DESCRIPTOR), message.SerializeToString()
    assert counter.has_more_than(counted - 1, data)
    assert not counter.has_more_than(counted, data)


def test_a_message_that_has_many_of_nothing_is_not_counted() -> None:
    request = contribution_pb2.GetUploadRequest
    assert not Counter(request.DESCRIPTOR).has_more_than(1, b"\x1a\x00" * 1_000)


def test_no_more_is_read_than_decides() -> None:
    rows = part(EMPTY_ROWS[0] * 1_000)
    assert UPLOADS.has_more_than(1_000, rows + b"\xff" * 100)
    assert not UPLOADS.has_more_than(1_001, rows + b"\xff" * 10_000)


@pytest.mark.parametrize("tag", [b"\x1a", b"\x22", b"\x12"], ids=["known", "unknown", "row"])
def test_a_length_of_more_bits_than_a_parser_keeps_hides_no_rows(tag: bytes) -> None:
    beyond = tag + b"\x80" * 9 + b"\x02"  # 2**64, which is 0 to a parser
    rows = EMPTY_ROWS[0] * 1_000
    for message in (part(beyond + rows), beyond + part(rows)):
        assert elements(Sent.FromString(message)) >= 1_000
        assert UPLOADS.has_more_than(500, message)


PIECES = [
    *EMPTY_ROWS,
    b"\x1a\x03abc",
    b"\x12\x02\x0a\x00",  # a row with an empty token
    b"\x08\x05",  # the sequence
    b"\x9a\x00\x00",  # a tag that is longer than it need be
    b"\x1a\x80\x00",  # a length that is
    b"\x1b",  # a group begins and ends
    b"\x1c",
    b"\x2b\x12\x00\x2c",
    b"\x0d1234",
    b"\x0912345678",
    b"\x0f",  # no wire type
    b"\xff",
    b"\x1a\x7f",  # reaches beyond
    b"\x80" * 9 + b"\x01",
    b"\x1a" + b"\x80" * 9 + b"\x02",  # a length of 2**64, which parsers take for 0
    b"\x2a" + b"\x83" + b"\x80" * 8 + b"\x7eabc",
]
contents = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)


@given(st.lists(contents | contents.map(part), max_size=4).map(b"".join))
def test_no_parser_makes_more_of_any_bytes_than_were_counted(data: bytes) -> None:
    try:
        made = elements(Sent.FromString(data))
    except DecodeError:
        return
    for most in range(made):
        assert UPLOADS.has_more_than(most, data)
