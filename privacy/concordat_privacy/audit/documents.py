"""What an audit answers, in words and tables (`tables`), before any of it is laid out (`render`).

One function a command: exceptions, consents, members, one person. A document says what was
checked and what no export can show beside what was found: a clean table alone proves less than it
seems to.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from concordat_privacy.audit.findings import MAX_FINDINGS
from concordat_privacy.audit.members import Standing
from concordat_privacy.audit.person import LOOKAHEAD, Person
from concordat_privacy.audit.replay import Replay
from concordat_privacy.audit.tables import (
    Cell,
    Column,
    Form,
    Table,
    aggregates_table,
    consents_table,
    disputes_table,
    erasures_table,
    findings_table,
    views_table,
)
from concordat_privacy.log.report import Report


@dataclass(frozen=True, slots=True)
class Document:
    """The answer of one command."""

    audit: str
    """Which: exceptions, consents, member or person."""
    report: Report
    as_of: str
    verdict: str
    checked: Sequence[str]
    cannot_show: Sequence[str]
    findings: int
    """How many of them this answer is about; their table may hold fewer words for them."""
    tables: Sequence[Table]
    """The first is the main one."""
    facts: dict[str, Cell] = field(default_factory=dict)
    """Figures for programs."""
    complete: bool = True
    """False if there were too many findings to keep: some may be missing in this answer."""
    unchecked: int = 0
    """Uses in the whole ledger that could not be held against a consent."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found, and nothing can have been missed."""
        return self.complete and not self.findings


CANNOT_SHOW: Final = (
    "Entries that were never written: a use of data outside this gateway, or by somebody with the "
    "database, leaves none.",
    "Whether others were shown the same history: cosignatures of witnesses, and checkpoints and "
    "receipts that members kept, show that.",
    "Whether a person truly gave a consent, or a member truly deleted data: the log holds hashes "
    "of documents, and whoever holds a document can show that it is the one.",
    "Whether two consents are one person's: only a subject's keys tell (concordat audit person).",
)

_CANNOT_SHOW_OF_PERSON: Final = (
    "Whether these are all keys of the person, and whether they are of the person named to you: "
    "the operator opens them, and only it can derive them from a name.",
    "In which answers about the pool the person was counted: whoever had live consents to be "
    "counted was, and the noise hides who.",
)

_MEMBERS: Final = (
    Column("member", Form.TEXT),
    Column("standing", Form.TEXT),
    Column("consents", Form.NUMBER),
    Column("live", Form.NUMBER),
    Column("permitted", Form.NUMBER),
    Column("refused", Form.NUMBER),
    Column("withheld", Form.NUMBER),
    Column("rows", Form.NUMBER),
    Column("unchecked", Form.NUMBER),
    Column("findings", Form.NUMBER),
    Column("name", Form.DATA),
    Column("since", Form.DATA),
    Column("rows_refused", Form.DATA),
    Column("trained_on", Form.DATA),
    Column("corrected", Form.DATA),
    Column("withdrawn", Form.DATA),
    Column("changes", Form.BELOW),
    Column("uploads", Form.DATA),
    Column("uploads_ended", Form.DATA),
)
_NOTICES: Final = (
    Column("notice", Form.ID),
    Column("consent", Form.ID),
    Column("sent_at", Form.TIME),
    Column("acknowledged_at", Form.TIME),
    Column("deleted_at", Form.TIME),
    Column("entry", Form.NUMBER),
    Column("member", Form.DATA),
    Column("acknowledge_by", Form.DATA),
    Column("delete_by", Form.DATA),
)
_HISTORY: Final = (
    Column("entry", Form.NUMBER),
    Column("item", Form.NUMBER),
    Column("time", Form.TIME),
    Column("what", Form.TEXT),
    Column("by", Form.TEXT),
    Column("consent", Form.ID),
    Column("detail", Form.BELOW),
)


