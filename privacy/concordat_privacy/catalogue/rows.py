"""Rows that members contribute, the rules each must keep, and their canonical bytes.

A row is checked once, by `problems`, when it arrives; whatever reads it later trusts it. Which
attributes there are, which are required and what a consent must cover is for catalogue.toml to
say; what one attribute has to do with another is said here.
"""

from __future__ import annotations

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
from concordat_privacy.catalogue.calendar import month_of_day, month_text, quarter_of_month
from concordat_privacy.catalogue.definitions import ATTRIBUTES, BANDS

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
    """For a person. Never carries the row's own references or values."""


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
            described = f"a number from 0 to {len(members) - 1} wanted"
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


def problems(row: Row, today_day: int, oldest_delinquency: int = 0) -> list[FieldProblem]:
    """Everything that is wrong with a row on the day `today_day`; empty for a good row.

    The day after `today_day` is accepted too: a member's local date can be ahead of UTC.
    `oldest_delinquency`: where adverse endings go by their first delinquency, the oldest month of
    one that is not past its retention (`retention.oldest_delinquency`); 0: they do not.
    """
    if isinstance(row, AccountSnapshot):
        return _account_problems(row, today_day, oldest_delinquency)
    return _application_problems(row, today_day)


def _account_problems(
    row: AccountSnapshot, today_day: int, oldest_delinquency: int
) -> list[FieldProblem]:
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
            "as_of_month",
            "OUT_OF_RANGE",
            f"a month from {month_text(oldest)} to {month_text(newest)} wanted",
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
        refuse("payment_profile", "UNKNOWN_BAND", f"position {at}: no band has such a number")
    elif len(profile.rstrip(b"\0")) > max(row.as_of_month - 3 * row.opened_quarter, 0):
        refuse("payment_profile", "INCONSISTENT", "a month before the account was opened")

    if row.status == AccountStatus.CLOSED and row.balance > AmountBand.ZERO:
        refuse("balance", "INCONSISTENT", "an account closed and repaid in full has no balance")
    if row.past_due > AmountBand.ZERO and row.days_past_due == DaysPastDueBand.CURRENT:
        refuse("past_due", "INCONSISTENT", "an amount is past due but days_past_due says current")
    if (
        row.status == AccountStatus.OPEN
        and row.past_due == AmountBand.ZERO
        and row.days_past_due > DaysPastDueBand.CURRENT
    ):
        # Of accounts that ended or were restructured the amount can be gone and the days known.
        refuse("days_past_due", "INCONSISTENT", "days past due, but past_due says that nothing is")
    if row.status == AccountStatus.CLOSED and row.remaining_terms > TermsBand.ZERO:
        refuse("remaining_terms", "INCONSISTENT", "a closed account has no instalments left")
    first = row.first_delinquency_month
    if first and not 3 * row.opened_quarter <= first <= row.as_of_month:
        refuse("first_delinquency_month", "OUT_OF_RANGE", "not between opening and as_of_month")
    elif 0 < first < oldest_delinquency and row.status in ADVERSE_STATUSES:
        # Whatever month reports it: it would be deleted at once, and shown until then.
        refuse(
            "first_delinquency_month",
            "OUT_OF_RANGE",
            f"{month_text(oldest_delinquency)} or later wanted of an adverse ending",
        )
    return found


def _application_problems(row: ApplicationEvent, today_day: int) -> list[FieldProblem]:
    found: list[FieldProblem] = []

    def refuse(field: str, reason: str, description: str) -> None:
        found.append(FieldProblem(f"application.{field}", reason, description))

    if len(row.application_ref) != REF_BYTES:
        refuse("application_ref", "WRONG_LENGTH", f"{len(row.application_ref)} bytes, 16 wanted")
    newest, oldest = today_day + 1, today_day - INQUIRY_RETENTION_DAYS
    if not oldest <= row.day <= newest:
        refuse("day", "OUT_OF_RANGE", f"a day of the last {INQUIRY_RETENTION_DAYS} wanted")
    if row.product == ProductClass.UNSPECIFIED:
        refuse("product", "REQUIRED", "a product is required")
    return found


_FIELDS: Final = {
    "account": frozenset(field.name for field in fields(AccountSnapshot)),
    "application": frozenset(field.name for field in fields(ApplicationEvent)),
}
for _record, _names in _FIELDS.items():
    if _names != {attribute.name for attribute in ATTRIBUTES if attribute.record == _record}:
        raise ValueError(f"catalogue.toml and the fields of {_record} rows differ")
