"""Disputes: a subject says that what is held about it is wrong, and who holds it answers in time.

The member that opens one learns the outcome, and nothing of who answered or how many. Since that
nobody holds such data is an answer too, an opening is charged as one lookup, and one without a
consent is refused and entered as refused lookups are: whether the pool knows the subject makes no
difference to statements, entry or reply. Deadlines
are the policy's of the jurisdiction of the consent that allows it: 20 days in China, 30 in the US
and the EU, put off once by what the policy allows. While a dispute is open, signals of its
category are held back or marked (`rules.disputed`); a furnisher that marks its row as disputed
takes it out of the signals for longer.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules.alarms import Alarm, AlarmKind
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.permits import Ground, contributors, ground_of
from concordat_gateway.rules.quotas import LookupMeter, lookups_exhausted
from concordat_gateway.rules.requests import (
    Fingerprint,
    Reply,
    Request,
    check_request_id,
    find,
    keep,
)
from concordat_gateway.rules.scopes import CATEGORIES, Purpose, mask_of
from concordat_gateway.rules.staff import Viewed, record_view
from concordat_gateway.rules.subjects import Named, Subjects
from concordat_gateway.rules.usage import keep_alarm, log_alarms
from concordat_gateway.rules.uses import CATEGORY_NAMES, NO_CONSENT
from concordat_gateway.store.control_tables import consent, dispute, dispute_task, member
from concordat_gateway.store.subjects import require_epoch
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.jurisdictions import UNNAMED, policies
from concordat_privacy.metering import Exhausted, Quota
from concordat_privacy.oprf import TOKEN_BYTES
from concordat_rpc.errors import (
    Refusal,
    failed_precondition,
    invalid,
    not_found,
    permission_denied,
)
from concordat_rpc.peer import Peer, Role
from concordat_store.clock import rfc3339

DISPUTE_ID_BYTES: Final = 16
SHA256_BYTES: Final = 32
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1_000
MOST_OVERDUE: Final = 1_000
_LATE_TEXT: Final = "{} disputes are not answered in time: see `concordat dispute list`"
_DAY: Final = 86_400 * 1_000_000


class DisputeReason(IntEnum):
    """Numbers as in `concordat.v1` (dispute.proto)."""

    NOT_MINE = 1
    INCORRECT = 2
    OUT_OF_DATE = 3
    OTHER = 4


class DisputeOutcome(IntEnum):
    """Numbers as in `concordat.v1` (dispute.proto); 0 stands for none yet."""

    CORRECTED = 1
    DELETED = 2
    UPHELD = 3
    NOT_ON_FILE = 4


_ANSWERS: Final = (DisputeOutcome.CORRECTED, DisputeOutcome.DELETED, DisputeOutcome.UPHELD)
_OPEN: Final = 0


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as one caller may see it. Moments are microseconds since the epoch."""

    dispute_id: bytes
    dispute_no: int
    category: int
    reason: int
    statement_sha256: bytes
    opened_at: int
    answer_by: int
    resolved_at: int | None
    outcome: int
    to_answer: bool = False
    consent_ids: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """A dispute after a change, and the entry; None where nothing changed."""

    dispute: Dispute
    entry: Entry | None


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
        return cls(DataCategory(category), DisputeReason(reason), _checked_sha256(statement_sha256))

    @property
    def about(self) -> str:
        """As the entry names it."""
        return f"{CATEGORY_NAMES[self.category]}.{self.reason.name.lower()}"


