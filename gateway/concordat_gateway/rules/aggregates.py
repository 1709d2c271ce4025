"""Differentially private counts over the whole pool: charged first, read after, answered once.

    question -> one transaction: stored answer? else debit, entry -> durable
             -> bounded counts -> noise -> stored if none is -> the stored bytes to everybody

A question about a snapshot of the pool is charged once and noised once. Whoever asks it again, at
the same time or later, gets the same answer free: a second draw of noise would cost privacy that
nobody paid for. A crash after the charge keeps the charge; who asks next is answered without one.

Who counts is decided row by row: a row counts while its subject's consents let its furnisher both
contribute it and have it counted, and while it is within retention. The charged entry says which
consents those are (`rests_on`), so the log alone tells at any time whom an answer could count: who
had them at its entry's time. Whoever withdraws before the own rows are read is left out; whoever
withdraws later was counted before, and the noise hides that. An answer that is repeated free names
the charged entry that it repeats, and has a `rests_on` of its own where it had to be computed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.ledger.tree import read_tokens_epoch
from concordat_gateway.rules.budgets import Caps, Scope, reserve, scopes_of
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.rules.permits import COUNTED_CATEGORY, COUNTED_PURPOSES, countable
from concordat_gateway.rules.policies import cutoffs_of
from concordat_gateway.rules.publication import publish_accepted
from concordat_gateway.rules.requests import check_request_id
from concordat_gateway.rules.scopes import names_of
from concordat_gateway.rules.standing import require_active
from concordat_gateway.store.control_tables import answer
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import require_epoch
from concordat_privacy.catalogue.bands import AccountStatus
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.definitions import BANDS, POSITION
from concordat_privacy.catalogue.rows import ADVERSE_STATUSES, retention_months
from concordat_privacy.dp.bounding import bounded_counts
from concordat_privacy.dp.query import Dimension, Question
from concordat_privacy.dp.release import Mechanism
from concordat_privacy.dp.rho import NanoRho, charge
from concordat_privacy.jurisdictions import Policy
from concordat_privacy.log.leaf import Json, encode_item
from concordat_rpc.errors import exhausted
from concordat_rpc.peer import Peer

_VERSION_BITS: Final = 36
_RESTS_ON: Final[dict[str, Json]] = {
    "purposes": names_of(COUNTED_PURPOSES),
    "categories": names_of([COUNTED_CATEGORY]),
}
_BANDS: Final = {
    Dimension.DAYS_PAST_DUE: POSITION["days_past_due"],
    Dimension.BALANCE: POSITION["balance"],
    Dimension.LIMIT: POSITION["limit"],
    Dimension.UTILISATION: POSITION["utilisation"],
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What everybody who asks a question about a snapshot is told."""

    counts: tuple[int, ...]
    """Noisy number of persons in each cell; can be negative."""
    error_95: int
    """Half-width of an interval that holds a cell's bounded count with probability >= 0.95."""
    mechanism: str


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, and what this call was charged for it."""

    answer: Answer
    charged: NanoRho
    """0 where the question had been charged before."""
    snapshot: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class _Reserved:
    """What the transaction decided."""

    snapshot: int
    tokens_epoch: int
    now: int
    entry: Entry
    charged: NanoRho
    stored: bytes | None = None
    exhausted: Scope | None = None


def snapshot_of(pool_version: int, now: int) -> int:
    """The pool as it is asked: the UTC day in the upper bits, pool_version in the lower 36.

    pool_version grows with every recorded change: contributions, grants, withdrawals. The day is
    in it because consents also begin and end by the calendar, which no entry records. Opaque to
    members; below 2^53, as numbers in the ledger must be.
    """
    return day_of(now) << _VERSION_BITS | pool_version


def ask(
    journal: Journal,
    signals: SignalStore,
    caps: Caps,
    caller: Peer,
    question: Question,
    request_id: bytes,
    timeout_seconds: float,
    retention: Policy | None = None,
) -> Committed[Asked]:
    """Answer a question; the entry repeats `request_id`.

    The answer is computed from what is published once the charge is durable. `retention` is the
    policy by which the gateway deletes: adverse endings that it deletes are not counted.
    Raises Refusal RESOURCE_EXHAUSTED (BUDGET_EXHAUSTED, naming the scope; recorded in the
    ledger), PERMISSION_DENIED, UNAVAILABLE (TOKENS_ROTATING too: where a rotation's switch begins
    between the charge and the answer, the charge is lost as in a crash), DEADLINE_EXCEEDED.
    """
    check_request_id(request_id)
    committed = journal.write(
        lambda transaction: _reserve(transaction, caps, caller, question, request_id),
        timeout_seconds,
    )
    reserved = committed.value
    if reserved.exhausted is not None:
        raise exhausted(
            "BUDGET_EXHAUSTED",
            f"the privacy budget of {reserved.exhausted} does not cover this question",
            reserved.exhausted,
        )
    stored = reserved.stored
    if stored is None:
        # The version rises when a batch is accepted. Now that it is fixed, all rows that it
        # promises must be there to be read.
        publish_accepted(journal, signals)
        computed = _compute(journal, signals, question, reserved, retention)
        # With time of its own: the charge is made, so the answer is worth keeping for the next
        # who asks even where this caller has stopped waiting.
        stored = journal.write(
            lambda transaction: _keep(transaction, question, reserved.snapshot, computed)
        ).value
    asked = Asked(_decode(stored), reserved.charged, reserved.snapshot, reserved.entry)
    return Committed(asked, committed.checkpoint)


def _reserve(
    transaction: Transaction, caps: Caps, caller: Peer, question: Question, request_id: bytes
) -> _Reserved:
    """Decide, debit and record, all or nothing. A refusal is recorded too, so it does not raise."""
    connection, now = transaction.connection, transaction.now
    epoch = transaction.tokens_epoch
    transaction.require_witnessed()
    require_epoch(epoch, epoch)
    require_active(connection, caller.name)
    snapshot = snapshot_of(transaction.pool_version, now)
    named: dict[str, Json] = {
        "question": question.id.hex(),
        "request": request_id.hex(),
        "snapshot": snapshot,
    }

    key = {"asked": question.id, "at": snapshot}
    earlier = connection.execute(_FIND, key).first()
    if earlier is not None:
        named["charged"] = earlier.entry
        if earlier.reply is None:
            # Whoever was charged crashed, or is not ready: this call counts, as of now.
            named["rests_on"] = _RESTS_ON
        entry = transaction.append("aggregate.repeated", caller.spiffe_id, named)
        return _Reserved(snapshot, epoch, now, entry, NanoRho(0), stored=earlier.reply)

    amount = charge(question.epsilon)
    fields: dict[str, Json] = {**named, "query": question.content, "nano_rho": int(amount)}
    refusing = reserve(connection, scopes_of(caller), caps, amount)
    if refusing is not None:
        entry = transaction.append(
            "aggregate.refused", caller.spiffe_id, {**fields, "scope": refusing}
        )
        return _Reserved(snapshot, epoch, now, entry, NanoRho(0), exhausted=refusing)

    entry = transaction.append(
        "aggregate.charged",
        caller.spiffe_id,
        {**fields, "scopes": [*scopes_of(caller)], "rests_on": _RESTS_ON},
    )
    connection.execute(
        _INSERT,
        {
            "question": question.id,
            "snapshot": snapshot,
            "reply": None,
            "charged_nano_rho": amount,
            "entry": entry.index,
            "asked_by": caller.name,
        },
    )
    return _Reserved(snapshot, epoch, now, entry, amount)


def _keep(transaction: Transaction, question: Question, snapshot: int, computed: bytes) -> bytes:
    """The one stored answer: `computed`, unless somebody else's came first."""
    key = {"asked": question.id, "at": snapshot}
    transaction.connection.execute(_STORE, {**key, "computed": computed})
    return cast(bytes, transaction.connection.execute(_FIND, key).one().reply)


