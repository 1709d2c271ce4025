"""What a job does, batch by batch: the only place of it that knows how rows travel."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from google.protobuf.message import Message

from concordat._operations.contributions import (
    ROWS_PER_BATCH,
    ROWS_PER_WITHDRAWAL,
    PreparedBatch,
    row_message,
    send_batch,
    send_withdrawal,
    withdrawal_message,
)
from concordat.bulk._names import NamedRows
from concordat.bulk.mapping import Mapped
from concordat.client import Client
from concordat.errors import FailedPrecondition, NotFound
from concordat.requests import REQUEST_ID_BYTES, RequestId, RowWithdrawal
from concordat.results import ItemRefusal
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.rows import AccountSnapshot, FieldProblem, RowRef, problems
from concordat_privacy.catalogue.rows import Row as Record
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_privacy.oprf import Token

MAX_ROWS: Final = ROWS_PER_BATCH
MAX_WITHDRAWALS: Final = ROWS_PER_WITHDRAWAL
_EPOCH_NOT_ACTIVE: Final = "EPOCH_NOT_ACTIVE"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch as the journal keeps it, so that it is sent again byte for byte."""

    sequence: int
    request_id: bytes
    epoch: int
    catalogue_version: int
    rows: bytes
    """All rows, as a serialised message of the contract."""
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

    @property
    def names_refused(self) -> bool:
        """Whether it is known which rows were refused."""
        return len({refusal.item for refusal in self.refused}) == self.rows_refused


def request_id(job_id: bytes, sequence: int, attempt: int) -> bytes:
    """The id of a job's batch; another for rows that had to be tokenised again."""
    numbers = sequence.to_bytes(8, "big") + attempt.to_bytes(4, "big")
    return hashlib.sha256(b"concordat/bulk/v1" + job_id + numbers).digest()[:REQUEST_ID_BYTES]


PreparedRow: TypeAlias = tuple[int, Token, Record, RowRef | None]
"""The source's number of a row, its subject, what it says, and what it replaces or withdraws."""


class Work(Protocol):
    """What a job does with the rows of its source."""

    facts: Mapping[str, bytes]
    """What makes another job of it, beside source, mapping, key and member."""

    awaited: int | None
    """How many rows it wants; None: however many there are."""

    def wants(self, number: int, /) -> bool:
        """Whether the source's row of that number is for it."""

    def faults(self, mapped: Mapped, today_day: int, /) -> list[FieldProblem]:
        """What is wrong with a mapped row."""

    def row(self, number: int, token: Token, mapped: Mapped) -> PreparedRow:
        """A row without faults, with its subject."""

    def parcel(self, sequence: int, named: bytes, rows: Sequence[PreparedRow]) -> Parcel:
        """A batch of rows, all of one epoch, one or more."""

    def deliver(self, client: Client, sent: Parcel, timeout: float | None) -> Delivery | None:
        """Send a parcel, with the retries of the client's options.

        Sent before, it is answered from the gateway's record. None: the gateway takes no tokens of
        its epoch any more and has not taken this parcel either. Raises ConcordatError.
        """


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

    def parcel(self, sequence: int, named: bytes, rows: Sequence[PreparedRow]) -> Parcel:
        """A RowChunk."""
        chunk = contribution_pb2.RowChunk(
            rows=[row_message(token.value, record, replaces) for _, token, record, replaces in rows]
        )
        return _parcel(sequence, named, rows, chunk)

    def deliver(self, client: Client, sent: Parcel, timeout: float | None) -> Delivery | None:
        """By Contribute."""
        batch = PreparedBatch(
            RequestId(sent.request_id),
            sent.epoch,
            contribution_pb2.RowChunk.FromString(sent.rows).rows,
            self._notice,
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

    def parcel(self, sequence: int, named: bytes, rows: Sequence[PreparedRow]) -> Parcel:
        """A WithdrawRowsRequest."""
        request = contribution_pb2.WithdrawRowsRequest(
            request_id=named, epoch=rows[0][1].epoch, rows=map(_withdrawal, rows)
        )
        return _parcel(sequence, named, rows, request)

    def deliver(self, client: Client, sent: Parcel, timeout: float | None) -> Delivery | None:
        """By WithdrawRows."""
        request = contribution_pb2.WithdrawRowsRequest.FromString(sent.rows)
        try:
            answer = client._runner.run(
                "withdraw_rows",
                send_withdrawal(client._context, request, sent.numbers, timeout),
            )
        except FailedPrecondition as error:
            if error.reason != _EPOCH_NOT_ACTIVE:
                raise
            return None
        [receipt] = answer.receipts
        refused = {refusal.item for refusal in answer.refused}
        return Delivery(answer.rows_withdrawn, len(refused), answer.refused, receipt.entry_index)


def _parcel(sequence: int, named: bytes, rows: Sequence[PreparedRow], message: Message) -> Parcel:
    return Parcel(
        sequence,
        named,
        rows[0][1].epoch,
        CATALOGUE_VERSION,
        message.SerializeToString(),
        [number for number, *_ in rows],
    )


def _withdrawal(prepared: PreparedRow) -> contribution_pb2.Withdrawal:
    _, token, record, row = prepared
    assert row is not None  # the others were not wanted
    if isinstance(record, AccountSnapshot):
        return withdrawal_message(RowWithdrawal(token, row, account_ref=record.account_ref))
    return withdrawal_message(RowWithdrawal(token, row, application_ref=record.application_ref))


def _taken_before(client: Client, sent: Parcel, timeout: float | None) -> Delivery | None:
    """What the gateway remembers of a parcel whose epoch has ended."""
    try:
        status = client.get_batch(sent.request_id, timeout=timeout)
    except NotFound:
        return None
    return Delivery(status.rows_accepted, status.rows_refused, (), status.entry_index)
