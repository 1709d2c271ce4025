"""Uses of data, each held against the consent that it names: lookups, contributions, training.

A use is one subject of a lookup that was permitted, one accepted row of a batch, one row of a
training run, or a dispute that names consents. A frequency is how often data may be fetched
(ReBIT), so lookups count against it, each once for each consent that it names, however many
categories that one covers for it; contributions and training fetch nothing. What cannot be
re-checked, because the export does not hold its items or its entry has an older form, is counted
too, and by reason: "no use without consent" is proven for the others only.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from concordat_privacy.audit.consent import Consent
from concordat_privacy.audit.consents import Consents
from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import (
    CATEGORIES,
    CATEGORY_BITS,
    LOOKUP_PURPOSES,
    NO_CONSENT,
    PURPOSE_BITS,
    UNITS,
    Entry,
    Fields,
    Malformed,
    count_of,
    hex_of,
    object_in,
    text_of,
)
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.members import Member, Members
from concordat_privacy.audit.replacements import Replacements
from concordat_privacy.log.leaf import Json

RECENT_SUBJECTS: Final = 50_000
"""Subjects of recent lookups that are remembered, for answers that are withheld afterwards."""
_ROWS_AN_ITEM: Final = 256
_BREAKING: Final = frozenset(
    {"consent.withdrawn", "consent.revoked", "consent.paused", "erasure.executed"}
)


@dataclass(slots=True)
class OlderBatches:
    """Batches of the form without items, which names no consents of the rows."""

    batches: int = 0
    rows: int = 0
    first: int | None = None
    """Entry of the first of them; None where there are none."""
    last: int | None = None

    def add(self, entry: int, rows: int) -> None:
        """Count one more, later than those before."""
        self.batches += 1
        self.rows += rows
        self.first = entry if self.first is None else self.first
        self.last = entry


@dataclass(slots=True)
class UseCounts:
    """How many uses were held against their consents, and how many could not be."""

    lookups: int = 0
    """Subjects looked up and permitted."""
    refusals: int = 0
    """Subjects looked up and refused: no use, but each was checked to name no consent."""
    rows: int = 0
    training_rows: int = 0
    disputes: int = 0
    disputes_refused: int = 0
    unfounded: int = 0
    """Uses, of those checked, that a finding is about."""
    not_recheckable: Counter[str] = field(default_factory=Counter)
    """Uses that could not be re-checked, by reason."""
    older: OlderBatches = field(default_factory=OlderBatches)
    """Those of them that no export could let anybody re-check."""

    @property
    def checked(self) -> int:
        """All uses that were held against a consent."""
        return self.lookups + self.rows + self.training_rows + self.disputes

    @property
    def unchecked(self) -> int:
        """All uses that could not be re-checked."""
        return self.not_recheckable.total()


@dataclass(frozen=True, slots=True)
class _Recent:
    """A lookup's permitted items, for `lookup.withheld`."""

    member: str
    request: str
    permits: Mapping[int, tuple[str, ...]]


