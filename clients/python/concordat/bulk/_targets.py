"""What a row can be mapped to: the attributes of catalogue.toml, by their types.

Nothing here names an attribute or a band: what is added to the catalogue can be mapped as it is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any, Final

from concordat_privacy.catalogue.bands import BAND_TYPES, DaysPastDueBand
from concordat_privacy.catalogue.calendar import day_number, month_number, quarter_number
from concordat_privacy.catalogue.definitions import ATTRIBUTES, SCALES, Attribute
from concordat_privacy.catalogue.rows import AccountSnapshot, ApplicationEvent

RECORDS: Final[Mapping[str, type]] = MappingProxyType(
    {"account": AccountSnapshot, "application": ApplicationEvent}
)
"""The kinds of row, by the name that the catalogue gives each."""

Banding = Callable[[Any], IntEnum]


class Form(Enum):
    """How an attribute's value is made."""

    PSEUDONYM = "the member's own number, replaced by 16 bytes"
    DATE = "a date, of which the month, quarter or day is kept"
    BAND = "a number, of which the band is kept"
    CODE = "a member of an enumeration"
    MONTHS = "one band for each month"
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
    """Gives the band of a number, for a BAND or MONTHS."""
    is_signed: bool = False
    """Whether numbers below 0 have a band."""
    from_date: Callable[[date], int] | None = None
    """Gives what is kept of a DATE."""


def targets(record: str, attributes: Iterable[Attribute] = ATTRIBUTES) -> Mapping[str, Target]:
    """The attributes of a kind of row, by name, in the catalogue's order."""
    return {one.name: _target(one) for one in attributes if one.record == record}


def _target(attribute: Attribute) -> Target:
    name, is_required = attribute.name, attribute.required
    if attribute.type == "ref":
        return Target(name, Form.PSEUDONYM, is_required)
    if attribute.type == "profile":
        return Target(name, Form.MONTHS, is_required, DaysPastDueBand, _banding(DaysPastDueBand))
    if attribute.type in _DATES:
        return Target(name, Form.DATE, is_required, from_date=_DATES[attribute.type])
    if attribute.type not in SCALES:
        return Target(name, Form.OTHER, is_required)
    kind, scale = BAND_TYPES[attribute.type], SCALES[attribute.type]
    if not scale.bounds:
        return Target(name, Form.CODE, is_required, kind)
    return Target(name, Form.BAND, is_required, kind, _banding(kind), scale.signed)


_DATES: Final[Mapping[str, Callable[[date], int]]] = MappingProxyType(
    {"day": day_number, "month": month_number, "quarter": quarter_number}
)


def _banding(kind: type[IntEnum]) -> Banding:
    """The catalogue's `band_of` for one kind, for numbers that were checked to be finite."""
    scale = SCALES[kind.__name__]
    members = tuple(kind)

    def band(number: Any) -> IntEnum:
        if number is None:
            return members[0]
        if number < 0 and not scale.signed:
            raise ValueError("below 0")
        # An index costs a fifth of an enumeration's constructor.
        return members[scale.band(number)]

    return band
