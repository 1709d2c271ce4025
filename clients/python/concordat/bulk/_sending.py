"""One batch to the gateway: the only place of a bulk job that knows how rows travel."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from concordat._operations.contributions import (
    ROWS_PER_BATCH,
    PreparedBatch,
    row_message,
    send_batch,
)
from concordat.client import Client
from concordat.errors import FailedPrecondition, NotFound
from concordat.requests import REQUEST_ID_BYTES, RequestId
from concordat.results import ItemRefusal
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.rows import Row as Record
from concordat_privacy.catalogue.rows import RowRef
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.oprf import Token

MAX_ROWS: Final = ROWS_PER_BATCH
_EPOCH_NOT_ACTIVE: Final = "EPOCH_NOT_ACTIVE"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch as the journal keeps it, so that it is sent again byte for byte."""

    sequence: int
    request_id: bytes
    epoch: int
    catalogue_version: int
    rows: bytes
    """A serialised RowChunk of all rows."""
    numbers: Sequence[int]
    """The source's number of each row."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a parcel. `refused` is in the source's own numbers."""

    rows_accepted: int
    rows_refused: int
    refused: Sequence[ItemRefusal]
    """Empty where the gateway only remembers how many there were."""
    entry_index: int | None


def request_id(job_id: bytes, sequence: int, attempt: int) -> bytes:
    """The id of a job's batch; another for rows that had to be tokenised again."""
    numbers = sequence.to_bytes(8, "big") + attempt.to_bytes(4, "big")
    return hashlib.sha256(b"concordat/bulk/v1" + job_id + numbers).digest()[:REQUEST_ID_BYTES]


def parcel(
    sequence: int,
    named: bytes,
    rows: Sequence[tuple[int, Token, Record, RowRef | None]],
) -> Parcel:
    """A batch of (number, token, record, what it replaces), all of one epoch, one or more."""
    chunk = contribution_pb2.RowChunk(
        rows=[row_message(token.value, record, replaces) for _, token, record, replaces in rows]
    )
    return Parcel(
        sequence,
        named,
        rows[0][1].epoch,
        CATALOGUE_VERSION,
        chunk.SerializeToString(),
        [number for number, *_ in rows],
    )


def deliver(client: Client, sent: Parcel, notice: bytes, timeout: float | None) -> Delivery | None:
    """Send a parcel, with the retries of the client's options.

    Sent before, it is answered from the gateway's record. None: the gateway takes no tokens of
    its epoch any more and has not taken this parcel either. Raises ConcordatError.
    """
    batch = PreparedBatch(
        RequestId(sent.request_id),
        sent.epoch,
        contribution_pb2.RowChunk.FromString(sent.rows).rows,
        notice,
        sent.catalogue_version,
    )
    try:
        answer = client._runner.run(
            "contribute", send_batch(client._context, batch, sent.numbers, 0, timeout)
        )
    except FailedPrecondition as error:
        if error.reason != _EPOCH_NOT_ACTIVE:
            raise
        return _taken_before(client, sent, timeout)
    return Delivery(
        answer.rows_accepted,
        len({refusal.item for refusal in answer.refused}),
        answer.refused,
        None if answer.receipt is None else answer.receipt.receipt.entry_index,
    )


def _taken_before(client: Client, sent: Parcel, timeout: float | None) -> Delivery | None:
    """What the gateway remembers of a parcel whose epoch has ended."""
    try:
        status = client.get_batch(sent.request_id, timeout=timeout)
    except NotFound:
        return None
    return Delivery(status.rows_accepted, status.rows_refused, (), status.entry_index)
