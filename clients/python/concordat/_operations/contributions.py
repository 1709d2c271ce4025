"""Contributing rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC

from concordat._checks import (
    checked_bytes,
    checked_epoch,
    checked_items,
    checked_type,
    row_ref_fault,
    token_fault,
)
from concordat._context import Context, numbered_request_id, resume_advice
from concordat._convert import batches_of, keeping_partial, member_of, refusals_of, time_of
from concordat._methods import CONTRIBUTE, GET_BATCH, WITHDRAW_ROWS
from concordat._records import mistyped
from concordat._steps import Operation
from concordat.enums import BatchState
from concordat.errors import ProtocolViolation
from concordat.requests import REQUEST_ID_BYTES, RequestId, Row, RowWithdrawal
from concordat.results import (
    BatchReceipt,
    BatchStatus,
    ContributionResult,
    ItemRefusal,
    Receipt,
    RowWithdrawalResult,
)
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.calendar import day_number
from concordat_privacy.catalogue.rows import (
    AccountSnapshot,
    ApplicationEvent,
    FieldProblem,
    RowRef,
    problems,
)
from concordat_privacy.catalogue.rows import Row as Record
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION

ROWS_PER_BATCH = 20_000
ROWS_PER_MESSAGE = 2_000
ROWS_PER_WITHDRAWAL = 1_000
SHA256_BYTES = 32


def contribute(
    context: Context,
    rows: Iterable[Row],
    adverse_notice_sha256: bytes | None,
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[ContributionResult]:
    """Contribute rows in batches of up to 20,000; one batch is in memory at a time."""
    own_id = context.request_id(request_id)
    checked_items(rows, "rows", "Row")
    notice = b""
    if adverse_notice_sha256 is not None:
        notice = checked_bytes(adverse_notice_sha256, "adverse_notice_sha256", SHA256_BYTES)
    today = day_number(context.environment.utc_now().astimezone(UTC).date())
    accepted = 0
    refused: list[ItemRefusal] = []
    receipts: list[BatchReceipt] = []

    def result() -> ContributionResult:
        return ContributionResult(own_id, accepted, tuple(refused), tuple(receipts))

    first = 0
    epoch = 0
    with keeping_partial(result, resume_advice("rows", own_id)):
        for number, batch in enumerate(batches_of(rows, ROWS_PER_BATCH)):
            checked = _check_rows(first, batch, today, epoch)
            epoch = checked.epoch
            answer = BatchAnswer(0, [], None)
            if checked.messages:
                prepared = PreparedBatch(
                    numbered_request_id(own_id, number), epoch, checked.messages, notice
                )
                answer = yield from send_batch(context, prepared, checked.positions, first, timeout)
            accepted += answer.rows_accepted
            refused += sorted(checked.refused + answer.refused, key=lambda refusal: refusal.item)
            if answer.receipt is not None:
                own = tuple(dict.fromkeys(refusal.item for refusal in checked.refused))
                theirs = {refusal.item for refusal in answer.refused}
                receipts.append(
                    replace(
                        answer.receipt,
                        rows=len(batch),
                        not_taken=tuple(sorted(theirs.union(own))),
                        not_sent=own,
                    )
                )
            first += len(batch)
    return result()


def get_batch(context: Context, request_id: bytes, timeout: float | None) -> Operation[BatchStatus]:
    """What became of one batch."""
    named = checked_bytes(request_id, "request_id", REQUEST_ID_BYTES)
    request = contribution_pb2.GetBatchRequest(request_id=named)
    reply = yield from context.send(GET_BATCH, request, timeout)
    return BatchStatus(
        state=member_of(BatchState, reply.state, "state"),
        rows_accepted=reply.rows_accepted,
        rows_refused=reply.rows_refused,
        entry_index=reply.entry_index,
        accepted_at=time_of(reply.accepted_at, "accepted_at"),
    )


def withdraw_rows(
    context: Context,
    rows: Iterable[RowWithdrawal],
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[RowWithdrawalResult]:
    """Withdraw rows, up to 1,000 a call; one call is in memory at a time."""
    own_id = context.request_id(request_id)
    checked_items(rows, "rows", "RowWithdrawal")
    withdrawn = 0
    refused: list[ItemRefusal] = []
    receipts: list[Receipt] = []

    def result() -> RowWithdrawalResult:
        return RowWithdrawalResult(own_id, withdrawn, tuple(refused), tuple(receipts))

    first = 0
    epoch = 0
    with keeping_partial(result, resume_advice("rows", own_id)):
        for number, batch in enumerate(batches_of(rows, ROWS_PER_WITHDRAWAL)):
            for position, row in enumerate(batch, start=first):
                checked_type(row, RowWithdrawal, f"rows[{position}]")
                epoch = checked_epoch(row.token, epoch, f"rows[{position}].token")
            named = numbered_request_id(own_id, number)
            request = contribution_pb2.WithdrawRowsRequest(
                request_id=named, epoch=epoch, rows=map(withdrawal_message, batch)
            )
            numbers = range(first, first + len(batch))
            answer = yield from send_withdrawal(context, request, numbers, timeout)
            receipts += answer.receipts
            withdrawn += answer.rows_withdrawn
            refused += answer.refused
            first += len(batch)
    return result()


def send_withdrawal(
    context: Context,
    request: contribution_pb2.WithdrawRowsRequest,
    numbers: Sequence[int],
    timeout: float | None,
) -> Operation[RowWithdrawalResult]:
    """Send one call of up to ROWS_PER_WITHDRAWAL rows, of the caller's own numbers."""
    reply = yield from context.send(WITHDRAW_ROWS, request, timeout)
    refused = refusals_of(reply.refused, numbers)
    if reply.rows_withdrawn + len({refusal.item for refusal in refused}) != len(numbers):
        raise ProtocolViolation(
            f"{len(numbers)} rows were sent, the gateway answered for another number"
        )
    receipt = context.ledger.receipt(
        reply.receipt, {"contribution.withdrawn"}, {"request": request.request_id.hex()}
    )
    named = RequestId(request.request_id)
    return RowWithdrawalResult(named, reply.rows_withdrawn, tuple(refused), (receipt,))