def _changes(corrected: int, withdrawn: int) -> str:
    """How many of a member's own rows it changed, in words; empty where none."""
    if not corrected and not withdrawn:
        return ""
    return f"of its rows {corrected} were corrected, {withdrawn} withdrawn"


def exceptions(report: Report, replay: Replay) -> Document:
    """Everything that the audit found, and what it was that was checked."""
    findings = replay.sorted_findings()
    total = replay.findings.counts.total()
    kinds = sorted(replay.findings.counts.items(), key=lambda pair: pair[0].value)
    counts = Table(
        "kinds",
        "Findings by kind",
        (
            Column("kind", Form.TEXT),
            Column("severity", Form.TEXT),
            Column("findings", Form.NUMBER),
        ),
        [(kind.value, kind.severity.value, count) for kind, count in kinds],
    )
    budgets = Table(
        "budgets",
        "Privacy budget charged, in nano rho (10^-9 rho of zero-concentrated differential privacy)",
        (Column("scope", Form.TEXT), Column("nano_rho", Form.NUMBER)),
        sorted(replay.pool.spent.items()),
    )
    unchecked = Table(
        "unchecked",
        "Not re-checkable",
        (Column("what", Form.TEXT), Column("count", Form.NUMBER)),
        _unchecked(replay),
    )
    tables = [
        findings_table(findings),
        counts,
        unchecked,
        aggregates_table(replay),
        budgets,
        disputes_table(replay),
        erasures_table(replay),
        views_table(replay),
    ]
    return _document("exceptions", report, replay, total, tables)


def consents(report: Report, replay: Replay, member: str = "", state: str = "") -> Document:
    """The consents, of one recipient or in one state, and what was found about them."""
    chosen = [
        consent
        for consent in replay.consents.by_id.values()
        if member in ("", consent.recipient) and state in ("", consent.state_at(replay.as_of))
    ]
    ids = {consent.id for consent in chosen}
    findings = [found for found in replay.sorted_findings() if found.consent in ids]
    if not (member or state):
        # A finding about a consent that the log does not hold belongs to no row of the table.
        findings = [found for found in replay.sorted_findings() if found.consent]
    states = Counter(consent.state_at(replay.as_of) for consent in chosen)
    counts = Table(
        "states",
        "Consents by state",
        (Column("state", Form.TEXT), Column("consents", Form.NUMBER)),
        sorted(states.items()),
    )
    tables = [consents_table(replay, chosen), counts, findings_table(findings)]
    return _document("consents", report, replay, len(findings), tables)


def members(report: Report, replay: Replay, member: str = "") -> Document:
    """What members did: one of them with its notices and consents, or all."""
    everything = replay.sorted_findings()
    findings = [found for found in everything if found.member and member in ("", found.member)]
    by_member = Counter(found.member for found in findings)
    held = Counter(consent.recipient for consent in replay.consents.by_id.values())
    live = Counter(
        consent.recipient
        for consent in replay.consents.by_id.values()
        if not consent.why_not_live(replay.as_of)
    )
    rows: list[Sequence[Cell]] = [
        (
            found.id,
            found.standing.value,
            held[found.id],
            live[found.id],
            found.permitted,
            found.refused + found.disputes_refused,
            found.withheld,
            found.rows,
            found.rows_unchecked + found.lookups_unchecked,
            by_member[found.id],
            found.name,
            found.since,
            found.rows_refused,
            found.trained_on,
            found.corrected,
            found.withdrawn,
            _changes(found.corrected, found.withdrawn),
            found.uploads,
            found.uploads_ended,
        )
        for found in replay.members.by_id.values()
        if member in ("", found.id)
    ]
    tables = [Table("members", "Members and what they did", _MEMBERS, rows)]
    if member:
        chosen = [c for c in replay.consents.by_id.values() if c.recipient == member]
        notices = [
            (
                notice.id,
                notice.consent,
                notice.sent_at,
                notice.acknowledged_at,
                notice.deleted_at,
                notice.entry,
                notice.member,
                notice.acknowledge_by,
                notice.delete_by,
            )
            for notice in replay.notices.of_member(member)
        ]
        tables.append(Table("notices", "Notices to the member", _NOTICES, notices))
        tables.append(consents_table(replay, chosen))
    tables.append(findings_table(findings))
    return _document("member", report, replay, len(findings), tables)


