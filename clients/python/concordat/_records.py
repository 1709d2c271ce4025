"""The types of a record's fields, checked before anything is sent.

No band is made of a plain number: 3, meant as days past due, would arrive as band 3, which is 8 to
29 days, and nobody could tell afterwards.
"""

from enum import Enum
from operator import attrgetter

from concordat_privacy.catalogue.bands import BAND_TYPES
from concordat_privacy.catalogue.definitions import ATTRIBUTES, SCALES, Attribute
from concordat_privacy.catalogue.rows import AccountSnapshot, ApplicationEvent, FieldProblem, Row

# By type of the catalogue: the type in Python, and how to get a value of it.
_FORMATS: dict[str, tuple[type, str]] = {
    "ref": (bytes, "your own pseudonym, 16 bytes"),
    "month": (int, "concordat.month_number(date) gives it"),
    "quarter": (int, "concordat.quarter_number(date) gives it"),
    "day": (int, "concordat.day_number(date) gives it"),
    "profile": (bytes, "bytes(map(concordat.days_past_due_band, days)) makes them"),
}


def _wanted(attribute: Attribute) -> tuple[str, type, str]:
    if attribute.type in _FORMATS:
        return attribute.name, *_FORMATS[attribute.type]
    kind = BAND_TYPES[attribute.type]
    if SCALES[attribute.type].bounds:
        return (
            attribute.name,
            kind,
            f"concordat.band_of(concordat.{kind.__name__}, value) makes one",
        )
    return attribute.name, kind, f"name one, as in concordat.{kind.__name__}.{list(kind)[1].name}"


# (field, type, how to get a value of that type)
_ACCOUNT = tuple(_wanted(a) for a in ATTRIBUTES if a.record == "account")
_ACCOUNT_FIELDS = attrgetter(*(name for name, *_ in _ACCOUNT))
_ACCOUNT_TYPES = tuple(wanted for _, wanted, _ in _ACCOUNT)
_APPLICATION = tuple(_wanted(a) for a in ATTRIBUTES if a.record == "application")


def mistyped(record: object) -> list[FieldProblem]:
    """Every field whose value is of another type than its class declares."""
    match record:
        case AccountSnapshot():
            # As nearly all are; one by one, of millions of rows, is dear.
            if tuple(map(type, _ACCOUNT_FIELDS(record))) == _ACCOUNT_TYPES:
                return []
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
