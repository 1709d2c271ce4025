"""The rows of one batch as they stream in: checked and packed, nothing taken yet.

What is kept of a row is its packed form, some 300 bytes, so a batch of MAX_ROWS takes a few
megabytes, however large its messages were. A part of an upload is a batch in one message.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, cast

from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.policies import oldest_delinquency_of
from concordat_gateway.rules.replacing import Wanted
from concordat_gateway.rules.requests import Fingerprint, check_request_id
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.definitions import CATALOGUE_VERSION, OLDEST_VERSION
from concordat_privacy.catalogue.packing import pack_correction, pack_row, packed_leaf
from concordat_privacy.catalogue.quick import ACCOUNT_ORDER, Packed, pack_good_account
from concordat_privacy.catalogue.rows import (
    AccountSnapshot,
    ApplicationEvent,
    FieldProblem,
    Row,
    RowError,
    RowRef,
    is_adverse,
    needs,
    problems,
)
from concordat_privacy.jurisdictions import Policy
from concordat_privacy.oprf import TOKEN_BYTES
from concordat_rpc.errors import failed_precondition, invalid

MAX_ROWS = 20_000
MAX_ROWS_A_MESSAGE = 2_000
MAX_ROWS_A_PART = 4_000
SHA256_BYTES = 32


class AccountNumbers(NamedTuple):
    """An account snapshot as it arrived: numbers that may stand for nothing."""

    account_ref: bytes
    as_of_month: int
    status: int
    product: int
    opened_quarter: int
    limit: int
    balance: int
    past_due: int
    days_past_due: int
    utilisation: int
    spend_volatility: int
    payment_profile: bytes
    first_delinquency_month: int = 0
    five_class: int = 0
    scheduled_payment: int = 0
    payment_ratio: int = 0
    utilisation_trend: int = 0
    remaining_terms: int = 0
    extensions: int = 0
    fraud_flag: int = 0
    spend_spike: int = 0
    scene_anomaly: int = 0
    refund_ratio: int = 0
    income_regularity: int = 0
    invoice_days_past_due: int = 0
    settlement_punctuality: int = 0
    buyer_concentration: int = 0
    order_volatility: int = 0
    dilution: int = 0


class ApplicationNumbers(NamedTuple):
    """An application event as it arrived."""

    application_ref: bytes
    day: int
    product: int
    outcome: int = 0


class RawRow(NamedTuple):
    """A row as it arrived, nothing of it checked."""

    token: bytes
    record: AccountNumbers | ApplicationNumbers | None
    replaces: RowRef | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many rows are taken together, and what the contract calls them."""

    field: str
    rows: int
    rows_a_message: int
    method: str
    """Beginning of the fingerprint."""
    method_after_notice: str
    """The same where the header names a notice: digests of batches without one are older."""


