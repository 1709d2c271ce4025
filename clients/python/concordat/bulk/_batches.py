"""Batches of journals that an earlier version began, which sent them by Contribute.

One that was prepared may have been taken, and only the same call tells.
"""

from concordat._operations.contributions import PreparedBatch, send_batch
from concordat.bulk._sending import Delivery, EpochEndedError, Line, Parcel
from concordat.errors import FailedPrecondition, NotFound
from concordat.requests import RequestId
from concordat.v1 import contribution_pb2


def deliver_batch(line: Line, sent: Parcel, notice: bytes) -> Delivery:
    """Send a batch, with the retries of the client's options. Raises as `Way.answer`."""
    batch = PreparedBatch(
        RequestId(sent.request_id),
        sent.epoch,
        contribution_pb2.RowChunk.FromString(sent.rows).rows,
        notice,
        sent.catalogue_version,
    )
    try:
        answer = line.client._runner.run(
            "contribute", send_batch(line.client._context, batch, sent.numbers, 0, line.timeout)
        )
    except FailedPrecondition as error:
        if error.reason != "EPOCH_NOT_ACTIVE":
            raise
        return _taken_before(line, sent)
    return Delivery(
        answer.rows_accepted,
        len({refusal.item for refusal in answer.refused}),
        answer.refused,
        None if answer.receipt is None else answer.receipt.receipt.entry_index,
    )


def _taken_before(line: Line, sent: Parcel) -> Delivery:
    """What the gateway remembers of a batch whose epoch has ended."""
    try:
        status = line.client.get_batch(sent.request_id, timeout=line.timeout)
    except NotFound:
        raise EpochEndedError(sent.epoch) from None
    return Delivery(status.rows_accepted, status.rows_refused, (), status.entry_index)
