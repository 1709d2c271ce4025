"""The rows of one batch as they stream in: checked and packed, nothing taken yet.

What is kept of a row is its packed form, some 300 bytes, so a batch of MAX_ROWS takes a few
megabytes, however large its messages were. A part of an upload is a batch in one message.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.policies import oldest_delinquency_of
from concordat_gateway.rules.raw_rows import (
    AccountNumbers,
    ApplicationNumbers,
    CallDigest,
    PartDigest,
    RawRow,
    in_order,
    packed_form,
)
from concordat_gateway.rules.replacing import Wanted
from concordat_gateway.rules.requests import SHA256_BYTES, check_request_id
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.definitions import CATALOGUE_VERSION, OLDEST_VERSION
from concordat_privacy.catalogue.packing import (
    LEAF_DOMAIN,
    pack_correction,
    pack_row,
    split_correction,
    unpack_row,
)
from concordat_privacy.catalogue.quick import Good, pack_good_account, read_good_row
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


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many rows are taken together, and what the contract calls them."""

    field: str
    rows: int
    rows_a_message: int
    digest: type[CallDigest] | type[PartDigest]
    """What they are known by."""


CALL = Bounds("chunk.rows", MAX_ROWS, MAX_ROWS_A_MESSAGE, CallDigest)
PART = Bounds("part.rows", MAX_ROWS_A_PART, MAX_ROWS_A_PART, PartDigest)


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


_Checked: TypeAlias = tuple[int, bytes, bytes, Good, RowRef | None]
"""A good row whose subject is still to be named: its position, token, packed form, what it says,
and what it replaces."""


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
        """So far, refused ones too."""
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
        self._seen: dict[tuple[bytes, bytes, int | None], int] = {}
        self.digest = bounds.digest(
            header.epoch, header.catalogue_version, header.adverse_notice_sha256
        )

    def add(self, rows: Sequence[RawRow]) -> None:
        """Take the rows of one message; a bad row is noted as refused.

        Raises Refusal INVALID_ARGUMENT where the message or the batch has too many or no rows, and
        what naming their subjects raises.
        """
        self.check_count(len(rows))
        checked = [self._checked(item, raw) for item, raw in enumerate(rows, self.rows)]
        self.digest.add(
            rows, lambda: [_packed(raw, one) for raw, one in zip(rows, checked, strict=True)]
        )
        self._take(checked)

    def add_packed(self, rows: Sequence[bytes]) -> None:
        """As `add`, of rows that arrived packed: the token's 32 bytes and what `pack_row` or
        `pack_correction` packs."""
        self.check_count(len(rows))
        checked = [self._read(item, data) for item, data in enumerate(rows, self.rows)]
        assert isinstance(self.digest, PartDigest)  # no call has packed rows
        self.digest.add_packed(rows)
        self._take(checked)

    @property
    def wanted(self) -> list[Wanted]:
        """What the well-formed rows replace."""
        return [c.wanted for c in self.candidates if c.wanted is not None]

    def finish(self) -> bytes:
        """The digest of the whole batch. Raises Refusal INVALID_ARGUMENT for one without rows."""
        if not self.rows:
            raise invalid(self._bounds.field, "a batch has at least one row")
        return self.digest.value()

    def came_as(self, recorded: bytes) -> bool:
        """Whether a recorded part, by its digest, has these rows."""
        assert isinstance(self.digest, PartDigest)  # calls are told apart by their requests
        return self.digest.came_as(recorded)

    def check_count(self, rows: int) -> None:
        """Whether so many rows may come next, before anything is made of them.

        Raises Refusal INVALID_ARGUMENT.
        """
        bounds = self._bounds
        if not 1 <= rows <= bounds.rows_a_message:
            raise invalid(
                bounds.field, f"1 to {bounds.rows_a_message} rows a message wanted, {rows} given"
            )
        if self.rows + rows > bounds.rows:
            raise invalid(bounds.field, f"a batch has at most {bounds.rows} rows")

    def _checked(self, item: int, raw: RawRow) -> _Checked | ItemRefusal:
        token, record, replaces = raw
        if isinstance(record, AccountNumbers) and len(token) == TOKEN_BYTES:
            packed = pack_good_account(
                in_order(record), self._newest_month, self._oldest_delinquency
            )
            if packed is not None:
                content, needed, adverse = packed
                good = Good(record[0], record[1], needed, adverse)
                if replaces is not None:
                    content = pack_correction(replaces, content)
                return self._first((item, token, content, good, replaces))
        row = _parse(raw)
        if isinstance(row, FieldProblem):
            return ItemRefusal.of(item, row)
        return self._looked_at(item, token, row, replaces)

    def _read(self, item: int, data: bytes) -> _Checked | ItemRefusal:
        token, content = data[:TOKEN_BYTES], data[TOKEN_BYTES:]
        good = read_good_row(content, self._today_day, self._newest_month, self._oldest_delinquency)
        if good is not None:
            checked = item, token, content, good, None
            # As `_first` does: no call is made for the rows that are as nearly all are.
            if self._seen.setdefault((token, good.ref, good.month), item) == item:
                return checked
            return self._first(checked)
        parsed = _parse_packed(data)
        if isinstance(parsed, FieldProblem):
            return ItemRefusal.of(item, parsed)
        replaces, row = parsed
        return self._looked_at(item, token, row, replaces)

    def _looked_at(
        self, item: int, token: bytes, row: Row, replaces: RowRef | None
    ) -> _Checked | ItemRefusal:
        """A row the long way, which says what is wrong with it."""
        problem = next(iter(problems(row, self._today_day, self._oldest_delinquency)), None)
        if problem is not None:
            return ItemRefusal.of(item, problem)
        content = pack_row(row)
        if replaces is not None:
            content = pack_correction(replaces, content)
        if isinstance(row, AccountSnapshot):
            good = Good(row.account_ref, row.as_of_month, needs(row), is_adverse(row))
        else:
            good = Good(row.application_ref, None, needs(row), False)
        return self._first((item, token, content, good, replaces))

    def _first(self, row: _Checked) -> _Checked | ItemRefusal:
        """The row, unless it repeats an earlier one of the batch."""
        item, token, _, good, _ = row
        first = self._seen.setdefault((token, good.ref, good.month), item)
        if first == item:
            return row
        if good.month is None:
            field, what = "application.application_ref", "application"
        else:
            field, what = "account.as_of_month", "account and month"
        return ItemRefusal(item, field, "DUPLICATE", f"the same {what} as row {first}")

    def _take(self, rows: Sequence[_Checked | ItemRefusal]) -> None:
        self.rows += len(rows)
        good = [row for row in rows if not isinstance(row, ItemRefusal)]
        self._name([token for _, token, *_ in good])
        subjects = self._subjects
        self.candidates += [
            Candidate(
                item,
                subjects[token],
                content,
                LEAF_DOMAIN + token + content,
                needed,
                adverse,
                None if replaces is None else _wanted(subjects[token], ref, month, replaces),
            )
            for item, token, content, (ref, month, needed, adverse), replaces in good
        ]
        if len(good) < len(rows):
            self.refused += [row for row in rows if isinstance(row, ItemRefusal)]

    def _name(self, tokens: Sequence[bytes]) -> None:
        new = [token for token in dict.fromkeys(tokens) if token not in self._subjects]
        if new:
            self._subjects.update(zip(new, self._names(new), strict=True))


