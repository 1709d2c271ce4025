"""Contributing any number of rows, part by part, through breaks."""

import struct
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from concordat._checks import (
    checked_bytes,
    checked_epoch,
    checked_integer,
    checked_items,
    checked_type,
    token_fault,
)
from concordat._context import Context
from concordat._convert import FetchPage, Page, member_of, time_of
from concordat._fields import own_name
from concordat._methods import CONTRIBUTE_STREAM, GET_UPLOAD, LIST_REFUSED_ROWS
from concordat._operations.contributions import SHA256_BYTES, misnamed, row_message
from concordat._records import mistyped
from concordat._retry import backoff_seconds, unavailable_where_broken
from concordat._steps import (
    Conversation,
    Finish,
    Flow,
    Hear,
    Open,
    Operation,
    Repeat,
    Say,
    Sleep,
)
from concordat.enums import UploadState
from concordat.errors import (
    ConcordatError,
    FailedPrecondition,
    InvalidInput,
    ProtocolViolation,
)
from concordat.requests import REQUEST_ID_BYTES, RequestId, Row
from concordat.results import ItemRefusal, RefusedRow, UploadedPart, UploadStatus
from concordat.results.uploads import ROWS_PER_PART
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.packing import (
    pack_correction,
    pack_row,
    split_correction,
    unpack_row,
)
from concordat_privacy.catalogue.rows import FieldProblem, problems
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.oprf import TOKEN_BYTES, Token

PARTS_UNDER_WAY = 4
"""Sent and not yet acknowledged: enough that the gateway never waits for the next, and bounds what
is kept in memory to be sent again."""
MAX_PAGE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class _Part:
    """A part on its way."""

    sequence: int
    rows: list[bytes]
    """In the packed form: see `UploadPart.packed_rows`."""
    unsendable: dict[int, list[FieldProblem]]
    """Rows that have no form on the wire, by position: an empty row stands for each, which the
    gateway refuses, so that every row keeps its number."""

    @property
    def first_row(self) -> int:
        return (self.sequence - 1) * ROWS_PER_PART

    def message(self, packed: bool) -> contribution_pb2.UploadPart:
        """The part on the wire; gateways of before do not take packed rows."""
        if packed:
            return contribution_pb2.UploadPart(sequence=self.sequence, packed_rows=self.rows)
        return contribution_pb2.UploadPart(sequence=self.sequence, rows=map(_unpacked, self.rows))


