"""The released signals: what a consented lookup says about a subject.

Adding a signal is one entry of catalogue.toml and one function of measures.py.

A result never tells which member a signal comes from. The rule that keeps it so: **a result stays
the same, byte for byte, when the members' numbers are exchanged for others.** Nothing is released
by member or by account. Member numbers are compared with each other and with nothing else, to
count distinct lenders and to grade coverage. And **whether one member or two told something shows
in the count of open lenders alone**: coverage, which all signals have, does not tell them apart.
Property tests hold `compute` to both. docs/catalogue.md says what no rule can hide.

Other rules:

- A disputed account is left out of every signal at once (HELD_BACK): where nothing else is known,
  the signal is DISPUTED. Or it counts as an open one (MARKED): every signal that it changes is
  DISPUTED, with its band.
- A category that an open dispute is about is DISPUTED as a whole: without any band (HELD_BACK), or
  with the bands that there are (MARKED).
- Unknown bands are left out, never taken for bad. A signal that rests on nothing known is
  NOT_FOUND, which is not negative.
- A report past its retention is left out (24 months; five years after an adverse ending), and
  whatever the gateway's own cutoffs delete: no result waits for the deletion.
- "Now" is judged from reports at most `CURRENT_MONTHS` old. Where there are only older ones, they
  are used and the signal is STALE.
- A spending pattern needs three months of history, else SUPPRESSED. What tells of behaviour is
  used for six months.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.catalogue.definitions import (
    CATALOGUE_VERSION,
    OLDEST_VERSION,
    SIGNAL_ENTRIES,
    SignalEntry,
)
from concordat_privacy.catalogue.evidence import (
    AS_OF_MONTH,
    Accounts,
    Basis,
    Evidence,
    gather,
    longest,
)
from concordat_privacy.catalogue.measures import MEASURES, Measure
from concordat_privacy.catalogue.relations import History
from concordat_privacy.catalogue.retention import Cutoffs

__all__ = [
    "CATALOGUE_VERSION",
    "OLDEST_VERSION",
    "SIGNALS",
    "Coverage",
    "Disputed",
    "SignalDefinition",
    "SignalStatus",
    "SignalValue",
    "compute",
    "definition_of",
]


class SignalStatus(IntEnum):
    """State of one signal. Numbers equal those of concordat.v1."""

    UNSPECIFIED = 0
    PRESENT = 1
    NOT_FOUND = 2
    SUPPRESSED = 3
    STALE = 4
    NO_CONSENT = 5
    DISPUTED = 6


class Disputed(IntEnum):
    """What becomes of accounts that their subject disputes: the consortium's policy."""

    HELD_BACK = 1
    MARKED = 2


class Coverage(IntEnum):
    """How much stands behind the signals of a category. Numbers equal those of concordat.v1.

    One member is not told from two: of two, each would know the other as the one.
    """

    UNSPECIFIED = 0
    THIN = 1
    PARTIAL = 2
    FULL = 3


class SignalValue(NamedTuple):
    """One signal of one subject."""

    name: str
    band: int
    """From 1; 0 unless status is PRESENT, STALE or DISPUTED, which may have one."""
    label: str
    """The band in words; empty where band is 0."""
    as_of_month: int
    """Newest month of the data behind it, counted from 1970-01; 0 where band is 0."""
    coverage: Coverage
    status: SignalStatus


@dataclass(frozen=True, slots=True)
class SignalDefinition:
    """One signal of the catalogue."""

    name: str
    labels: tuple[str, ...]
    """The label of band b stands at position b - 1."""
    category: DataCategory
    """What the lookup's consent must cover."""
    basis: Basis
    max_age_months: int
    """Months after which the signal is STALE."""
    reason_en: str
    """Says what was judged, specifically enough for an adverse action notice (Regulation B,
    12 CFR 1002.9(b)(2); CFPB Circular 2023-03) once the band is added: see `reason`."""
    reason_zh: str
    measure: Measure
    min_months: int = 0
    """Months of history without which the signal is SUPPRESSED."""

    def reason(self, band: int) -> str:
        """The reason with its specific band, in English."""
        return f"{self.reason_en}: {self.labels[band - 1]}"

    def reason_in_chinese(self, band: int) -> str:
        """The reason with its specific band, in Chinese."""
        return f"{self.reason_zh}\uff1a{self.labels[band - 1]}"


