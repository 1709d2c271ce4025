"""Rows as they arrive, and what a batch of them is known by when it comes again."""

import struct
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast

from concordat_gateway.rules.requests import Fingerprint
from concordat_privacy.catalogue.packing import (
    canonical_account,
    canonical_application,
    pack_account,
    pack_application,
    pack_correction,
    split_correction,
)
from concordat_privacy.catalogue.quick import ACCOUNT_ORDER
from concordat_privacy.catalogue.rows import RowRef
from concordat_privacy.oprf import TOKEN_BYTES


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


in_order = cast(
    Callable[[AccountNumbers], tuple[Any, ...]],
    itemgetter(*(AccountNumbers._fields.index(name) for name in ACCOUNT_ORDER)),
)


def packed_form(row: RawRow) -> bytes:
    """What stands for a row in the packed form, good or not; empty for one that has none."""
    token, record, replaces = row
    try:
        match record:
            case AccountNumbers():
                ref, month, status, product, opened, profile, first, *bands = in_order(record)
                known = bytes(bands).rstrip(b"\0")
                account = (ref, month, status, product, opened, first, known, profile)
                content = pack_account(*account)
                # struct cuts or pads what has another length.
                if canonical_account(content) != account:
                    return b""
            case ApplicationNumbers():
                content = pack_application(*record)
                if canonical_application(content) != record:
                    return b""
            case None:
                return token
    except (ValueError, struct.error):
        return b""
    return token + (content if replaces is None else pack_correction(replaces, content))


def unpacked_form(data: bytes) -> RawRow:
    """The row that a packed form stands for; one without a record for anything else."""
    token, content = data[:TOKEN_BYTES], data[TOKEN_BYTES:]
    try:
        replaces, content = split_correction(content)
    except (IndexError, struct.error):
        return RawRow(token, None)
    account = canonical_account(content)
    if account is not None:
        ref, month, status, product, opened, first, known, profile = account
        bands = known[: len(_BAND_NAMES)].ljust(len(_BAND_NAMES), b"\0")
        in_catalogue_order = (ref, month, status, product, opened, profile, first, *bands)
        numbers = dict(zip(ACCOUNT_ORDER, in_catalogue_order, strict=True))
        return RawRow(token, AccountNumbers(**numbers), replaces)
    application = canonical_application(content)
    if application is not None:
        return RawRow(token, ApplicationNumbers(*application), replaces)
    return RawRow(token, None)


class CallDigest:
    """Of the rows of a call: what they say, whatever messages they were cut into."""

    def __init__(self, epoch: int, catalogue_version: int, notice: bytes) -> None:
        """Begin with what the header says."""
        self._fingerprint = _begun("Contribute", epoch, catalogue_version, notice)

    def add(self, rows: Sequence[RawRow], packed: Callable[[], Sequence[bytes]]) -> None:
        """Take in the rows of one message; their packed forms are not asked for."""
        del packed
        for row in rows:
            self._fingerprint.add(*_canonical(row))

    def value(self) -> bytes:
        """The SHA-256 of what was added so far."""
        return self._fingerprint.digest()


class PartDigest:
    """Of the rows of a part: of their packed forms, in whichever form they came.

    Parts that were recorded before there was a packed form are known by what calls are known by.
    """

    def __init__(self, epoch: int, catalogue_version: int, notice: bytes) -> None:
        """Begin with what the header says."""
        self._header = epoch, catalogue_version, notice
        self._rows: list[RawRow] = []
        self._packed: list[bytes] = []
        self._value: bytes | None = None

    def add(self, rows: Sequence[RawRow], packed: Callable[[], Sequence[bytes]]) -> None:
        """Take in rows, and what `packed_form` gives of them."""
        self._rows += rows
        self.add_packed(packed())

    def add_packed(self, rows: Sequence[bytes]) -> None:
        """Take in rows that came packed."""
        self._packed += rows
        self._value = None

    def value(self) -> bytes:
        """The SHA-256 of what was added so far."""
        if self._value is None:
            # Asked for three times a part: to stage it, to record it, to find the record.
            self._value = self._digest()
        return self._value

    def _digest(self) -> bytes:
        fingerprint = Fingerprint("ContributePackedPart")
        fingerprint.add(*self._header, len(self._packed))
        lengths = struct.pack(f">{len(self._packed)}I", *map(len, self._packed))
        fingerprint.add(lengths, b"".join(self._packed))
        return fingerprint.digest()

    def came_as(self, recorded: bytes) -> bool:
        """Whether the part that is recorded with a digest is this one."""
        return self.value() == recorded or self._earlier_value() == recorded

    def _earlier_value(self) -> bytes:
        fingerprint = _begun("ContributePart", *self._header)
        for row in self._rows or map(unpacked_form, self._packed):
            fingerprint.add(*_canonical(row))
        return fingerprint.digest()


def _begun(method: str, epoch: int, catalogue_version: int, notice: bytes) -> Fingerprint:
    # Batches without a notice are older than those with one.
    fingerprint = Fingerprint(f"{method}AfterNotice" if notice else method)
    if notice:
        fingerprint.add(notice)
    fingerprint.add(epoch, catalogue_version)
    return fingerprint


def _canonical(row: RawRow) -> tuple[bytes | int, ...]:
    """What a digest takes in of a row.

    Rows without attributes of later versions of the catalogue have the digests of before: a batch
    that is repeated after an update of the gateway is still the same.
    """
    token, record, replaces = row
    values: tuple[bytes, ...] = ()
    match record:
        case AccountNumbers():
            first = cast(Sequence[int], record[1:_PROFILE])
            later = cast(Sequence[int], record[_PROFILE + 1 :])
            values = record.account_ref, _numbers(first, later), record.payment_profile
        case ApplicationNumbers(ref, day, product, outcome):
            values = ref, _numbers((day, product), (outcome,))
    return (token, *values, *(replaces or ()))


_BAND_NAMES = ACCOUNT_ORDER[ACCOUNT_ORDER.index("first_delinquency_month") + 1 :]
_PROFILE = AccountNumbers._fields.index("payment_profile")


def _numbers(first: Sequence[int], later: Sequence[int]) -> bytes:
    numbers = (*first, *later) if any(later) else first
    return _LAYOUTS[len(numbers)].pack(*numbers)


_LAYOUTS = {
    count: struct.Struct(f">{count}q")
    for count in (2, 3, _PROFILE - 1, len(AccountNumbers._fields) - 2)
}
