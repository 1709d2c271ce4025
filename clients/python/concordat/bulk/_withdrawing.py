"""Accounts and applications out of the pool, by calls of up to 1,000 rows."""

from collections import deque
from collections.abc import Mapping, Sequence

from concordat._operations.contributions import (
    ROWS_PER_WITHDRAWAL,
    send_withdrawal,
    withdrawal_message,
)
from concordat.bulk._names import NamedRows
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
from concordat.requests import RowWithdrawal
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.rows import AccountSnapshot, FieldProblem
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.oprf import Token

MAX_WITHDRAWALS = ROWS_PER_WITHDRAWAL


class Withdrawing:
    """Accounts and applications out of the pool, by the names of their rows."""

    def __init__(self, names: NamedRows) -> None:
        """`names`: the rows that are to go."""
        self._names = names
        self.awaited: int | None = len(names)
        self.facts: Mapping[str, bytes] = {"notice": b"", "withdrawn": names.digest}

    def wants(self, number: int, /) -> bool:
        """The rows that are named."""
        return self._names.find(number) is not None

    def faults(self, _mapped: Mapped, _today_day: int, /) -> list[FieldProblem]:
        """None: it is not what a row says that counts, but which it is."""
        return []

    def row(self, number: int, token: Token, mapped: Mapped) -> PreparedRow:
        """With the name that it goes by."""
        return number, token, mapped.record, self._names.find(number)

    def way(self, line: Line, _last: LastPart | None, /) -> "ByCalls":
        """By WithdrawRows."""
        return ByCalls(line)


class ByCalls:
    """A `Way`: each parcel is a call of its own, and one is under way at a time."""

    width = 1

    def __init__(self, line: Line) -> None:
        self._line = line
        self._under_way: deque[Parcel] = deque()

    def continues(self, _epoch: int, /) -> bool:
        """Always: calls have nothing in common."""
        return True

    def parcel(self, sequence: int, rows: Sequence[PreparedRow]) -> Parcel:
        """A WithdrawRowsRequest."""
        epoch = rows[0][1].epoch
        named = request_id(self._line.job_id, sequence, epoch)
        request = contribution_pb2.WithdrawRowsRequest(
            request_id=named, epoch=epoch, rows=map(_withdrawal, rows)
        )
        numbers = [number for number, *_ in rows]
        content = request.SerializeToString()
        return Parcel(sequence, named, None, epoch, CATALOGUE_VERSION, content, numbers)

    def send(self, parcel: Parcel) -> None:
        """Only noted: the call is made when its answer is wanted."""
        self._under_way.append(parcel)

    def answer(self) -> Delivery:
        """Make the call, with the retries of the client's options."""
        sent, line = self._under_way[0], self._line
        request = contribution_pb2.WithdrawRowsRequest.FromString(sent.rows)
        try:
            answer = line.client._runner.run(
                "withdraw_rows",
                send_withdrawal(line.client._context, request, sent.numbers, line.timeout),
            )
        except FailedPrecondition as error:
            if error.reason != "EPOCH_NOT_ACTIVE":
                raise
            raise EpochEndedError(sent.epoch) from None
        self._under_way.popleft()
        [receipt] = answer.receipts
        refused = {refusal.item for refusal in answer.refused}
        return Delivery(answer.rows_withdrawn, len(refused), answer.refused, receipt.entry_index)

    def end(self) -> None:
        """Nothing: the calls were all."""

    def close(self) -> None:
        """Nothing: no call is under way."""


def _withdrawal(prepared: PreparedRow) -> contribution_pb2.Withdrawal:
    _, token, record, row = prepared
    assert row is not None  # the others were not wanted
    if isinstance(record, AccountSnapshot):
        return withdrawal_message(RowWithdrawal(token, row, account_ref=record.account_ref))
    return withdrawal_message(RowWithdrawal(token, row, application_ref=record.application_ref))