def _definition(entry: SignalEntry) -> SignalDefinition:
    return SignalDefinition(
        name=entry.name,
        labels=entry.labels,
        category=DataCategory[entry.category.upper()],
        basis=Basis[entry.basis.upper()],
        max_age_months=entry.max_age_months,
        reason_en=entry.reason_en,
        reason_zh=entry.reason_zh,
        measure=MEASURES[entry.name],
        min_months=entry.min_months,
    )


SIGNALS: Final[tuple[SignalDefinition, ...]] = tuple(map(_definition, SIGNAL_ENTRIES))
"""All signals, in the order of every answer."""

_TOLD_APART: Final = 3
"""Members from which on coverage says that they are several."""
_MONTHS_OF_PARTIAL, _MONTHS_OF_FULL = 3, 12
"""Of history, from which on coverage is graded so."""
_DAYS_A_MONTH = 30

_BY_NAME: Final = {definition.name: definition for definition in SIGNALS}


def definition_of(name: str) -> SignalDefinition:
    """The signal called `name`. Raises KeyError."""
    return _BY_NAME[name]


def compute(
    history: History,
    today_day: int,
    categories: Collection[DataCategory],
    names: Collection[str] | None = None,
    *,
    max_age_months: int | None = None,
    disputed: Disputed = Disputed.HELD_BACK,
    under_dispute: Collection[DataCategory] = (),
    cutoffs: Cutoffs | None = None,
) -> list[SignalValue]:
    """The signals of one subject on the day `today_day`, in catalogue order.

    `categories` are those that the lookup's consent covers; signals of others come back as
    NO_CONSENT and nothing is computed for them. `names` picks signals; None means all, names that
    the catalogue does not have are passed over. `max_age_months` makes older ones STALE, however
    long the catalogue would let them stand. `under_dispute` are the categories that an open dispute
    of the subject is about. `cutoffs` are as `gather` has them. `history` must hold only what its
    contributors may share now (`relations.restrict`).
    """
    plan = _plan(None if names is None else frozenset(names), frozenset(categories))
    evidence = gather(history, today_day, categories, cutoffs=cutoffs)
    values = _values(evidence, plan, max_age_months)
    if evidence.has_disputed:
        marked = gather(history, today_day, categories, with_disputed=True, cutoffs=cutoffs)
        with_them = _values(marked, plan, max_age_months)
        values = [
            _disputed(without, beside, disputed)
            for without, beside in zip(values, with_them, strict=True)
        ]
    if not under_dispute:
        return values
    return [
        _under_dispute(value, disputed)
        if step.consented and step.definition.category in under_dispute
        else value
        for step, value in zip(plan.steps, values, strict=True)
    ]


