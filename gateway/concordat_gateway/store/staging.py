"""The rows of a staged batch as one value: they are written, read and given up together.

Nothing asks for a single staged row but an erasure, which reads the few batches that are staged at
the time. A row each cost three times as much, to write it, read it back and delete it.
"""

import struct
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from concordat_gateway.store.subjects import SubjectKey

_HEAD: Final = struct.Struct(">I32sH")


class StagedRow(NamedTuple):
    """One row of a batch, before anyone may see it."""

    row_no: int
    """Position in the batch as the member sent it, from 0."""
    subject: SubjectKey
    content: bytes
    """The row as the catalogue packs it, up to 65,535 bytes."""


def encode_rows(rows: Iterable[StagedRow]) -> bytes:
    """The rows, in order: number u32, subject 32, length of the content u16, the content."""
    pack = _HEAD.pack
    return b"".join(
        [pack(number, subject, len(content)) + content for number, subject, content in rows]
    )


def decode_rows(data: bytes) -> list[StagedRow]:
    """What `encode_rows` encoded. Raises ValueError for anything else."""
    rows = []
    unpack, size, at, end = _HEAD.unpack_from, _HEAD.size, 0, len(data)
    while at < end:
        if end - at < size:
            raise ValueError(f"{end - at} bytes are no staged row")
        number, subject, length = unpack(data, at)
        at += size + length
        rows.append(StagedRow(number, subject, data[at - length : at]))
    if at != end:
        raise ValueError(f"the last staged row lacks {at - end} bytes")
    return rows


def without_subjects(data: bytes, subjects: Collection[SubjectKey]) -> bytes:
    """The encoded rows without those of some subjects."""
    return encode_rows(row for row in decode_rows(data) if row.subject not in subjects)
