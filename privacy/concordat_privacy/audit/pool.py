"""What concerns the pool as a whole: questions about it, their budget, keys, retention."""

import hashlib
from collections import Counter
from dataclasses import dataclass

from concordat_privacy.audit.consents import Consents
from concordat_privacy.audit.context import Context
from concordat_privacy.audit.entry import (
    CATEGORY_BITS,
    PURPOSE_BITS,
    PURPOSES,
    Entry,
    Fields,
    Malformed,
    Moment,
    count_of,
    hex_of,
    mask_in,
    object_in,
    text_of,
    words_of,
    years_after,
)
from concordat_privacy.audit.findings import Kind
from concordat_privacy.audit.policy import Policies
from concordat_privacy.catalogue.retention import DELINQUENCY_MONTHS

_NEEDED = PURPOSE_BITS["aggregate_statistics"] | PURPOSE_BITS["contribution"]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One charged question, and how many consents were live behind it."""

    entry: int
    time: Moment
    asked_by: str
    nano_rho: int
    live: dict[str, int]
    """For each purpose it rests on, live consents that cover its categories. Empty where the
    entry does not say what it rests on."""


class Pool:
    """Questions and their budget. Memory grows with charged questions, which budgets bound."""

    def __init__(self, context: Context, consents: Consents) -> None:
        self._context = context
        self._consents = consents
        self._charged: dict[bytes, int] = {}
        self._refused_at: dict[str, tuple[int, int]] = {}
        self._newer_form = False
        self.spent: Counter[str] = Counter()
        """nano rho charged, by scope."""
        self.aggregates: list[Aggregate] = []
        self.repeated = 0
        self.refused = 0
        self.not_recheckable = 0
        """Charged questions that do not say what they rest on."""

    def charged(self, entry: Entry) -> None:
        """`aggregate.charged`."""
        fields = entry.fields
        amount, scopes = count_of(fields, "nano_rho"), fields.get("scopes")
        if not isinstance(scopes, list) or not scopes:
            raise Malformed("scopes: a list is wanted")
        question = _question(fields)
        if question in self._charged:
            message = f"charged before, by entry {self._charged[question]}: repeats are free"
            self._context.find(Kind.BUDGET_INCONSISTENT, message)
        self._charged[question] = entry.index
        for scope in scopes:
            self._spend(str(scope), amount)
        self.aggregates.append(
            Aggregate(entry.index, entry.time, entry.actor.name, amount, self._basis(entry))
        )

    def answered_again(self, entry: Entry) -> None:
        """`aggregate.repeated`: free, since it was charged before."""
        self.repeated += 1
        charged = self._charged.get(_question(entry.fields))
        if charged is None:
            message = "answered again, but never charged for this snapshot"
            self._context.find(Kind.BUDGET_INCONSISTENT, message)
        elif entry.fields.get("charged", charged) != charged:
            message = f"charged by entry {charged}, not by the one it names"
            self._context.find(Kind.BUDGET_INCONSISTENT, message)
        if "rests_on" in entry.fields:
            # Whoever was charged had no answer: this one was counted now.
            self.aggregates.append(
                Aggregate(entry.index, entry.time, entry.actor.name, 0, self._basis(entry))
            )

    def exhausted(self, entry: Entry) -> None:
        """`aggregate.refused`: a bound on the scope's cap, which no entry states."""
        self.refused += 1
        amount, scope = count_of(entry.fields, "nano_rho"), text_of(entry.fields, "scope")
        _question(entry.fields)
        reached = self.spent[scope] + amount
        earlier = self._refused_at.get(scope)
        if earlier is None or reached < earlier[0]:
            self._refused_at[scope] = (reached, entry.index)

    def trained(self, entry: Entry) -> None:
        """`training.run`, charged to the same budget."""
        if entry.fields.get("purpose") != "model_training":
            raise Malformed("purpose: model_training is wanted")
        amount = count_of(entry.fields, "nano_rho")
        scopes = entry.fields.get("scopes")
        for scope in scopes if isinstance(scopes, list) else ["pool"]:
            self._spend(str(scope), amount)

    def _spend(self, scope: str, amount: int) -> None:
        self.spent[scope] += amount
        bound = self._refused_at.get(scope)
        if bound is not None and self.spent[scope] >= bound[0]:
            message = (
                f"{self.spent[scope]} nano rho charged to {scope}; entry {bound[1]} was refused "
                f"for {bound[0]}: a cap was raised, or not kept"
            )
            self._context.find(Kind.BUDGET_INCONSISTENT, message)
            del self._refused_at[scope]

    def _basis(self, entry: Entry) -> dict[str, int]:
        if "rests_on" not in entry.fields:
            self.not_recheckable += 1
            if self._newer_form:
                message = "does not say what it rests on, though questions before it do"
                self._context.find(Kind.OLDER_FORM, message)
            return {}
        self._newer_form = True
        rests_on = object_in(entry.fields, "rests_on")
        purposes = mask_in(rests_on, "purposes", PURPOSE_BITS)
        categories = mask_in(rests_on, "categories", CATEGORY_BITS)
        missing = words_of(_NEEDED & ~purposes, PURPOSES)
        if missing:
            message = f"does not rest on consents for {' and '.join(missing)}"
            self._context.find(Kind.AGGREGATE_WITHOUT_BASIS, message)
        covering = self._consents.live.covering
        return {
            name: covering(PURPOSE_BITS[name], categories, entry.time)
            for name in words_of(purposes, PURPOSES)
        }


