"""Mappings: which column of a member's file gives which attribute, in TOML.

A mapping is checked as a whole before a row is read; docs/contributing-data.md shows one.
"""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from concordat.bulk._attributes import Attribute, Values, attribute
from concordat.bulk._csv import ENCODINGS
from concordat.bulk._paths import checked_path, path_fault
from concordat.bulk._pseudonyms import pseudonym
from concordat.bulk._settings import Settings
from concordat.bulk._targets import RECORDS, Form, targets
from concordat.bulk._values import ValueFault, text_of
from concordat.bulk.errors import MappingError
from concordat_privacy.catalogue.rows import FieldProblem, RowRef
from concordat_privacy.catalogue.rows import Row as Record
from concordat_privacy.identifiers import DEFAULT_REGISTRY, Identifier, IdentifierInvalid

INCLUDED: Final = ("metro2", "pboc2")
"""Names of the mappings that come with the SDK."""

_VERSION: Final = 1
_REPLACES: Final = ("replaces_entry", "replaces_item")
_KINDS: Final = tuple(kind.kind for kind in DEFAULT_REGISTRY.kinds)
_MAX_BYTES: Final = 1 << 20
"""Of a mapping's file."""
_MAX_DIGITS: Final = 20
"""Of 2**64 - 1."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Where a row's subject is named."""

    columns: tuple[str, ...]
    """The first that holds something counts."""
    kind: str | None
    """Kind of identifier, as "cn-resident-id/1"; None where a column says it."""
    kind_column: str = ""
    kind_codes: Table[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RecordMapping:
    """How rows of one kind are made."""

    name: str
    record: type
    attributes: tuple[Attribute, ...]
    when: tuple[str, frozenset[str]] | None
    """The column, and its values, that rows of this kind have; None: all rows."""
    replaces: tuple[str, str] | None = None
    """The columns of the entry and the item of the row that a correction replaces."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A row that can be contributed once its subject is a token."""

    identifier: Identifier
    record: Record
    replaces: RowRef | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """A checked mapping."""

    digest: bytes
    """SHA-256 of everything that it says."""
    encoding: str
    delimiter: str
    quoted: bool
    heading: tuple[str, ...] | None
    """Names of the columns of a CSV file that has no heading."""
    subject: Subject
    records: tuple[RecordMapping, ...]
    key_file: Path | None
    """Of the pseudonyms' key; None: beside the journal."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        found = dict.fromkeys(self.subject_columns)
        for record in self.records:
            if record.when is not None:
                found[record.when[0]] = None
            found.update(dict.fromkeys(record.replaces or ()))
            for one in record.attributes:
                found.update(dict.fromkeys(one.columns))
        return tuple(found)

    @property
    def subject_columns(self) -> tuple[str, ...]:
        """The columns that say whose a row is, once each."""
        more = (self.subject.kind_column,) if self.subject.kind_column else ()
        return tuple(dict.fromkeys(self.subject.columns + more))

    def key_beside(self, journal: Path) -> Path:
        """The file of the pseudonyms' key of a job with this journal."""
        return self.key_file or journal.parent / "account-ref.key"

    def with_identifier(self, kind: str, column: str | None = None) -> "Mapping":
        """The same mapping with another kind of identifier, and another column of it.

        Raises MappingError.
        """
        if kind not in _KINDS:
            raise MappingError(f"{kind!r}; one of {', '.join(_KINDS)} wanted", key="subject.kind")
        columns = self.subject.columns if column is None else (column,)
        digest = hashlib.sha256(self.digest + json.dumps([kind, columns]).encode()).digest()
        return replace(self, digest=digest, subject=Subject(columns, kind))

    def map(self, values: Values, key: bytes) -> Mapped | list[FieldProblem]:
        """One row from its columns, banded; or everything that is wrong with it.

        `key` is the secret of the pseudonyms. No problem repeats a value.
        """
        found: list[FieldProblem] = []
        identifier = self._identifier(values, found)
        chosen = self._record(values)
        if chosen is None:
            found.append(FieldProblem("", "UNKNOWN_VALUE", "the mapping has no kind for this row"))
            return found
        made: dict[str, Any] = {}
        for one in chosen.attributes:
            try:
                value = one.read(values)
                if value is None:
                    if one.target.is_required:
                        raise ValueFault("REQUIRED", "empty")
                    continue
            except ValueFault as fault:
                path = f"{chosen.name}.{one.target.name}"
                text = f"{_named(one.columns)}: {fault.description}"
                found.append(FieldProblem(path, fault.reason, text))
                continue
            if one.target.form is Form.PSEUDONYM:
                value = pseudonym(key, chosen.name, value)
            made[one.target.name] = value
        replaces = _replaced(values, chosen.replaces, found) if chosen.replaces else None
        if found or identifier is None:
            return found
        record: Record = chosen.record(**made)
        return Mapped(identifier, record, replaces)

    def identify(self, values: Values) -> Identifier | list[FieldProblem]:
        """Whose a row is, from the columns of its subject; or what is wrong with them."""
        found: list[FieldProblem] = []
        return self._identifier(values, found) or found

    def _record(self, values: Values) -> RecordMapping | None:
        for record in self.records:
            if record.when is None:
                return record
            column, wanted = record.when
            try:
                if text_of(values[column]) in wanted:
                    return record
            except ValueFault:
                continue
        return None

    def _identifier(self, values: Values, found: list[FieldProblem]) -> Identifier | None:
        subject = self.subject
        try:
            texts = (text_of(values[name]) for name in subject.columns)
            text = next((text for text in texts if text is not None), None)
            if text is None:
                raise ValueFault("REQUIRED", f"{_named(subject.columns)}: empty")
            return DEFAULT_REGISTRY.parse(self._kind(values), text)
        except ValueFault as fault:
            found.append(FieldProblem("subject", fault.reason, fault.description))
        except IdentifierInvalid as error:
            description = f"{_named(subject.columns)}: {error}"
            found.append(FieldProblem("subject", "MALFORMED", description))
        return None

    def _kind(self, values: Values) -> str:
        subject = self.subject
        if subject.kind is not None:
            return subject.kind
        assert subject.kind_codes is not None
        text = text_of(values[subject.kind_column])
        if text is None or text not in subject.kind_codes:
            raise ValueFault(
                "UNKNOWN_VALUE",
                f"{subject.kind_column}: a kind of identifier that the mapping does not list",
            )
        return subject.kind_codes[text]


def load_mapping(mapping: str | os.PathLike[str] | Mapping) -> Mapping:
    """The mapping of a file, or the included one of that name. Raises MappingError, InvalidInput.

    A relative `pseudonyms.key_file` is beside the mapping's file.
    """
    if isinstance(mapping, Mapping):
        return mapping
    if mapping in INCLUDED:
        text = resources.files(__package__).joinpath(f"mappings/{mapping}.toml").read_text("utf-8")
        return parse_mapping(text)
    path = checked_path(mapping, "mapping")
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        known = ", ".join(INCLUDED)
        raise MappingError(f"{error.strerror}; included are {known}", path=path) from None
    except UnicodeDecodeError:
        raise MappingError("is not UTF-8", path=path) from None
    if len(data) > _MAX_BYTES:
        raise MappingError("is longer than a mapping can be", path=path)
    try:
        return parse_mapping(text, path.parent)
    except MappingError as error:
        raise error.of_file(path) from None


def parse_mapping(text: str, folder: Path | None = None) -> Mapping:
    """The mapping that a TOML text says. Raises MappingError, which names key and reason."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"is no TOML: {error}") from None
    except (ValueError, RecursionError):
        # Python's own: an integer of thousands of digits, or tables that deep in one another.
        raise MappingError("is no mapping: a number too long, or brackets too deep") from None
    if not table:
        raise MappingError("is empty: a mapping begins with version = 1")
    root = Settings("", table)
    if root.value("version") != _VERSION:
        raise root.error("version", f"{_VERSION} wanted")
    # For people: what a file has, and no attribute can hold yet.
    root.value("description", "")
    root.value("not_held", {})
    file = root.subtable("file", {})
    encoding = file.choice("encoding", ENCODINGS, "utf-8")
    delimiter = file.text("delimiter", ",")
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise file.error("delimiter", "one ASCII character wanted, and no quote")
    quoted = file.flag("quoted", True)
    heading = file.column_list("columns") if "columns" in file else None
    empty = frozenset(file.texts("empty", ()))
    file.finish()

    subject = _subject(root.subtable("subject"))
    pseudonyms = root.subtable("pseudonyms", {})
    key_file = _key_file(pseudonyms)
    pseudonyms.finish()
    records = tuple(
        _record(name, record, root.subtable(name), empty)
        for name, record in RECORDS.items()
        if name in root
    )
    for name in RECORDS:
        root.value(name, None)
    root.finish()
    if not records:
        raise MappingError(f"one of the tables {', '.join(RECORDS)} wanted")
    for record in records[:-1]:
        if record.when is None:
            raise MappingError("wanted, to tell it from the next kind", key=f"{record.name}.when")
    made = Mapping(
        hashlib.sha256(text.encode()).digest(),
        encoding,
        delimiter,
        quoted,
        heading,
        subject,
        records,
        None if key_file is None else (folder or Path()) / key_file,
    )
    _check_heading(made)
    return made


def _key_file(settings: Settings) -> Path | None:
    if "key_file" not in settings:
        return None
    text = settings.text("key_file")
    fault = path_fault(text)
    if fault is not None:
        raise settings.error("key_file", fault)
    return Path(text)


def _subject(settings: Settings) -> Subject:
    columns = (
        settings.column_list("columns") if "columns" in settings else (settings.text("column"),)
    )
    if "kinds" in settings:
        kinds = settings.subtable("kinds")
        column = kinds.text("column")
        codes = kinds.subtable("codes")
        named = {code: codes.choice(code, _KINDS) for code in codes.table}
        kinds.finish()
        settings.finish()
        return Subject(columns, None, column, named)
    kind = settings.choice("kind", _KINDS)
    settings.finish()
    return Subject(columns, kind)


def _record(name: str, record: type, settings: Settings, empty: frozenset[str]) -> RecordMapping:
    known = targets(name)
    when = None
    if "when" in settings:
        table = settings.subtable("when")
        when = (table.text("column"), frozenset(table.texts("values")))
        table.finish()
    replaces = None
    if any(field in settings for field in _REPLACES):
        replaces = (settings.text(_REPLACES[0]), settings.text(_REPLACES[1]))
    attributes = []
    for field in settings.table:
        if field == "when" or field in _REPLACES:
            continue
        if field not in known:
            raise settings.error(field, f"no such attribute; there are {', '.join(known)}")
        if isinstance(settings.table[field], str):
            entry = Settings(f"{name}.{field}", {"column": settings.table[field]})
        else:
            entry = settings.subtable(field)
        attributes.append(attribute(known[field], entry, empty))
    for field, target in known.items():
        if target.is_required and field not in settings:
            raise settings.error(field, "is missing")
    return RecordMapping(name, record, tuple(attributes), when, replaces)


def _replaced(values: Values, columns: tuple[str, str], found: list[FieldProblem]) -> RowRef | None:
    """The row that a row of a file replaces; None where both columns are empty."""
    try:
        texts = [text_of(values[name]) for name in columns]
        if texts == [None, None]:
            return None
        # As wide as a RowRef on the wire.
        limits = (2**64, 2**32)
        for text, limit in zip(texts, limits, strict=True):
            if text is None:
                raise ValueFault("REQUIRED", "both or none wanted")
            is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
            if not is_number or int(text) >= limit:
                raise ValueFault("MALFORMED", "whole numbers wanted")
        return RowRef(*(int(text or 0) for text in texts))
    except ValueFault as fault:
        text = f"{_named(columns)}: {fault.description}"
        found.append(FieldProblem("replaces", fault.reason, text))
        return None


def _check_heading(mapping: Mapping) -> None:
    if mapping.heading is None:
        return
    for column in mapping.columns:
        if column not in mapping.heading:
            raise MappingError(f"does not list {column!r}, which is read", key="file.columns")


def _named(columns: Sequence[str]) -> str:
    return ", ".join(columns) or "constant"
