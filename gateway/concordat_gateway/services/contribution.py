"""ContributionService: translates, decides nothing.

See rules.intake, rules.contributions, rules.uploads and rules.withdrawals.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from operator import attrgetter

import grpc

from concordat.v1 import contribution_pb2, contribution_pb2_grpc
from concordat_gateway.config import DEFAULT_AGES, UploadAges
from concordat_gateway.ledger.journal import Committed, Journal
from concordat_gateway.rules import contributions, uploads, withdrawals
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.rules.contributions import Accepted
from concordat_gateway.rules.intake import CALL, PART, Bounds, Header, Intake
from concordat_gateway.rules.raw_rows import AccountNumbers, ApplicationNumbers, RawRow
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.rules.uploads import Ended, Published, UploadStream
from concordat_gateway.rules.withdrawals import RawWithdrawal, Taken, Withdrawals
from concordat_gateway.services._translate import (
    receipt_of,
    refusals_of,
    seconds_left,
    stored_reply,
    timestamp_of,
    unsigned_receipt,
)
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.rows import RowRef
from concordat_privacy.jurisdictions import UNNAMED, Policy
from concordat_rpc import call
from concordat_rpc.errors import Refusal, invalid
from concordat_rpc.peer import Peer
from concordat_rpc.reading import has_next
from concordat_store.clock import Clock


class ContributionServicer(contribution_pb2_grpc.ContributionServiceServicer):
    """Takes the calling member's batches."""

    def __init__(
        self,
        journal: Journal,
        signals: SignalStore,
        subjects: Subjects,
        clock: Clock,
        jurisdiction: str = UNNAMED,
        retention: Policy | None = None,
        ages: UploadAges = DEFAULT_AGES,
    ) -> None:
        """`jurisdiction`: code of the policy for consents that name none. `retention`: the policy
        by which the gateway deletes rows. `ages`: of uploads."""
        self._ages = ages
        self._retention = retention
        self._jurisdiction = jurisdiction
        self._journal = journal
        self._signals = signals
        self._subjects = subjects
        self._clock = clock

    def Contribute(
        self,
        request_iterator: Iterator[contribution_pb2.ContributeRequest],
        _context: grpc.ServicerContext,
    ) -> contribution_pb2.ContributeResponse:
        furnisher = call.current().peer
        header = _header(request_iterator)
        store_epoch, names = self._naming(furnisher, header.epoch)
        intake = self._intake(header, store_epoch, names)
        # A broken stream raises here, before anything was stored.
        for message in request_iterator:
            if message.WhichOneof("part") != "chunk":
                raise invalid("part", "every message after the first carries a chunk")
            intake.check_count(len(message.chunk.rows))
            intake.add([_raw(row) for row in message.chunk.rows])
        committed = contributions.contribute(
            self._journal,
            self._signals,
            furnisher,
            intake,
            _accepted_reply,
            seconds_left(),
            self._jurisdiction,
        )
        return stored_reply(contribution_pb2.ContributeResponse, committed)

    def GetBatch(
        self, request: contribution_pb2.GetBatchRequest, _context: grpc.ServicerContext
    ) -> contribution_pb2.GetBatchResponse:
        status = contributions.get_batch(
            self._journal, self._signals, call.current().peer, request.request_id
        )
        return contribution_pb2.GetBatchResponse(
            state=contribution_pb2.BatchState.ValueType(status.state),
            rows_accepted=status.rows_accepted,
            rows_refused=status.rows_refused,
            entry_index=status.entry_index,
            accepted_at=timestamp_of(status.accepted_at),
        )

    def ContributeStream(
        self,
        request_iterator: Iterator[contribution_pb2.ContributeStreamRequest],
        _context: grpc.ServicerContext,
    ) -> Iterator[contribution_pb2.ContributeStreamResponse]:
        furnisher = call.current().peer
        header = _upload_header(request_iterator)
        upload = UploadStream(self._journal, self._signals, furnisher, header, self._jurisdiction)
        if not upload.taken:
            # One that has parts can still be ended after its key epoch: each part asks anew.
            self._naming(furnisher, header.epoch)
        opened = contribution_pb2.UploadOpened(
            acknowledged_sequence=upload.taken, takes_packed_rows=True, takes_end=True
        )
        yield contribution_pb2.ContributeStreamResponse(opened=opened)
        with closing(upload):
            try:
                for message in request_iterator:
                    if message.WhichOneof("message") == "end":
                        upload.settle()
                        yield from map(_acknowledged, upload.published())
                        yield _ended(upload.end(message.end.parts, seconds_left()))
                        continue
                    if message.WhichOneof("message") != "part":
                        raise invalid(
                            "message", "every message after the first carries a part or the end"
                        )
                    intake = self._part_intake(furnisher, header, message.part)
                    upload.take(message.part.sequence, intake, seconds_left())
                    if not has_next(request_iterator):
                        upload.settle()
                    yield from map(_acknowledged, upload.published())
                upload.settle()
            except Refusal:
                # What was taken before is acknowledged first.
                with suppress(Refusal):
                    upload.settle()
                yield from map(_acknowledged, upload.published())
                raise
            yield from map(_acknowledged, upload.published())

    def GetUpload(
        self, request: contribution_pb2.GetUploadRequest, _context: grpc.ServicerContext
    ) -> contribution_pb2.GetUploadResponse:
        furnisher, sequence = call.current().peer, request.sequence
        status = uploads.get_upload(
            self._journal, furnisher, request.upload_id, self._ages, self._clock()
        )
        part = None
        if sequence:
            part = uploads.get_part(self._journal, furnisher, request.upload_id, sequence)
        return contribution_pb2.GetUploadResponse(
            acknowledged_sequence=status.acknowledged_sequence,
            rows_accepted=status.rows_accepted,
            rows_refused=status.rows_refused,
            first_entry_index=status.first_entry,
            last_entry_index=status.last_entry,
            last_accepted_at=timestamp_of(status.last_accepted_at),
            complete=status.end_entry is not None,
            end_entry_index=status.end_entry or 0,
            state=contribution_pb2.UploadState.ValueType(status.state),
            answered_until=timestamp_of(status.answered_until),
            part=None if part is None else _of_part(sequence, part),
        )

    def ListRefusedRows(
        self, request: contribution_pb2.ListRefusedRowsRequest, _context: grpc.ServicerContext
    ) -> contribution_pb2.ListRefusedRowsResponse:
        page = uploads.list_refused_rows(
            self._journal,
            call.current().peer,
            request.upload_id,
            request.page_size,
            request.page_token,
        )
        refusals = refusals_of([row.refusal for row in page.rows])
        return contribution_pb2.ListRefusedRowsResponse(
            refused=[
                contribution_pb2.RefusedRow(sequence=row.sequence, refusal=refusal)
                for row, refusal in zip(page.rows, refusals, strict=True)
            ],
            next_page_token=page.next_page_token,
        )

    def WithdrawRows(
        self, request: contribution_pb2.WithdrawRowsRequest, _context: grpc.ServicerContext
    ) -> contribution_pb2.WithdrawRowsResponse:
        furnisher = call.current().peer
        withdrawals.check_count(len(request.rows))
        store_epoch, names = self._naming(furnisher, request.epoch)
        rows = Withdrawals(
            request.request_id,
            request.epoch,
            [_raw_withdrawal(row) for row in request.rows],
            store_epoch,
            names,
        )
        committed = withdrawals.withdraw_rows(
            self._journal, self._signals, furnisher, rows, _withdrawn_reply, seconds_left()
        )
        return stored_reply(contribution_pb2.WithdrawRowsResponse, committed)

    def _part_intake(
        self, furnisher: Peer, header: Header, part: contribution_pb2.UploadPart
    ) -> Intake:
        # Asked anew for each part: a stream may outlast the stores' epoch, and midnight.
        store_epoch, names = self._naming(furnisher, header.epoch)
        intake = self._intake(header, store_epoch, names, PART)
        if part.packed_rows:
            if part.rows:
                raise invalid("part.packed_rows", "a part has rows or packed rows, not both")
            intake.add_packed(part.packed_rows)
        else:
            intake.check_count(len(part.rows))
            intake.add([_raw(row) for row in part.rows])
        return intake

    def _intake(
        self,
        header: Header,
        store_epoch: int,
        names: Callable[[Sequence[bytes]], Sequence[SubjectKey]],
        bounds: Bounds = CALL,
    ) -> Intake:
        today = day_of(self._clock())
        return Intake(header, today, store_epoch, names, bounds, self._retention)

    def _naming(
        self, furnisher: Peer, epoch: int
    ) -> tuple[int, Callable[[Sequence[bytes]], Sequence[SubjectKey]]]:
        """The stores' epoch, and what names subjects under it by tokens of `epoch`."""
        store_epoch = self._subjects.current_epoch()
        self._subjects.check_taken(epoch, store_epoch)

        def names(tokens: Sequence[bytes]) -> Sequence[SubjectKey]:
            return self._subjects.named(
                furnisher.name, tokens, epoch, store_epoch, seconds_left()
            ).keys

        return store_epoch, names


