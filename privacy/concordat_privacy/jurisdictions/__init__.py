"""What the law of a place asks of consents and of what rests on them, read from `policies.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

UNNAMED: Final = "ZZ"
"""Stands for no place (ISO 3166 leaves ZZ to its users)."""


class AdverseClock(StrEnum):
    """From when the years of an adverse ending are counted."""

    LAST_REPORT = "last_report"
    """From the month of its newest report: the end of the adverse state, as far as it is known."""
    FIRST_DELINQUENCY = "first_delinquency"
    """From 180 days after the delinquency that led to it began, whatever is reported later; from
    the newest report where no report named that month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one jurisdiction. Days and months are calendar ones, UTC."""

    code: str
    """ISO 3166-1 alpha-2, or EU."""
    name: str
    consent_max_years: int
    purposes_per_consent: int
    requires: tuple[str, ...]
    """Fields of a consent that are optional elsewhere, by their names in the contract."""
    withdrawal_days: int
    """From the subject's asking to the recorded withdrawal."""
    acknowledge_days: int
    """From a notice to its acknowledgement by the recipient."""
    deletion_days: int
    """From a notice to the recipient's deletion receipt."""
    adverse_retention_years: int
    adverse_clock: AdverseClock
    adverse_notice: bool
    """Whether adverse items need a notice to the subject before they are contributed."""
    dispute_days: int
    dispute_extension_days: int
    reasons_days: int
    record_months: int
    """How long records of adverse decisions are kept."""
    sources: tuple[str, ...]


def policies() -> Mapping[str, Policy]:
    """All policies by code."""
    return _read()[1]


def policies_version() -> int:
    """Version of the data: consents name the one that they were recorded under."""
    return _read()[0]


@cache
def _read() -> tuple[int, Mapping[str, Policy]]:
    text = (files(__package__) / "policies.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    version = int(data.pop("version"))
    return version, {code: _policy(code, table) for code, table in data.items()}


def _policy(code: str, table: Mapping[str, object]) -> Policy:
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
    if "adverse_clock" in values:
        values["adverse_clock"] = AdverseClock(str(values["adverse_clock"]))
    expected = {field.name for field in fields(Policy)} - {"code"}
    if values.keys() != expected:
        raise ValueError(f"policies.toml: [{code}]: {sorted(values.keys() ^ expected)}")
    return Policy(code=code, **values)  # type: ignore[arg-type]  # a test reads every value
