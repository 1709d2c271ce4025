"""Lookups: what all members together know of a consenting subject.

One transaction decides, charges and records. It asks whether the caller's quota allows so many
lookups, which depends on nothing about the subjects; then for the caller's consents; it charges,
and appends the entry. Only after it is durable are signals read, and only those of permitted
subjects; then it is asked what of them may leave, see `withholding`. A withdrawal that was
acknowledged before that therefore refuses the lookup, keeps its answer back, or hides the
contributor's rows.

Refusals look alike. No consent, a consent for another purpose and a subject nobody knows take the
same queries with as many keys, and give entries and replies of the same size.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from concordat_gateway.ledger.journal import Committed, Entry, Item, Journal, Transaction
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.rules.permits import Permit, spent_permits
from concordat_gateway.rules.policies import cutoffs_of
from concordat_gateway.rules.quotas import LookupMeter, lookups_exhausted
from concordat_gateway.rules.requests import check_request_id
from concordat_gateway.rules.scopes import LOOKUP_PURPOSES, Purpose
from concordat_gateway.rules.subjects import Named
from concordat_gateway.rules.uses import CATEGORY_NAMES, NO_CONSENT, append_use
from concordat_gateway.rules.withholding import Still, still_standing, withhold
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey, require_epoch
from concordat_privacy.catalogue.relations import History, restrict
from concordat_privacy.catalogue.signals import (
    CATALOGUE_VERSION,
    SIGNALS,
    Disputed,
    SignalValue,
    compute,
)
from concordat_privacy.jurisdictions import Policy
from concordat_privacy.log.leaf import Json
from concordat_privacy.metering import Exhausted, Quota
from concordat_privacy.oprf import TOKEN_BYTES
from concordat_rpc.errors import invalid
from concordat_rpc.peer import Peer

MAX_SUBJECTS = 10_000
MAX_AGE_MONTHS = 120
"""Further back than anything is kept."""

_NAMES = frozenset(definition.name for definition in SIGNALS)


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """What is known of one subject. Only a permitted result says anything about it."""

    permitted: bool
    signals: Sequence[SignalValue]
    """In catalogue order; empty unless permitted."""


_REFUSED = SubjectResult(permitted=False, signals=())


@dataclass(frozen=True, slots=True)
class Part:
    """Where a lookup belongs that is a part of a portfolio review."""

    review_id: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class Question:
    """A checked question about subjects: what for, and which signals."""

    purpose: Purpose
    names: frozenset[str] | None
    """None: all signals."""
    max_age_months: int | None
    """Months after which signals are STALE for this caller; None: the catalogue's."""
    request_id: bytes
    """The caller's; the entry repeats it, so that a receipt belongs to one call."""
    part: Part | None

    @classmethod
    def of(
        cls,
        purpose: int,
        signals: Sequence[str],
        request_id: bytes,
        max_age_months: int = 0,
        part: Part | None = None,
    ) -> "Question":
        """The question in a request, with 0 for no `max_age_months`.

        Raises Refusal INVALID_ARGUMENT.
        """
        check_request_id(request_id)
        if purpose not in LOOKUP_PURPOSES:
            raise invalid("purpose", f"one of {_named(LOOKUP_PURPOSES)} wanted")
        for position, name in enumerate(signals):
            if name not in _NAMES:
                raise invalid(f"signals[{position}]", "the catalogue has no signal of this name")
        if max_age_months > MAX_AGE_MONTHS:
            raise invalid("max_age_months", f"0 to {MAX_AGE_MONTHS} wanted, {max_age_months} given")
        return cls(
            Purpose(purpose), frozenset(signals) or None, max_age_months or None, request_id, part
        )


@dataclass(frozen=True, slots=True)
class Lookup:
    """Results in the order of the tokens, and the entry that permits and records them."""

    results: Iterable[SubjectResult]
    """To be taken once. Signals are computed as it goes: those of 10,000 subjects together would
    take a hundred megabytes."""
    entry: Entry


@dataclass(frozen=True, slots=True)
class _Decision:
    """What the transaction found out; all that the signals may be read by."""

    permits: Sequence[Permit]
    """One for each position of the call."""
    decided_at: int
    entry: Entry


def check_token(token: bytes) -> bytes:
    """The token, if it has the right length. Raises Refusal INVALID_ARGUMENT."""
    if len(token) != TOKEN_BYTES:
        raise invalid("token", f"{TOKEN_BYTES} bytes wanted, {len(token)} given")
    return token


def split_tokens(tokens: bytes, at_most: int = MAX_SUBJECTS) -> list[bytes]:
    """The tokens of a batch, one after another. Raises Refusal INVALID_ARGUMENT."""
    count, rest = divmod(len(tokens), TOKEN_BYTES)
    if rest:
        raise invalid(
            "tokens", f"a multiple of {TOKEN_BYTES} bytes wanted, {len(tokens)} bytes given"
        )
    if not 1 <= count <= at_most:
        raise invalid("tokens", f"1 to {at_most} tokens wanted, {count} given")
    return [tokens[at : at + TOKEN_BYTES] for at in range(0, len(tokens), TOKEN_BYTES)]


