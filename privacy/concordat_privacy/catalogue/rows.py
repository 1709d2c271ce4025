"""Rows that members contribute, the rules each must keep, and their canonical bytes.

A row is checked once, by `problems`, when it arrives; whatever reads it later trusts it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.calendar import month_of_day, quarter_of_month
from concordat_privacy.oprf.token import TOKEN_BYTES

REF_BYTES: Final = 16
MAX_PROFILE_MONTHS: Final = 23

RETENTION_MONTHS: Final = 24
ADVERSE_RETENTION_MONTHS: Final = 60
INQUIRY_RETENTION_DAYS: Final = 730
ADVERSE_STATUSES: Final = frozenset({AccountStatus.SETTLED_LESS, AccountStatus.CHARGED_OFF})


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """Monthly state of one account."""

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

    @classmethod
    def from_numbers(
        cls,
        *,
        account_ref: bytes,
        as_of_month: int,
        status: int,
        product: int,
        opened_quarter: int,
        limit: int,
        balance: int,
        past_due: int,
        days_past_due: int,
        utilisation: int,
        spend_volatility: int,
        payment_profile: bytes,
    ) -> AccountSnapshot:
        """A snapshot from wire numbers. Raises RowError for a number that no band has."""
        found: list[FieldProblem] = []
        row = cls(
            account_ref=account_ref,
            as_of_month=as_of_month,
            status=_member(AccountStatus, status, "account.status", found),
            product=_member(ProductClass, product, "account.product", found),
            opened_quarter=opened_quarter,
            limit=_member(AmountBand, limit, "account.limit", found),
            balance=_member(AmountBand, balance, "account.balance", found),
            past_due=_member(AmountBand, past_due, "account.past_due", found),
            days_past_due=_member(DaysPastDueBand, days_past_due, "account.days_past_due", found),
            utilisation=_member(UtilisationBand, utilisation, "account.utilisation", found),
            spend_volatility=_member(
                VolatilityBand, spend_volatility, "account.spend_volatility", found
            ),
            payment_profile=payment_profile,
        )
        if found:
            raise RowError(found)
        return row


@dataclass(frozen=True, slots=True)
class ApplicationEvent:
    """An application for credit that the furnisher received."""

    application_ref: bytes
    """The furnisher's own pseudonym of the application, 16 bytes."""
    day: int
    """Day of the application, counted from 1970-01-01."""
    product: ProductClass

    @classmethod
    def from_numbers(cls, *, application_ref: bytes, day: int, product: int) -> ApplicationEvent:
        """An event from wire numbers. Raises RowError for a number that no product has."""
        found: list[FieldProblem] = []
        row = cls(
            application_ref, day, _member(ProductClass, product, "application.product", found)
        )
        if found:
            raise RowError(found)
        return row


Row = AccountSnapshot | ApplicationEvent


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


_E = TypeVar("_E", bound=IntEnum)


def _member(kind: type[_E], number: int, field: str, found: list[FieldProblem]) -> _E:
    try:
        return kind(number)
    except ValueError:
        highest = max(kind)
        found.append(FieldProblem(field, "UNKNOWN_BAND", f"{number} is not one of 0 to {highest}"))
        return kind(0)


def retention_months(status: AccountStatus) -> int:
    """Months that a snapshot in this state may be held and used.

    24 after an account's last report; five years for adverse endings, as China's regulation on
    the credit reporting industry (art. 16) sets for adverse items.
    """
    return ADVERSE_RETENTION_MONTHS if status in ADVERSE_STATUSES else RETENTION_MONTHS