class Uses:
    """Checks every use of one log."""

    def __init__(self, context: Context, consents: Consents, members: Members) -> None:
        self._context = context
        self._consents = consents
        self._members = members
        self._recent: OrderedDict[int, _Recent] = OrderedDict()
        self._recent_subjects = 0
        self._dropped = False
        self._newer_batches = False
        self._replacements = Replacements(context, members)
        self.counts = UseCounts()

    def lookup(self, entry: Entry) -> None:
        """`lookup`: a decision for each subject, and the consents behind the permitted ones."""
        purpose = text_of(entry.fields, "purpose")
        if purpose not in LOOKUP_PURPOSES:
            raise Malformed(f"purpose: {purpose!r} is none that a subject is looked up for")
        member = self._members.of(entry.actor.name)
        _require_items(entry)
        if entry.items is None:
            count = count_of(entry.fields, "items")
            member.lookups_unchecked += count
            self._skip("lookups whose items are not in this export", count)
            self._members.looked_up(member, entry, count)
            return
        permits: dict[int, tuple[str, ...]] = {}
        for item, fields in enumerate(entry.items):
            try:
                named = self._subject(entry, member, purpose, item, fields)
            except Malformed as error:
                self._context.find(Kind.MALFORMED, str(error), item=item)
                continue
            if named is not None:
                permits[item] = named
        self._members.looked_up(member, entry, len(entry.items))
        if permits:
            self._remember(entry, permits)

    def withheld(self, entry: Entry) -> None:
        """`lookup.withheld`: answers that were kept back since a consent ended meanwhile."""
        index = count_of(entry.fields, "lookup")
        _require_items(entry)
        if entry.items is None:
            self._skip("withheld answers whose items are not in this export", 1)
            return
        lookup = self._recent.get(index)
        if lookup is None:
            if self._dropped and index < next(iter(self._recent), entry.index):
                self._skip("withheld answers of lookups long before", len(entry.items))
                return
            message = f"entry {index} is no lookup with a permitted subject"
            self._context.find(Kind.WITHHELD_UNFOUNDED, message)
            return
        other = entry.actor.member not in ("", lookup.member)
        if other or entry.fields.get("request") != lookup.request:
            message = f"not the request, or the member, of entry {index}"
            self._context.find(Kind.WITHHELD_UNFOUNDED, message, member=lookup.member)
        left = dict(lookup.permits)
        for position, fields in enumerate(entry.items):
            item = count_of(fields, "item")
            named = left.pop(item, None)
            if named is None:
                message = f"item {item} of entry {index} was not permitted, or is withheld already"
                self._context.find(
                    Kind.WITHHELD_UNFOUNDED, message, item=position, member=lookup.member
                )
                continue
            self._members.of(lookup.member).withheld += 1
            if not any(self._broken_since(consent, index) for consent in named):
                message = f"no consent of item {item} of entry {index} has ended since"
                self._context.find(
                    Kind.WITHHELD_UNFOUNDED, message, item=position, member=lookup.member
                )
        self._recent_subjects -= len(lookup.permits) - len(left)
        self._recent[index] = _Recent(lookup.member, lookup.request, left)

    def contribution(self, entry: Entry) -> None:
        """`contribution.batch`: the consents behind each accepted row."""
        member = self._members.of(entry.actor.name)
        rows = count_of(entry.fields, "rows")
        member.rows_refused += count_of(entry.fields, "refused")
        self._replacements.batch(entry, rows)
        if rows and "items_root" not in entry.fields:
            if "adverse" in entry.fields:
                # What came into the form together with the items.
                raise Malformed("items_root: rows without items can never be held against consents")
            # Written before batches had items: its rows' root alone leads to no consent.
            if self._newer_batches:
                message = f"{rows} rows without their consents, though batches before it have them"
                self._context.find(Kind.OLDER_FORM, message)
            member.rows_unchecked += rows
            self.counts.older.add(entry.index, rows)
            self._skip("rows of batches in the form without items", rows)
            return
        self._newer_batches = self._newer_batches or rows > 0
        if rows and entry.items is None:
            member.rows_unchecked += rows
            self._skip("rows whose items are not in this export", rows)
            return
        counted, without_notice = self._rows(entry, "contribution")
        self.counts.rows += counted
        member.rows += counted
        if counted != rows:
            message = f"{rows} rows by its entry, {counted} by its items"
            self._context.find(Kind.ROWS_MISCOUNTED, message)
        self._check_adverse(entry, counted, without_notice)

    def withdrawn(self, entry: Entry) -> None:
        """`contribution.withdrawn`: no use, as it only takes away; the rows that it names."""
        missing = self._replacements.withdrawn(entry)
        if missing:
            self._skip("withdrawn rows whose items are not in this export", missing)

    def training(self, entry: Entry) -> None:
        """`training.run`: the consents behind each row trained on."""
        _require_items(entry)
        if entry.items is None:
            count = count_of(entry.fields, "items")
            self._skip("rows of training runs whose items are not in this export", count)
            return
        counted, _ = self._rows(entry, "model_training")
        self.counts.training_rows += counted
        if entry.actor.member:
            self._members.of(entry.actor.member).trained_on += counted

    def dispute(self, entry: Entry) -> None:
        """`dispute.opened`: where it names consents, they must be for disputes."""
        if "consents" not in entry.fields:
            return
        named = object_in(entry.fields, "consents")
        if all(consent == NO_CONSENT for consent in named.values()):
            return
        self._use(entry, None, "dispute", named)
        self.counts.disputes += 1

    def dispute_refused(self, entry: Entry) -> None:
        """`dispute.refused`: as a refused item of a lookup, no use."""
        fields = entry.fields
        hex_of(fields, "request", 16)
        hex_of(fields, "subject", 32)
        hex_of(fields, "statement_sha256", 32)
        text_of(fields, "about")
        self._members.of(entry.actor.member).disputes_refused += 1
        self.counts.disputes_refused += 1
        for category, consent in object_in(fields, "consents").items():
            if consent != NO_CONSENT:
                message = f"refused, but names a consent for {category}"
                self._context.find(Kind.REFUSAL_NAMES_CONSENT, message, consent=str(consent))

    def _subject(
        self, entry: Entry, member: Member, purpose: str, item: int, fields: Fields
    ) -> tuple[str, ...] | None:
        """One item of a lookup; the consents that it names if it was permitted."""
        named, decision = object_in(fields, "consents"), fields.get("decision")
        hex_of(fields, "subject", 32)
        if decision == "refuse":
            member.refused += 1
            self.counts.refusals += 1
            for category, consent in named.items():
                if consent != NO_CONSENT:
                    message = f"refused, but names a consent for {category}"
                    self._context.find(
                        Kind.REFUSAL_NAMES_CONSENT, message, item=item, consent=str(consent)
                    )
            return None
        if decision != "permit":
            raise Malformed("decision: permit or refuse is wanted")
        member.permitted += 1
        self.counts.lookups += 1
        return self._use(entry, item, purpose, named)

    def _rows(self, entry: Entry, purpose: str) -> tuple[int, int]:
        """Check a batch's items; returns its rows, and how many need no prior adverse notice."""
        total = free = 0
        for item, fields in enumerate(entry.items or ()):
            try:
                counted, without = self._rows_of_item(entry, item, fields, purpose, total)
            except Malformed as error:
                self._context.find(Kind.MALFORMED, str(error), item=item)
                continue
            total += counted
            free += without
        return total, free

    def _rows_of_item(
        self, entry: Entry, item: int, fields: Fields, purpose: str, before: int
    ) -> tuple[int, int]:
        uses, rows = _list_in(fields, "uses"), _list_in(fields, "rows")
        if count_of(fields, "first") != before:
            message = f"begins with row {fields['first']}, {before} rows came before it"
            self._context.find(Kind.ROWS_MISCOUNTED, message, item=item)
        if not 1 <= len(rows) <= _ROWS_AN_ITEM:
            raise Malformed(f"rows: 1 to {_ROWS_AN_ITEM} are wanted")
        counts = Counter(at if type(at) is int and 0 <= at < len(uses) else -1 for at in rows)
        if -1 in counts:
            raise Malformed("rows: an index into uses is wanted for each row")
        free = 0
        for at, count in counts.items():
            named = uses[at]
            if not isinstance(named, dict):
                raise Malformed(f"uses[{at}]: an object is wanted")
            consents = self._use(entry, item, purpose, named, count)
            if not any(self._demands_notice(consent) for consent in consents):
                free += count
        return len(rows), free

    def _use(
        self,
        entry: Entry,
        item: int | None,
        purpose: str,
        named: Mapping[str, Json],
        count: int = 1,
    ) -> tuple[str, ...]:
        """Hold `count` equal uses against the consents they name; returns their ids."""
        find, bit = self._context.find, PURPOSE_BITS[purpose]
        before = self._context.found
        ids: list[str] = []
        for category, consent_id in named.items():
            if consent_id == NO_CONSENT:
                continue
            category_bit = CATEGORY_BITS.get(category)
            if category_bit is None:
                raise Malformed(f"consents: {category!r} is none of {', '.join(CATEGORIES)}")
            consent = self._consents.by_id.get(consent_id) if isinstance(consent_id, str) else None
            if consent is None:
                message = f"{purpose} of {category} under a consent that the log does not hold"
                find(Kind.USE_WITHOUT_CONSENT, message, item=item, consent=str(consent_id))
                ids.append(str(consent_id))
                continue
            if not consent.categories & category_bit:
                message = f"{category} is not covered"
                find(Kind.USE_BEYOND_CATEGORY, message, item=item, consent=consent.id)
            if consent.id in ids:
                continue
            ids.append(consent.id)
            # A model is trained on the pool, on rows of whichever member holds the consents.
            if purpose != "model_training" and consent.recipient != entry.actor.member:
                message = f"used by {entry.actor.name}, given to {consent.recipient}"
                find(Kind.USE_BY_ANOTHER, message, item=item, consent=consent.id)
            if not consent.purposes & bit:
                message = f"{purpose} is not covered"
                find(Kind.USE_BEYOND_PURPOSE, message, item=item, consent=consent.id)
            reason = consent.why_not_live(entry.time)
            if reason:
                find(Kind.USE_NOT_LIVE, reason, item=item, consent=consent.id)
            self._count(entry, item, consent, count)
        if not ids:
            message = f"{purpose} permitted, but no consent is named"
            find(Kind.USE_WITHOUT_CONSENT, message, item=item)
        if self._context.found > before:
            self.counts.unfounded += count
        return tuple(ids)

    def _count(self, entry: Entry, item: int | None, consent: Consent, count: int) -> None:
        consent.uses += count
        consent.last_use = entry.time
        if not consent.unit or entry.type != "lookup":
            return
        period = entry.time[: UNITS[consent.unit]]
        if period != consent.period:
            consent.period, consent.used = period, 0
        consent.used += count
        if consent.used > consent.limit:
            when = f"in {period} (UTC)" if period else "in all"
            message = f"use {consent.used} {when}, {consent.limit} allowed a {consent.unit}"
            self._context.find(Kind.USE_BEYOND_FREQUENCY, message, item=item, consent=consent.id)

    def _check_adverse(self, entry: Entry, rows: int, without_notice: int) -> None:
        adverse = count_of(entry.fields, "adverse") if "adverse" in entry.fields else 0
        if adverse > rows:
            message = f"{adverse} adverse rows of {rows}"
            self._context.find(Kind.ROWS_MISCOUNTED, message)
        if "adverse_notice_sha256" in entry.fields:
            hex_of(entry.fields, "adverse_notice_sha256", 32)
        elif adverse > without_notice:
            # The entry does not say which rows are adverse: these at least cannot be the others.
            message = (
                f"{adverse} adverse rows and no prior notice; at most {without_notice} of the "
                "batch's rows need none"
            )
            self._context.find(Kind.ADVERSE_WITHOUT_NOTICE, message)

    def _demands_notice(self, consent_id: str) -> bool:
        consent = self._consents.by_id.get(consent_id)
        return consent is not None and consent.policy is not None and consent.policy.adverse_notice

    def _broken_since(self, consent_id: str, lookup: int) -> bool:
        """Whether a consent ended or was paused after a lookup. Expiry does not count: what was in
        force when it was decided allowed the use."""
        consent = self._consents.by_id.get(consent_id)
        return consent is not None and any(
            entry > lookup and kind in _BREAKING for entry, _, kind in reversed(consent.steps)
        )

    def _remember(self, entry: Entry, permits: Mapping[int, tuple[str, ...]]) -> None:
        request = str(entry.fields.get("request", ""))
        self._recent[entry.index] = _Recent(entry.actor.name, request, permits)
        self._recent_subjects += len(permits)
        while self._recent_subjects > RECENT_SUBJECTS and len(self._recent) > 1:
            _, oldest = self._recent.popitem(last=False)
            self._recent_subjects -= len(oldest.permits)
            self._dropped = True

    def _skip(self, reason: str, count: int) -> None:
        self.counts.not_recheckable[reason] += count


def _list_in(fields: Fields, name: str) -> Sequence[Json]:
    value = fields.get(name)
    if not isinstance(value, list) or not value:
        raise Malformed(f"{name}: a list is wanted")
    return value


def _require_items(entry: Entry) -> None:
    """Raise Malformed for a use without items: nothing would ever tell whose it was, or allowed it.

    That an export lacks the items of an entry that has a root over them is another matter.
    """
    if "items_root" not in entry.fields or not count_of(entry.fields, "items"):
        raise Malformed("items_root: a use without items can never be held against a consent")
