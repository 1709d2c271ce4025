"""Rows that members contribute, the rules each must keep, and their canonical bytes.

A row is checked once, by `problems`, when it arrives; whatever reads it later trusts it. Which
attributes there are, which are required and what a consent must cover is for catalogue.toml to
say; what one attribute has to do with another is said here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final, NamedTuple

from concordat_privacy.catalogue.bands import (
    BAND_TYPES,
    AccountStatus,
    AmountBand,
    AnomalyBand,
    ApplicationOutcome,
    ConcentrationBand,
    DataCategory,
    DaysPastDueBand,
    DilutionBand,
    ExtensionsBand,
    FiveClass,
    FraudFlag,
    IncomeRegularity,
    PaymentRatioBand,
    ProductClass,
    PunctualityBand,
    RefundBand,
    SpikeBand,
    TermsBand,
    TrendBand,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.calendar import month_of_day, quarter_of_month
from concordat_privacy.catalogue.definitions import ATTRIBUTES, BANDS, POSITION
from concordat_privacy.oprf.token import TOKEN_BYTES

REF_BYTES: Final = 16
MAX_PROFILE_MONTHS: Final = 23

RETENTION_MONTHS: Final = 24
ADVERSE_RETENTION_MONTHS: Final = 60
BEHAVIOUR_RETENTION_MONTHS: Final = 6
INQUIRY_RETENTION_DAYS: Final = 730
ADVERSE_STATUSES: Final = frozenset({AccountStatus.SETTLED_LESS, AccountStatus.CHARGED_OFF})


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """Monthly state of one account. Fields are the catalogue's attributes; 0 is unknown."""

    account_ref: bytes
    """The furnisher's own pseudonym of the account, 16 bytes."""
    as_of_month: int
    """Month described, counted from 1970-01."""
    status: AccountStatus
    product: ProductClass
    opened_quarter: int
    """Quarter of opening, counted from 1970-Q1."""
    limit: AmountBand = AmountBand.UNSPECIFIED
    balance: AmountBand = AmountBand.UNSPECIFIED
    past_due: AmountBand = AmountBand.UNSPECIFIED
    days_past_due: DaysPastDueBand = DaysPastDueBand.UNSPECIFIED
    utilisation: UtilisationBand = UtilisationBand.UNSPECIFIED
    spend_volatility: VolatilityBand = VolatilityBand.UNSPECIFIED
    payment_profile: bytes = b""
    """Up to 23 months before as_of_month, newest first, one DaysPastDueBand number a byte."""
    first_delinquency_month: int = 0
    """Month of the delinquency that led to the state now, counted from 1970-01; 0: none known."""
    five_class: FiveClass = FiveClass.UNSPECIFIED
    scheduled_payment: AmountBand = AmountBand.UNSPECIFIED
    payment_ratio: PaymentRatioBand = PaymentRatioBand.UNSPECIFIED
    utilisation_trend: TrendBand = TrendBand.UNSPECIFIED
    remaining_terms: TermsBand = TermsBand.UNSPECIFIED
    extensions: ExtensionsBand = ExtensionsBand.UNSPECIFIED
    fraud_flag: FraudFlag = FraudFlag.UNSPECIFIED
    spend_spike: SpikeBand = SpikeBand.UNSPECIFIED
    scene_anomaly: AnomalyBand = AnomalyBand.UNSPECIFIED
    refund_ratio: RefundBand = RefundBand.UNSPECIFIED
    income_regularity: IncomeRegularity = IncomeRegularity.UNSPECIFIED
    invoice_days_past_due: DaysPastDueBand = DaysPastDueBand.UNSPECIFIED
    settlement_punctuality: PunctualityBand = PunctualityBand.UNSPECIFIED
    buyer_concentration: ConcentrationBand = ConcentrationBand.UNSPECIFIED
    order_volatility: VolatilityBand = VolatilityBand.UNSPECIFIED
    dilution: DilutionBand = DilutionBand.UNSPECIFIED

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any]) -> AccountSnapshot:
        """A snapshot from wire numbers by field. Raises RowError for a number no band has."""
        return cls(**_checked("account", _ACCOUNT_BANDS, numbers))