def open_dispute(
    journal: Journal,
    opener: Peer,
    request_id: bytes,
    token: bytes,
    epoch: int,
    complaint: Complaint,
    subjects: Subjects,
    quota: Quota,
    gateway: str,
    to_reply: Callable[[Dispute, Entry], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Open a dispute; `gateway` is the gateway's SPIFFE id, which resolves what is not on file.

    `quota` is the configured one of lookups; what the operator set for the member goes before it.
    Returns the bytes that `to_reply` made, now or when the same request came first, which is not
    charged again. A refusal is, and has an entry of its own each time. Raises Refusal
    INVALID_ARGUMENT, PERMISSION_DENIED (NO_CONSENT, MEMBER_SUSPENDED), RESOURCE_EXHAUSTED
    (LOOKUPS_EXHAUSTED), ALREADY_EXISTS (REQUEST_ID_REUSED), FAILED_PRECONDITION (EPOCH_NOT_ACTIVE,
    EPOCH_REQUIRED), UNAVAILABLE.
    """
    check_request_id(request_id)
    if len(token) != TOKEN_BYTES:
        raise invalid("token", f"{TOKEN_BYTES} bytes wanted, {len(token)} given")
    fingerprint = Fingerprint("OpenDispute")
    fingerprint.add(token, epoch, complaint.about, complaint.statement_sha256)
    call = Request(opener.spiffe_id, "OpenDispute", request_id, fingerprint.digest())

    def work(store_epoch: int) -> Committed[bytes]:
        named = subjects.named(opener.name, [token], epoch, store_epoch, timeout_seconds)

        def change(transaction: Transaction) -> bytes | Exhausted | None:
            recorded = find(transaction.connection, call)
            if recorded is not None:
                return recorded.body
            decided = _decide(
                transaction, opener, request_id, complaint, named, quota, gateway, to_reply
            )
            return keep(transaction, call, decided) if isinstance(decided, Reply) else decided

        committed = journal.write(change, timeout_seconds)
        if isinstance(committed.value, Exhausted):
            raise lookups_exhausted(opener.name, committed.value)
        if committed.value is None:
            raise permission_denied(
                "NO_CONSENT", "no live consent of the subject to dispute this category"
            )
        return Committed(committed.value, committed.checkpoint)

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
    _check_id(dispute_id)
    _checked_sha256(statement_sha256)
    if outcome not in _ANSWERS:
        raise invalid("outcome", "corrected, deleted or upheld wanted")
    answered = DisputeOutcome(outcome)

    def change(transaction: Transaction) -> Changed:
        connection = transaction.connection
        task = connection.execute(_TASK, {"id": dispute_id, "member": furnisher.name}).one_or_none()
        if task is None:
            raise _unknown()
        if task.answered_at is not None:
            return Changed(_seen_by(connection, furnisher, dispute_id), None)
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
        if _OPEN not in outcomes:
            _resolve(transaction, dispute_id, _outcome_of(outcomes), gateway)
        return Changed(_seen_by(connection, furnisher, dispute_id), entry)

    return journal.write(change, timeout_seconds)


def extend(
    journal: Journal, caller: Peer, dispute_id: bytes, timeout_seconds: float
) -> Committed[Changed]:
    """Put a dispute's deadline off, once, by what its policy allows; again changes nothing.

    The caller is the member that opened it, or the operator, who administers disputes.
    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (DISPUTE_NOT_FOUND), FAILED_PRECONDITION
    (NOT_EXTENSIBLE).
    """
    _check_id(dispute_id)

    def change(transaction: Transaction) -> Changed:
        connection = transaction.connection
        row = connection.execute(_BY_ID, {"id": dispute_id}).one_or_none()
        by_staff = caller.role is Role.OPERATOR
        if row is None or not (by_staff or row.opener == caller.name):
            raise _unknown()
        if row.extended_at is not None:
            if by_staff:
                # No entry says that it was shown.
                transaction.append("staff.viewed", caller.spiffe_id, {"view": "disputes"})
            return Changed(_seen_by(connection, caller, dispute_id), None)
        days = policies()[row.jurisdiction].dispute_extension_days
        late = transaction.now > row.answer_by
        if row.resolved_at is not None or late or not days:
            raise failed_precondition(
                "NOT_EXTENSIBLE",
                "it is resolved or late, or its jurisdiction has no extension",
            )
        answer_by = row.answer_by + days * _DAY
        entry = transaction.append(
            "dispute.extended",
            caller.spiffe_id,
            {"dispute": dispute_id.hex(), "answer_by": rfc3339(answer_by)},
        )
        connection.execute(
            sa.update(dispute)
            .where(dispute.c.dispute_id == dispute_id)
            .values(answer_by=answer_by, extended_at=transaction.now)
        )
        return Changed(_seen_by(connection, caller, dispute_id), entry)

    return journal.write(change, timeout_seconds)


def list_page(
    journal: Journal,
    caller: Peer,
    wanted: int,
    page_token: str,
    with_resolved: bool,
    timeout_seconds: float,
) -> tuple[Sequence[Dispute], str]:
    """A page of disputes, oldest first, and the next page's token: a member's own, or all.

    What operator and auditors read is recorded first. Raises Refusal INVALID_ARGUMENT.
    """
    size = page_size(wanted, DEFAULT_PAGE, MAX_PAGE)
    name = caller.name if caller.role is Role.MEMBER else ""
    listing = Listing.of(b"disputes", name.encode(), b"all" if with_resolved else b"open")
    after = listing.position(page_token)
    record_view(journal, caller, Viewed("disputes"), timeout_seconds)
    statement = _SELECTIONS[bool(name), with_resolved]
    parameters: dict[str, object] = {"after": after, "size": size + 1}
    if name:
        parameters["member"] = name
    with journal.read() as connection:
        ids = connection.execute(statement, parameters).scalars().all()
        found = [_seen_by(connection, caller, one) for one in ids[:size]]
    return found, listing.token(found[-1].dispute_no) if len(ids) > size else ""


def mark_overdue(journal: Journal, actor: str, now: int, timeout_seconds: float = 30.0) -> int:
    """Record members that have not answered in time, once a dispute, and raise the alarm; how many.

    `actor` is the gateway's SPIFFE id. Safe beside another process that does the same.
    """
    with journal.read() as connection:
        if connection.execute(_LATE, {"now": now, "most": MOST_OVERDUE}).first() is None:
            return 0

    def change(transaction: Transaction) -> tuple[int, list[tuple[str, Alarm]]]:
        connection, day = transaction.connection, day_of(transaction.now)
        late = connection.execute(_LATE, {"now": transaction.now, "most": MOST_OVERDUE}).all()
        for row in late:
            transaction.append(
                "dispute.overdue",
                actor,
                {
                    "dispute": row.dispute_id.hex(),
                    "member": row.member_id,
                    "due": rfc3339(row.answer_by),
                },
            )
            connection.execute(
                sa.update(dispute_task)
                .where(
                    dispute_task.c.dispute_id == row.dispute_id,
                    dispute_task.c.member_id == row.member_id,
                )
                .values(late_since=transaction.now)
            )
        counts = Counter(row.member_id for row in late)
        alarms = [
            (member_id, Alarm(AlarmKind.DISPUTE_OVERDUE, day, _LATE_TEXT.format(count)))
            for member_id, count in sorted(counts.items())
        ]
        return len(late), [alarm for alarm in alarms if keep_alarm(connection, *alarm)]

    marked, raised = journal.write(change, timeout_seconds).value
    log_alarms(raised)
    return marked


def _decide(
    transaction: Transaction,
    opener: Peer,
    request_id: bytes,
    complaint: Complaint,
    named: Named,
    quota: Quota,
    gateway: str,
    to_reply: Callable[[Dispute, Entry], bytes],
) -> Reply | Exhausted | None:
    """Open the dispute, charged as one lookup; None: there is no consent, and an entry says so."""
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
        return _opened(transaction, opener, request_id, complaint, named, ground, gateway, to_reply)
    transaction.append(
        "dispute.refused",
        opener.spiffe_id,
        {
            "request": request_id.hex(),
            "subject": named.asked("dispute.refused", opener.spiffe_id, subject, request_id, 0),
            "consents": {CATEGORY_NAMES[complaint.category]: NO_CONSENT},
            "about": complaint.about,
            "statement_sha256": complaint.statement_sha256.hex(),
        },
    )
    return None


def _opened(
    transaction: Transaction,
    opener: Peer,
    request_id: bytes,
    complaint: Complaint,
    named: Named,
    ground: Ground,
    gateway: str,
    to_reply: Callable[[Dispute, Entry], bytes],
) -> Reply:
    connection, now, subject = transaction.connection, transaction.now, ground.subject
    code = ground.jurisdiction or UNNAMED
    dispute_id = os.urandom(DISPUTE_ID_BYTES)
    answer_by = now + policies()[code].dispute_days * _DAY
    entry = transaction.append(
        "dispute.opened",
        opener.spiffe_id,
        {
            "dispute": dispute_id.hex(),
            "request": request_id.hex(),
            "subject": named.asked("dispute.opened", opener.spiffe_id, subject, request_id, 0),
            "consents": {CATEGORY_NAMES[complaint.category]: ground.consent_id.hex()},
            "jurisdiction": code,
            "about": complaint.about,
            "answer_by": rfc3339(answer_by),
            "statement_sha256": complaint.statement_sha256.hex(),
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
            "outcome": _OPEN,
        },
    )
    holders = contributors(connection, [subject], now).get(subject, {})
    numbers = [no for no, held in holders.items() if complaint.category in held]
    if numbers:
        names = connection.execute(_NAMES, {"numbers": numbers}).scalars().all()
        connection.execute(
            sa.insert(dispute_task),
            [
                {"dispute_id": dispute_id, "member_id": name, "outcome": _OPEN}
                for name in sorted(names)
            ],
        )
    else:
        _resolve(transaction, dispute_id, DisputeOutcome.NOT_ON_FILE, gateway)
    return Reply(to_reply(_seen_by(connection, opener, dispute_id), entry), entry.index)


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


def _outcome_of(outcomes: Sequence[int]) -> DisputeOutcome:
    """Of several answers the one that changed most: so it does not tell how many there were."""
    return DisputeOutcome(min(outcomes))


def _seen_by(connection: sa.Connection, caller: Peer, dispute_id: bytes) -> Dispute:
    row = connection.execute(_BY_ID, {"id": dispute_id}).one()
    task = None
    if caller.role is Role.MEMBER:
        task = connection.execute(_TASK, {"id": dispute_id, "member": caller.name}).one_or_none()
    of_own = task is not None and row.opener != caller.name
    consents: Sequence[bytes] = ()
    if task is not None:
        consents = (
            connection.execute(
                _CONSENTS_OF,
                {
                    "subject": row.subject,
                    "recipient": caller.name,
                    "contribution": mask_of([Purpose.CONTRIBUTION]),
                    "category": mask_of([row.category]),
                },
            )
            .scalars()
            .all()
        )
    return Dispute(
        dispute_id=row.dispute_id,
        dispute_no=row.dispute_no,
        category=row.category,
        reason=row.reason,
        statement_sha256=row.statement_sha256,
        opened_at=row.opened_at,
        answer_by=row.answer_by,
        # Who is to answer sees its own part: not when the others were done.
        resolved_at=task.answered_at if task is not None and of_own else row.resolved_at,
        outcome=task.outcome if task is not None and of_own else row.outcome,
        to_answer=task is not None and task.answered_at is None,
        consent_ids=tuple(consents),
    )


def _check_id(dispute_id: bytes) -> None:
    if len(dispute_id) != DISPUTE_ID_BYTES:
        raise invalid("dispute_id", f"{DISPUTE_ID_BYTES} bytes wanted, {len(dispute_id)} given")


def _checked_sha256(value: bytes) -> bytes:
    if len(value) != SHA256_BYTES:
        raise invalid("statement_sha256", f"{SHA256_BYTES} bytes wanted, {len(value)} given")
    return value


def _unknown() -> Refusal:
    return not_found("DISPUTE_NOT_FOUND", "the caller has no dispute with this id")


_ID = sa.bindparam("id", type_=sa.LargeBinary())
_BY_ID = sa.select(dispute).where(dispute.c.dispute_id == _ID)
_TASK = sa.select(dispute_task).where(
    dispute_task.c.dispute_id == _ID, dispute_task.c.member_id == sa.bindparam("member")
)
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
_CONSENTS_OF = (
    sa.select(consent.c.consent_id)
    .where(
        consent.c.subject == sa.bindparam("subject"),
        consent.c.recipient == sa.bindparam("recipient"),
        consent.c.purposes.bitwise_and(sa.bindparam("contribution")) != 0,
        consent.c.categories.bitwise_and(sa.bindparam("category")) != 0,
    )
    .order_by(consent.c.grant_entry)
)
_ALL = (
    sa.select(dispute.c.dispute_id)
    .where(dispute.c.dispute_no > sa.bindparam("after"))
    .order_by(dispute.c.dispute_no)
    .limit(sa.bindparam("size"))
)
_OWN_TASKS = sa.select(dispute_task.c.dispute_id).where(
    dispute_task.c.member_id == sa.bindparam("member")
)
_OPENED_BY = dispute.c.opener == sa.bindparam("member")
_UNRESOLVED = dispute.c.resolved_at.is_(None)
# (of one member, with those that are resolved). To who is to answer, a dispute is open until it has
# answered: whether others still have to must not show.
_SELECTIONS = {
    (False, True): _ALL,
    (False, False): _ALL.where(_UNRESOLVED),
    (True, True): _ALL.where(sa.or_(_OPENED_BY, dispute.c.dispute_id.in_(_OWN_TASKS))),
    (True, False): _ALL.where(
        sa.or_(
            sa.and_(_OPENED_BY, _UNRESOLVED),
            sa.and_(
                dispute.c.opener != sa.bindparam("member"),
                dispute.c.dispute_id.in_(_OWN_TASKS.where(dispute_task.c.answered_at.is_(None))),
            ),
        )
    ),
}
_LATE = (
    sa.select(dispute_task.c.dispute_id, dispute_task.c.member_id, dispute.c.answer_by)
    .join(dispute, dispute.c.dispute_id == dispute_task.c.dispute_id)
    .where(
        dispute_task.c.answered_at.is_(None),
        dispute_task.c.late_since.is_(None),
        dispute.c.answer_by < sa.bindparam("now"),
    )
    .order_by(dispute.c.dispute_no, dispute_task.c.member_id)
    .limit(sa.bindparam("most"))
)