def _compute(
    journal: Journal,
    signals: SignalStore,
    question: Question,
    reserved: _Reserved,
    retention: Policy | None,
) -> bytes:
    mechanism = Mechanism(question.cells, question.cells_per_person, question.epsilon)
    epoch, now = reserved.tokens_epoch, reserved.now
    exact = exact_counts(journal, signals, question, epoch, now, retention)
    noisy = mechanism.release(exact)
    return encode_item(
        {"counts": noisy, "error_95": mechanism.error_95, "mechanism": mechanism.description}
    )


def _decode(stored: bytes) -> Answer:
    content = json.loads(stored)
    return Answer(tuple(content["counts"]), content["error_95"], content["mechanism"])


def exact_counts(
    journal: Journal,
    signals: SignalStore,
    question: Question,
    tokens_epoch: int,
    now: int,
    retention: Policy | None = None,
) -> list[int]:
    """Bounded counts, bucket by bucket: all rows of one person lie in one bucket. Not for release.

    Whatever the question, all rows and all consents are read, and conditions are looked at here:
    a store that looks for them would answer faster where nobody meets them, and so tell without
    noise whether somebody does.
    """
    totals = [0] * question.cells
    month = month_of_day(day_of(now))
    oldest_delinquency = cutoffs_of(retention, day_of(now)).delinquency_month
    accepted = [(_POSITION[c.dimension], frozenset(c.bands)) for c in question.where]
    group = _POSITION[question.group_by] if question.group_by else None
    for bucket, rows in signals.relations_by_bucket(_SCANNED, tokens_epoch):
        with journal.read() as connection:
            # Consents that have been moved meanwhile would drop rows that were read before.
            require_epoch(read_tokens_epoch(connection), tokens_epoch)
            allowed = countable(connection, bucket, now)
        counted = [
            (row[0], row[group] - 1 if group is not None else 0)
            for row in map(_unpacked, rows)
            if (row[0], row[1]) in allowed
            and month - row[2] <= retention_months(AccountStatus(row[_STATUS]))
            and not (0 < row[3] < oldest_delinquency and row[_STATUS] in ADVERSE_STATUSES)
            and all(row[position] in bands for position, bands in accepted)
            and (group is None or row[group] != 0)
        ]
        counts = bounded_counts(
            counted,
            cells=question.cells,
            cells_per_person=question.cells_per_person,
            key=question.id,
        )
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
    return totals


_SCANNED: Final = (
    "subject",
    "member_no",
    "as_of_month",
    "first_delinquency_month",
    "product",
    "status",
    "bands",
)
_FIXED: Final = len(_SCANNED) - 1
_POSITION: Final = {
    Dimension.PRODUCT: _SCANNED.index("product"),
    Dimension.STATUS: _SCANNED.index("status"),
    **{dimension: _FIXED + at for dimension, at in _BANDS.items()},
}
_STATUS: Final = _POSITION[Dimension.STATUS]


def _unpacked(row: Sequence[Any]) -> tuple[Any, ...]:
    """A scanned row with its bands one by one."""
    return (*row[:_FIXED], *row[_FIXED].ljust(len(BANDS), b"\0"))


_THIS = sa.and_(answer.c.question == sa.bindparam("asked"), answer.c.snapshot == sa.bindparam("at"))
_FIND = sa.select(answer.c.reply, answer.c.entry).where(_THIS)
_INSERT = sa.insert(answer)
_STORE = (
    sa.update(answer).where(_THIS, answer.c.reply.is_(None)).values(reply=sa.bindparam("computed"))
)
