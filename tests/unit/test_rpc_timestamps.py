"""What a google.protobuf.Timestamp says, in microseconds since 1970."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from concordat_rpc.timestamps import OUT_OF_RANGE, micros_of


@pytest.mark.parametrize(
    ("seconds", "nanos", "micros"),
    [
        (0, 0, 0),
        (0, 999, 0),
        (1, 1_999, 1_000_001),
        (1, 999_999_999, 1_999_999),
        (253_402_300_799, 999_999_000, 253_402_300_799_999_999),
        (-1, 0, -1_000_000),
    ],
)
def test_a_timestamp_is_rounded_down(seconds: int, nanos: int, micros: int) -> None:
    assert micros_of(Timestamp(seconds=seconds, nanos=nanos)) == micros


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000, 2**31 - 1, -(2**31)])
def test_nanoseconds_that_are_no_part_of_a_second_make_no_moment(nanos: int) -> None:
    assert micros_of(Timestamp(seconds=1, nanos=nanos)) == OUT_OF_RANGE