class Keys:
    """Key epochs: adopted in order, rotated to, retired."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._adopted: dict[int, str] = {}
        self._retired: set[int] = set()
        self._current: int | None = None

    def adopted(self, entry: Entry) -> None:
        """`key.adopted`."""
        epoch = count_of(entry.fields, "epoch")
        text_of(entry.fields, "key")
        if epoch in self._adopted or epoch in self._retired:
            self._inconsistent(f"epoch {epoch} is adopted, but was adopted before")
        elif self._adopted and epoch < max(self._adopted):
            self._inconsistent(f"epoch {epoch} is adopted after {max(self._adopted)}")
        self._adopted[epoch] = str(entry.fields["key"])

    def retired(self, entry: Entry) -> None:
        """`key.retired`."""
        epoch = count_of(entry.fields, "epoch")
        if epoch in self._retired:
            self._inconsistent(f"epoch {epoch} is retired, but was retired before")
        self._retired.add(epoch)

    def rotated(self, entry: Entry) -> None:
        """`tokens.rotated`: the stores name subjects under another epoch from here on."""
        before, after = count_of(entry.fields, "from_epoch"), count_of(entry.fields, "to_epoch")
        if after <= before or (self._current is not None and self._current != before):
            self._inconsistent(f"rotated from epoch {before} to {after}")
        if after in self._retired:
            self._inconsistent(f"rotated to epoch {after}, which was retired")
        self._current = after

    def _inconsistent(self, message: str) -> None:
        self._context.find(Kind.KEY_INCONSISTENT, message)


class Retention:
    """Jobs that delete what has reached the end of its retention."""

    def __init__(self, context: Context, policies: Policies) -> None:
        self._context = context
        self._policies = policies
        self.rows = 0

    def executed(self, entry: Entry) -> None:
        """`retention.executed`: what lies before a month or day is gone."""
        code, kind = text_of(entry.fields, "jurisdiction"), text_of(entry.fields, "kind")
        if kind not in ("adverse", "positive", "inquiries"):
            raise Malformed("kind: adverse, positive or inquiries is wanted")
        before = str(entry.fields.get("before", ""))
        if len(before) not in (7, 10) or before[4:5] != "-":
            raise Malformed("before: a month or a day is wanted")
        self.rows += count_of(entry.fields, "rows")
        policy = self._policies.by_code.get(code)
        if policy is None or kind != "adverse":
            return
        # Rows carry months, so a row may stay for the rest of the month in which its time ends.
        ended = years_after(entry.time, -policy.adverse_retention_years)
        # Months are all that is known of a delinquency: its 180 days are six of them.
        began = entry.fields.get("delinquency_before")
        if began is not None:
            began = str(began)
            if len(began) != 7 or began[4] != "-":
                raise Malformed("delinquency_before: a month is wanted")
            if _months(began) < _months(ended) - 1 - DELINQUENCY_MONTHS:
                message = (
                    f"adverse rows whose delinquency began before {began} deleted; {code} keeps "
                    f"them {policy.adverse_retention_years} years and 180 days from then"
                )
                self._context.find(Kind.RETENTION_LATE, message)
        if _months(before) < _months(ended) - 1:
            message = (
                f"adverse rows before {before} deleted; {code} keeps them "
                f"{policy.adverse_retention_years} years"
            )
            self._context.find(Kind.RETENTION_LATE, message)


def _months(text: str) -> int:
    """Months since year 0 of a text that begins with year and month. Raises Malformed."""
    year, month = text[:4], text[5:7]
    if not (year.isascii() and year.isdigit() and month.isascii() and month.isdigit()):
        raise Malformed("before: a month or a day is wanted")
    return int(year) * 12 + int(month) - 1


def _question(fields: Fields) -> bytes:
    """A question about a snapshot, as 16 bytes that stand for it."""
    snapshot = fields.get("snapshot")
    if not isinstance(snapshot, str | int):
        raise Malformed("snapshot: a text or number is wanted")
    named = f"{hex_of(fields, 'question', 32)}/{snapshot}"
    return hashlib.sha256(named.encode()).digest()[:16]
