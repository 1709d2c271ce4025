"""The tables of an audit's answers: their columns, whose names are stable, and their rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from concordat_privacy.audit.consent import Consent
from concordat_privacy.audit.entry import CATEGORIES, PURPOSES, words_of
from concordat_privacy.audit.findings import Finding
from concordat_privacy.audit.replay import Replay

Cell: TypeAlias = str | int | None


class Form(Enum):
    """What a column holds, and where it stands when a table is laid out for people."""

    TEXT = "text"
    NUMBER = "number"
    ID = "id"
    """Hexadecimal; people are shown its beginning."""
    TIME = "time"
    BELOW = "below"
    """A sentence: for people it stands under its row."""
    DATA = "data"
    """For programs only: in CSV and JSON."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. Names are stable."""

    name: str
    form: Form


@dataclass(frozen=True, slots=True)
class Table:
    """A table. Cells are text, numbers, or nothing."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


_FINDINGS: Final = (
    Column("severity", Form.TEXT),
    Column("kind", Form.TEXT),
    Column("entry", Form.NUMBER),
    Column("item", Form.NUMBER),
    Column("member", Form.TEXT),
    Column("consent", Form.ID),
    Column("message", Form.BELOW),
)
_CONSENTS: Final = (
    Column("consent", Form.ID),
    Column("recipient", Form.TEXT),
    Column("state", Form.TEXT),
    Column("starts_at", Form.TIME),
    Column("expires_at", Form.TIME),
    Column("uses", Form.NUMBER),
    Column("entry", Form.NUMBER),
    Column("purposes", Form.DATA),
    Column("categories", Form.DATA),
    Column("jurisdiction", Form.DATA),
    Column("recorded_at", Form.DATA),
    Column("ended_at", Form.DATA),
    Column("ended_entry", Form.DATA),
    Column("last_use", Form.DATA),
    Column("covers", Form.BELOW),
)
_DISPUTES: Final = (
    Column("dispute", Form.ID),
    Column("state", Form.TEXT),
    Column("jurisdiction", Form.TEXT),
    Column("opened_at", Form.TIME),
    Column("answer_by", Form.TIME),
    Column("answered_at", Form.TIME),
    Column("outcome", Form.TEXT),
    Column("entry", Form.NUMBER),
    Column("resolved_at", Form.DATA),
    Column("member", Form.DATA),
)
_ERASURES: Final = (
    Column("erasure", Form.ID),
    Column("state", Form.TEXT),
    Column("requested_at", Form.TIME),
    Column("decided_at", Form.TIME),
    Column("consents", Form.NUMBER),
    Column("entry", Form.NUMBER),
    Column("basis", Form.BELOW),
)
_VIEWS: Final = (
    Column("entry", Form.NUMBER),
    Column("time", Form.TIME),
    Column("actor", Form.TEXT),
    Column("view", Form.TEXT),
    Column("case", Form.TEXT),
)
_AGGREGATES: Final = (
    Column("entry", Form.NUMBER),
    Column("time", Form.TIME),
    Column("asked_by", Form.TEXT),
    Column("nano_rho", Form.NUMBER),
    Column("live_consents", Form.BELOW),
)


def findings_table(findings: Iterable[Finding]) -> Table:
    """Findings as a table."""
    rows = [
        (
            found.severity.value,
            found.kind.value,
            found.entry,
            found.item,
            found.member,
            found.consent,
            found.message,
        )
        for found in findings
    ]
    return Table("findings", "Findings", _FINDINGS, rows)


def consents_table(replay: Replay, chosen: Iterable[Consent]) -> Table:
    """Consents as a table."""
    rows = [
        (
            consent.id,
            consent.recipient,
            consent.state_at(replay.as_of),
            consent.starts_at,
            consent.expires_at,
            consent.uses,
            consent.entry,
            " ".join(words_of(consent.purposes, PURPOSES)),
            " ".join(words_of(consent.categories, CATEGORIES)),
            consent.jurisdiction,
            consent.recorded_at,
            consent.ended_at,
            consent.ended_entry,
            consent.last_use,
            _covers(consent),
        )
        for consent in chosen
    ]
    return Table("consents", "Consents", _CONSENTS, rows)


def aggregates_table(replay: Replay) -> Table:
    """Charged questions about the pool, each with the consents that were live behind it."""
    rows = [
        (
            asked.entry,
            asked.time,
            asked.asked_by,
            asked.nano_rho,
            "live consents: " + ", ".join(f"{name} {count}" for name, count in asked.live.items())
            if asked.live
            else "does not say what it rests on",
        )
        for asked in replay.pool.aggregates
    ]
    return Table("aggregates", "Questions about the pool that were charged", _AGGREGATES, rows)


def disputes_table(replay: Replay) -> Table:
    """Disputes and where they stand."""
    rows = [
        (
            found.id,
            found.state,
            found.jurisdiction,
            found.opened_at,
            found.answer_by,
            found.answered_at,
            found.outcome,
            found.entry,
            found.resolved_at,
            found.member,
        )
        for found in replay.disputes.by_id.values()
    ]
    return Table("disputes", "Disputes", _DISPUTES, rows)


def erasures_table(replay: Replay) -> Table:
    """Erasures and where they stand."""
    rows = [
        (
            found.id,
            # As `concordat erasure list` calls it; whether the stores are done is in no entry.
            "erased" if found.outcome == "executed" else found.outcome,
            found.requested_at,
            found.decided_at,
            found.consents,
            found.entry,
            found.basis,
        )
        for found in replay.erasures.by_id.values()
    ]
    return Table("erasures", "Erasures", _ERASURES, rows)


def views_table(replay: Replay) -> Table:
    """What staff looked at, as the log records it."""
    rows = [
        (view.entry, view.time, view.actor, view.view, view.case) for view in replay.staff_views
    ]
    return Table("views", "Views of staff", _VIEWS, rows)


def _covers(consent: Consent) -> str:
    purposes = ", ".join(words_of(consent.purposes, PURPOSES))
    categories = ", ".join(words_of(consent.categories, CATEGORIES))
    text = f"{purposes} of {categories}"
    if consent.unit:
        unit = "in all" if consent.unit == "inf" else f"a {consent.unit}"
        text += f"; at most {consent.limit} uses {unit}"
    return text + (f"; {consent.jurisdiction}" if consent.jurisdiction else "")
