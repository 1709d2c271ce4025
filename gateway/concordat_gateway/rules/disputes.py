"""Disputes: a subject says that what is held about it is wrong, and who holds it answers in time.

The member that opens one learns the outcome, and nothing of who answered or how many
(`rules.dispute_views`). Since that nobody holds such data is an answer too, an opening is charged
as one lookup, and one without a consent is refused and entered as refused lookups are: whether the
pool knows the subject makes no difference to statements, entry or reply. Deadlines are the policy's
of the jurisdiction of the consent that allows it (`rules.dispute_deadlines`): 20 days in China, 30
in the US and the EU, put off once by what the policy allows. While a dispute is open, signals of
its category are held back or marked (`rules.disputed`); a furnisher that marks its row as disputed
takes it out of the signals for longer.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules.calendar import DAY_MICROSECONDS
from concordat_gateway.rules.dispute_views import (
    DISPUTE_ID_BYTES,
    Changed,
    Dispute,
    DisputeOutcome,
    DisputeReason,
    check_dispute_id,
    find_task,
    seen_by,
    unknown_dispute,
)
from concordat_gateway.rules.lookups import check_token
from concordat_gateway.rules.permits import Ground, contributors, ground_of
from concordat_gateway.rules.quotas import LookupMeter, lookups_exhausted
from concordat_gateway.rules.requests import (
    Fingerprint,
    Reply,
    Request,
    check_request_id,
    check_sha256,
    find,
    keep,
)
from concordat_gateway.rules.scopes import CATEGORIES, Purpose
from concordat_gateway.rules.subjects import Named, Subjects
from concordat_gateway.rules.uses import CATEGORY_NAMES, NO_CONSENT
from concordat_gateway.store.control_tables import dispute, dispute_task, member
from concordat_gateway.store.subjects import require_epoch
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.jurisdictions import UNNAMED, policies
from concordat_privacy.log.leaf import Json
from concordat_privacy.metering import Exhausted, Quota
from concordat_rpc.errors import invalid, permission_denied
from concordat_rpc.peer import Peer
from concordat_store.clock import rfc3339

_ANSWERS: Final = (DisputeOutcome.CORRECTED, DisputeOutcome.DELETED, DisputeOutcome.UPHELD)
"""What a furnisher may answer. Of several answers the first in this order is how it ended."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a subject complains of."""

    category: DataCategory
    reason: DisputeReason
    statement_sha256: bytes

    @classmethod
    def of(cls, category: int, reason: int, statement_sha256: bytes) -> "Complaint":
        """The complaint in a request. Raises Refusal INVALID_ARGUMENT."""
        if category not in CATEGORIES:
            raise invalid("category", "one of the data categories wanted")
        if reason not in list(DisputeReason):
            raise invalid("reason", "one of the dispute reasons wanted")
        statement_sha256 = check_sha256(statement_sha256, "statement_sha256")
        return cls(DataCategory(category), DisputeReason(reason), statement_sha256)

    @property
    def about(self) -> str:
        """As the entry names it."""
        return f"{CATEGORY_NAMES[self.category]}.{self.reason.name.lower()}"


@dataclass(frozen=True, slots=True)
class Opening:
    """A checked request to open a dispute."""

    opener: Peer
    request_id: bytes
    token: bytes = field(repr=False)
    epoch: int
    """The key epoch of the token; 0 as everywhere."""
    complaint: Complaint

    @classmethod
    def of(
        cls, opener: Peer, request_id: bytes, token: bytes, epoch: int, complaint: Complaint
    ) -> "Opening":
        """The opening that a member asks for. Raises Refusal INVALID_ARGUMENT."""
        return cls(opener, check_request_id(request_id), check_token(token), epoch, complaint)

    def call(self) -> Request:
        """What makes two openings the same call."""
        fingerprint = Fingerprint("OpenDispute")
        complaint = self.complaint
        fingerprint.add(self.token, self.epoch, complaint.about, complaint.statement_sha256)
        return Request(self.opener.spiffe_id, "OpenDispute", self.request_id, fingerprint.digest())


@dataclass(frozen=True, slots=True)
class _Opened:
    dispute: Dispute
    entry: Entry


@dataclass(frozen=True, slots=True)
class _Refused:
    """No consent allows the opening. The entry that says so is committed before it is told."""