@dataclass(frozen=True, slots=True)
class ApplicationEvent:
    """An application for credit that the furnisher received."""

    application_ref: bytes
    """The furnisher's own pseudonym of the application, 16 bytes."""
    day: int
    """Day of the application, counted from 1970-01-01."""
    product: ProductClass
    outcome: ApplicationOutcome = ApplicationOutcome.UNSPECIFIED
    """Once it is known, the event is sent again, with the same reference."""

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any]) -> ApplicationEvent:
        """An event from wire numbers by field. Raises RowError for a number no band has."""
        return cls(**_checked("application", _APPLICATION_BANDS, numbers))


Row = AccountSnapshot | ApplicationEvent


class RowRef(NamedTuple):
    """Names an accepted row."""

    entry_index: int
    """Ledger entry of its batch or part."""
    item: int
    """Its position in the batch or part as it was sent, from 0."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a row, or of something else that a member sends."""

    field: str
    """Path from the row, e.g. "account.as_of_month"."""
    reason: str
    """Stable UPPER_CASE word; `concordat.v1.ItemRefusal` lists them."""
    description: str
    """For a person. Never carries the row's own references."""


class RowError(ValueError):
    """A row that cannot be represented. `problems` says why."""

    def __init__(self, problems: list[FieldProblem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.description}" for p in problems))
        self.problems = problems


def _bands_of(record: str) -> dict[str, type[IntEnum]]:
    return {
        a.name: BAND_TYPES[a.type]
        for a in ATTRIBUTES
        if a.record == record and a.type in BAND_TYPES
    }


_ACCOUNT_BANDS: Final = _bands_of("account")
_APPLICATION_BANDS: Final = _bands_of("application")


def _checked(
    record: str, bands: Mapping[str, type[IntEnum]], numbers: Mapping[str, Any]
) -> dict[str, Any]:
    found: list[FieldProblem] = []
    checked = dict(numbers)
    for name, kind in bands.items():
        number = checked.get(name, 0)
        # An index costs a fifth of an enum's constructor, on every field of every row.
        members = _MEMBERS[kind]
        if 0 <= number < len(members):
            checked[name] = members[number]
        else:
            described = f"{number} is not one of 0 to {len(members) - 1}"
            found.append(FieldProblem(f"{record}.{name}", "UNKNOWN_BAND", described))
    if found:
        raise RowError(found)
    return checked


_MEMBERS: Final = {kind: tuple(kind) for kind in BAND_TYPES.values()}


def needs(row: Row) -> tuple[DataCategory, ...]:
    """The categories that a consent must cover for a row, in order of their numbers.

    The record's own, and those of the attributes that it carries: without them the same row could
    be taken.
    """
    if isinstance(row, ApplicationEvent):
        return (DataCategory.INQUIRIES,)
    found = [DataCategory.CREDIT_ACCOUNTS]
    for category, names in CATEGORY_FIELDS.items():
        for name in names:
            if getattr(row, name):
                found.append(category)
                break
    return tuple(found)


CATEGORY_FIELDS: Final[Mapping[DataCategory, tuple[str, ...]]] = {
    category: tuple(a.name for a in BANDS if a.category == category.name.lower())
    for category in (DataCategory.SPENDING, DataCategory.TRADE)
}
"""The fields of an account for which a consent must cover more than accounts."""


def retention_months(status: AccountStatus) -> int:
    """Months that a snapshot in this state may be held and used.

    24 after an account's last report; five years for adverse endings, as China's regulation on
    the credit reporting industry (art. 16) sets for adverse items.
    """
    return ADVERSE_RETENTION_MONTHS if status in ADVERSE_STATUSES else RETENTION_MONTHS


def is_adverse(row: Row) -> bool:
    """Whether a row says something adverse of its subject: what laws attach notices and limits to.

    An account that was charged off or settled for less; one that is 30 days or more past due now,
    or was in any month of its payment profile, or has an invoice that is; one classified as
    substandard or worse; fraud by its holder. Fewer days are late payments that lenders do not
    commonly report. Unknown bands are not adverse, nor is an application, a sale, a restructuring
    or a dispute.
    """
    if isinstance(row, ApplicationEvent):
        return False
    return (
        row.status in ADVERSE_STATUSES
        or row.days_past_due >= DaysPastDueBand.FROM_30_TO_59
        or row.invoice_days_past_due >= DaysPastDueBand.FROM_30_TO_59
        or row.five_class >= FiveClass.SUBSTANDARD
        or row.fraud_flag == FraudFlag.CONFIRMED
        or max(row.payment_profile, default=0) >= DaysPastDueBand.FROM_30_TO_59
    )


def problems(row: Row, today_day: int) -> list[FieldProblem]:
    """Everything that is wrong with a row on the day `today_day`; empty for a good row.

    The day after `today_day` is accepted too: a member's local date can be ahead of UTC.
    """
    if isinstance(row, AccountSnapshot):
        return _account_problems(row, today_day)
    return _application_problems(row, today_day)


def _account_problems(row: AccountSnapshot, today_day: int) -> list[FieldProblem]:
    found: list[FieldProblem] = []

    def refuse(field: str, reason: str, description: str) -> None:
        found.append(FieldProblem(f"account.{field}", reason, description))

    if len(row.account_ref) != REF_BYTES:
        refuse("account_ref", "WRONG_LENGTH", f"{len(row.account_ref)} bytes, {REF_BYTES} wanted")
    if row.status == AccountStatus.UNSPECIFIED:
        refuse("status", "REQUIRED", "a status is required")
    if row.product == ProductClass.UNSPECIFIED:
        refuse("product", "REQUIRED", "a product is required")

    newest = month_of_day(today_day + 1)
    oldest = newest - retention_months(row.status)
    if not oldest <= row.as_of_month <= newest:
        refuse(
            "as_of_month", "OUT_OF_RANGE", f"month {row.as_of_month}, {oldest} to {newest} wanted"
        )
    if row.opened_quarter <= 0:
        refuse("opened_quarter", "REQUIRED", "a quarter of opening is required")
    elif row.opened_quarter > quarter_of_month(row.as_of_month):
        refuse("opened_quarter", "OUT_OF_RANGE", "the account was opened after as_of_month")

    profile = row.payment_profile
    if len(profile) > MAX_PROFILE_MONTHS:
        refuse(
            "payment_profile",
            "WRONG_LENGTH",
            f"{len(profile)} months, at most {MAX_PROFILE_MONTHS} wanted",
        )
    elif profile and max(profile) > DaysPastDueBand.FROM_180:
        at = next(i for i, code in enumerate(profile) if code > DaysPastDueBand.FROM_180)
        refuse("payment_profile", "UNKNOWN_BAND", f"code {profile[at]} at position {at}")
    elif len(profile.rstrip(b"\0")) > max(row.as_of_month - 3 * row.opened_quarter, 0):
        refuse("payment_profile", "INCONSISTENT", "a month before the account was opened")

    if row.status == AccountStatus.CLOSED and row.balance > AmountBand.ZERO:
        refuse("balance", "INCONSISTENT", "an account closed and repaid in full has no balance")
    if row.past_due > AmountBand.ZERO and row.days_past_due == DaysPastDueBand.CURRENT:
        refuse("past_due", "INCONSISTENT", "an amount is past due but days_past_due says current")
    if row.status == AccountStatus.CLOSED and row.remaining_terms > TermsBand.ZERO:
        refuse("remaining_terms", "INCONSISTENT", "a closed account has no instalments left")
    first = row.first_delinquency_month
    if first and not 3 * row.opened_quarter <= first <= row.as_of_month:
        refuse("first_delinquency_month", "OUT_OF_RANGE", "not between opening and as_of_month")
    return found


def _application_problems(row: ApplicationEvent, today_day: int) -> list[FieldProblem]:
    found: list[FieldProblem] = []

    def refuse(field: str, reason: str, description: str) -> None:
        found.append(FieldProblem(f"application.{field}", reason, description))

    if len(row.application_ref) != REF_BYTES:
        refuse("application_ref", "WRONG_LENGTH", f"{len(row.application_ref)} bytes, 16 wanted")
    newest, oldest = today_day + 1, today_day - INQUIRY_RETENTION_DAYS
    if not oldest <= row.day <= newest:
        refuse("day", "OUT_OF_RANGE", f"day {row.day}, {oldest} to {newest} wanted")
    if row.product == ProductClass.UNSPECIFIED:
        refuse("product", "REQUIRED", "a product is required")
    return found


_ACCOUNT_TAG: Final = 1
_APPLICATION_TAG: Final = 2
_LATER_ACCOUNT_TAG: Final = 3
_LATER_APPLICATION_TAG: Final = 4
_CORRECTION_TAG: Final = 5
_ACCOUNT_WITHDRAWN_TAG: Final = 6
_APPLICATION_WITHDRAWN_TAG: Final = 7
_CORRECTION_LAYOUT: Final = struct.Struct(">BQI")
_WITHDRAWAL_LAYOUT: Final = struct.Struct(">BQI16s")
_ACCOUNT_LAYOUT: Final = struct.Struct(">B16sIBBI6BB23s")
_APPLICATION_LAYOUT: Final = struct.Struct(">B16sIB")
_LATER_ACCOUNT_LAYOUT: Final = struct.Struct(">B16sIBBIIB")
_LATER_APPLICATION_LAYOUT: Final = struct.Struct(">B16sIBB")
_LEAF_DOMAIN: Final = b"concordat/row/v1"
_FIRST_BANDS: Final = 6
"""Bands of catalogue version 1: those of the first layout."""


def bands_of(row: AccountSnapshot) -> bytes:
    """The packed bands of an account, without unknown ones at the end."""
    return bytes([getattr(row, name) for name in _BAND_NAMES]).rstrip(b"\0")


_BAND_NAMES: Final = tuple(attribute.name for attribute in BANDS)


def pack_row(row: Row) -> bytes:
    """The canonical bytes of a good row: big-endian, first byte the kind.

    Account with attributes of catalogue version 1 only (58 bytes): 1, ref 16, as_of_month u32,
    status, product, opened_quarter u32, limit, balance, past_due, days_past_due, utilisation,
    spend_volatility, profile length, profile padded with zeros to 23. Other accounts: 3, ref 16,
    as_of_month u32, status, product, opened_quarter u32, first_delinquency_month u32, number of
    bands, the bands in the order of `definitions.BANDS` up to the last known one, the profile.
    Application (22 bytes): 2, ref 16, day u32, product; with a known outcome: 4, the same, outcome.
    So a row has one form, which stays when the catalogue grows. Raises ValueError for a row that
    `problems` refuses by length.
    """
    if isinstance(row, ApplicationEvent):
        _check_length(row.application_ref, REF_BYTES)
        if row.outcome:
            return _LATER_APPLICATION_LAYOUT.pack(
                _LATER_APPLICATION_TAG, row.application_ref, row.day, row.product, row.outcome
            )
        return _APPLICATION_LAYOUT.pack(_APPLICATION_TAG, row.application_ref, row.day, row.product)
    _check_length(row.account_ref, REF_BYTES)
    if len(row.payment_profile) > MAX_PROFILE_MONTHS:
        raise ValueError(f"payment profile of {len(row.payment_profile)} months")
    return pack_account(
        row.account_ref,
        row.as_of_month,
        row.status,
        row.product,
        row.opened_quarter,
        row.first_delinquency_month,
        bands_of(row),
        row.payment_profile,
    )


def pack_account(
    ref: bytes,
    as_of_month: int,
    status: int,
    product: int,
    opened_quarter: int,
    first_delinquency_month: int,
    bands: bytes,
    profile: bytes,
) -> bytes:
    """As `pack_row`, of checked values; `bands` as `bands_of` gives them."""
    if len(bands) <= _FIRST_BANDS and not first_delinquency_month:
        return _ACCOUNT_LAYOUT.pack(
            _ACCOUNT_TAG,
            ref,
            as_of_month,
            status,
            product,
            opened_quarter,
            *bands.ljust(_FIRST_BANDS, b"\0"),
            len(profile),
            profile,
        )
    fixed = _LATER_ACCOUNT_LAYOUT.pack(
        _LATER_ACCOUNT_TAG,
        ref,
        as_of_month,
        status,
        product,
        opened_quarter,
        first_delinquency_month,
        len(bands),
    )
    return fixed + bands + profile


def unpack_row(data: bytes) -> Row:
    """The row that `pack_row` packed. Raises ValueError for anything else."""
    kind = data[0] if data else 0
    row: Row
    if kind == _ACCOUNT_TAG and len(data) == _ACCOUNT_LAYOUT.size:
        row = _unpack_account(data)
    elif kind == _LATER_ACCOUNT_TAG and len(data) >= _LATER_ACCOUNT_LAYOUT.size:
        row = _unpack_later_account(data)
    elif kind == _APPLICATION_TAG and len(data) == _APPLICATION_LAYOUT.size:
        _, ref, day, product = _APPLICATION_LAYOUT.unpack(data)
        row = ApplicationEvent(ref, day, ProductClass(product))
    elif kind == _LATER_APPLICATION_TAG and len(data) == _LATER_APPLICATION_LAYOUT.size:
        _, ref, day, product, outcome = _LATER_APPLICATION_LAYOUT.unpack(data)
        row = ApplicationEvent(ref, day, ProductClass(product), ApplicationOutcome(outcome))
    else:
        raise ValueError(f"{len(data)} bytes of kind {kind} are no packed row")
    if pack_row(row) != data:
        raise ValueError("packed row is not canonical")
    return row


def pack_correction(replaces: RowRef, content: bytes) -> bytes:
    """The canonical bytes of a row that replaces another: 5, entry u64, item u32, then what
    `pack_row` gives of the row itself."""
    return _CORRECTION_LAYOUT.pack(_CORRECTION_TAG, *replaces) + content


def split_correction(content: bytes) -> tuple[RowRef | None, bytes]:
    """What a packed row replaces, None for an ordinary one, and the row itself."""
    if content[0] != _CORRECTION_TAG:
        return None, content
    _, entry, item = _CORRECTION_LAYOUT.unpack_from(content)
    return RowRef(entry, item), content[_CORRECTION_LAYOUT.size :]


class Withdrawn(NamedTuple):
    """What is taken out of the pool: an account with all its months, or an application."""

    row: RowRef
    """The row that it, or its newest month, came from."""
    is_account: bool
    ref: bytes
    """account_ref or application_ref."""


def pack_withdrawal(withdrawn: Withdrawn) -> bytes:
    """The canonical bytes of a withdrawal: 6 for an account or 7 for an application, entry u64,
    item u32, ref 16. Raises ValueError for a reference of another length."""
    _check_length(withdrawn.ref, REF_BYTES)
    tag = _ACCOUNT_WITHDRAWN_TAG if withdrawn.is_account else _APPLICATION_WITHDRAWN_TAG
    return _WITHDRAWAL_LAYOUT.pack(tag, *withdrawn.row, withdrawn.ref)


def unpack_withdrawal(content: bytes) -> Withdrawn | None:
    """What `pack_withdrawal` packed; None for a row."""
    if content[0] not in (_ACCOUNT_WITHDRAWN_TAG, _APPLICATION_WITHDRAWN_TAG):
        return None
    tag, entry, item, ref = _WITHDRAWAL_LAYOUT.unpack(content)
    return Withdrawn(RowRef(entry, item), tag == _ACCOUNT_WITHDRAWN_TAG, ref)


class PackedAccount(NamedTuple):
    """The numbers of a packed account, in the order in which the pool stores them."""

    account_ref: bytes
    as_of_month: int
    status: int
    product: int
    opened_quarter: int
    first_delinquency_month: int
    bands: bytes
    """Without unknown ones at the end."""
    profile: bytes
    """Of as_of_month and the months before it, newest first."""


def account_numbers(data: bytes) -> PackedAccount | None:
    """The numbers of what `pack_row` packed of an account; None for an application.

    What was packed here is trusted: use `unpack_row` for bytes from elsewhere.
    """
    if data[0] == _ACCOUNT_TAG:
        _, ref, month, status, product, opened, *_, length, rest = _ACCOUNT_LAYOUT.unpack(data)
        bands = data[_FIRST_BANDS_AT : _FIRST_BANDS_AT + _FIRST_BANDS]
        first, profile = 0, rest[:length]
    elif data[0] == _LATER_ACCOUNT_TAG:
        fixed = _LATER_ACCOUNT_LAYOUT.unpack_from(data)
        _, ref, month, status, product, opened, first, count = fixed
        at = _LATER_ACCOUNT_LAYOUT.size
        bands, profile = data[at : at + count], data[at + count :]
    else:
        return None
    # Unknown where fewer bands were packed.
    days = bands[_DAYS_AT : _DAYS_AT + 1] or b"\0"
    known = bands.rstrip(b"\0")
    return PackedAccount(ref, month, status, product, opened, first, known, days + profile)


_FIRST_BANDS_AT: Final = struct.calcsize(">B16sIBBI")
_DAYS_AT: Final = POSITION["days_past_due"]


def _unpack_account(data: bytes) -> AccountSnapshot:
    _, ref, as_of_month, status, product, opened_quarter, *rest = _ACCOUNT_LAYOUT.unpack(data)
    *bands, length, profile = rest
    return _account(ref, as_of_month, status, product, opened_quarter, 0, bands, profile[:length])


def _unpack_later_account(data: bytes) -> AccountSnapshot:
    fixed = _LATER_ACCOUNT_LAYOUT.unpack_from(data)
    _, ref, as_of_month, status, product, opened_quarter, first, count = fixed
    at = _LATER_ACCOUNT_LAYOUT.size
    if count > len(BANDS) or len(data) - at - count not in range(MAX_PROFILE_MONTHS + 1):
        raise ValueError(f"{len(data)} bytes are no packed account with {count} bands")
    bands, profile = [*data[at : at + count]], data[at + count :]
    return _account(ref, as_of_month, status, product, opened_quarter, first, bands, profile)


def _account(
    ref: bytes,
    as_of_month: int,
    status: int,
    product: int,
    opened_quarter: int,
    first_delinquency_month: int,
    bands: list[int],
    profile: bytes,
) -> AccountSnapshot:
    return AccountSnapshot.from_numbers(
        {
            "account_ref": ref,
            "as_of_month": as_of_month,
            "status": status,
            "product": product,
            "opened_quarter": opened_quarter,
            "first_delinquency_month": first_delinquency_month,
            "payment_profile": profile,
            **dict(zip(_BAND_NAMES, bands, strict=False)),
        }
    )


def row_leaf(token: bytes, row: Row) -> bytes:
    """The bytes that a batch's Merkle root commits to for one row.

    "concordat/row/v1", then the subject's 32-byte token, so that the furnisher can check what it
    sent, then `pack_row`, or for a correction `pack_correction`. Raises ValueError as `pack_row`.
    """
    return packed_leaf(token, pack_row(row))


def packed_leaf(token: bytes, content: bytes) -> bytes:
    """As `row_leaf`, of a packed row."""
    _check_length(token, TOKEN_BYTES)
    return _LEAF_DOMAIN + token + content


_FIELDS: Final = {
    "account": frozenset(field.name for field in fields(AccountSnapshot)),
    "application": frozenset(field.name for field in fields(ApplicationEvent)),
}
for _record, _names in _FIELDS.items():
    if _names != {attribute.name for attribute in ATTRIBUTES if attribute.record == _record}:
        raise ValueError(f"catalogue.toml and the fields of {_record} rows differ")


def _check_length(value: bytes, wanted: int) -> None:
    if len(value) != wanted:
        raise ValueError(f"{len(value)} bytes, {wanted} wanted")