class Upload:
    """One call of `contribute_stream`: gives the acknowledged parts, one after another.

    Parts are cut by the rows' numbers alone, so the same rows make the same parts on any day.
    """

    def __init__(
        self,
        context: Context,
        rows: Iterable[Row],
        upload_id: bytes | None,
        adverse_notice_sha256: bytes | None,
        timeout: float | None,
    ) -> None:
        """Raises InvalidInput."""
        self._context = context
        self._rows = iter(checked_items(rows, "rows", "Row"))
        if upload_id is None:
            upload_id = context.environment.random_bytes(REQUEST_ID_BYTES)
        self._id = RequestId(checked_bytes(upload_id, "upload_id", REQUEST_ID_BYTES))
        self._notice = b""
        if adverse_notice_sha256 is not None:
            self._notice = checked_bytes(
                adverse_notice_sha256, "adverse_notice_sha256", SHA256_BYTES
            )
        self._timeout = context.timeout_seconds(Flow.CONVERSATION, timeout)
        self._conversation: Conversation | None = None
        self._under_way: deque[_Part] = deque()
        self._read = 0
        """Parts read from the rows."""
        self._acknowledged: int | None = None
        """The last part known to be taken; None before the gateway was asked."""
        self._epoch = 0
        self._takes_packed = False
        """Whether the gateway that was last connected to does."""
        self._takes_end = False
        self._ended = False

    def next(self) -> Operation[UploadedPart | None]:
        """The next part once it is acknowledged; None after the last.

        Goes on after breaks until the timeout has passed without an acknowledgement.
        """
        try:
            return (yield from self._next())
        except Exception as error:
            self.close()
            if isinstance(error, FailedPrecondition) and error.reason == "UPLOAD_EXPIRED":
                error.add_note(
                    "get_upload says how many parts were taken, each of "
                    f"{ROWS_PER_PART} rows: send those after them under another upload_id"
                )
            else:
                error.add_note(
                    "to go on, call again with all rows and upload_id=bytes.fromhex("
                    f"'{self._id.hex()}'): what was acknowledged is not sent again"
                )
            raise

    def close(self) -> None:
        """Leave the conversation, if one is under way."""
        if self._conversation is not None:
            self._conversation.cancel()
            self._conversation = None

    def _next(self) -> Operation[UploadedPart | None]:
        environment = self._context.environment
        started = environment.monotonic()
        attempt = 1
        while True:
            left = self._timeout - (environment.monotonic() - started)
            fresh = self._conversation is None
            try:
                return (yield from self._advance(left))
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

    def _advance(self, seconds: float) -> Operation[UploadedPart | None]:
        if self._acknowledged is None and not self._under_way and not self._read_part():
            return None  # no rows at all
        conversation = self._conversation
        if conversation is None:
            conversation = yield from self._connect(seconds)
        while len(self._under_way) < PARTS_UNDER_WAY and self._read_part():
            yield self._say(conversation, self._under_way[-1])
        if not self._under_way:
            if self._takes_end and not self._ended:
                yield from self._end(conversation)
            yield Finish(conversation)
            with suppress(ConcordatError):
                # All is acknowledged, the end too, however this ends.
                yield Hear(conversation)
            self.close()
            return None
        reply = yield from _hear(conversation, "acknowledged")
        part = self._part(self._under_way[0], reply.acknowledged)
        self._under_way.popleft()
        self._acknowledged = part.sequence
        return part

    def _connect(self, seconds: float) -> Operation[Conversation]:
        conversation: Conversation = yield Open(CONTRIBUTE_STREAM, max(seconds, 0.0))
        self._conversation = conversation
        header = contribution_pb2.UploadHeader(
            upload_id=self._id,
            epoch=self._epoch,
            catalogue_version=CATALOGUE_VERSION,
            adverse_notice_sha256=self._notice,
        )
        yield Say(conversation, contribution_pb2.ContributeStreamRequest(header=header))
        reply = yield from _hear(conversation, "opened")
        taken = reply.opened.acknowledged_sequence
        self._takes_packed = reply.opened.takes_packed_rows
        self._takes_end = reply.opened.takes_end
        if self._acknowledged is None:
            self._go_on_after(taken)
        elif taken < self._acknowledged:
            raise ProtocolViolation(
                f"the gateway has {taken} parts of the upload, and had acknowledged "
                f"{self._acknowledged}"
            )
        for part in self._under_way:
            yield self._say(conversation, part)
        return conversation

    def _end(self, conversation: Conversation) -> Operation[None]:
        """Say that there are no further parts. Raises ProtocolViolation, ReceiptInvalid."""
        parts = self._acknowledged or 0
        end = contribution_pb2.UploadEnd(parts=parts)
        yield Say(conversation, contribution_pb2.ContributeStreamRequest(end=end))
        ended = (yield from _hear(conversation, "ended")).ended
        if ended.parts != parts:
            raise ProtocolViolation(f"{parts} parts were ended, the gateway answered {ended.parts}")
        self._context.ledger.receipt(
            ended.receipt,
            {"contribution.ended"},
            {
                "upload": self._id.hex(),
                "parts": parts,
                "rows": ended.rows_accepted,
                "refused": ended.rows_refused,
            },
        )
        self._ended = True

    def _say(self, conversation: Conversation, part: _Part) -> Say:
        message = part.message(self._takes_packed)
        return Say(conversation, contribution_pb2.ContributeStreamRequest(part=message))

    def _go_on_after(self, taken: int) -> None:
        """Pass over the rows that the gateway has, but for their last part.

        That one is sent again: the gateway knows it, or says that these are other rows.
        """
        while self._under_way[0].sequence < taken:
            self._under_way.clear()
            # The part before the last is not needed: its rows are only counted.
            skipped = (taken - 1 - self._read) * ROWS_PER_PART
            if skipped:
                self._read = taken - 1
                for _ in islice(self._rows, skipped):
                    pass
            if not self._read_part():
                raise InvalidInput.field(
                    "rows", f"{taken} parts of this upload were taken, and these rows are fewer"
                )
        self._acknowledged = taken

    def _read_part(self) -> bool:
        """Put the next rows on their way; False where there are none."""
        rows = list(islice(self._rows, ROWS_PER_PART))
        if not rows:
            return False
        first = self._read * ROWS_PER_PART
        packed: list[bytes] = []
        unsendable: dict[int, list[FieldProblem]] = {}
        for position, row in enumerate(rows):
            if not isinstance(row, Row):
                checked_type(row, Row, f"rows[{first + position}]")
            token = row.token
            if not isinstance(token, Token):
                fault = token_fault(token) or ""
                packed.append(b"")
                unsendable[position] = [FieldProblem("token", "WRONG_TYPE", fault)]
                continue
            if token.epoch != self._epoch:
                place = f"rows[{first + position}].token"
                self._epoch = checked_epoch(token, self._epoch, place)
            sent = _packed(row)
            if isinstance(sent, bytes):
                packed.append(sent)
            else:
                packed.append(b"")
                unsendable[position] = sent
        if not self._epoch:
            raise InvalidInput.field("rows", f"none of the first {len(rows)} rows has a Token")
        self._read += 1
        self._under_way.append(_Part(self._read, packed, unsendable))
        return True

    def _part(self, part: _Part, acknowledged: contribution_pb2.PartAcknowledged) -> UploadedPart:
        """The acknowledgement of a part, checked. Raises ProtocolViolation, ReceiptInvalid."""
        sequence, rows = part.sequence, len(part.rows)
        if acknowledged.sequence != sequence:
            raise ProtocolViolation(
                f"part {sequence} was to be acknowledged, {acknowledged.sequence} was"
            )
        items = [refusal.item for refusal in acknowledged.refused]
        if items != sorted(set(items)) or any(item >= rows for item in items):
            raise ProtocolViolation("the gateway refused rows twice, or that were not sent")
        if acknowledged.rows_accepted + len(items) != rows or not part.unsendable.keys() <= {
            *items
        }:
            raise ProtocolViolation(f"{rows} rows were sent, the gateway answered for others")
        receipt = self._context.ledger.receipt(
            acknowledged.receipt,
            {"contribution.batch"},
            {
                "upload": self._id.hex(),
                "sequence": sequence,
                "rows": acknowledged.rows_accepted,
                "refused": len(items),
            },
        )
        refused: list[ItemRefusal] = []
        for refusal in acknowledged.refused:
            number = part.first_row + refusal.item
            own = part.unsendable.get(refusal.item)
            if own is not None:
                refused += (
                    ItemRefusal(number, problem.field, problem.reason, problem.description)
                    for problem in own
                )
                continue
            field = own_name(refusal.field)
            refused.append(ItemRefusal(number, field, refusal.reason, refusal.description))
        return UploadedPart(
            self._id,
            sequence,
            part.first_row,
            acknowledged.rows_accepted,
            tuple(refused),
            receipt,
        )