def _packed(raw: RawRow, row: _Checked | ItemRefusal) -> bytes:
    if isinstance(row, ItemRefusal):
        return packed_form(raw)
    _, token, content, _, _ = row
    return token + content


def _wanted(subject: SubjectKey, ref: bytes, month: int | None, replaces: RowRef) -> Wanted:
    return Wanted(replaces, (subject, month is not None, ref), month)


def _parse(raw: RawRow) -> Row | FieldProblem:
    if len(raw.token) != TOKEN_BYTES:
        return _short_token(len(raw.token))
    try:
        match raw.record:
            case AccountNumbers():
                return AccountSnapshot.from_numbers(raw.record._asdict())
            case ApplicationNumbers():
                return ApplicationEvent.from_numbers(raw.record._asdict())
            case None:
                return _NO_RECORD
    except RowError as error:
        return error.problems[0]


def _parse_packed(data: bytes) -> tuple[RowRef | None, Row] | FieldProblem:
    content = data[TOKEN_BYTES:]
    if not content:
        return _short_token(len(data)) if len(data) < TOKEN_BYTES else _NO_RECORD
    try:
        replaces, content = split_correction(content)
        return replaces, unpack_row(content)
    except RowError as error:
        return error.problems[0]
    except (ValueError, IndexError, struct.error):
        return FieldProblem("record", "MALFORMED", "not the packed form of a row")


def _short_token(length: int) -> FieldProblem:
    return FieldProblem("token", "WRONG_LENGTH", f"{length} bytes, {TOKEN_BYTES} wanted")


_NO_RECORD = FieldProblem("record", "REQUIRED", "an account or an application is wanted")