def is_adverse(row: Row) -> bool:
    """Whether a row says something adverse of its subject: what laws attach notices and limits to.

    An account that was charged off or settled for less; one that is 30 days or more past due now,
    or was in any month of its payment profile. Fewer days are late payments that lenders do not
    commonly report. Unknown bands are not adverse, nor
    is an application, a sale, a restructuring or a dispute.
    """
    if isinstance(row, ApplicationEvent):
        return False
    return (
        row.status in ADVERSE_STATUSES
        or row.days_past_due >= DaysPastDueBand.FROM_30_TO_59
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
_ACCOUNT_LAYOUT: Final = struct.Struct(">B16sIBBI6BB23s")
_APPLICATION_LAYOUT: Final = struct.Struct(">B16sIB")
_LEAF_DOMAIN: Final = b"concordat/row/v1"


def pack_row(row: Row) -> bytes:
    """The canonical bytes of a good row: fixed layout, big-endian, first byte the kind.

    Account (58 bytes): 1, ref 16, as_of_month u32, status, product, opened_quarter u32, limit,
    balance, past_due, days_past_due, utilisation, spend_volatility, profile length, profile
    padded with zeros to 23. Application (22 bytes): 2, ref 16, day u32, product. Raises
    ValueError for a row that `problems` refuses by length.
    """
    if isinstance(row, ApplicationEvent):
        _check_length(row.application_ref, REF_BYTES)
        return _APPLICATION_LAYOUT.pack(_APPLICATION_TAG, row.application_ref, row.day, row.product)
    _check_length(row.account_ref, REF_BYTES)
    if len(row.payment_profile) > MAX_PROFILE_MONTHS:
        raise ValueError(f"payment profile of {len(row.payment_profile)} months")
    return _ACCOUNT_LAYOUT.pack(
        _ACCOUNT_TAG,
        row.account_ref,
        row.as_of_month,
        row.status,
        row.product,
        row.opened_quarter,
        row.limit,
        row.balance,
        row.past_due,
        row.days_past_due,
        row.utilisation,
        row.spend_volatility,
        len(row.payment_profile),
        row.payment_profile,
    )


def unpack_row(data: bytes) -> Row:
    """The row that `pack_row` packed. Raises ValueError for anything else."""
    kind = data[0] if data else 0
    if kind == _ACCOUNT_TAG and len(data) == _ACCOUNT_LAYOUT.size:
        row = _unpack_account(data)
    elif kind == _APPLICATION_TAG and len(data) == _APPLICATION_LAYOUT.size:
        _, ref, day, product = _APPLICATION_LAYOUT.unpack(data)
        row = ApplicationEvent(ref, day, ProductClass(product))
    else:
        raise ValueError(f"{len(data)} bytes of kind {kind} are no packed row")
    if pack_row(row) != data:
        raise ValueError("packed row is not canonical: bytes beyond the profile's length")
    return row


def _unpack_account(data: bytes) -> Row:
    fields = _ACCOUNT_LAYOUT.unpack(data)
    _, ref, as_of_month, status, product, opened_quarter, *bands, length, profile = fields
    return AccountSnapshot(
        account_ref=ref,
        as_of_month=as_of_month,
        status=AccountStatus(status),
        product=ProductClass(product),
        opened_quarter=opened_quarter,
        limit=AmountBand(bands[0]),
        balance=AmountBand(bands[1]),
        past_due=AmountBand(bands[2]),
        days_past_due=DaysPastDueBand(bands[3]),
        utilisation=UtilisationBand(bands[4]),
        spend_volatility=VolatilityBand(bands[5]),
        payment_profile=profile[:length],
    )


def row_leaf(token: bytes, row: Row) -> bytes:
    """The bytes that a batch's Merkle root commits to for one row.

    "concordat/row/v1", then the subject's 32-byte token, so that the furnisher can check what it
    sent, then `pack_row`. Raises ValueError as `pack_row`.
    """
    _check_length(token, TOKEN_BYTES)
    return _LEAF_DOMAIN + token + pack_row(row)


def _check_length(value: bytes, wanted: int) -> None:
    if len(value) != wanted:
        raise ValueError(f"{len(value)} bytes, {wanted} wanted")
