"""One person's part of a log, complete: what was consented, asked, contributed, disputed, erased.

The person's consents are counted: 0 to n-1, each once. What was asked is found twice, by the
asking keys and by the consents that permitted it, and the two must agree; so an entry that hides a
use of the person's data under another subject, or a consent under another key, shows.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from concordat_privacy.audit.entry import (
    CATEGORIES,
    NO_CONSENT,
    PURPOSES,
    Entry,
    Fields,
    words_of,
)
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.replay import Replay
from concordat_privacy.audit.subject_keys import SubjectKeys

LOOKAHEAD: Final = 64
"""Consents beyond n that are looked for, a key."""
# What stands for the request in the salt of an entry's own subject, the first that it has.
_REQUESTS: Final = ("request", "dispute", "erasure", "view")


_OPEN_AGAIN: Final = "Have them opened again (concordat audit open)."
_TOLD: Final = (
    *("reason", "by", "asked_at", "acknowledge_by", "delete_by", "deleted_at", "what", "due"),
    *("about", "answer_by", "outcome", "ground", "basis", "rows", "view", "case"),
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to the person."""

    entry: int
    item: int | None
    time: str
    what: str
    by: str
    consent: str
    detail: str


@dataclass(slots=True)
class Sums:
    """The person's history in figures."""

    permitted: int = 0
    refused: int = 0
    withheld: int = 0
    rows: int = 0
    trained_on: int = 0
    uncompared: int = 0
    """Permitted lookups that one sort of key found, where none of the other sort was given."""
    unchecked: int = 0
    """Entries with items that this export does not hold: each may concern the person."""