CALL = Bounds("chunk.rows", MAX_ROWS, MAX_ROWS_A_MESSAGE, "Contribute", "ContributeAfterNotice")
PART = Bounds(
    "part.rows", MAX_ROWS_A_PART, MAX_ROWS_A_PART, "ContributePart", "ContributePartAfterNotice"
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the first message of a batch or an upload says."""

    request_id: bytes
    """Names the batch or the upload."""
    epoch: int
    catalogue_version: int
    adverse_notice_sha256: bytes = b""
    """Hash of the notice that subjects of adverse rows were given; empty where none was."""


class Candidate(NamedTuple):
    """A well-formed row; whether a consent allows it is still to be asked."""

    item: int
    """Position in the batch, from 0."""
    subject: SubjectKey
    content: bytes
    """As `pack_row` or `pack_correction` packs it."""
    leaf: bytes
    """As `row_leaf` makes it of the token: the furnisher can make it again."""
    needs: tuple[DataCategory, ...]
    """Categories that a consent must cover, in order of their numbers."""
    adverse: bool
    """As `is_adverse` says."""
    wanted: Wanted | None = None
    """What it replaces."""


class _Good(NamedTuple):
    """A good row whose subject is still to be named."""

    item: int
    token: bytes
    packed: Packed
    raw: RawRow


def check_header(header: Header, name: str = "header.request_id") -> None:
    """Raise Refusal INVALID_ARGUMENT, FAILED_PRECONDITION for what no batch can begin with.

    `name` is the contract's field of `request_id`.
    """
    check_request_id(header.request_id, name)
    if not OLDEST_VERSION <= header.catalogue_version <= CATALOGUE_VERSION:
        raise failed_precondition(
            "CATALOGUE_VERSION_UNKNOWN",
            "rows are taken in the bands of catalogue versions"
            f" {OLDEST_VERSION} to {CATALOGUE_VERSION}",
        )
    if len(header.adverse_notice_sha256) not in (0, SHA256_BYTES):
        raise invalid(
            "header.adverse_notice_sha256",
            f"{SHA256_BYTES} bytes or none wanted, {len(header.adverse_notice_sha256)} given",
        )


class Intake:
    """Takes the rows of one batch, message by message."""

    def __init__(
        self,
        header: Header,
        today_day: int,
        store_epoch: int,
        names: Callable[[Sequence[bytes]], Sequence[SubjectKey]],
        bounds: Bounds = CALL,
        retention: Policy | None = None,
    ) -> None:
        """Begin a batch on the day `today_day`.

        `names` gives the stores' names of the subjects of tokens, under their epoch `store_epoch`.
        `retention`: the policy by which the gateway deletes; without one, no row is refused for an
        old delinquency.
        Raises Refusal INVALID_ARGUMENT, FAILED_PRECONDITION.
        """
        check_header(header)
        self.header = header
        self._bounds = bounds
        self.rows = 0
        self.candidates: list[Candidate] = []
        self.refused: list[ItemRefusal] = []
        self.store_epoch = store_epoch
        self._today_day = today_day
        self._newest_month = month_of_day(today_day + 1)
        self._oldest_delinquency = (
            0 if retention is None else oldest_delinquency_of(retention, self._newest_month)
        )
        self._names = names
        self._subjects: dict[bytes, SubjectKey] = {}
        self._seen: dict[tuple[bytes, bytes, int], int] = {}
        noticed = header.adverse_notice_sha256
        self._fingerprint = Fingerprint(bounds.method_after_notice if noticed else bounds.method)
        if noticed:
            self._fingerprint.add(noticed)
        self._fingerprint.add(header.epoch, header.catalogue_version)

    def add(self, rows: Sequence[RawRow]) -> None:
        """Take the rows of one message; a bad row is noted as refused.

        Raises Refusal INVALID_ARGUMENT where the message or the batch has too many or no rows, and
        what naming their subjects raises.
        """
        bounds = self._bounds
        if not 1 <= len(rows) <= bounds.rows_a_message:
            raise invalid(
                bounds.field,
                f"1 to {bounds.rows_a_message} rows a message wanted, {len(rows)} given",
            )
        if self.rows + len(rows) > bounds.rows:
            raise invalid(bounds.field, f"a batch has at most {bounds.rows} rows")
        good: list[_Good] = []
        for row in rows:
            checked = self._checked(self.rows, row)
            if isinstance(checked, Packed):
                good.append(_Good(self.rows, row.token, checked, row))
            else:
                self.refused.append(ItemRefusal.of(self.rows, checked))
            self.rows += 1
        self._name([row.token for row in good])
        self.candidates += [
            Candidate(
                item,
                self._subjects[token],
                packed.content,
                packed_leaf(token, packed.content),
                packed.needs,
                packed.adverse,
                _wanted(self._subjects[token], raw) if raw.replaces else None,
            )
            for item, token, packed, raw in good
        ]

    @property
    def wanted(self) -> list[Wanted]:
        """What the well-formed rows replace."""
        return [c.wanted for c in self.candidates if c.wanted is not None]

    def finish(self) -> bytes:
        """The digest of the whole batch. Raises Refusal INVALID_ARGUMENT for one without rows."""
        if not self.rows:
            raise invalid(self._bounds.field, "a batch has at least one row")
        return self._fingerprint.digest()

    def _checked(self, item: int, raw: RawRow) -> Packed | FieldProblem:
        token, record, replaces = raw
        self._fingerprint.add(token, *_canonical(record))
        if replaces is not None:
            self._fingerprint.add(*replaces)
        packed = None
        if isinstance(record, AccountNumbers) and len(token) == TOKEN_BYTES:
            packed = pack_good_account(
                _in_order(record), self._newest_month, self._oldest_delinquency
            )
        if packed is None:
            row = _parse(raw)
            if isinstance(row, FieldProblem):
                return row
            problem = next(iter(problems(row, self._today_day, self._oldest_delinquency)), None)
            if problem is not None:
                return problem
            packed = Packed(pack_row(row), needs(row), is_adverse(row))
        if replaces is not None:
            packed = packed._replace(content=pack_correction(replaces, packed.content))
        return self._repeated(item, token, record) or packed

    def _repeated(
        self, item: int, token: bytes, record: AccountNumbers | ApplicationNumbers | None
    ) -> FieldProblem | None:
        """What is wrong with a good row that repeats an earlier one of the batch."""
        match record:
            case AccountNumbers():
                key = token, record[0], record[1]
            case ApplicationNumbers():
                key = token, record[0], -1
            case None:
                return None
        first = self._seen.setdefault(key, item)
        if first == item:
            return None
        if key[-1] == -1:
            field, what = "application.application_ref", "application"
        else:
            field, what = "account.as_of_month", "account and month"
        return FieldProblem(field, "DUPLICATE", f"the same {what} as row {first}")

    def _name(self, tokens: Sequence[bytes]) -> None:
        new = [token for token in dict.fromkeys(tokens) if token not in self._subjects]
        if new:
            self._subjects.update(zip(new, self._names(new), strict=True))


_in_order = cast(
    Callable[[AccountNumbers], tuple[Any, ...]],
    itemgetter(*(AccountNumbers._fields.index(name) for name in ACCOUNT_ORDER)),
)


def _wanted(subject: SubjectKey, raw: RawRow) -> Wanted:
    record, replaces = raw.record, raw.replaces
    assert record is not None  # it is a good row that replaces another
    assert replaces is not None
    month = record.as_of_month if isinstance(record, AccountNumbers) else None
    return Wanted(replaces, (subject, isinstance(record, AccountNumbers), record[0]), month)


def _canonical(record: AccountNumbers | ApplicationNumbers | None) -> tuple[bytes, ...]:
    """What a digest takes in of a record.

    Rows without attributes of later versions of the catalogue have the digests of before: a batch
    that is repeated after an update of the gateway is still the same.
    """
    match record:
        case AccountNumbers():
            first = cast(Sequence[int], record[1:_PROFILE])
            later = cast(Sequence[int], record[_PROFILE + 1 :])
            return record.account_ref, _numbers(first, later), record.payment_profile
        case ApplicationNumbers(ref, day, product, outcome):
            return ref, _numbers((day, product), (outcome,))
        case None:
            return ()


_PROFILE = AccountNumbers._fields.index("payment_profile")


def _numbers(first: Sequence[int], later: Sequence[int]) -> bytes:
    numbers = (*first, *later) if any(later) else first
    return _LAYOUTS[len(numbers)].pack(*numbers)


_LAYOUTS = {
    count: struct.Struct(f">{count}q")
    for count in (2, 3, _PROFILE - 1, len(AccountNumbers._fields) - 2)
}


def _parse(raw: RawRow) -> Row | FieldProblem:
    if len(raw.token) != TOKEN_BYTES:
        return FieldProblem(
            "token", "WRONG_LENGTH", f"{len(raw.token)} bytes, {TOKEN_BYTES} wanted"
        )
    try:
        match raw.record:
            case AccountNumbers():
                return AccountSnapshot.from_numbers(raw.record._asdict())
            case ApplicationNumbers():
                return ApplicationEvent.from_numbers(raw.record._asdict())
            case None:
                return FieldProblem("record", "REQUIRED", "an account or an application is wanted")
    except RowError as error:
        return error.problems[0]
