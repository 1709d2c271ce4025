"""Which entries and items belong into a bundle: what was asked for, and all that it rests on.

Two passes over the export. The first finds the uses and the consents that they name, the second
every entry about these consents, since a withdrawal comes after what it ends. A use brings the
whole history of its consents; a consent that was asked for brings its uses too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from concordat_privacy.evidence.export import ExportFiles
from concordat_privacy.evidence.persons import Opening, Person
from concordat_privacy.log import leaf
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.leaf import Json

NO_CONSENT = "00" * 16
CONSENT_STEPS = frozenset(
    f"consent.{step}"
    for step in (
        *("granted", "requested", "activated", "paused", "resumed", "withdrawn", "revoked"),
    )
)
"""Entries of a consent's life; all of them name its subject alike."""


class NothingSelected(LogError):
    """What was asked for is not in the export."""


_BEGIN = {"dispute.opened": "dispute", "erasure.requested": "erasure"}


@dataclass(slots=True)
class Selection:
    """Entries, items by entry, and openings by (entry, item); item -1 is the entry itself."""

    entries: dict[int, bytes] = field(default_factory=dict)
    items: dict[int, set[int]] = field(default_factory=dict)
    openings: dict[tuple[int, int], Opening] = field(default_factory=dict)
    keys_older_than: int | None = None
    """First entry which shows that the person's keys were opened before it; None if none does."""


def select(
    export: ExportFiles,
    *,
    entries: Iterable[int] = (),
    consents: Iterable[str] = (),
    person: Person | None = None,
) -> Selection:
    """Select by index, by consent id (hexadecimal), or everything about a person.

    Raises NothingSelected: an entry or consent is not in the export, or nothing is selected.
    """
    run = _Selecting(export, set(entries), set(consents), person)
    run.find_consents()
    run.find_uses()
    run.find_history()
    return run.result()


class _Selecting:
    def __init__(
        self, export: ExportFiles, entries: set[int], consents: set[str], person: Person | None
    ) -> None:
        self._export = export
        self._entries = entries
        self._wanted = consents
        """Consents whose uses are wanted too."""
        self._named: set[str] = set()
        """Consents that a selected use names, or a selected entry is about."""
        self._asked_for = frozenset(consents)
        self._cases: set[Json] = set()
        """Disputes and requests for erasure that a selected entry begins: their course follows."""
        self._known: set[str] = set()
        self._person = person
        self._lookups: dict[int, set[int]] = {}
        self._selection = Selection()

    def find_consents(self) -> None:
        """The consents of the person, before any use of them is looked for."""
        beyond = [index for index in self._entries if not 0 <= index < self._export.size]
        if beyond:
            raise NothingSelected(f"entry {beyond[0]}: the export has {self._export.size} entries")
        if self._person is None:
            return
        for index, _, fields in self._export.entries():
            if self._selection.keys_older_than is None and self._person.is_older_than(fields):
                self._selection.keys_older_than = index
            consent = fields.get("consent")
            if isinstance(consent, str) and self._person.of_entry(fields) is not None:
                self._wanted.add(consent)

    def find_uses(self) -> None:
        """Entries and items that are selected for themselves, and the consents they name."""
        for index, data, fields in self._export.entries():
            kind, consent = fields["type"], fields.get("consent")
            if kind in ("consent.granted", "consent.requested"):
                self._known.add(str(consent))
            opening = None if self._person is None else self._person.of_entry(fields)
            if index in self._entries or opening is not None:
                self._selection.entries[index] = data
                if isinstance(consent, str):
                    self._named.add(consent)
            if consents_in(fields) & self._wanted or opening is not None:
                self._selection.entries[index] = data
                self._named |= consents_in(fields)
            if opening is not None:
                self._selection.openings[index, -1] = opening
            if index in self._selection.entries and kind in _BEGIN:
                self._cases.add(fields.get(_BEGIN[str(kind)]))
            if "items_root" in fields:
                self._items(index, data, fields, opening is not None)
        missing = sorted(self._asked_for - self._known)
        if missing:
            raise NothingSelected(f"consent {missing[0]}: the export does not hold its grant")

    def _items(self, index: int, data: bytes, fields: Mapping[str, Json], whole: bool) -> None:
        # Those kept back belong to their lookup's answers.
        kept_back = self._lookups.get(_number(fields.get("lookup")), set())
        for item, line in enumerate(self._export.items(index)):
            content = leaf.parse_item(line)
            opening = None
            if self._person is not None:
                subject = content.get("subject")
                opening = self._person.of_item(fields, item, subject)
            consents = consents_in(content)
            held = content.get("item") in kept_back and fields["type"] == "lookup.withheld"
            chosen = whole or opening is not None or held or consents & self._wanted
            if not chosen and index not in self._entries:
                continue
            self._selection.entries[index] = data
            self._selection.items.setdefault(index, set()).add(item)
            if opening is not None:
                self._selection.openings[index, item] = opening
            if fields["type"] == "lookup":
                self._lookups.setdefault(index, set()).add(item)
                self._named |= consents
            elif index in self._entries or whole:
                self._named |= consents

    def find_history(self) -> None:
        """Every entry about a consent that is named, and about the notices that it caused.

        And what became of disputes and requests for erasure: their later entries name no person.
        """
        about, notices = self._named | self._wanted, set()
        for index, data, fields in self._export.entries():
            follows = self._cases & {fields.get("dispute"), fields.get("erasure")} - {None}
            if fields.get("consent") in about or fields.get("notice") in notices or follows:
                self._selection.entries[index] = data
                if isinstance(fields.get("notice"), str):
                    notices.add(fields["notice"])
                if self._person is not None and (opening := self._person.of_entry(fields)):
                    self._selection.openings[index, -1] = opening
            if fields["type"] != "erasure.executed":
                continue
            for item, line in enumerate(self._export.items(index)):
                content = leaf.parse_item(line)
                if content.get("consent") in about or follows:
                    self._selection.entries[index] = data
                    self._selection.items.setdefault(index, set()).add(item)
                    notices.add(content.get("notice") or "")

    def result(self) -> Selection:
        """Raises NothingSelected if it is empty."""
        if not self._selection.entries:
            raise NothingSelected("nothing in the export is about what was asked for")
        return self._selection


def consents_in(fields: Mapping[str, Json]) -> set[str]:
    """The consents that an entry or item names as those it rests on."""
    found: set[str] = set()
    uses = fields.get("uses")
    for named in (fields.get("consents"), *(uses if isinstance(uses, list) else ())):
        if isinstance(named, dict):
            found |= {value for value in named.values() if isinstance(value, str)}
    return found - {NO_CONSENT}


def _number(value: Json) -> int:
    return value if isinstance(value, int) else -1
