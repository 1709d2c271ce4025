"""Contributing any number of rows, part by part, through breaks."""

import struct
from collections.abc import Iterable
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
from concordat._methods import GET_UPLOAD, LIST_REFUSED_ROWS
from concordat._operations.contributions import SHA256_BYTES, misnamed
from concordat._operations.part_stream import (
    PARTS_UNDER_WAY,
    Acknowledged,
    Part,
    PartStream,
    UploadHeader,
)
from concordat._records import mistyped
from concordat._steps import Operation
from concordat.enums import UploadState
from concordat.errors import FailedPrecondition, InvalidInput, ProtocolViolation
from concordat.requests import REQUEST_ID_BYTES, RequestId, Row
from concordat.results import ItemRefusal, RefusedRow, UploadedPart, UploadStatus
from concordat.results.uploads import ROWS_PER_PART
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.packing import pack_correction, pack_row
from concordat_privacy.catalogue.rows import FieldProblem, problems
from concordat_privacy.oprf import Token

MAX_PAGE_SIZE = 10_000


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
        self._timeout = timeout
        self._stream: PartStream | None = None
        self._read = 0
        """Parts read from the rows."""
        self._epoch = 0
        self._unsendable: dict[int, dict[int, list[FieldProblem]]] = {}
        """Rows that have no form on the wire, by part and position: an empty row stands for each,
        which the gateway refuses, so that every row keeps its number."""

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
        if self._stream is not None:
            self._stream.close()

    def _next(self) -> Operation[UploadedPart | None]:
        stream = self._stream
        if stream is None:
            stream = yield from self._begun()
            if stream is None:
                return None  # no rows at all
        while stream.under_way < PARTS_UNDER_WAY and (part := self._next_part()) is not None:
            yield from stream.send(part)
        if not stream.under_way:
            yield from stream.end(self._read)
            yield from stream.finish()
            return None
        return self._uploaded((yield from stream.acknowledged()))

    def _begun(self) -> Operation[PartStream | None]:
        """The stream, its first part on its way; None where there are no rows.

        Passed over are the rows that the gateway has, but for their last part. That one is sent
        again: the gateway knows it, or says that these are other rows.
        """
        part = self._next_part()
        if part is None:
            return None
        header = UploadHeader(self._id, self._epoch, self._notice)
        stream = PartStream(self._context, header, self._timeout)
        self._stream = stream
        taken = yield from stream.open()
        if taken > part.sequence:
            self._unsendable.clear()
            # The part before the last is not needed: its rows are only counted.
            skipped = (taken - 1 - self._read) * ROWS_PER_PART
            for _ in islice(self._rows, skipped):
                pass
            self._read = taken - 1
            part = self._next_part()
            if part is None:
                raise InvalidInput.field(
                    "rows", f"{taken} parts of this upload were taken, and these rows are fewer"
                )
        yield from stream.send(part)
        return stream

    def _next_part(self) -> Part | None:
        """The next rows, packed; None where there are none."""
        rows = list(islice(self._rows, ROWS_PER_PART))
        if not rows:
            return None
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
        if unsendable:
            self._unsendable[self._read] = unsendable
        return Part(self._read, packed)

    def _uploaded(self, part: Acknowledged) -> UploadedPart:
        """A part in the rows' own numbers. Raises ProtocolViolation."""
        first = (part.sequence - 1) * ROWS_PER_PART
        unsendable = self._unsendable.pop(part.sequence, {})
        if not unsendable.keys() <= {refusal.item for refusal in part.refused}:
            raise ProtocolViolation("the gateway took rows that were none")
        refused: list[ItemRefusal] = []
        for refusal in part.refused:
            number = first + refusal.item
            own = unsendable.get(refusal.item)
            if own is not None:
                refused += (
                    ItemRefusal(number, problem.field, problem.reason, problem.description)
                    for problem in own
                )
                continue
            field = own_name(refusal.field)
            refused.append(ItemRefusal(number, field, refusal.reason, refusal.description))
        return UploadedPart(
            self._id, part.sequence, first, part.rows_accepted, tuple(refused), part.receipt
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
