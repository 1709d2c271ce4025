"""google.protobuf.Timestamp as moments: integer microseconds since 1970, UTC."""

from google.protobuf.timestamp_pb2 import Timestamp

_MICROSECONDS_A_SECOND = 1_000_000
_NANOSECONDS_A_SECOND = 1_000_000_000

OUT_OF_RANGE = -1
"""A moment that no timestamp can stand for; refused as any other before 1970."""


def micros_of(timestamp: Timestamp) -> int:
    """Microseconds since the epoch, rounded down; OUT_OF_RANGE for a malformed timestamp."""
    if not 0 <= timestamp.nanos < _NANOSECONDS_A_SECOND:
        return OUT_OF_RANGE
    return timestamp.seconds * _MICROSECONDS_A_SECOND + timestamp.nanos // 1_000