def withdrawal_message(row: RowWithdrawal) -> contribution_pb2.Withdrawal:
    message = contribution_pb2.Withdrawal(token=row.token.value, row=_row_ref(row.row))
    if row.account_ref is not None:
        message.account_ref = row.account_ref
    elif row.application_ref is not None:
        message.application_ref = row.application_ref
    return message


@dataclass(slots=True)
class _Checked:
    """A batch after the checks that need no gateway."""

    messages: list[contribution_pb2.ContributionRow]
    positions: list[int]
    """The caller's number of each row to be sent."""
    refused: list[ItemRefusal]
    epoch: int
    """Of every token up to here; 0 before the first."""


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch as it is sent, and sent again. Its rows have been checked."""

    request_id: RequestId
    epoch: int
    """Key epoch of all tokens."""
    messages: Sequence[contribution_pb2.ContributionRow]
    """At most ROWS_PER_BATCH."""
    notice: bytes = b""
    """SHA-256 of the notice that the subjects of adverse rows were given, or empty."""
    catalogue_version: int = CATALOGUE_VERSION


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What became of a batch. `refused` is in the caller's own numbers."""

    rows_accepted: int
    refused: list[ItemRefusal]
    receipt: BatchReceipt | None


def _check_rows(first: int, batch: list[Row], today: int, epoch: int) -> _Checked:
    checked = _Checked([], [], [], epoch)
    for number, row in enumerate(batch, start=first):
        checked_type(row, Row, f"rows[{number}]")
        found = _problems(row, today)
        if found:
            checked.refused.extend(
                ItemRefusal(number, problem.field, problem.reason, problem.description)
                for problem in found
            )
            continue
        checked.epoch = checked_epoch(row.token, checked.epoch, f"rows[{number}].token")
        checked.messages.append(row_message(row.token.value, row.record, row.replaces))
        checked.positions.append(number)
    return checked


def _problems(row: Row, today: int) -> list[FieldProblem]:
    fault = token_fault(row.token)
    if fault is not None:
        return [FieldProblem("token", "WRONG_TYPE", fault)]
    # The catalogue's rules compare values: they need the types to be right.
    return mistyped(row.record) or problems(row.record, today) or misnamed(row)


def misnamed(row: Row) -> list[FieldProblem]:
    """What is wrong with the name of the row that this one replaces."""
    fault = None if row.replaces is None else row_ref_fault(row.replaces)
    return [] if fault is None else [FieldProblem("replaces", "WRONG_TYPE", fault)]


def send_batch(
    context: Context,
    batch: PreparedBatch,
    positions: Sequence[int],
    first: int,
    timeout: float | None,
) -> Operation[BatchAnswer]:
    """Send one batch; the same again is answered from the record.

    `positions[i]` is the caller's number of row i, `first` the batch's first number of all.
    """
    header = contribution_pb2.BatchHeader(
        request_id=batch.request_id,
        epoch=batch.epoch,
        catalogue_version=batch.catalogue_version,
        adverse_notice_sha256=batch.notice,
    )
    upload = (
        contribution_pb2.ContributeRequest(header=header),
        *(
            contribution_pb2.ContributeRequest(chunk=contribution_pb2.RowChunk(rows=chunk))
            for chunk in batches_of(batch.messages, ROWS_PER_MESSAGE)
        ),
    )
    reply = yield from context.send(CONTRIBUTE, upload, timeout)
    refused = refusals_of(reply.refused, positions)
    if reply.rows_accepted + len({refusal.item for refusal in refused}) != len(positions):
        raise ProtocolViolation(
            f"{len(positions)} rows were sent, the gateway answered for another number",
        )
    receipt = None
    if reply.HasField("receipt"):
        evidence = context.ledger.receipt(
            reply.receipt, {"contribution.batch"}, {"request": batch.request_id.hex()}
        )
        receipt = BatchReceipt(batch.request_id, first, reply.rows_accepted, evidence)
    elif reply.rows_accepted:
        raise ProtocolViolation("rows were taken without a receipt")
    return BatchAnswer(reply.rows_accepted, refused, receipt)


def row_message(
    token: bytes, record: Record, replaces: RowRef | None = None
) -> contribution_pb2.ContributionRow:
    """A row for the wire."""
    if isinstance(record, ApplicationEvent):
        row = contribution_pb2.ContributionRow(token=token, application=_application(record))
    else:
        row = contribution_pb2.ContributionRow(token=token, account=_account(record))
    if replaces is not None:
        row.replaces.CopyFrom(_row_ref(replaces))
    return row


def _row_ref(row: RowRef) -> contribution_pb2.RowRef:
    return contribution_pb2.RowRef(entry_index=row.entry_index, item=row.item)


def _account(record: AccountSnapshot) -> contribution_pb2.AccountSnapshot:
    # The contract's fields have the catalogue's names.
    return contribution_pb2.AccountSnapshot(
        **{name: getattr(record, name) for name in _ACCOUNT_FIELDS}
    )


def _application(record: ApplicationEvent) -> contribution_pb2.ApplicationEvent:
    return contribution_pb2.ApplicationEvent(
        **{name: getattr(record, name) for name in _APPLICATION_FIELDS}
    )


_ACCOUNT_FIELDS = tuple(field.name for field in fields(AccountSnapshot))
_APPLICATION_FIELDS = tuple(field.name for field in fields(ApplicationEvent))
