"""Notices to recipients that a consent has ended, with deadlines to acknowledge and to delete.

A notice is issued in the transaction that ends the consent, and its deadlines stand in that entry.
They are the policy's of the consent's jurisdiction (see `concordat_privacy.jurisdictions`). A
suspended member settles its notices too: what it holds must be deleted by law, and the receipt
shown. That only takes away.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules.alarms import Alarm, AlarmKind
from concordat_gateway.rules.calendar import DAY_MICROSECONDS, day_of
from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.staff import Viewed, record_view
from concordat_gateway.rules.usage import keep_alarm, log_alarms
from concordat_gateway.store.control_tables import notice as notice_table
from concordat_privacy.jurisdictions import UNNAMED, policies
from concordat_privacy.log.leaf import Json
from concordat_rpc.errors import failed_precondition, invalid, not_found
from concordat_rpc.peer import Peer, Role
from concordat_store.clock import rfc3339

NOTICE_ID_BYTES: Final = 16
RECORD_BYTES: Final = 32
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1_000
MOST_OVERDUE: Final = 1_000
"""Of one run; what is left comes with the next."""
_LATE_TEXT: Final = "{} deadlines of notices have passed: see `concordat notice list`"


class NoticeCause(IntEnum):
    """Why a consent ended. Numbers as in `concordat.v1` (notice.proto)."""

    WITHDRAWN = 1
    REVOKED = 2
    ERASED = 3


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice to one recipient. Moments are microseconds since the epoch; fields as stored."""

    notice_id: bytes
    notice_no: int
    """1, 2, 3, ... in the order they were issued."""
    consent_id: bytes
    recipient: str
    cause: int
    issued_at: int
    acknowledge_by: int
    delete_by: int
    acknowledged_at: int | None = None
    deleted_at: int | None = None
    confirmed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A notice after a change, and the entry; None where nothing changed."""

    notice: Notice
    entry: Entry | None


def issue(
    transaction: Transaction,
    consent_id: bytes,
    recipient: str,
    jurisdiction: str | None,
    cause: NoticeCause,
) -> dict[str, Json]:
    """Issue a notice; returns the fields that the entry (or its item) that causes it gains."""
    policy = policies()[jurisdiction or UNNAMED]
    now = transaction.now
    notice = Notice(
        notice_id=os.urandom(NOTICE_ID_BYTES),
        # Changes come one after another: the next number is free.
        notice_no=int(transaction.connection.execute(_LAST).scalar() or 0) + 1,
        consent_id=consent_id,
        recipient=recipient,
        cause=cause,
        issued_at=now,
        acknowledge_by=now + policy.acknowledge_days * DAY_MICROSECONDS,
        delete_by=now + policy.deletion_days * DAY_MICROSECONDS,
    )
    transaction.connection.execute(
        _INSERT, {name: getattr(notice, name) for name in Notice.__dataclass_fields__}
    )
    return {
        "notice": notice.notice_id.hex(),
        "acknowledge_by": rfc3339(notice.acknowledge_by),
        "delete_by": rfc3339(notice.delete_by),
    }


def acknowledge(
    journal: Journal, member: Peer, notice_id: bytes, timeout_seconds: float
) -> Committed[Settled]:
    """Record that the recipient has taken note. Repeating it changes nothing.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (NOTICE_NOT_FOUND).
    """
    _check_id(notice_id)

    def change(transaction: Transaction) -> Settled:
        notice = _find(transaction.connection, member, notice_id)
        if notice.acknowledged_at is not None:
            return Settled(notice, None)
        columns = {"acknowledged_at": transaction.now}
        return _settled(transaction, member, notice, "notice.acknowledged", columns, {})

    return journal.write(change, timeout_seconds)


def confirm_deletion(
    journal: Journal,
    member: Peer,
    notice_id: bytes,
    deleted_at: int | None,
    record_sha256: bytes,
    timeout_seconds: float,
) -> Committed[Settled]:
    """Record that the recipient has deleted what it learned under the consent.

    `deleted_at`: when it says that it did. Repeating it changes nothing.
    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (NOTICE_NOT_FOUND), FAILED_PRECONDITION
    (NOTICE_NOT_ACKNOWLEDGED).
    """
    _check_id(notice_id)
    if len(record_sha256) != RECORD_BYTES:
        raise invalid("record_sha256", f"{RECORD_BYTES} bytes wanted, {len(record_sha256)} given")
    if deleted_at is None or deleted_at < 0:
        raise invalid("deleted_at", "a time from 1970 on is wanted")
    told: int = deleted_at

    def change(transaction: Transaction) -> Settled:
        notice = _find(transaction.connection, member, notice_id)
        if notice.confirmed_at is not None:
            return Settled(notice, None)
        if notice.acknowledged_at is None:
            raise failed_precondition(
                "NOTICE_NOT_ACKNOWLEDGED", "acknowledge the notice before its deletion receipt"
            )
        if told > transaction.now:
            raise invalid("deleted_at", "it is in the future")
        columns = {"deleted_at": told, "confirmed_at": transaction.now}
        fields: dict[str, Json] = {
            "deleted_at": rfc3339(told),
            "record_sha256": record_sha256.hex(),
        }
        return _settled(transaction, member, notice, "deletion.confirmed", columns, fields)

    return journal.write(change, timeout_seconds)


def list_page(
    journal: Journal,
    caller: Peer,
    wanted: int,
    page_token: str,
    with_settled: bool,
    timeout_seconds: float,
) -> tuple[Sequence[Notice], str]:
    """A page of notices, oldest first, and the next page's token: a member's own, or all.

    What operator and auditors read is recorded first. Raises Refusal INVALID_ARGUMENT.
    """
    size = page_size(wanted, DEFAULT_PAGE, MAX_PAGE)
    recipient = caller.name if caller.role is Role.MEMBER else ""
    listing = Listing.of(b"notices", recipient.encode(), b"all" if with_settled else b"pending")
    after = listing.position(page_token)
    record_view(journal, caller, Viewed("notices"), timeout_seconds)
    statement = _ALL if not recipient else _OF_RECIPIENT
    if not with_settled:
        statement = statement.where(notice_table.c.confirmed_at.is_(None))
    parameters: dict[str, object] = {"after": after, "size": size + 1}
    if recipient:
        parameters["recipient"] = recipient
    with journal.read() as connection:
        found = [Notice(*row) for row in connection.execute(statement, parameters)]
    if len(found) <= size:
        return found, ""
    return found[:size], listing.token(found[size - 1].notice_no)


def mark_overdue(journal: Journal, actor: str, now: int, timeout_seconds: float = 30.0) -> int:
    """Record deadlines that passed without being met, each once, and raise the alarm; how many.

    `actor` is the gateway's SPIFFE id. Safe beside another process that does the same.
    """
    with journal.read() as connection:
        due = connection.execute(_DUE, {"now": now, "most": MOST_OVERDUE}).first()
    if due is None:
        return 0

    def change(transaction: Transaction) -> tuple[int, list[tuple[str, Alarm]]]:
        connection, day = transaction.connection, day_of(transaction.now)
        marked = 0
        members: dict[str, int] = {}
        for row in connection.execute(_DUE, {"now": transaction.now, "most": MOST_OVERDUE}).all():
            for what, deadline, done, mark in (
                ("acknowledgement", row.acknowledge_by, row.acknowledged_at, row.late_since),
                ("deletion", row.delete_by, row.confirmed_at, row.undeleted_since),
            ):
                if done is not None or mark is not None or deadline >= transaction.now:
                    continue
                transaction.append(
                    "notice.overdue",
                    actor,
                    {
                        "notice": row.notice_id.hex(),
                        "member": row.recipient,
                        "what": what,
                        "due": rfc3339(deadline),
                    },
                )
                column = "late_since" if what == "acknowledgement" else "undeleted_since"
                connection.execute(
                    sa.update(notice_table)
                    .where(notice_table.c.notice_id == row.notice_id)
                    .values({column: transaction.now})
                )
                members[row.recipient] = members.get(row.recipient, 0) + 1
                marked += 1
        alarms = [
            (member, Alarm(AlarmKind.NOTICE_OVERDUE, day, _LATE_TEXT.format(count)))
            for member, count in sorted(members.items())
        ]
        return marked, [alarm for alarm in alarms if keep_alarm(connection, *alarm)]

    marked, raised = journal.write(change, timeout_seconds).value
    log_alarms(raised)
    return marked


def _settled(
    transaction: Transaction,
    member: Peer,
    notice: Notice,
    entry_type: str,
    columns: dict[str, int],
    fields: dict[str, Json],
) -> Settled:
    entry = transaction.append(
        entry_type,
        member.spiffe_id,
        {
            "notice": notice.notice_id.hex(),
            "consent": notice.consent_id.hex(),
            "member": notice.recipient,
            **fields,
        },
    )
    transaction.connection.execute(
        sa.update(notice_table).where(notice_table.c.notice_id == notice.notice_id).values(columns)
    )
    return Settled(replace(notice, **columns), entry)  # type: ignore[arg-type]  # its own fields


def _find(connection: sa.Connection, member: Peer, notice_id: bytes) -> Notice:
    row = connection.execute(_BY_ID, {"id": notice_id, "recipient": member.name}).one_or_none()
    if row is None:
        raise not_found("NOTICE_NOT_FOUND", "the calling member has no notice with this id")
    return Notice(*row)


def _check_id(notice_id: bytes) -> None:
    if len(notice_id) != NOTICE_ID_BYTES:
        raise invalid("notice_id", f"{NOTICE_ID_BYTES} bytes wanted, {len(notice_id)} given")


_COLUMNS = [notice_table.c[name] for name in Notice.__dataclass_fields__]
_INSERT = sa.insert(notice_table)
_LAST = sa.select(sa.func.max(notice_table.c.notice_no))
_BY_ID = sa.select(*_COLUMNS).where(
    notice_table.c.notice_id == sa.bindparam("id"),
    notice_table.c.recipient == sa.bindparam("recipient"),
)
_ALL = (
    sa.select(*_COLUMNS)
    .where(notice_table.c.notice_no > sa.bindparam("after"))
    .order_by(notice_table.c.notice_no)
    .limit(sa.bindparam("size"))
)
_OF_RECIPIENT = _ALL.where(notice_table.c.recipient == sa.bindparam("recipient"))
_NOW: sa.BindParameter[int] = sa.bindparam("now")
_DUE = (
    sa.select(notice_table)
    .where(
        notice_table.c.confirmed_at.is_(None),
        sa.or_(
            sa.and_(
                notice_table.c.acknowledged_at.is_(None),
                notice_table.c.late_since.is_(None),
                notice_table.c.acknowledge_by < _NOW,
            ),
            sa.and_(notice_table.c.undeleted_since.is_(None), notice_table.c.delete_by < _NOW),
        ),
    )
    .order_by(notice_table.c.notice_no)
    .limit(sa.bindparam("most"))
)