def person(report: Report, replay: Replay, who: Person) -> Document:
    """One person's history in order, and whether it is complete. `who` has followed the replay."""
    places = set(who.concerned())
    entries = {entry for entry, item in places if item is None}
    findings = [
        found
        for found in replay.sorted_findings()
        if found.kind.name.startswith("PERSON_")
        or found.consent in who.consents
        or (found.entry, found.item) in places
        or (found.entry in entries and found.item is None)
    ]
    history = Table(
        "history",
        "The person's history",
        _HISTORY,
        [
            (
                event.entry,
                event.item,
                event.time,
                event.what,
                event.by,
                event.consent,
                event.detail,
            )
            for event in who.history
        ],
    )
    chosen = [replay.consents.by_id[found] for found in who.consents if replay.consent_of(found)]
    tables = [history, consents_table(replay, chosen), findings_table(findings)]
    document = _document("person", report, replay, len(findings), tables)
    sums = who.sums
    found = sum(number < who.keys.evidence[at].consents for at, number in who.found)
    checked = [
        f"Consents of the person: {who.expected} by its keys, {found} of them in the log. Each "
        f"must be there once, and none beyond; {LOOKAHEAD} more a key were looked for.",
        f"Lookups of the person: {sums.permitted} permitted, {sums.refused} refused, "
        f"{sums.withheld} of the permitted withheld; "
        + (
            f"found by {len(who.keys.asking)} asking keys, and those permitted by its consents as "
            "well: the two must agree."
            if not who.cannot_compare
            else who.cannot_compare
        ),
        f"Under its consents: {sums.rows} rows contributed, {sums.trained_on} rows trained on.",
    ]
    if sums.unchecked:
        checked.append(
            f"Not re-checkable: {sums.unchecked} entries whose items are not in this export, or in "
            "an older form. Each of them may concern the person."
        )
    facts: dict[str, Cell] = {
        **document.facts,
        "person_consents_expected": who.expected,
        "person_consents_found": found,
        "person_lookups_permitted": sums.permitted,
        "person_lookups_refused": sums.refused,
        "person_lookups_withheld": sums.withheld,
        "person_rows_contributed": sums.rows,
        "person_rows_trained_on": sums.trained_on,
        "person_entries_not_recheckable": sums.unchecked,
        "person_lookups_not_compared": sums.uncompared,
    }
    verdict = document.verdict
    return replace(
        document,
        verdict=f"{verdict} {who.cannot_compare}" if who.cannot_compare else verdict,
        unchecked=document.unchecked + sums.uncompared,
        checked=[*checked, *document.checked],
        cannot_show=[*_CANNOT_SHOW_OF_PERSON, *CANNOT_SHOW[:-1]],
        facts=facts,
    )


def has_member(replay: Replay, member: str) -> bool:
    """Whether the log knows a member of this id."""
    found = replay.members.by_id.get(member)
    return found is not None and (
        found.standing is not Standing.UNKNOWN or bool(found.permitted + found.refused)
    )


def older_batches_told(replay: Replay) -> str:
    """What batches without items leave open, in a sentence; empty where there are none."""
    older = replay.uses.counts.older
    if not older.batches:
        return ""
    where = f"entry {older.first}"
    if older.batches > 1:
        where = f"the first entry {older.first}, the last entry {older.last}"
    batches = "batch" if older.batches == 1 else "batches"
    return (
        f"Under which consents {older.rows} rows of {older.batches} {batches} were contributed is "
        f"NOT shown ({where}): the form without items names none, and no export can add them."
    )