def _header(messages: Iterator[contribution_pb2.ContributeRequest]) -> Header:
    first = next(messages, None)
    if first is None or first.WhichOneof("part") != "header":
        raise invalid("header", "the first message of a batch carries its header")
    return Header(
        first.header.request_id,
        first.header.epoch,
        first.header.catalogue_version,
        first.header.adverse_notice_sha256,
    )


def _upload_header(messages: Iterator[contribution_pb2.ContributeStreamRequest]) -> Header:
    first = next(messages, None)
    if first is None or first.WhichOneof("message") != "header":
        raise invalid("header", "the first message of a stream carries its header")
    return Header(
        first.header.upload_id,
        first.header.epoch,
        first.header.catalogue_version,
        first.header.adverse_notice_sha256,
    )


def _acknowledged(part: Published) -> contribution_pb2.ContributeStreamResponse:
    return contribution_pb2.ContributeStreamResponse(
        acknowledged=_of_part(part.sequence, part.committed)
    )


def _of_part(sequence: int, committed: Committed[Accepted]) -> contribution_pb2.PartAcknowledged:
    accepted = committed.value
    return contribution_pb2.PartAcknowledged(
        sequence=sequence,
        rows_accepted=accepted.rows_accepted,
        refused=refusals_of(accepted.refused),
        receipt=receipt_of(accepted.entry, committed),
    )


