"""Parts of one upload on their way to the gateway: kept until acknowledged, said again on breaks.

Whoever has parts sends them and hears of each in turn. What a part's rows are is not known here.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from concordat._context import Context
from concordat._methods import CONTRIBUTE_STREAM, GET_UPLOAD
from concordat._operations.contributions import row_message
from concordat._retry import backoff_seconds, unavailable_where_broken
from concordat._steps import Conversation, Finish, Flow, Hear, Open, Operation, Repeat, Say, Sleep
from concordat.errors import ConcordatError, NotFound, ProtocolViolation
from concordat.requests import RequestId
from concordat.results import Receipt
from concordat.v1 import common_pb2, contribution_pb2
from concordat_privacy.catalogue.packing import split_correction, unpack_row
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.oprf import TOKEN_BYTES

PARTS_UNDER_WAY: Final = 4
"""Sent and not yet acknowledged: enough that the gateway never waits for the next, and bounds what
is kept in memory to be sent again."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """What every stream of an upload begins with."""

    upload_id: RequestId
    epoch: int
    """Key epoch of all tokens."""
    notice: bytes = b""
    """SHA-256 of the notice that the subjects of adverse rows were given, or empty."""
    catalogue_version: int = CATALOGUE_VERSION

    def message(self) -> contribution_pb2.UploadHeader:
        """On the wire."""
        return contribution_pb2.UploadHeader(
            upload_id=self.upload_id,
            epoch=self.epoch,
            catalogue_version=self.catalogue_version,
            adverse_notice_sha256=self.notice,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are taken together."""

    sequence: int
    """From 1."""
    rows: Sequence[bytes]
    """In the packed form: see `UploadPart.packed_rows`. 1 to ROWS_PER_PART."""

    def message(self, packed: bool) -> contribution_pb2.UploadPart:
        """On the wire; gateways of before do not take packed rows."""
        if packed:
            return contribution_pb2.UploadPart(sequence=self.sequence, packed_rows=self.rows)
        return contribution_pb2.UploadPart(sequence=self.sequence, rows=map(_unpacked, self.rows))


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What became of a part; it has been checked against what was sent."""

    sequence: int
    rows_accepted: int
    refused: Sequence[common_pb2.ItemRefusal]
    """In order of row; `item` is the position in the part, from 0."""
    receipt: Receipt


class PartStream:
    """The way of one upload. Each wait goes on after breaks until the timeout has passed."""

    def __init__(self, context: Context, header: UploadHeader, timeout: float | None) -> None:
        """`timeout`: seconds for each answer, reconnecting included."""
        self.header = header
        self._context = context
        self._timeout = context.timeout_seconds(Flow.CONVERSATION, timeout)
        self._conversation: Conversation | None = None
        self._under_way: deque[Part] = deque()
        self._acknowledged = 0
        """The last part that is known to be taken."""
        self._opened = contribution_pb2.UploadOpened()
        """What the gateway that was last connected to said."""

    @property
    def under_way(self) -> int:
        """Parts that were sent and are not acknowledged."""
        return len(self._under_way)

    def open(self) -> Operation[int]:
        """Connect. The sequence up to which the gateway has the upload; 0: nothing."""
        yield from self._persist(self._connected)
        return self._acknowledged

    def send(self, part: Part) -> Operation[None]:
        """Put a part on its way; they come in order. Where it fails, `acknowledged` tells."""
        self._under_way.append(part)
        if self._conversation is not None:
            yield self._say(self._conversation, part)

    def acknowledged(self) -> Operation[Acknowledged]:
        """What became of the oldest part under way."""
        found = yield from self._persist(self._acknowledgement)
        self._acknowledged = max(self._acknowledged, found.sequence)
        self._under_way.popleft()
        return found

    def answered(self) -> None:
        """The oldest part under way was answered on another way."""
        self._under_way.popleft()

    def end(self, parts: int) -> Operation[None]:
        """Say that there are no further parts, none being under way.

        A gateway of before knows no ends: it is told of none. Raises FailedPrecondition
        (PARTS_MISCOUNTED), ProtocolViolation, ReceiptInvalid.
        """
        yield from self._persist(lambda seconds: self._ending(seconds, parts))

    def finish(self) -> Operation[None]:
        """Leave in good order, once all is acknowledged."""
        if self._conversation is not None:
            yield Finish(self._conversation)
            with suppress(ConcordatError):
                # All is acknowledged, the end too, however this ends.
                yield Hear(self._conversation)
            self.close()

    def close(self) -> None:
        """Leave the conversation, if one is under way."""
        if self._conversation is not None:
            self._conversation.cancel()
            self._conversation = None

    def _persist(self, step: Callable[[float], Operation[T]]) -> Operation[T]:
        environment = self._context.environment
        started = environment.monotonic()
        attempt = 1
        while True:
            left = self._timeout - (environment.monotonic() - started)
            fresh = self._conversation is None
            try:
                return (yield from step(left))
            except ConcordatError as error:
                self.close()
                # A conversation that had lasted may have reached its own deadline: no failure.
                wait = self._backoff(error, attempt) if fresh else self._backoff(error, 1)
                tried = environment.monotonic() - started
                if wait is None or wait >= self._timeout - tried:
                    raise
                attempt += fresh
            yield Sleep(wait)

    def _backoff(self, error: ConcordatError, attempt: int) -> float | None:
        """How long to wait before another connection; None: the error is final."""
        policy, random = self._context.options.retry, self._context.environment.random
        broken = unavailable_where_broken(error)
        return backoff_seconds(policy, Repeat.SAFE, broken, attempt, random)

    def _connected(self, seconds: float) -> Operation[Conversation]:
        if self._conversation is not None:
            return self._conversation
        conversation: Conversation = yield Open(CONTRIBUTE_STREAM, max(seconds, 0.0))
        self._conversation = conversation
        yield Say(
            conversation, contribution_pb2.ContributeStreamRequest(header=self.header.message())
        )
        self._opened = (yield from _hear(conversation, "opened")).opened
        taken = self._opened.acknowledged_sequence
        if taken < self._acknowledged:
            raise ProtocolViolation(
                f"the gateway has {taken} parts of the upload, and had acknowledged "
                f"{self._acknowledged}"
            )
        self._acknowledged = taken
        for part in self._under_way:
            yield self._say(conversation, part)
        return conversation

    def _acknowledgement(self, seconds: float) -> Operation[Acknowledged]:
        conversation = yield from self._connected(seconds)
        reply = yield from _hear(conversation, "acknowledged")
        return checked(self._context, self.header, self._under_way[0], reply.acknowledged)

    def _ending(self, seconds: float, parts: int) -> Operation[None]:
        conversation = yield from self._connected(seconds)
        if not self._opened.takes_end:
            return
        end = contribution_pb2.UploadEnd(parts=parts)
        yield Say(conversation, contribution_pb2.ContributeStreamRequest(end=end))
        ended = (yield from _hear(conversation, "ended")).ended
        if ended.parts != parts:
            raise ProtocolViolation(f"{parts} parts were ended, the gateway answered {ended.parts}")
        self._context.ledger.receipt(
            ended.receipt,
            {"contribution.ended"},
            {
                "upload": self.header.upload_id.hex(),
                "parts": parts,
                "rows": ended.rows_accepted,
                "refused": ended.rows_refused,
            },
        )

    def _say(self, conversation: Conversation, part: Part) -> Say:
        message = part.message(self._opened.takes_packed_rows)
        return Say(conversation, contribution_pb2.ContributeStreamRequest(part=message))


def recorded_part(
    context: Context, header: UploadHeader, part: Part, timeout: float | None
) -> Operation[Acknowledged | None]:
    """What became of a part that was sent, from the gateway's record; None: it was not taken."""
    request = contribution_pb2.GetUploadRequest(upload_id=header.upload_id, sequence=part.sequence)
    try:
        reply = yield from context.send(GET_UPLOAD, request, timeout)
    except NotFound:
        return None
    if reply.acknowledged_sequence < part.sequence:
        return None
    if not reply.HasField("part"):
        raise ProtocolViolation(
            f"the gateway took part {part.sequence} of an upload and, being of an earlier version, "
            "does not tell what became of its rows: go on once it was upgraded"
        )
    return checked(context, header, part, reply.part)