def _unchecked(replay: Replay) -> list[Sequence[Cell]]:
    rows: list[Sequence[Cell]] = [
        (f"uses: {reason}", count)
        for reason, count in sorted(replay.uses.counts.not_recheckable.items())
    ]
    rows += [
        (what, count)
        for what, count in (
            ("consents: policy not checked, no jurisdiction", replay.consents.without_jurisdiction),
            (
                "consents: recorded under another version of the policies",
                replay.consents.other_policies,
            ),
            ("consents ended in the form without notices", replay.notices.not_recheckable),
            ("questions that do not say what they rest on", replay.pool.not_recheckable),
            ("erasures whose items are not in this export", replay.erasures.items_unchecked),
        )
        if count
    ]
    return rows


def _document(
    audit: str,
    report: Report,
    replay: Replay,
    findings: int,
    tables: Sequence[Table],
) -> Document:
    counts, total = replay.uses.counts, replay.findings.counts.total()
    verdict = "No exceptions." if not findings else f"Exceptions found: {findings}."
    if audit != "exceptions" and total > findings:
        verdict += f" The whole ledger has {total}: concordat audit exceptions lists them."
    # The answer that counts all of them is complete whatever was kept.
    complete = audit == "exceptions" or replay.findings.complete
    if not complete:
        verdict += " Too many findings to tell which of them belong here."
    if counts.unchecked:
        verdict += f" Not re-checkable: {counts.unchecked} uses; nothing is known of these."
    if told := older_batches_told(replay):
        verdict += f" {told}"
    facts: dict[str, Cell] = {
        "entries": replay.entries,
        "entries_after_as_of": replay.left_out,
        "consents": len(replay.consents.by_id),
        "members": len(replay.members.by_id),
        "uses_checked": counts.checked,
        "uses_without_valid_consent": counts.unfounded,
        "uses_not_recheckable": counts.unchecked,
        "older_form_batches": counts.older.batches,
        "older_form_rows": counts.older.rows,
        "older_form_first_entry": counts.older.first,
        "older_form_last_entry": counts.older.last,
        "lookups_permitted": counts.lookups,
        "lookups_refused": counts.refusals,
        "rows_contributed": counts.rows,
        "rows_trained_on": counts.training_rows,
        "disputes_with_consent": counts.disputes,
        "disputes_refused": counts.disputes_refused,
        "aggregates_charged": len(replay.pool.aggregates),
        "aggregates_repeated": replay.pool.repeated,
        "aggregates_refused": replay.pool.refused,
        "staff_views": len(replay.staff_views),
        "findings_in_ledger": total,
    }
    return Document(
        audit,
        report,
        replay.as_of,
        verdict,
        _checked(replay),
        CANNOT_SHOW,
        findings,
        tables,
        facts,
        complete,
        counts.unchecked,
    )


def _checked(replay: Replay) -> list[str]:
    counts, as_of = replay.uses.counts, replay.as_of or "the beginning"
    lines = [
        f"Every entry up to {as_of}: {replay.entries} entries, in the order of the log, after all "
        "of them were verified against the signed checkpoint.",
        f"Uses: {counts.checked} held against the consents that they name ({counts.lookups} "
        f"lookups permitted, {counts.rows} rows contributed, {counts.training_rows} rows trained "
        f"on, {counts.disputes} disputes): that each consent is in the log, was given to the "
        "member who used it, was in force at that moment, and covers purpose, category and "
        "frequency.",
        f"Uses without a valid consent: {counts.unfounded}. Not re-checkable: {counts.unchecked}.",
        f"Lookups refused: {counts.refusals}, and disputes: {counts.disputes_refused}, none of "
        "which may name a consent.",
        f"Consents: {len(replay.consents.by_id)}, their records and every change of them, against "
        f"version {replay.policies.version} of the jurisdictions' policies; notices, disputes and "
        "erasures against their deadlines.",
    ]
    if replay.left_out:
        lines.append(f"Left out: {replay.left_out} entries later than {as_of}.")
    if not replay.findings.complete:
        lines.append(f"Only the first {MAX_FINDINGS} findings are told in words; all are counted.")
    return lines