class _Step(NamedTuple):
    """What computing one signal takes, with no name or member of an enumeration to look up."""

    definition: SignalDefinition
    consented: bool
    category: int
    """Position of its category in `_Plan.categories`; 0 where not consented."""
    basis: int
    """Position of its basis in `_Plan.as_of_months`."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """How the signals of a question are computed, the same for every subject."""

    steps: tuple[_Step, ...]
    categories: tuple[DataCategory, ...]
    as_of_months: tuple[Callable[[Evidence], int], ...]
    """One for each basis of the signals."""


# As many as there are questions in use at a time; names and categories are checked before.
@lru_cache(maxsize=256)
def _plan(names: frozenset[str] | None, categories: frozenset[DataCategory]) -> _Plan:
    wanted = [d for d in SIGNALS if names is None or d.name in names]
    ordered, bases = sorted(categories), list(dict.fromkeys(d.basis for d in wanted))
    steps = [
        _Step(
            d,
            d.category in categories,
            ordered.index(d.category) if d.category in categories else 0,
            bases.index(d.basis),
        )
        for d in wanted
    ]
    return _Plan(tuple(steps), tuple(ordered), tuple(AS_OF_MONTH[basis] for basis in bases))


def _values(evidence: Evidence, plan: _Plan, max_age_months: int | None) -> list[SignalValue]:
    values, measured = _frame(
        plan,
        evidence.month,
        tuple([as_of(evidence) for as_of in plan.as_of_months]),
        tuple([_coverage(evidence, category) for category in plan.categories]),
        min(_months(evidence.spending), _LONGEST_MIN_MONTHS),
        max_age_months,
    )
    found = list(values)
    for at, measure, by_band in measured:
        found[at] = by_band[measure(evidence)]
    return found


_Frame = tuple[Sequence[SignalValue], Sequence[tuple[int, Measure, Sequence[SignalValue]]]]
"""The values without a band of all signals of a plan; and of each that may have one its position,
its measure, and its value by band."""

_LONGEST_MIN_MONTHS: Final = max(definition.min_months for definition in SIGNALS)


# Says nothing of a subject but how old and how well covered its data are: thousands share one.
@lru_cache(maxsize=1_024)
def _frame(
    plan: _Plan,
    month: int,
    as_of: tuple[int, ...],
    coverage: tuple[Coverage, ...],
    months: int,
    max_age_months: int | None,
) -> _Frame:
    """All of the signals of a subject but their bands."""
    values: list[SignalValue] = []
    measured: list[tuple[int, Measure, Sequence[SignalValue]]] = []
    for at, (definition, consented, category, basis) in enumerate(plan.steps):
        if not consented:
            values.append(_without_band(definition, Coverage.UNSPECIFIED, SignalStatus.NO_CONSENT))
            continue
        values.append(_without_band(definition, coverage[category], SignalStatus.NOT_FOUND))
        if not as_of[basis]:
            continue
        max_age = definition.max_age_months
        if max_age_months is not None and max_age_months < max_age:
            max_age = max_age_months
        status = SignalStatus.STALE if month - as_of[basis] > max_age else SignalStatus.PRESENT
        if months < definition.min_months:
            status = SignalStatus.SUPPRESSED
        by_band = _by_band(definition.name, as_of[basis], coverage[category], status)
        measured.append((at, definition.measure, by_band))
    return values, measured


# Values are shared: those of 10,000 subjects with 44 signals each are a few hundred.
@lru_cache(maxsize=4_096)
def _by_band(
    name: str, as_of_month: int, coverage: Coverage, status: SignalStatus
) -> Sequence[SignalValue]:
    """The value of a signal for each band, from 0."""
    definition = definition_of(name)
    unknown = _without_band(definition, coverage, SignalStatus.NOT_FOUND)
    if status is SignalStatus.SUPPRESSED:
        return [unknown, *[_without_band(definition, coverage, status)] * len(definition.labels)]
    return [
        unknown,
        *(
            SignalValue(name, band, label, as_of_month, coverage, status)
            for band, label in enumerate(definition.labels, start=1)
        ),
    ]


def _without_band(
    definition: SignalDefinition, coverage: Coverage, status: SignalStatus
) -> SignalValue:
    return SignalValue(definition.name, 0, "", 0, coverage, status)


def _disputed(without: SignalValue, beside: SignalValue, policy: Disputed) -> SignalValue:
    """A signal of a subject with disputed accounts, computed without and with them."""
    if without == beside:
        return without
    if policy is Disputed.MARKED:
        return beside._replace(status=SignalStatus.DISPUTED)
    if without.status is SignalStatus.NOT_FOUND:
        return without._replace(status=SignalStatus.DISPUTED)
    return without


def _under_dispute(value: SignalValue, policy: Disputed) -> SignalValue:
    """A signal of a category that an open dispute is about."""
    if policy is Disputed.HELD_BACK:
        return value._replace(band=0, label="", as_of_month=0, status=SignalStatus.DISPUTED)
    return value._replace(status=SignalStatus.DISPUTED) if value.band else value


def _coverage(evidence: Evidence, category: DataCategory) -> Coverage:
    """Members and months behind a category, as concordat.v1 grades them."""
    if category is DataCategory.CREDIT_ACCOUNTS:
        return _grade(evidence.accounts.members, evidence.months)
    if category is DataCategory.SPENDING:
        return _grade(evidence.spending.members, _months(evidence.spending))
    if category is DataCategory.TRADE:
        return _grade(evidence.trade.members, _months(evidence.trade))
    if category is DataCategory.INQUIRIES and evidence.inquiries:
        return _grade(evidence.inquirers, (evidence.today_day - evidence.asked[0]) // _DAYS_A_MONTH)
    if category is DataCategory.INQUIRIES and evidence.accounts:
        return Coverage.THIN
    return Coverage.UNSPECIFIED


def _months(accounts: Accounts) -> int:
    return longest([row.profile for row in accounts.rows])


def _grade(members: int, months: int) -> Coverage:
    if members == 0:
        return Coverage.UNSPECIFIED
    if members < _TOLD_APART or months < _MONTHS_OF_PARTIAL:
        return Coverage.THIN
    return Coverage.PARTIAL if months < _MONTHS_OF_FULL else Coverage.FULL
