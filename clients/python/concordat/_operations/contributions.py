"""Contributing rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from operator import index

from concordat._context import Context, numbered_request_id, resume_advice
from concordat._convert import batches_of, keeping_partial, member_of, refusals_of, time_of
from concordat._methods import CONTRIBUTE, GET_BATCH
from concordat._steps import Operation
from concordat.enums import BatchState
from concordat.errors import InvalidInput, ProtocolViolation
from concordat.requests import REQUEST_ID_BYTES, RequestId, Row, checked_bytes, checked_token
from concordat.results import BatchReceipt, BatchStatus, ContributionResult, ItemRefusal
from concordat.v1 import bands_pb2, contribution_pb2
from concordat_privacy.catalogue.calendar import day_number
from concordat_privacy.catalogue.rows import (
    AccountSnapshot,
    ApplicationEvent,
    FieldProblem,
    problems,
)
from concordat_privacy.catalogue.rows import Row as Record
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.identifiers import Epoch

ROWS_PER_BATCH = 20_000
ROWS_PER_MESSAGE = 2_000


def contribute(
    context: Context,
    rows: Iterable[Row],
    epoch: int | None,
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[ContributionResult]:
    """Contribute rows in batches of up to 20,000; one batch is in memory at a time."""
    own_id = context.request_id(request_id)
    wanted = context.profile.newest_epoch if epoch is None else Epoch(epoch)
    context.profile.token_key(wanted)  # tokens of an epoch that is not pinned were not made here
    today = day_number(context.environment.utc_now().astimezone(UTC).date())
    accepted = 0
    refused: list[ItemRefusal] = []
    receipts: list[BatchReceipt] = []

    def result() -> ContributionResult:
        return ContributionResult(own_id, accepted, tuple(refused), tuple(receipts))

    first = 0
    with keeping_partial(result, resume_advice("rows", own_id)):
        for number, batch in enumerate(batches_of(rows, ROWS_PER_BATCH)):
            checked = _check_rows(first, batch, today)
            answer = _Answer(0, [], None)
            if checked.messages:
                batch_id = numbered_request_id(own_id, number)
                answer = yield from _send_batch(context, checked, batch_id, wanted, first, timeout)
            accepted += answer.rows_accepted
            refused += sorted(checked.refused + answer.refused, key=lambda refusal: refusal.item)
            if answer.receipt is not None:
                receipts.append(answer.receipt)
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


@dataclass(frozen=True, slots=True)
class _Checked:
    """A batch after the checks that need no gateway."""

    messages: list[contribution_pb2.ContributionRow]
    positions: list[int]
    """The caller's number of each row to be sent."""
    refused: list[ItemRefusal]


@dataclass(frozen=True, slots=True)
class _Answer:
    rows_accepted: int
    refused: list[ItemRefusal]
    receipt: BatchReceipt | None


def _check_rows(first: int, batch: list[Row], today: int) -> _Checked:
    checked = _Checked([], [], [])
    for number, row in enumerate(batch, start=first):
        if not isinstance(row, Row):
            raise InvalidInput.field(f"rows[{number}]", f"a Row wanted, {type(row).__name__} given")
        token = checked_token(row.token, f"rows[{number}].token")
        found = _problems(number, row.record, today)
        if found:
            checked.refused.extend(
                ItemRefusal(number, problem.field, problem.reason, problem.description)
                for problem in found
            )
            continue
        checked.messages.append(_row_message(number, token, row.record))
        checked.positions.append(number)
    return checked


def _problems(number: int, record: Record, today: int) -> list[FieldProblem]:
    if not isinstance(record, AccountSnapshot | ApplicationEvent):
        raise InvalidInput.field(
            f"rows[{number}].record",
            f"an AccountSnapshot or ApplicationEvent wanted, {type(record).__name__} given",
        )
    try:
        return problems(record, today)
    except (TypeError, AttributeError):
        raise _mistyped(number) from None


def _mistyped(number: int) -> InvalidInput:
    return InvalidInput.field(
        f"rows[{number}].record", "a field has a value of another type than the class declares"
    )


def _send_batch(
    context: Context,
    checked: _Checked,
    batch_id: RequestId,
    epoch: Epoch,
    first: int,
    timeout: float | None,
) -> Operation[_Answer]:
    header = contribution_pb2.BatchHeader(
        request_id=batch_id, epoch=epoch, catalogue_version=CATALOGUE_VERSION
    )
    upload = (
        contribution_pb2.ContributeRequest(header=header),
        *(
            contribution_pb2.ContributeRequest(chunk=contribution_pb2.RowChunk(rows=chunk))
            for chunk in batches_of(checked.messages, ROWS_PER_MESSAGE)
        ),
    )
    reply = yield from context.send(CONTRIBUTE, upload, timeout)
    refused = refusals_of(reply.refused, checked.positions)
    if reply.rows_accepted + len({refusal.item for refusal in refused}) != len(checked.positions):
        raise ProtocolViolation(
            f"{len(checked.positions)} rows were sent, the gateway answered for another number",
        )
    receipt = None
    if reply.HasField("receipt"):
        evidence = context.ledger.receipt(reply.receipt, {"contribution.batch"})
        receipt = BatchReceipt(batch_id, first, reply.rows_accepted, evidence)
    elif reply.rows_accepted:
        raise ProtocolViolation("rows were taken without a receipt")
    return _Answer(reply.rows_accepted, refused, receipt)


def _row_message(number: int, token: bytes, record: Record) -> contribution_pb2.ContributionRow:
    try:
        if isinstance(record, ApplicationEvent):
            return contribution_pb2.ContributionRow(token=token, application=_application(record))
        return contribution_pb2.ContributionRow(token=token, account=_account(record))
    except (TypeError, ValueError):
        raise _mistyped(number) from None


# `index` refuses what is no integer: protobuf would cut 7.5 down to 7 without a word.


def _account(record: AccountSnapshot) -> contribution_pb2.AccountSnapshot:
    return contribution_pb2.AccountSnapshot(
        account_ref=record.account_ref,
        as_of_month=index(record.as_of_month),
        status=bands_pb2.AccountStatus.ValueType(index(record.status)),
        product=bands_pb2.ProductClass.ValueType(index(record.product)),
        opened_quarter=index(record.opened_quarter),
        limit=bands_pb2.AmountBand.ValueType(index(record.limit)),
        balance=bands_pb2.AmountBand.ValueType(index(record.balance)),
        past_due=bands_pb2.AmountBand.ValueType(index(record.past_due)),
        days_past_due=bands_pb2.DaysPastDueBand.ValueType(index(record.days_past_due)),
        utilisation=bands_pb2.UtilisationBand.ValueType(index(record.utilisation)),
        spend_volatility=bands_pb2.VolatilityBand.ValueType(index(record.spend_volatility)),
        payment_profile=record.payment_profile,
    )


def _application(record: ApplicationEvent) -> contribution_pb2.ApplicationEvent:
    return contribution_pb2.ApplicationEvent(
        application_ref=record.application_ref,
        day=index(record.day),
        product=bands_pb2.ProductClass.ValueType(index(record.product)),
    )