def open_dispute(
    journal: Journal,
    subjects: Subjects,
    opening: Opening,
    quota: Quota,
    gateway: str,
    to_reply: Callable[[Dispute, Entry], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Open a dispute; `gateway` is the gateway's SPIFFE id, which resolves what is not on file.

    `quota` is the configured one of lookups; what the operator set for the member goes before it.
    Returns the bytes that `to_reply` made, now or when the same request came first, which is not
    charged again. A refusal is, and has an entry of its own each time. Raises Refusal
    PERMISSION_DENIED (NO_CONSENT, MEMBER_SUSPENDED), RESOURCE_EXHAUSTED (LOOKUPS_EXHAUSTED),
    ALREADY_EXISTS (REQUEST_ID_REUSED), FAILED_PRECONDITION (EPOCH_NOT_ACTIVE, EPOCH_REQUIRED),
    UNAVAILABLE.
    """
    opener, call = opening.opener, opening.call()

    def work(store_epoch: int) -> Committed[bytes]:
        named = subjects.named(
            opener.name, [opening.token], opening.epoch, store_epoch, timeout_seconds
        )

        def change(transaction: Transaction) -> bytes | Exhausted | _Refused:
            recorded = find(transaction.connection, call)
            if recorded is not None:
                return recorded.body
            decided = _decide(transaction, opening, named, quota, gateway)
            if not isinstance(decided, _Opened):
                return decided
            reply = to_reply(decided.dispute, decided.entry)
            return keep(transaction, call, Reply(reply, decided.entry.index))

        committed = journal.write(change, timeout_seconds)
        match committed.value:
            case Exhausted() as exhausted:
                raise lookups_exhausted(opener.name, exhausted)
            case _Refused():
                raise permission_denied(
                    "NO_CONSENT", "no live consent of the subject to dispute this category"
                )
            case bytes() as body:
                return Committed(body, committed.checkpoint)

    return subjects.settled(work)


def answer(
    journal: Journal,
    furnisher: Peer,
    dispute_id: bytes,
    outcome: int,
    statement_sha256: bytes,
    gateway: str,
    timeout_seconds: float,
) -> Committed[Changed]:
    """Answer a dispute for the furnisher's own data; the last answer resolves it.

    A suspended furnisher answers too: its rows still count, and the subject is owed an answer.
    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (DISPUTE_NOT_FOUND).
    """
    check_dispute_id(dispute_id)
    check_sha256(statement_sha256, "statement_sha256")
    if outcome not in _ANSWERS:
        raise invalid("outcome", "corrected, deleted or upheld wanted")
    answered = DisputeOutcome(outcome)

    def change(transaction: Transaction) -> Changed:
        connection = transaction.connection
        task = find_task(connection, dispute_id, furnisher.name)
        if task is None:
            raise unknown_dispute()
        if task.answered_at is not None:
            return Changed(seen_by(connection, furnisher, dispute_id), None)
        entry = transaction.append(
            "dispute.answered",
            furnisher.spiffe_id,
            {
                "dispute": dispute_id.hex(),
                "member": furnisher.name,
                "outcome": answered.name.lower(),
                "statement_sha256": statement_sha256.hex(),
            },
        )
        connection.execute(
            _ANSWER,
            {
                "id": dispute_id,
                "member": furnisher.name,
                "at": transaction.now,
                "answered": int(answered),
            },
        )
        outcomes = connection.execute(_OUTCOMES, {"id": dispute_id}).scalars().all()
        if DisputeOutcome.OPEN not in outcomes:
            _resolve(transaction, dispute_id, _outcome_of(outcomes), gateway)
        return Changed(seen_by(connection, furnisher, dispute_id), entry)

    return journal.write(change, timeout_seconds)


def _decide(
    transaction: Transaction, opening: Opening, named: Named, quota: Quota, gateway: str
) -> _Opened | Exhausted | _Refused:
    """Open the dispute, charged as one lookup, if the quota and a consent allow it."""
    opener, complaint = opening.opener, opening.complaint
    connection, now = transaction.connection, transaction.now
    [subject] = named.keys
    require_epoch(transaction.tokens_epoch, named.epoch)
    # Depends on nothing about the subject, and comes before anything about it is read.
    meter = LookupMeter.of(transaction, opener.name, quota, now)
    exhausted = meter.check(connection, 1, now)
    if exhausted is not None:
        return exhausted
    ground = ground_of(connection, opener.name, Purpose.DISPUTE, complaint.category, subject, now)
    meter.charge(transaction, 1, int(ground is None), now)
    if ground is not None:
        return _opened(transaction, opening, named, ground, gateway)
    transaction.append(
        "dispute.refused",
        opener.spiffe_id,
        _fields("dispute.refused", opening, named, NO_CONSENT),
    )
    return _Refused()


def _opened(
    transaction: Transaction, opening: Opening, named: Named, ground: Ground, gateway: str
) -> _Opened:
    opener, complaint = opening.opener, opening.complaint
    connection, now, subject = transaction.connection, transaction.now, ground.subject
    code = ground.jurisdiction or UNNAMED
    dispute_id = os.urandom(DISPUTE_ID_BYTES)
    answer_by = now + policies()[code].dispute_days * DAY_MICROSECONDS
    entry = transaction.append(
        "dispute.opened",
        opener.spiffe_id,
        {
            **_fields("dispute.opened", opening, named, ground.consent_id.hex()),
            "dispute": dispute_id.hex(),
            "jurisdiction": code,
            "answer_by": rfc3339(answer_by),
        },
    )
    connection.execute(
        sa.insert(dispute),
        {
            "dispute_id": dispute_id,
            "dispute_no": int(connection.execute(_LAST).scalar() or 0) + 1,
            "opener": opener.name,
            "subject": subject,
            "category": int(complaint.category),
            "reason": int(complaint.reason),
            "jurisdiction": code,
            "statement_sha256": complaint.statement_sha256,
            "opened_at": now,
            "answer_by": answer_by,
            "outcome": int(DisputeOutcome.OPEN),
        },
    )
    holders = contributors(connection, [subject], now).get(subject, {})
    numbers = [no for no, held in holders.items() if complaint.category in held]
    if numbers:
        names = connection.execute(_NAMES, {"numbers": numbers}).scalars().all()
        connection.execute(
            sa.insert(dispute_task),
            [
                {
                    "dispute_id": dispute_id,
                    "member_id": name,
                    "outcome": int(DisputeOutcome.OPEN),
                }
                for name in sorted(names)
            ],
        )
    else:
        _resolve(transaction, dispute_id, DisputeOutcome.NOT_ON_FILE, gateway)
    return _Opened(seen_by(connection, opener, dispute_id), entry)


def _fields(entry_type: str, opening: Opening, named: Named, consent: str) -> dict[str, Json]:
    """What the entry of an opening says, refused or not."""
    opener, complaint = opening.opener, opening.complaint
    [subject] = named.keys
    return {
        "request": opening.request_id.hex(),
        "subject": named.asked(entry_type, opener.spiffe_id, subject, opening.request_id, 0),
        "consents": {CATEGORY_NAMES[complaint.category]: consent},
        "about": complaint.about,
        "statement_sha256": complaint.statement_sha256.hex(),
    }


def _resolve(
    transaction: Transaction, dispute_id: bytes, outcome: DisputeOutcome, gateway: str
) -> None:
    transaction.append(
        "dispute.resolved",
        gateway,
        {"dispute": dispute_id.hex(), "outcome": outcome.name.lower()},
    )
    transaction.connection.execute(
        sa.update(dispute)
        .where(dispute.c.dispute_id == dispute_id)
        .values(resolved_at=transaction.now, outcome=int(outcome))
    )


def _outcome_of(answers: Collection[int]) -> DisputeOutcome:
    """One of the answers, which stands for all: so it does not tell how many there were."""
    return next(outcome for outcome in _ANSWERS if outcome in answers)


_ID = sa.bindparam("id", type_=sa.LargeBinary())
_ANSWER = (
    sa.update(dispute_task)
    .where(dispute_task.c.dispute_id == _ID, dispute_task.c.member_id == sa.bindparam("member"))
    .values(answered_at=sa.bindparam("at"), outcome=sa.bindparam("answered"))
)
_OUTCOMES = sa.select(dispute_task.c.outcome).where(dispute_task.c.dispute_id == _ID)
_LAST = sa.select(sa.func.max(dispute.c.dispute_no))
_NAMES = sa.select(member.c.member_id).where(
    member.c.member_no.in_(sa.bindparam("numbers", expanding=True))
)