class Person:
    """Follows a replay; the keys say whom."""

    def __init__(self, keys: SubjectKeys) -> None:
        self.keys = keys
        self.history: list[Event] = []
        self.sums = Sums()
        self.consents: dict[str, tuple[int, int]] = {}
        """Consent id -> (which evidence key, which consent)."""
        self.found: dict[tuple[int, int], int] = {}
        """(which evidence key, which consent) -> entry."""
        self._expected = {
            key.commitment(number): (at, number)
            for at, key in enumerate(keys.evidence)
            for number in range(key.consents + LOOKAHEAD)
        }
        self._epoch, self._rotated = 1, 0
        """Of the tokens at this entry of the log, and the entry that rotated them to it."""
        self._lookups: set[tuple[int, int]] = set()
        self._disputes: set[str] = set()
        self._erasures: set[str] = set()
        self._notices: dict[str, str] = {}

    @property
    def expected(self) -> int:
        """How many consents the person has, by the keys."""
        return sum(key.consents for key in self.keys.evidence)

    def follow(self, entry: Entry, replay: Replay) -> None:
        """One entry of the log."""
        kind = entry.type
        if kind == "lookup":
            self._lookup(entry, replay)
        elif kind in ("contribution.batch", "training.run"):
            self._rows(entry, replay)
        elif kind in ("consent.granted", "consent.requested"):
            self._recorded(entry, replay)
        elif kind == "lookup.withheld":
            self._withheld(entry)
        else:
            self._other(entry, replay)
        epoch = entry.fields.get("to_epoch") if kind == "tokens.rotated" else None
        if isinstance(epoch, int):
            self._epoch, self._rotated = epoch, entry.index

    def finish(self, replay: Replay) -> None:
        """Report consents that the log does not hold. Call it once, after the last entry."""
        for at, key in enumerate(self.keys.evidence):
            for number in range(key.consents):
                if (at, number) in self.found:
                    continue
                message = f"consent {number} of {key.consents} is not in the log"
                if replay.left_out:
                    message += " up to this moment"
                replay.findings.add(Kind.PERSON_CONSENT_MISSING, message)

    @property
    def cannot_compare(self) -> str:
        """Why the two ways of finding lookups were not compared; empty if they were."""
        if not self.keys.asking:
            return (
                "No asking keys given: uses cannot be compared, and refused lookups, disputes and "
                "requests for erasure are not found."
            )
        if not self.keys.evidence:
            return "No evidence keys given: uses cannot be compared, and consents are not found."
        return ""

    def concerned(self) -> Iterator[tuple[int | None, int | None]]:
        """(entry, item) of everything in the history."""
        return ((event.entry, event.item) for event in self.history)

    def _recorded(self, entry: Entry, replay: Replay) -> None:
        place = self._expected.get(str(entry.fields.get("subject")))
        if place is None:
            return
        consent = str(entry.fields.get("consent"))
        at, number = place
        self.consents[consent] = place
        if place in self.found:
            message = f"consent {number} of the person is recorded by entry {self.found[place]} too"
            replay.find(Kind.PERSON_CONSENT_TWICE, message, consent=consent)
        elif number >= self.keys.evidence[at].consents:
            message = (
                f"consent {number + 1} of the person, though the keys count "
                f"{self.keys.evidence[at].consents}. The likely cause: they were opened before "
                f"entry {entry.index}. {_OPEN_AGAIN}"
            )
            replay.find(Kind.PERSON_CONSENT_BEYOND, message, consent=consent)
        self.found.setdefault(place, entry.index)
        known = replay.consent_of(consent)
        detail = f"consent {number}"
        if known is not None:
            purposes = ", ".join(words_of(known.purposes, PURPOSES))
            categories = ", ".join(words_of(known.categories, CATEGORIES))
            detail += f": {purposes} of {categories}, {known.starts_at} to {known.expires_at}"
        self._happened(entry, None, entry.type, consent, detail)

    def _lookup(self, entry: Entry, replay: Replay) -> None:
        if entry.items is None:
            self.sums.unchecked += 1
            return
        request = _request_in(entry.fields, ("request",))
        purpose = str(entry.fields.get("purpose"))
        for item, fields in enumerate(entry.items):
            named = _named(fields.get("consents"))
            mine = [consent for consent in named if consent in self.consents]
            asked = request is not None and self._asked(entry, request, item, fields.get("subject"))
            if not (asked or mine):
                continue
            decision = str(fields.get("decision"))
            if decision == "permit":
                self.sums.permitted += 1
            else:
                self.sums.refused += 1
            consent = mine[0] if mine else ""
            self._lookups.add((entry.index, item))
            self._happened(entry, item, f"lookup: {decision}", consent, f"for {purpose}")
            if decision != "permit":
                continue
            if not (self.keys.asking and self.keys.evidence):
                # Nothing was kept back in secret: of an erased person there are not both.
                self.sums.uncompared += 1
            elif not asked:
                message = "permitted by the person's consent, but no asking key finds it"
                message += self._without_epoch()
                replay.find(Kind.PERSON_USE_UNLINKED, message, item=item, consent=consent)
            elif len(mine) < len(named):
                strange = next(one for one in named if one not in self.consents)
                message = "a lookup of the person under a consent that is not the person's"
                replay.find(Kind.PERSON_USE_UNDER_ANOTHER, message, item=item, consent=strange)

    def _without_epoch(self) -> str:
        """The likely cause where the keys lack the asking key of the tokens' present epoch."""
        epochs = {key.epoch for key in self.keys.asking}
        if self._epoch in epochs or not epochs:
            return ""
        if self._epoch > max(epochs):
            entry = f"entry {self._rotated}, a rotation"
            return f": were the keys opened before {entry}? {_OPEN_AGAIN}"
        return (
            f": the keys lack the asking key of epoch {self._epoch}. Of a person that was erased "
            "a token gives the present one alone; else it was kept back"
        )

    def _withheld(self, entry: Entry) -> None:
        lookup = entry.fields.get("lookup")
        for position, fields in enumerate(entry.items or ()):
            item = fields.get("item")
            if (
                isinstance(lookup, int)
                and isinstance(item, int)
                and (lookup, item) in self._lookups
            ):
                self.sums.withheld += 1
                detail = f"the answer of entry {lookup} was kept back"
                self._happened(entry, position, entry.type, "", detail)

    def _rows(self, entry: Entry, replay: Replay) -> None:
        if entry.items is None:
            if entry.fields.get("rows") != 0:
                self.sums.unchecked += 1
            return
        word = "contributed" if entry.type == "contribution.batch" else "trained on"
        for item, fields in enumerate(entry.items):
            uses, rows = fields.get("uses"), fields.get("rows")
            if not isinstance(uses, list) or not isinstance(rows, list):
                continue
            for at, use in enumerate(uses):
                named = _named(use)
                mine = [consent for consent in named if consent in self.consents]
                if mine and len(mine) < len(named):
                    message = "a row under consents of the person and of another"
                    replay.find(Kind.PERSON_USE_UNDER_ANOTHER, message, item=item, consent=mine[0])
                count = sum(1 for row in rows if row == at) if mine else 0
                if not count:
                    continue
                if word == "contributed":
                    self.sums.rows += count
                else:
                    self.sums.trained_on += count
                detail = f"{count} {'row' if count == 1 else 'rows'} {word}"
                self._happened(entry, item, entry.type, mine[0], detail)

    def _other(self, entry: Entry, replay: Replay) -> None:
        """Changes of the person's consents, notices, disputes, erasures, views."""
        fields = entry.fields
        consent = str(fields.get("consent", ""))
        named = consent in self.consents
        notice, dispute, erasure = (
            str(fields.get(name, "")) for name in ("notice", "dispute", "erasure")
        )
        asked = self._asked_by(entry)
        if named or asked or notice in self._notices:
            consent = consent if named else self._notices.get(notice, "")
        elif dispute in self._disputes or erasure in self._erasures:
            consent = ""
        elif not self._ends_consents(entry):
            return
        if named and notice:
            self._notices[notice] = consent
        if asked and dispute:
            self._disputes.add(dispute)
        if asked and erasure:
            self._erasures.add(erasure)
        self._happened(entry, None, entry.type, consent, _detail(fields))
        erased = set()
        for item, one in enumerate(entry.items or ()):
            ended = str(one.get("consent"))
            if ended in self.consents:
                erased.add(ended)
                # None where its end was told before: entries without a notice are not about it.
                if told := str(one.get("notice", "")):
                    self._notices[told] = ended
                self._happened(entry, item, "consent erased", ended, "")
        self._check_erased(erased, replay)

    def _check_erased(self, erased: Set[str], replay: Replay) -> None:
        """An erasure ends all consents under the key that it destroys the way to."""
        keys = {self.consents[consent][0] for consent in erased}
        for consent, (key, number) in self.consents.items():
            if key in keys and consent not in erased:
                message = f"erased, but consent {number} of the person is not among its items"
                replay.find(Kind.PERSON_ERASURE_INCOMPLETE, message, consent=consent)

    def _ends_consents(self, entry: Entry) -> bool:
        return any(str(item.get("consent")) in self.consents for item in entry.items or ())

    def _asked_by(self, entry: Entry) -> bool:
        subject = entry.fields.get("subject")
        return isinstance(subject, str) and any(
            self._asked(entry, request, 0, subject)
            for name in _REQUESTS
            if (request := _request_in(entry.fields, (name,))) is not None
        )

    def _asked(self, entry: Entry, request: bytes, item: int, subject: object) -> bool:
        actor = str(entry.fields.get("actor"))
        return any(
            key.commitment(entry.type, actor, request, item) == subject for key in self.keys.asking
        )

    def _happened(
        self, entry: Entry, item: int | None, what: str, consent: str, detail: str
    ) -> None:
        by = f"{entry.actor.role} {entry.actor.name}".strip()
        self.history.append(Event(entry.index, item, entry.time, what, by, consent, detail))


def _named(consents: object) -> list[str]:
    """The different consents that an item or a row names."""
    if not isinstance(consents, Mapping):
        return []
    names = (value for value in consents.values() if isinstance(value, str))
    return [name for name in dict.fromkeys(names) if name != NO_CONSENT]


def _request_in(fields: Fields, names: tuple[str, ...]) -> bytes | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and len(value) == 32:
            try:
                return bytes.fromhex(value)
            except ValueError:
                return None
    return None


def _detail(fields: Fields) -> str:
    """What an entry says beside its ids."""
    return ", ".join(
        f"{name.replace('_', ' ')} {fields[name]}"
        for name in _TOLD
        if isinstance(fields.get(name), str | int)
    )
