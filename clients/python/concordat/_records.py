"""The types of a record's fields, checked before anything is sent.

No band is made of a plain number: 3, meant as days past due, would arrive as band 3, which is 8 to
29 days, and nobody could tell afterwards.
"""

from enum import Enum

from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.rows import AccountSnapshot, ApplicationEvent, FieldProblem, Row

_AMOUNT = "concordat.amount_band(amount) makes one"
_MEMBER = "name one, as in concordat.{}"

# (field, type, how to get a value of that type)
_ACCOUNT: tuple[tuple[str, type, str], ...] = (
    ("account_ref", bytes, "your own pseudonym of the account, 16 bytes"),
    ("as_of_month", int, "concordat.month_number(date) gives it"),
    ("status", AccountStatus, _MEMBER.format("AccountStatus.OPEN")),
    ("product", ProductClass, _MEMBER.format("ProductClass.REVOLVING")),
    ("opened_quarter", int, "concordat.quarter_number(date) gives it"),
    ("limit", AmountBand, _AMOUNT),
    ("balance", AmountBand, _AMOUNT),
    ("past_due", AmountBand, _AMOUNT),
    ("days_past_due", DaysPastDueBand, "concordat.days_past_due_band(days) makes one"),
    ("utilisation", UtilisationBand, "concordat.utilisation_band(percent) makes one"),
    ("spend_volatility", VolatilityBand, "concordat.volatility_band(coefficient) makes one"),
    ("payment_profile", bytes, "bytes(map(concordat.days_past_due_band, days)) makes them"),
)
_APPLICATION: tuple[tuple[str, type, str], ...] = (
    ("application_ref", bytes, "your own pseudonym of the application, 16 bytes"),
    ("day", int, "concordat.day_number(date) gives it"),
    ("product", ProductClass, _MEMBER.format("ProductClass.REVOLVING")),
)


def mistyped(record: object) -> list[FieldProblem]:
    """Every field whose value is of another type than its class declares."""
    match record:
        case AccountSnapshot():
            return _mistyped_fields(record, "account", _ACCOUNT)
        case ApplicationEvent():
            return _mistyped_fields(record, "application", _APPLICATION)
    return [
        wrong_type(
            "record",
            record,
            "an AccountSnapshot or ApplicationEvent",
            "each has a constructor in concordat",
        )
    ]


def wrong_type(field: str, value: object, wanted: str, advice: str) -> FieldProblem:
    """A value of another type. It is not repeated: it may be what must not be shown."""
    text = f"{wanted} wanted, {type(value).__name__} given; {advice}"
    return FieldProblem(field, "WRONG_TYPE", text)


def _mistyped_fields(
    record: Row, kind: str, fields: tuple[tuple[str, type, str], ...]
) -> list[FieldProblem]:
    found = []
    for name, wanted, advice in fields:
        value = getattr(record, name)
        if not (_is_integer(value) if wanted is int else isinstance(value, wanted)):
            found.append(wrong_type(f"{kind}.{name}", value, wanted.__name__, advice))
    return found


def _is_integer(value: object) -> bool:
    """Whether this is an integer, perhaps numpy's; flags and members of enumerations are none."""
    return hasattr(type(value), "__index__") and not isinstance(value, bool | Enum)