def get_upload(
    context: Context, upload_id: bytes, timeout: float | None
) -> Operation[UploadStatus]:
    """How far an upload has come."""
    named = checked_bytes(upload_id, "upload_id", REQUEST_ID_BYTES)
    request = contribution_pb2.GetUploadRequest(upload_id=named)
    reply = yield from context.send(GET_UPLOAD, request, timeout)
    return UploadStatus(
        reply.acknowledged_sequence,
        reply.rows_accepted,
        reply.rows_refused,
        reply.first_entry_index,
        reply.last_entry_index,
        time_of(reply.last_accepted_at, "last_accepted_at"),
        reply.complete,
        reply.end_entry_index if reply.complete else None,
        member_of(UploadState, reply.state, "state") if reply.state else None,
        time_of(reply.answered_until, "answered_until") if reply.state else None,
    )


def list_refused_rows(
    context: Context, upload_id: bytes, page_size: int, timeout: float | None
) -> FetchPage[RefusedRow]:
    """Pages of an upload's refused rows, in their order."""
    named = checked_bytes(upload_id, "upload_id", REQUEST_ID_BYTES)
    size = checked_integer(page_size, "page_size", 1, MAX_PAGE_SIZE)

    def fetch(page_token: str) -> Operation[Page[RefusedRow]]:
        request = contribution_pb2.ListRefusedRowsRequest(
            upload_id=named, page_size=size, page_token=page_token
        )
        reply = yield from context.send(LIST_REFUSED_ROWS, request, timeout)
        rows = [
            RefusedRow(
                row.sequence,
                row.refusal.item,
                own_name(row.refusal.field),
                row.refusal.reason,
                row.refusal.description,
            )
            for row in reply.refused
        ]
        return Page(rows, reply.next_page_token)

    return fetch


def _packed(row: Row) -> bytes | list[FieldProblem]:
    """A row in its packed form, or why it has none."""
    found = mistyped(row.record) or misnamed(row)
    if found:
        return found
    try:
        content = pack_row(row.record)
    except ValueError:
        # A reference of another length, or too long a profile: whatever the day, a problem.
        return [one for one in problems(row.record, 0) if one.reason == "WRONG_LENGTH"]
    except struct.error:
        # Beyond what the wire can carry, and so beyond any range of the catalogue.
        return [FieldProblem("record", "OUT_OF_RANGE", "a number is out of range")]
    if row.replaces is not None:
        content = pack_correction(row.replaces, content)
    return row.token.value + content


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
