"""What a row can be mapped to: the catalogue's records, by their fields and the fields' types.

Nothing here names an attribute. A field that is added to a record of the catalogue, or a band with
its banding function, can be mapped as it is.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import date
from enum import Enum, IntEnum
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from concordat_privacy.catalogue import bands
from concordat_privacy.catalogue.bands import DaysPastDueBand
from concordat_privacy.catalogue.calendar import day_number, month_number, quarter_number
from concordat_privacy.catalogue.rows import AccountSnapshot, ApplicationEvent

RECORDS: Final[Mapping[str, type]] = MappingProxyType(
    {"account": AccountSnapshot, "application": ApplicationEvent}
)
"""The kinds of row, by the name that the contract gives each."""

Banding = Callable[[Any], IntEnum]


class Form(Enum):
    """How a field's value is made."""

    PSEUDONYM = "the member's own number, replaced by 16 bytes"
    DATE = "a date, of which the month, quarter or day is kept"
    BAND = "a number, of which the band is kept"
    CODE = "a member of an enumeration"
    MONTHS = "one band for each month"
    FLAG = "yes or no"
    OTHER = "nothing that a mapping can make"


@dataclass(frozen=True, slots=True)
class Target:
    """One attribute of a record."""

    name: str
    form: Form
    is_required: bool
    kind: type[IntEnum] | None = None
    """Enumeration of a BAND, a CODE or MONTHS."""
    band: Banding | None = None
    """Gives the band of a number; None where the enumeration has no such function."""
    from_date: Callable[[date], int] | None = None
    """Gives what is kept of a DATE."""


@cache
def targets(record: type) -> Mapping[str, Target]:
    """The attributes of a record of the catalogue, by name."""
    hints = get_type_hints(record)
    return MappingProxyType(
        {
            field.name: _target(
                field.name,
                hints[field.name],
                field.default is MISSING and field.default_factory is MISSING,
            )
            for field in fields(record)
        }
    )


def _target(name: str, hint: Any, is_required: bool) -> Target:
    kind = _without_none(hint)
    if kind is bytes and name.endswith("_ref"):
        return Target(name, Form.PSEUDONYM, is_required)
    if kind is bytes and name.endswith("_profile"):
        band = _banding().get(DaysPastDueBand)
        return Target(name, Form.MONTHS, is_required, DaysPastDueBand, band)
    if kind is bool:
        return Target(name, Form.FLAG, is_required)
    if kind is int and (convert := _DATES.get(name.rpartition("_")[2])):
        return Target(name, Form.DATE, is_required, from_date=convert)
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        band = _banding().get(kind)
        form = Form.CODE if band is None else Form.BAND
        return Target(name, form, is_required, kind, band)
    return Target(name, Form.OTHER, is_required)


_DATES: Final[Mapping[str, Callable[[date], int]]] = MappingProxyType(
    {"day": day_number, "month": month_number, "quarter": quarter_number}
)


@cache
def _banding() -> Mapping[type[IntEnum], Banding]:
    """The catalogue's banding functions, by the band that each returns."""
    return {
        get_type_hints(function)["return"]: function
        for name, function in inspect.getmembers(bands, inspect.isfunction)
        if name.endswith("_band") and not name.startswith("_")
    }


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return kinds[0] if len(kinds) == 1 else hint
    return hint
