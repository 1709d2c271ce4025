"""One attribute's part of a mapping: checked once, then applied to every row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final, TypeAlias

from concordat.bulk._settings import Settings
from concordat.bulk._targets import Form, Target
from concordat.bulk._values import (
    Negative,
    NumberFormat,
    ValueFault,
    coded,
    date_of,
    is_date_format,
    number_of,
    text_of,
)
from concordat_privacy.catalogue.bands import spending_volatility

Values: TypeAlias = Mapping[str, object]
Read: TypeAlias = Callable[[Values], Any]
"""A row's columns -> the attribute, None where the row has none. Raises ValueFault."""

_ISO_DATE: Final = "%Y-%m-%d"
_UNSIGNED: Final[tuple[Negative, ...]] = ("refuse", "zero")
_MAX_MONTHS: Final = 1_000
"""Of a history in a file; the catalogue keeps far fewer."""
_MAX_SKIPPED_MONTHS: Final = 12
_SOURCES: Final = ("column", "columns", "constant", "ratio", "variation")


@dataclass(frozen=True, slots=True)
class Attribute:
    """How one attribute is made from a row."""

    target: Target
    columns: tuple[str, ...]
    read: Read
    """For a PSEUDONYM, the texts that it is made of."""


def attribute(target: Target, settings: Settings, empty: frozenset[str]) -> Attribute:
    """Check an attribute's settings. `empty`: texts that stand for nothing. MappingError."""
    if target.form is Form.OTHER:
        raise settings.error("", "no mapping can make this attribute")
    empty = frozenset(settings.texts("empty", empty))
    given = [name for name in _SOURCES if name in settings]
    if len(given) != 1:
        raise settings.error("", f"one of {', '.join(_SOURCES)} wanted, {len(given)} given")
    if given == ["constant"]:
        made = _constant(target, settings)
    else:
        made = _MAKERS[target.form](target, settings, empty)
    settings.finish()
    return made


def _constant(target: Target, settings: Settings) -> Attribute:
    value: Any
    if target.form in (Form.CODE, Form.BAND):
        assert target.kind is not None
        value = settings.member("constant", target.kind)
    elif target.form is Form.DATE:
        assert target.from_date is not None
        value = target.from_date(settings.date("constant"))
    else:
        raise settings.error("constant", "this attribute differs from row to row")
    return Attribute(target, (), lambda _: value)


def _pseudonym(target: Target, settings: Settings, empty: frozenset[str]) -> Attribute:
    columns = _columns(settings)

    def read(values: Values) -> list[str] | None:
        parts = [_text(values[name], empty) for name in columns]
        if all(part is None for part in parts):
            return None
        return [part or "" for part in parts]

    return Attribute(target, columns, read)


def _date(target: Target, settings: Settings, empty: frozenset[str]) -> Attribute:
    column = settings.text("column")
    form = settings.text("format", _ISO_DATE)
    if not is_date_format(form):
        raise settings.error("format", f"{form!r} is no format of dates; e.g. {_ISO_DATE!r}")
    keep = target.from_date
    assert keep is not None

    def read(values: Values) -> int | None:
        found: date | None = date_of(_held(values[column], empty), form)
        return None if found is None else keep(found)

    return Attribute(target, (column,), read)


def _code(target: Target, settings: Settings, empty: frozenset[str]) -> Attribute:
    column = settings.text("column")
    assert target.kind is not None
    codes = _codes(target.kind, settings) or {
        member.name: member for member in target.kind if member != 0
    }

    def read(values: Values) -> Any:
        text = _text(values[column], empty)
        return None if text is None else coded(text, codes)

    return Attribute(target, (column,), read)


def _band(target: Target, settings: Settings, empty: frozenset[str]) -> Attribute:
    assert target.kind is not None
    codes = _codes(target.kind, settings)
    if "ratio" in settings:
        return _ratio(target, settings, empty)
    if "variation" in settings:
        return _variation(target, settings, empty)
    column = settings.text("column")
    form = _number_format(target, settings)
    band = target.band
    assert band is not None

    # A code such as "05" is a number too: numbers beside codes must be asked for.
    or_number = settings.flag("or_number", not codes)

    def read(values: Values) -> Any:
        held = _held(values[column], empty)
        text = _text(held, empty) if codes and isinstance(held, str | int) else None
        if text is not None and (text in codes or not or_number):
            return coded(text, codes)
        return _banded(band, number_of(held, form))

    return Attribute(target, (column,), read)