def _ended(committed: Committed[Ended]) -> contribution_pb2.ContributeStreamResponse:
    ended = committed.value
    return contribution_pb2.ContributeStreamResponse(
        ended=contribution_pb2.UploadEnded(
            parts=ended.parts,
            rows_accepted=ended.rows_accepted,
            rows_refused=ended.rows_refused,
            receipt=receipt_of(ended.entry, committed),
        )
    )


# As the contract's messages name them.
_ACCOUNT = attrgetter(*AccountNumbers._fields)
_APPLICATION = attrgetter(*ApplicationNumbers._fields)


def _raw(row: contribution_pb2.ContributionRow) -> RawRow:
    replaces = _row_ref(row.replaces) if row.HasField("replaces") else None
    match row.WhichOneof("record"):
        case "account":
            return RawRow(row.token, AccountNumbers._make(_ACCOUNT(row.account)), replaces)
        case "application":
            numbers = ApplicationNumbers._make(_APPLICATION(row.application))
            return RawRow(row.token, numbers, replaces)
        case _:
            return RawRow(row.token, None)


def _accepted_reply(accepted: Accepted) -> bytes:
    return contribution_pb2.ContributeResponse(
        rows_accepted=accepted.rows_accepted,
        refused=refusals_of(accepted.refused),
        receipt=unsigned_receipt(accepted.entry),
    ).SerializeToString()


def _row_ref(row: contribution_pb2.RowRef) -> RowRef:
    return RowRef(row.entry_index, row.item)


def _raw_withdrawal(row: contribution_pb2.Withdrawal) -> RawWithdrawal:
    named = _row_ref(row.row) if row.HasField("row") else None
    is_account = row.WhichOneof("record") != "application_ref"
    ref = row.account_ref if is_account else row.application_ref
    return RawWithdrawal(row.token, named, is_account, ref)


def _withdrawn_reply(taken: Taken) -> bytes:
    return contribution_pb2.WithdrawRowsResponse(
        rows_withdrawn=taken.rows,
        refused=refusals_of(taken.refused),
        receipt=unsigned_receipt(taken.entry),
    ).SerializeToString()