def look_up(
    journal: Journal,
    signals: SignalStore,
    caller: Peer,
    named: Named,
    question: Question,
    quota: Quota,
    timeout_seconds: float,
    disputed: Disputed = Disputed.HELD_BACK,
    retention: Policy | None = None,
) -> Committed[Lookup]:
    """Look subjects up, under one entry with an item for each.

    A subject may occur more than once, and is charged each time, whatever the purpose. `quota` is
    the configured one; what the operator set for the member goes before it. `disputed` is what
    becomes of what a subject disputes: its furnisher says so, or a dispute of it is open.
    `retention` is the policy by which the gateway deletes: what is past its time by it is left out
    from the first day, deleted yet or not.
    Raises Refusal UNAVAILABLE (TOKENS_ROTATING too, where the stores have left the epoch of the
    names), DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED (LOOKUPS_EXHAUSTED).
    """
    subjects = named.keys
    # Ready before the transaction, which everybody else waits for.
    commitments = [
        named.asked("lookup", caller.spiffe_id, subject, question.request_id, item)
        for item, subject in enumerate(subjects)
    ]

    def decide(transaction: Transaction) -> _Decision | Exhausted:
        connection, now = transaction.connection, transaction.now
        transaction.require_witnessed()
        require_epoch(transaction.tokens_epoch, named.epoch)
        meter = LookupMeter.of(transaction, caller.name, quota, now)
        exhausted = meter.check(connection, len(subjects), now)
        if exhausted is not None:
            return exhausted
        permitted = spent_permits(connection, caller.name, question.purpose, subjects, now)
        items = [
            _item(permit, committed)
            for permit, committed in zip(permitted, commitments, strict=True)
        ]
        refused = sum(not permit.granted for permit in permitted)
        meter.charge(transaction, len(subjects), refused, now)
        entry = append_use(
            transaction,
            "lookup",
            caller,
            question.purpose,
            _fields(question),
            items,
            subjects=subjects,
            grounds=permitted.grounds,
        )
        return _Decision(permitted, now, entry)

    committed = journal.write(decide, timeout_seconds)
    decision = committed.value
    if isinstance(decision, Exhausted):
        raise lookups_exhausted(caller.name, decision)
    known = {s for s, permit in zip(subjects, decision.permits, strict=True) if permit.granted}
    if not known:
        return Committed(Lookup([_REFUSED] * len(subjects), decision.entry), committed.checkpoint)
    histories = signals.histories(sorted(known), named.epoch)
    still = still_standing(
        journal, known, decision.permits, decision.entry, named.epoch, decision.decided_at
    )
    checkpoint = committed.checkpoint
    withheld = [at for at, permit in enumerate(decision.permits) if still.is_ended(permit)]
    if withheld:
        checkpoint = withhold(
            journal, caller, decision.entry, question.request_id, withheld, timeout_seconds
        ).checkpoint
    results = _answers(histories, decision, still, subjects, question, disputed, retention)
    return Committed(Lookup(results, decision.entry), checkpoint)


def _answers(
    histories: Mapping[SubjectKey, History],
    decision: _Decision,
    still: Still,
    subjects: Sequence[SubjectKey],
    question: Question,
    disputed: Disputed,
    retention: Policy | None,
) -> Iterator[SubjectResult]:
    """A result for each position; positions of one subject may rest on different consents."""
    today_day = day_of(decision.decided_at)
    cutoffs = cutoffs_of(retention, today_day)
    for subject, permit in zip(subjects, decision.permits, strict=True):
        if not permit.granted or still.is_ended(permit):
            yield _REFUSED
            continue
        values = compute(
            restrict(histories[subject], still.contributors.get(subject, {})),
            today_day,
            permit.consents.keys(),
            question.names,
            max_age_months=question.max_age_months,
            disputed=disputed,
            under_dispute=still.under_dispute.get(subject, ()),
            cutoffs=cutoffs,
        )
        yield SubjectResult(permitted=True, signals=values)


def _fields(question: Question) -> dict[str, Json]:
    wanted = [d.name for d in SIGNALS if question.names is None or d.name in question.names]
    fields: dict[str, Json] = {
        "catalogue": CATALOGUE_VERSION,
        "purpose": question.purpose.name.lower(),
        "request": question.request_id.hex(),
        "signals": [*wanted],
    }
    if question.max_age_months is not None:
        fields["max_age_months"] = question.max_age_months
    if question.part is not None:
        fields["review"] = question.part.review_id.hex()
        fields["sequence"] = question.part.sequence
    return fields


def _item(permit: Permit, committed: str) -> Item:
    """One subject's item: the decision, and which consent each category rests on."""
    named = permit.consents
    consents = [named[c].hex() if c in named else NO_CONSENT for c in _CATEGORIES]
    decision = "permit" if permit.granted else "refuse"
    return Item(
        {
            "consents": dict(zip(_NAMES_OF_CATEGORIES, consents, strict=True)),
            "decision": decision,
            "subject": committed,
        },
        (_FORM % (*consents, decision, committed)).encode(),
    )


_CATEGORIES = sorted(CATEGORY_NAMES, key=CATEGORY_NAMES.__getitem__)
_NAMES_OF_CATEGORIES = [CATEGORY_NAMES[category] for category in _CATEGORIES]
# As RFC 8785 writes it: names in order, no blanks. Tests hold it to `leaf.encode_item`.
_FORM = (
    '{"consents":{'
    + ",".join(f'"{name}":"%s"' for name in _NAMES_OF_CATEGORIES)
    + '},"decision":"%s","subject":"%s"}'
)


def _named(purposes: Collection[Purpose]) -> str:
    return ", ".join(f"PURPOSE_{purpose.name}" for purpose in sorted(purposes))
