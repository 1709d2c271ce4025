"""Uploads grow old: one that is left alone counts as abandoned, and in the end nothing is answered.

The gateway ends no upload. It says of one that got no part for long that it is abandoned, and takes
its next part all the same. Some time after its end, or after it was abandoned, an upload expires:
what its parts were answered from, digests and reasons of refusals, is given up. Nothing that comes
for it is taken or answered from then on. Its own record stays for ever, with its newest sequence,
so that no part is ever taken twice.

Which rows of a part were taken is kept for longer, because a correction or a withdrawal names them:
until nothing that came with the upload can be in the pool any more. No ledger entry is touched.

An upload is marked as expired in one transaction, in which it is looked at again, and only then are
its parts' records given up, some at a time. Whoever is killed in between leaves an upload that says
how far it was, and the next run goes on; two runs at once do it once.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import IntEnum
from typing import Any, Final

import sqlalchemy as sa

from concordat_gateway.config import UploadAges
from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.store.control_tables import batch, upload
from concordat_privacy.catalogue.relations import PROFILE_MONTHS
from concordat_privacy.catalogue.retention import DELINQUENCY_MONTHS
from concordat_privacy.jurisdictions import Policy

_CHANGE_SECONDS: Final = 30.0
_PARTS_A_CHANGE: Final = 1_000
_DAYS_A_MONTH: Final = 31
_MICROSECOND: Final = timedelta(microseconds=1)


class UploadState(IntEnum):
    """State of an upload. Numbers equal those of concordat.v1."""

    OPEN = 1
    ABANDONED = 2
    """Not ended, and without a part for long. A part makes it open again."""
    COMPLETE = 3
    EXPIRED = 4
    """Ended or abandoned long ago: nothing is taken or answered."""


def state_of(row: sa.Row[Any], ages: UploadAges, now: int) -> UploadState:
    """The state of an upload, a row of the table, at the moment `now`."""
    if row.expired_at is not None:
        return UploadState.EXPIRED
    if row.end_entry is not None:
        return UploadState.COMPLETE
    left = row.last_accepted_at + ages.abandoned_after // _MICROSECOND <= now
    return UploadState.ABANDONED if left else UploadState.OPEN


def answered_until(row: sa.Row[Any], ages: UploadAges) -> int:
    """Until when an upload's parts are answered at least, unless another part comes."""
    answered_for = ages.answered_for // _MICROSECOND
    if row.end_entry is None:
        return int(row.last_accepted_at + ages.abandoned_after // _MICROSECOND + answered_for)
    # Of an end of before this was recorded, the last part's time is known.
    return int((row.ended_at or row.last_accepted_at) + answered_for)


def expire(journal: Journal, ages: UploadAges, retention: Policy, now: int) -> int:
    """Let uploads expire whose time has come, and give up what is kept of them; how many expired.

    `retention` is the policy by which the gateway deletes rows. Safe beside another process that
    does the same. Raises Refusal UNAVAILABLE.
    """
    answered_for = ages.answered_for // _MICROSECOND
    times = {
        "ended_before": now - answered_for,
        "left_before": now - answered_for - ages.abandoned_after // _MICROSECOND,
    }
    with journal.read() as connection:
        due = connection.execute(_COUNT_DUE, times).scalar_one()
    expired = 0
    if due:

        def mark(transaction: Transaction) -> int:
            return transaction.connection.execute(_EXPIRE, {**times, "now": now}).rowcount

        expired = journal.write(mark, _CHANGE_SECONDS).value
    _sweep(journal, _ANSWERED, {}, _FORGET_ANSWERS, _ANSWERS_FORGOTTEN)
    gone = {"last_before": now - longest_in_pool(retention) // _MICROSECOND}
    _sweep(journal, _RECORDED, gone, _DELETE_PARTS, _PARTS_DELETED)
    return expired


def longest_in_pool(retention: Policy) -> timedelta:
    """How long after it was taken a row may be in the pool, or be corrected there.

    An account stays for the years of adverse endings at most, and six months longer where they
    count from its first delinquency; and of an account there are the months before its newest one.
    """
    months = 12 * retention.adverse_retention_years + DELINQUENCY_MONTHS + PROFILE_MONTHS
    return timedelta(days=_DAYS_A_MONTH * months)


def _sweep(
    journal: Journal,
    uploads: sa.Select[Any],
    parameters: Mapping[str, int],
    change: sa.Update | sa.Delete,
    done: sa.Update,
) -> None:
    """Change the parts of some uploads from where it was left, some parts at a time."""
    with journal.read() as connection:
        found = connection.execute(uploads, parameters).all()
    for row in found:
        for after in range(row.done, row.acknowledged, _PARTS_A_CHANGE):
            named = {
                "of_member": row.member_id,
                "of_upload": row.upload_id,
                "after": after,
                "upto": min(after + _PARTS_A_CHANGE, row.acknowledged),
            }

            def step(transaction: Transaction, named: Mapping[str, Any] = named) -> None:
                transaction.connection.execute(change, named)
                transaction.connection.execute(done, named)

            journal.write(step, _CHANGE_SECONDS)


_DUE = sa.and_(
    upload.c.expired_at.is_(None),
    sa.or_(
        sa.and_(
            upload.c.end_entry.is_not(None),
            sa.func.coalesce(upload.c.ended_at, upload.c.last_accepted_at)
            <= sa.bindparam("ended_before"),
        ),
        sa.and_(
            upload.c.end_entry.is_(None),
            upload.c.last_accepted_at <= sa.bindparam("left_before"),
        ),
    ),
)
_COUNT_DUE = sa.select(sa.func.count()).select_from(upload).where(_DUE)
_EXPIRE = sa.update(upload).where(_DUE).values(expired_at=sa.bindparam("now"))
_ANSWERED = sa.select(
    upload.c.member_id, upload.c.upload_id, upload.c.acknowledged, upload.c.forgotten.label("done")
).where(upload.c.expired_at.is_not(None), upload.c.forgotten < upload.c.acknowledged)
_RECORDED = sa.select(
    upload.c.member_id, upload.c.upload_id, upload.c.acknowledged, upload.c.deleted.label("done")
).where(
    upload.c.expired_at.is_not(None),
    upload.c.last_accepted_at <= sa.bindparam("last_before"),
    upload.c.deleted < upload.c.acknowledged,
)
_THESE_PARTS = sa.and_(
    batch.c.member_id == sa.bindparam("of_member"),
    batch.c.upload_id == sa.bindparam("of_upload"),
    batch.c.sequence > sa.bindparam("after"),
    batch.c.sequence <= sa.bindparam("upto"),
)
_THIS_UPLOAD = sa.and_(
    upload.c.member_id == sa.bindparam("of_member"),
    upload.c.upload_id == sa.bindparam("of_upload"),
)
_FORGET_ANSWERS = (
    sa.update(batch).where(_THESE_PARTS).values(content_sha256=sa.null(), refusals=sa.null())
)
_ANSWERS_FORGOTTEN = (
    sa.update(upload)
    .where(_THIS_UPLOAD, upload.c.forgotten == sa.bindparam("after"))
    .values(forgotten=sa.bindparam("upto"))
)
_DELETE_PARTS = sa.delete(batch).where(_THESE_PARTS)
_PARTS_DELETED = (
    sa.update(upload)
    .where(_THIS_UPLOAD, upload.c.deleted == sa.bindparam("after"))
    .values(deleted=sa.bindparam("upto"))
)
