"""Rows into the pool, by an upload in parts.

A job has one upload, and another where its key epoch or the catalogue's version has changed. What
tells them is in the journal with each part.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from concordat._convert import refusals_of
from concordat._operations.part_stream import (
    PARTS_UNDER_WAY,
    Acknowledged,
    Part,
    PartStream,
    UploadHeader,
    recorded_part,
)
from concordat._steps import Operation
from concordat.bulk._batches import deliver_batch
from concordat.bulk._sending import (
    Delivery,
    EpochEndedError,
    LastPart,
    Line,
    Parcel,
    PreparedRow,
    request_id,
)
from concordat.bulk.mapping import Mapped
from concordat.errors import FailedPrecondition
from concordat.requests import RequestId
from concordat.results.uploads import ROWS_PER_PART
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.packing import pack_correction, pack_row
from concordat_privacy.catalogue.rows import FieldProblem, problems
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.oprf import Token

MAX_ROWS = ROWS_PER_PART
_EPOCH_ENDED = "EPOCH_NOT_ACTIVE"
_EXPIRED = "UPLOAD_EXPIRED"
"""Nobody went on with the upload for so long that it takes nothing any more."""


class Contributing:
    """Rows into the pool."""

    def __init__(self, notice: bytes) -> None:
        """`notice`: SHA-256 of what subjects of adverse rows were given, or empty."""
        self._notice = notice
        self.awaited: int | None = None
        self.facts: Mapping[str, bytes] = {"notice": notice}

    def wants(self, _number: int, /) -> bool:
        """Every row."""
        return True

    def faults(self, mapped: Mapped, today_day: int, /) -> list[FieldProblem]:
        """What the catalogue finds."""
        return problems(mapped.record, today_day)

    def row(self, number: int, token: Token, mapped: Mapped) -> PreparedRow:
        """As it is."""
        return number, token, mapped.record, mapped.replaces

    def way(self, line: Line, last: LastPart | None, /) -> "ByUpload":
        """By ContributeStream."""
        return ByUpload(line, self._notice, last)


class ByUpload:
    """A `Way`: parts of an upload, some of them under way at a time."""

    width = PARTS_UNDER_WAY

    def __init__(self, line: Line, notice: bytes, last: LastPart | None) -> None:
        self._line = line
        self._notice = notice
        self._header: UploadHeader | None = None
        """The upload that is gone on with."""
        self._parts = 0
        """How many it has, those under way included."""
        if last is not None:
            self._header = self._header_of(last.upload_id, last.epoch, last.catalogue_version)
            self._parts = last.part
        self._stream: PartStream | None = None
        self._under_way: deque[Parcel] = deque()

    def continues(self, epoch: int, /) -> bool:
        """Whether the upload is of that epoch, and of the catalogue as it is now."""
        header = self._header
        return header is not None and (header.epoch, header.catalogue_version) == (
            epoch,
            CATALOGUE_VERSION,
        )

    def parcel(self, sequence: int, rows: Sequence[PreparedRow]) -> Parcel:
        """The next part, or the first one of an upload that is named after its span."""
        epoch = rows[0][1].epoch
        header = self._header
        if header is None:
            upload_id = request_id(self._line.job_id, sequence, epoch)
            header = self._header = self._header_of(upload_id, epoch, CATALOGUE_VERSION)
            self._parts = 0
        self._parts += 1
        part = contribution_pb2.UploadPart(sequence=self._parts, packed_rows=map(_packed, rows))
        return Parcel(
            sequence,
            header.upload_id,
            self._parts,
            epoch,
            CATALOGUE_VERSION,
            part.SerializeToString(),
            [number for number, *_ in rows],
        )

    def send(self, parcel: Parcel) -> None:
        """Put a part on its way."""
        self._under_way.append(parcel)
        if parcel.part is not None:
            stream = self._stream_of(
                self._header_of(parcel.request_id, parcel.epoch, parcel.catalogue_version)
            )
            self._line.client._runner.run("contribute_stream", stream.send(_part_of(parcel)))

    def answer(self) -> Delivery:
        """What became of the oldest part."""
        parcel = self._under_way[0]
        delivery = (
            deliver_batch(self._line, parcel, self._notice)
            if parcel.part is None
            else self._acknowledged(parcel)
        )
        self._under_way.popleft()
        return delivery

    def end(self) -> None:
        """End the upload, if there is one. A repeated end is answered as the first one."""
        header, parts = self._header, self._parts
        if header is None:
            return
        stream = self._stream_of(header)
        self._line.client._runner.run("contribute_stream", _ended(stream, parts))
        self._header = self._stream = None

    def close(self) -> None:
        """Leave the conversation."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _acknowledged(self, parcel: Parcel) -> Delivery:
        stream, run = self._stream, self._line.client._runner.run
        assert stream is not None  # the parcel was put on it
        try:
            found = run("contribute_stream", stream.acknowledged())
        except FailedPrecondition as error:
            if error.reason != _EPOCH_ENDED:
                raise
            part = _part_of(parcel)
            known = run("contribute_stream", self._settled(stream.header, part))
            if known is None:
                raise EpochEndedError(parcel.epoch) from None
            stream.answered()
            found = known
        refused = refusals_of(found.refused, parcel.numbers)
        return Delivery(found.rows_accepted, len(refused), refused, found.receipt.entry_index)

    def _settled(self, header: UploadHeader, part: Part) -> Operation[Acknowledged | None]:
        """What became of a part whose epoch has ended; None: it was not taken, nor will it be."""
        context, timeout = self._line.client._context, self._line.timeout
        found = yield from recorded_part(context, header, part, timeout)
        if found is not None or part.sequence == 1:
            return found
        # After the end no part is taken, also not one that is still on its way.
        stream = PartStream(context, header, timeout)
        try:
            yield from _ended(stream, part.sequence - 1)
        except FailedPrecondition as error:
            if error.reason == "PARTS_MISCOUNTED":
                # It was taken a moment ago.
                found = yield from recorded_part(context, header, part, timeout)
            if found is None:
                raise
        finally:
            stream.close()
        return found

    def _stream_of(self, header: UploadHeader) -> PartStream:
        if self._stream is None or self._stream.header != header:
            self.close()
            self._stream = PartStream(self._line.client._context, header, self._line.timeout)
        return self._stream

    def _header_of(self, upload_id: bytes, epoch: int, catalogue_version: int) -> UploadHeader:
        return UploadHeader(RequestId(upload_id), epoch, self._notice, catalogue_version)


def _ended(stream: PartStream, parts: int) -> Operation[None]:
    try:
        yield from stream.end(parts)
    except FailedPrecondition as error:
        # A gateway of before opens no stream of an epoch that has ended: the upload stays open.
        if error.reason not in (_EPOCH_ENDED, _EXPIRED):
            raise
    yield from stream.finish()


def _part_of(parcel: Parcel) -> Part:
    part = contribution_pb2.UploadPart.FromString(parcel.rows)
    return Part(part.sequence, part.packed_rows)


def _packed(prepared: PreparedRow) -> bytes:
    _, token, record, replaces = prepared
    content = pack_row(record)
    if replaces is not None:
        content = pack_correction(replaces, content)
    return token.value + content
