"""A stream of gigabytes: what it takes of the gateway's memory, and that nothing of it is lost.

One upload, sent as fast as the gateway takes it over mutual TLS, most of whose bytes are rows that
have to be refused: 65 kB of noise each, among good ones. As many bytes as
`python -m bench --only streams --gigabytes N` says. Where a stream reaches the gateway's deadline
another goes on with the upload, as any caller has to.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

from bench import signal_pool
from bench.harness import GIGABYTES, GIGABYTES_VARIABLE, Figure
from bench.signal_pool import FURNISHER, Memory, Pool
from concordat.requests import REQUEST_ID_BYTES
from concordat.v1 import contribution_pb2, contribution_pb2_grpc
from concordat_privacy.catalogue.packing import pack_row
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_privacy.oprf import TOKEN_BYTES
from tests.callers import Credentials, connected

MEMORY_TARGET = 1.25
PERSONS = 1_000
_GOOD_PERSONS = 25
_NOISE_ROWS, _NOISE_BYTES = 56, 65_000
_GIGABYTE = 10**9
_GOES_ON_AFTER = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)

Message = contribution_pb2.ContributeStreamRequest
Acknowledged = contribution_pb2.PartAcknowledged


def run() -> list[Figure]:
    """Measure the group: about a minute for ten gigabytes on two cores."""
    size = round(float(os.environ.get(GIGABYTES_VARIABLE, GIGABYTES)) * _GIGABYTE)
    with (
        tempfile.TemporaryDirectory() as name,
        signal_pool.serving(Path(name), PERSONS, None, None) as pool,
        Memory(pool.gateway) as memory,
    ):
        started = time.perf_counter()
        sent, parts, streams = _upload(pool, size)
        seconds = time.perf_counter() - started
    quarter = max(1, len(memory.bytes) // 4)
    early, late = (
        max(some, default=0) / 1e6 for some in (memory.bytes[:quarter], memory.bytes[-quarter:])
    )
    return [
        Figure(
            name="streams.memory.sqlite",
            value=late,
            unit="MB",
            reference=early,
            ratio=late / early if early else None,
            target=f"<= {MEMORY_TARGET}",
            holds=late / early <= MEMORY_TARGET if early else None,
            note=(
                f"resident memory of the gateway's worker during one upload of {sent:,} bytes in "
                f"{parts:,} parts and {streams} streams, {sent / seconds / 1e6:,.0f} MB/s: the "
                "peak of the last quarter. Reference: of the first quarter. Every part was "
                f"acknowledged with its {_GOOD_PERSONS * signal_pool.ROWS_A_PERSON} good rows "
                f"taken and its {_NOISE_ROWS} rows of {_NOISE_BYTES:,} bytes of noise refused"
            ),
        )
    ]


def _upload(pool: Pool, size: int) -> tuple[int, int, int]:
    """Send at least `size` bytes; how many it were, in how many parts and streams."""
    good = [row.token.value + pack_row(row.record) for row in signal_pool.rows_of(0, _GOOD_PERSONS)]
    noise = [row[:TOKEN_BYTES] + os.urandom(_NOISE_BYTES) for row in good[:_NOISE_ROWS]]
    part = contribution_pb2.UploadPart(packed_rows=[*good, *noise])
    bytes_a_part = part.ByteSize()
    parts = -(-size // bytes_a_part)
    header = contribution_pb2.UploadHeader(
        upload_id=os.urandom(REQUEST_ID_BYTES),
        epoch=FIRST_EPOCH,
        catalogue_version=CATALOGUE_VERSION,
    )
    profile = pool.gateway.join(FURNISHER)
    taken = streams = 0
    with connected(pool.gateway.address, Credentials.of_profile(profile)) as channel:
        stub = contribution_pb2_grpc.ContributionServiceStub(channel)
        while taken < parts:
            streams += 1
            call = stub.ContributeStream(_messages(header, part, taken + 1, parts))
            answers = iter(call)
            opened = next(answers).opened.acknowledged_sequence
            if opened != taken:
                raise RuntimeError(f"{taken} parts were acknowledged, the gateway has {opened}")
            try:
                for response in answers:
                    _check(response.acknowledged, taken + 1, len(good))
                    taken += 1
            except grpc.RpcError as error:
                if error.code() not in _GOES_ON_AFTER:
                    raise
                # What was acknowledged stays; a part more may have been taken.
                status = stub.GetUpload(
                    contribution_pb2.GetUploadRequest(upload_id=header.upload_id)
                )
                taken = status.acknowledged_sequence
        status = stub.GetUpload(contribution_pb2.GetUploadRequest(upload_id=header.upload_id))
    counted = (status.acknowledged_sequence, status.rows_accepted, status.rows_refused)
    if counted != (parts, parts * len(good), parts * len(noise)):
        raise RuntimeError(f"{parts} parts were acknowledged, the gateway counts {counted}")
    return parts * bytes_a_part, parts, streams


def _messages(
    header: contribution_pb2.UploadHeader, part: contribution_pb2.UploadPart, first: int, last: int
) -> Iterator[Message]:
    yield Message(header=header)
    for sequence in range(first, last + 1):
        message = Message(part=part)
        message.part.sequence = sequence
        yield message


def _check(acknowledged: Acknowledged, sequence: int, good: int) -> None:
    refused = [one.item for one in acknowledged.refused]
    if (acknowledged.sequence, acknowledged.rows_accepted) != (sequence, good) or refused != [
        *range(good, good + _NOISE_ROWS)
    ]:
        raise RuntimeError(f"part {sequence} was not taken as it was sent")
