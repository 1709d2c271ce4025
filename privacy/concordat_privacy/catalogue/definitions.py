"""Reads catalogue.toml: scales, attributes and the signals' entries, checked as a whole.

Nothing else reads the file. What is wrong with it is a ValueError when the package is imported,
naming the entry: a gateway with half a catalogue does not start.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from typing import Any, Final

FORMATS: Final = frozenset({"ref", "day", "month", "quarter", "profile"})
"""Types of attributes that are no scale."""
CODED: Final = frozenset({"status", "product"})
"""Attributes of an account that the pool keeps beside the packed bands, as it selects by them."""


class Keep(Enum):
    """How long an attribute is kept and used."""

    POSITIVE = "P"
    """24 months from the account's last report."""
    NEGATIVE = "N"
    """As POSITIVE; what is adverse for the years of the jurisdiction."""
    APPLICATION = "A"
    """24 months."""
    BEHAVIOUR = "B"
    """Six months."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Bands of one kind. Band 0 is unknown."""

    name: str
    labels: tuple[str, ...]
    """The label of band b stands at position b - 1."""
    unit: str = ""
    """Of the raw value; empty for codes."""
    zero: bool = False
    """Band 1 is exactly 0."""
    bounds: tuple[float, ...] = ()
    """Lower ends of the bands that follow the first measured one, inclusive."""
    closed_top: bool = False
    """The last bound belongs to the band below it."""
    signed: bool = False
    """Values below 0 have a band too."""

    def band(self, value: Any) -> int:
        """The number of the band that a checked raw value falls into."""
        first = 2 if self.zero else 1
        if self.zero and value == 0:
            return 1
        if self.closed_top and value == self.bounds[-1]:
            return first + len(self.bounds) - 1
        return first + bisect_right(self.bounds, value)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a contributed row."""

    record: str
    """"account" or "application"."""
    name: str
    type: str
    """Name of a scale, or one of FORMATS."""
    required: bool
    fresh: str
    """How often the furnisher reports it: once, hour, day, week or month."""
    keep: Keep
    en: str
    zh: str
    category: str = ""
    """What a consent must cover beside the record's own category; empty for nothing more."""
    code: str = ""
    """Number in the consortium's proposal."""

    @property
    def is_band(self) -> bool:
        """Whether it is one of the packed bands of an account."""
        return self.record == "account" and self.type not in FORMATS and self.name not in CODED


@dataclass(frozen=True, slots=True)
class SignalEntry:
    """What the file says of one signal; see `signals.SignalDefinition`."""

    name: str
    labels: tuple[str, ...]
    category: str
    basis: str
    max_age_months: int
    reason_en: str
    reason_zh: str
    min_months: int


def _scale(name: str, entry: dict[str, Any]) -> Scale:
    entry = dict(entry)
    bounds = tuple(entry.pop("bounds", ()))
    scale = Scale(name, tuple(entry.pop("labels")), bounds=bounds, **entry)
    measured = len(bounds) + 1 + scale.zero if bounds else len(scale.labels)
    if measured != len(scale.labels):
        raise ValueError(f"scale {name}: {len(scale.labels)} labels for {measured} bands")
    if list(bounds) != sorted(set(bounds)):
        raise ValueError(f"scale {name}: bounds must rise")
    return scale


def _attribute(entry: dict[str, Any], scales: Mapping[str, Scale]) -> Attribute:
    keep = Keep(entry["keep"])
    attribute = Attribute(**{"required": False, **entry, "keep": keep})
    if attribute.type not in FORMATS and attribute.type not in scales:
        raise ValueError(f"attribute {attribute.name}: no scale {attribute.type}")
    return attribute


def _signal(entry: dict[str, Any], scales: Mapping[str, Scale]) -> SignalEntry:
    entry = {"min_months": 0, **entry}
    scale = entry.pop("scale", None)
    labels = scales[scale].labels if scale else tuple(entry.pop("labels"))
    return SignalEntry(labels=labels, **entry)


_FILE: Final[dict[str, Any]] = tomllib.loads(
    files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
)

CATALOGUE_VERSION: Final[int] = _FILE["version"]
OLDEST_VERSION: Final = 1
"""Rows in the bands of this version and later are taken: a later one only adds."""

SCALES: Final[Mapping[str, Scale]] = {
    name: _scale(name, entry) for name, entry in _FILE["scales"].items()
}
ATTRIBUTES: Final = tuple(_attribute(entry, SCALES) for entry in _FILE["attributes"])
SIGNAL_ENTRIES: Final = tuple(_signal(entry, SCALES) for entry in _FILE["signals"])

BANDS: Final = tuple(attribute for attribute in ATTRIBUTES if attribute.is_band)
"""The packed bands of an account: the band of attribute i is byte i. Only ever grows."""
POSITION: Final[Mapping[str, int]] = {attribute.name: i for i, attribute in enumerate(BANDS)}