def checked(
    context: Context,
    header: UploadHeader,
    part: Part,
    acknowledged: contribution_pb2.PartAcknowledged,
) -> Acknowledged:
    """The acknowledgement of a part. Raises ProtocolViolation, ReceiptInvalid."""
    sequence, rows = part.sequence, len(part.rows)
    if acknowledged.sequence != sequence:
        raise ProtocolViolation(
            f"part {sequence} was to be acknowledged, {acknowledged.sequence} was"
        )
    items = [refusal.item for refusal in acknowledged.refused]
    if items != sorted(set(items)) or any(item >= rows for item in items):
        raise ProtocolViolation("the gateway refused rows twice, or that were not sent")
    if acknowledged.rows_accepted + len(items) != rows:
        raise ProtocolViolation(f"{rows} rows were sent, the gateway answered for others")
    receipt = context.ledger.receipt(
        acknowledged.receipt,
        {"contribution.batch"},
        {
            "upload": header.upload_id.hex(),
            "sequence": sequence,
            "rows": acknowledged.rows_accepted,
            "refused": len(items),
        },
    )
    return Acknowledged(sequence, acknowledged.rows_accepted, acknowledged.refused, receipt)


def _unpacked(row: bytes) -> contribution_pb2.ContributionRow:
    """The same row as a message."""
    if not row:
        return contribution_pb2.ContributionRow()
    replaces, content = split_correction(row[TOKEN_BYTES:])
    return row_message(row[:TOKEN_BYTES], unpack_row(content), replaces)


def _hear(
    conversation: Conversation, wanted: str
) -> Operation[contribution_pb2.ContributeStreamResponse]:
    reply: contribution_pb2.ContributeStreamResponse | None = yield Hear(conversation)
    if reply is None:
        raise ProtocolViolation("the gateway ended the stream before its answer")
    if reply.WhichOneof("message") != wanted:
        raise ProtocolViolation(f"the gateway sent {reply.WhichOneof('message')}, not {wanted}")
    return reply
