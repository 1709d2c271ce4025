"""Until when disputes must be answered: put off once where the law allows it, told where passed."""

from collections import Counter
from typing import Final

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Journal, Transaction
from concordat_gateway.rules.alarms import Alarm, AlarmKind
from concordat_gateway.rules.calendar import DAY_MICROSECONDS, day_of
from concordat_gateway.rules.dispute_views import (
    Changed,
    check_dispute_id,
    find_dispute,
    seen_by,
    unknown_dispute,
)
from concordat_gateway.rules.usage import keep_alarm, log_alarms
from concordat_gateway.store.control_tables import dispute, dispute_task
from concordat_privacy.jurisdictions import policies
from concordat_rpc.errors import failed_precondition
from concordat_rpc.peer import Peer, Role
from concordat_store.clock import rfc3339

MOST_OVERDUE: Final = 1_000
"""Of one run; what is left comes with the next."""
_LATE_TEXT: Final = "{} disputes are not answered in time: see `concordat dispute list`"


def extend(
    journal: Journal, caller: Peer, dispute_id: bytes, timeout_seconds: float
) -> Committed[Changed]:
    """Put a dispute's deadline off, once, by what its policy allows; again changes nothing.

    The caller is the member that opened it, or the operator, who administers disputes.
    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (DISPUTE_NOT_FOUND), FAILED_PRECONDITION
    (NOT_EXTENSIBLE).
    """
    check_dispute_id(dispute_id)

    def change(transaction: Transaction) -> Changed:
        connection = transaction.connection
        row = find_dispute(connection, dispute_id)
        by_staff = caller.role is Role.OPERATOR
        if row is None or not (by_staff or row.opener == caller.name):
            raise unknown_dispute()
        if row.extended_at is not None:
            if by_staff:
                # No entry says that it was shown.
                transaction.append("staff.viewed", caller.spiffe_id, {"view": "disputes"})
            return Changed(seen_by(connection, caller, dispute_id), None)
        days = policies()[row.jurisdiction].dispute_extension_days
        late = transaction.now > row.answer_by
        if row.resolved_at is not None or late or not days:
            raise failed_precondition(
                "NOT_EXTENSIBLE",
                "it is resolved or late, or its jurisdiction has no extension",
            )
        answer_by = row.answer_by + days * DAY_MICROSECONDS
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
        return Changed(seen_by(connection, caller, dispute_id), entry)

    return journal.write(change, timeout_seconds)


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
