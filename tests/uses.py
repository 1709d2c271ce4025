"""Whether every use in a ledger rests on a live consent, worked out from entries and items alone.

Written from docs/ledger.md, and of nothing of the gateway's: what this finds wrong is wrong,
however the gateway came to write it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

NOBODY = "0" * 32
_SPAN_LENGTHS = {"hour": 13, "day": 10, "month": 7, "year": 4, "inf": 0}
"""How much of a moment's text names the calendar unit."""
Exported = tuple[int, bytes, tuple[bytes, ...]]


@dataclass
class UseChecker:
    """Takes the entries of a ledger in order, and keeps what is wrong with them."""

    problems: list[str] = field(default_factory=list)
    uses: int = 0
    """Consents that were named by uses and looked at."""
    _consents: dict[str, dict[str, Any]] = field(default_factory=dict)
    _since: dict[str, str] = field(default_factory=dict)
    """When each was given: granted, or requested and activated."""
    _ended: dict[str, int] = field(default_factory=dict)
    _paused: dict[str, int] = field(default_factory=dict)
    _stopped: dict[str, int] = field(default_factory=dict)
    """The entry that ended or paused each last, whatever came after."""
    _counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lookups: dict[int, tuple[dict[str, Any], list[dict[str, Any]]]] = field(default_factory=dict)

    def read(self, entries: Iterable[Exported]) -> "UseChecker":
        """Take entries."""
        for index, leaf, contents in entries:
            entry = json.loads(leaf)
            self._index, self._entry = index, entry
            self._take(entry, [json.loads(content) for content in contents])
        return self

    def _take(self, entry: dict[str, Any], items: list[dict[str, Any]]) -> None:
        match entry["type"]:
            case "consent.requested":
                self._consents[entry["consent"]] = entry
            case "consent.granted":
                self._consents[entry["consent"]] = entry
                self._since[entry["consent"]] = entry["time"]
            case "consent.activated":
                self._since[entry["consent"]] = entry["time"]
            case "consent.paused":
                self._paused[entry["consent"]] = self._stopped[entry["consent"]] = self._index
            case "consent.resumed":
                del self._paused[entry["consent"]]
            case "consent.withdrawn" | "consent.revoked":
                self._ended[entry["consent"]] = self._stopped[entry["consent"]] = self._index
            case "lookup":
                self._lookups[self._index] = (entry, items)
                for item in items:
                    self._lookup_item(item)
            case "lookup.withheld":
                self._withheld(entry, items)
            case "contribution.batch":
                uses = list(_rows(items))
                self._expect(len(uses) == entry["rows"], "another number of rows than the entry's")
                for use in uses:
                    self._expect(bool(use) and NOBODY not in use.values(), "a row without consent")
                    self._use(use, "contribution")

    def _lookup_item(self, item: dict[str, Any]) -> None:
        named = {c: consent for c, consent in item["consents"].items() if consent != NOBODY}
        self._expect(bool(named) == (item["decision"] == "permit"), "decision without its consents")
        self._use(named, self._entry["purpose"])
        for consent in set(named.values()):
            self._count(consent)

    def _count(self, consent: str) -> None:
        frequency = self._consents.get(consent, {}).get("frequency")
        if frequency is None:
            return
        span = self._entry["time"][: _SPAN_LENGTHS[frequency["unit"]]]
        self._counted[consent, span] += 1
        self._expect(self._counted[consent, span] <= frequency["uses"], "more often than allowed")

    def _withheld(self, entry: dict[str, Any], items: list[dict[str, Any]]) -> None:
        lookup, permitted = self._lookups[entry["lookup"]]
        self._expect(lookup["request"] == entry["request"], "withheld of another request")
        self._expect(lookup["actor"] == entry["actor"], "withheld from another caller")
        for item in items:
            consents = permitted[item["item"]]["consents"].values()
            self._expect(
                any(self._stopped.get(consent, -1) > entry["lookup"] for consent in consents),
                "withheld though no consent ended",
            )

    def _use(self, use: Mapping[str, str], purpose: str) -> None:
        now = self._entry["time"]
        for category, consent in use.items():
            self.uses += 1
            given = self._consents.get(consent)
            if given is None:
                self._expect(False, f"no consent {consent}")
                continue
            member = f"/member/{given['recipient']}"
            self._expect(self._entry["actor"].endswith(member), "another member's consent")
            self._expect(consent not in self._ended, "a consent that had ended")
            self._expect(consent not in self._paused, "a consent that was paused")
            self._expect(self._since.get(consent, "~") <= now, "a consent not given yet")
            # Moments are written alike, to the microsecond: they sort as text.
            self._expect(given["starts_at"] <= now < given["expires_at"], "outside of its time")
            self._expect(purpose in given["purposes"], f"not given for {purpose}")
            self._expect(category in given["categories"], f"not given for {category}")

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.problems.append(f"entry {self._index}, {self._entry['type']}: {otherwise}")


def _rows(items: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    first = 0
    for item in items:
        assert item["first"] == first
        first += len(item["rows"])
        yield from (item["uses"][index] for index in item["rows"])