def _ratio(target: Target, settings: Settings, empty: frozenset[str]) -> Attribute:
    columns = settings.column_list("ratio")
    if len(columns) != 2:
        raise settings.error("ratio", "two columns wanted: what is divided, and by what")
    part, whole = columns
    form = _number_format(target, settings)
    plain = NumberFormat(Decimal(1), form.decimal, form.grouping, form.negative)
    band = target.band
    assert band is not None

    def read(values: Values) -> Any:
        above = number_of(_held(values[part], empty), plain)
        below = number_of(_held(values[whole], empty), plain)
        if above is None or not below:
            return None
        return _banded(band, above * form.unit / below)

    return Attribute(target, columns, read)


def _variation(target: Target, settings: Settings, empty: frozenset[str]) -> Attribute:
    columns = settings.column_list("variation")
    form = _number_format(target, settings)
    band = target.band
    assert band is not None

    def read(values: Values) -> Any:
        months: list[float] = []
        for name in columns:
            month = number_of(_held(values[name], empty), form)
            if month is None:
                break
            months.append(float(month))
        return _banded(band, spending_volatility(months))

    return Attribute(target, columns, read)


def _months(target: Target, settings: Settings, empty: frozenset[str]) -> Attribute:
    assert target.kind is not None
    codes = _codes(target.kind, settings)
    order = settings.choice("order", ("newest_first", "oldest_first"), "newest_first")
    at_most = settings.integer("at_most", _MAX_MONTHS, 1, _MAX_MONTHS)
    step = -1 if order == "oldest_first" else 1
    # A history that includes the month described: its own attribute says that month.
    skip = settings.integer("skip", 0, 0, _MAX_SKIPPED_MONTHS)
    if "column" in settings:
        if not codes:
            raise settings.error("codes", "wanted: what each character of the column stands for")
        if any(len(code) != 1 for code in codes):
            raise settings.error("codes", "one character each wanted")
        column = settings.text("column")

        def read_text(values: Values) -> bytes | None:
            text = _text(values[column], empty)
            if text is None:
                return None
            return bytes(coded(character, codes) for character in text[::step][skip:][:at_most])

        return Attribute(target, (column,), read_text)

    columns = _columns(settings)
    form = _number_format(target, settings)
    band = target.band
    assert band is not None

    def month(value: object) -> int:
        held = _held(value, empty)
        if codes:
            text = text_of(held)
            return 0 if text is None else coded(text, codes)
        return int(_banded(band, number_of(held, form)))

    def read(values: Values) -> bytes:
        months = bytes(month(values[name]) for name in columns[::step][skip:])
        return months[:at_most].rstrip(b"\0")

    return Attribute(target, columns, read)


_MAKERS: Final = {
    Form.PSEUDONYM: _pseudonym,
    Form.DATE: _date,
    Form.BAND: _band,
    Form.CODE: _code,
    Form.MONTHS: _months,
}


def _columns(settings: Settings) -> tuple[str, ...]:
    if "columns" in settings:
        return settings.column_list("columns")
    return (settings.text("column"),)


def _codes(kind: type[IntEnum], settings: Settings) -> dict[str, int]:
    return settings.members("codes", kind) if "codes" in settings else {}


def _number_format(target: Target, settings: Settings) -> NumberFormat:
    decimal = settings.choice("decimal", (".", ","), ".")
    grouping = settings.choice("grouping", ("", ",", ".", "'", " ", "_"), "")
    if grouping == decimal:
        raise settings.error("grouping", "the same as decimal")
    choices: tuple[Negative, ...] = ("refuse", "zero", "keep") if target.is_signed else _UNSIGNED
    default: Negative = "keep" if target.is_signed else "refuse"
    return NumberFormat(
        settings.positive("unit"),
        decimal,
        grouping,
        settings.choice("negative", choices, default),
    )


def _held(value: object, empty: frozenset[str]) -> object:
    if isinstance(value, str):
        value = value.strip()
        return None if not value or value in empty else value
    return value


def _text(value: object, empty: frozenset[str]) -> str | None:
    text = text_of(value)
    return None if text is None or text in empty else text


def _banded(band: Callable[[Any], IntEnum], number: object) -> IntEnum:
    try:
        return band(number)
    except (ValueError, TypeError):
        raise ValueFault("OUT_OF_RANGE", "a number that no band holds") from None
