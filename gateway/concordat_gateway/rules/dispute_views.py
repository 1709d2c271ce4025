"""Disputes as each caller may see them: one of them, and a page of them.

The member that opened one sees how it ended, and nothing of who answered or how many. A member that
is to answer sees its own part and no other's: its answer, and until when. Operator and auditors see
what the opener does, of all disputes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Entry, Journal
from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.scopes import ConsentId, Purpose, mask_of
from concordat_gateway.rules.staff import Viewed, record_view
from concordat_gateway.store.control_tables import consent, dispute, dispute_task
from concordat_privacy.catalogue.bands import DataCategory
from concordat_rpc.errors import Refusal, invalid, not_found
from concordat_rpc.peer import Peer, Role

DISPUTE_ID_BYTES: Final = 16
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1_000


class DisputeReason(IntEnum):
    """Numbers as in `concordat.v1` (dispute.proto)."""

    NOT_MINE = 1
    INCORRECT = 2
    OUT_OF_DATE = 3
    OTHER = 4


class DisputeOutcome(IntEnum):
    """Numbers as in `concordat.v1` (dispute.proto), where 0 is UNSPECIFIED."""

    OPEN = 0
    CORRECTED = 1
    DELETED = 2
    UPHELD = 3
    NOT_ON_FILE = 4


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as one caller may see it. Moments are microseconds since the epoch."""

    dispute_id: bytes
    dispute_no: int
    """1, 2, 3, ... in the order they were opened."""
    category: DataCategory
    reason: DisputeReason
    statement_sha256: bytes
    opened_at: int
    answer_by: int
    resolved_at: int | None
    """To who is to answer it, when it did so itself."""
    outcome: DisputeOutcome
    """To who is to answer it, its own answer."""
    to_answer: bool = False
    """Whether the caller is to answer it and has not."""
    consent_ids: Sequence[ConsentId] = ()
    """The caller's own, where it is to answer or has: by them it knows whom the dispute is about.
    """


@dataclass(frozen=True, slots=True)
class Changed:
    """A dispute after a change, and the entry; None where nothing changed."""

    dispute: Dispute
    entry: Entry | None


def check_dispute_id(dispute_id: bytes) -> None:
    """Raises Refusal INVALID_ARGUMENT unless the id has the right length."""
    if len(dispute_id) != DISPUTE_ID_BYTES:
        raise invalid("dispute_id", f"{DISPUTE_ID_BYTES} bytes wanted, {len(dispute_id)} given")


def unknown_dispute() -> Refusal:
    """NOT_FOUND: the same for another's dispute as for none."""
    return not_found("DISPUTE_NOT_FOUND", "the caller has no dispute with this id")


def find_dispute(connection: sa.Connection, dispute_id: bytes) -> sa.Row[Any] | None:
    """A dispute as stored, whoever's it is."""
    return connection.execute(_DISPUTE, {"id": dispute_id}).one_or_none()


def find_task(connection: sa.Connection, dispute_id: bytes, member_id: str) -> sa.Row[Any] | None:
    """That a member is to answer a dispute, or has, as stored; None where it is not asked."""
    return connection.execute(_TASK, {"id": dispute_id, "member": member_id}).one_or_none()


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
        found = [seen_by(connection, caller, one) for one in ids[:size]]
    return found, listing.token(found[-1].dispute_no) if len(ids) > size else ""


def seen_by(connection: sa.Connection, caller: Peer, dispute_id: bytes) -> Dispute:
    """A dispute that there is, as the caller may see it; who may is for others to decide."""
    row = connection.execute(_DISPUTE, {"id": dispute_id}).one()
    task = None
    if caller.role is Role.MEMBER:
        task = find_task(connection, dispute_id, caller.name)
    own_part = task if row.opener != caller.name else None
    consents: Sequence[ConsentId] = ()
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
        category=DataCategory(row.category),
        reason=DisputeReason(row.reason),
        statement_sha256=row.statement_sha256,
        opened_at=row.opened_at,
        answer_by=row.answer_by,
        # Who is to answer sees its own part: not when the others were done.
        resolved_at=row.resolved_at if own_part is None else own_part.answered_at,
        outcome=DisputeOutcome(row.outcome if own_part is None else own_part.outcome),
        to_answer=task is not None and task.answered_at is None,
        consent_ids=tuple(consents),
    )


_ID = sa.bindparam("id", type_=sa.LargeBinary())
_DISPUTE = sa.select(dispute).where(dispute.c.dispute_id == _ID)
_TASK = sa.select(dispute_task).where(
    dispute_task.c.dispute_id == _ID, dispute_task.c.member_id == sa.bindparam("member")
)
# Whatever their state: of rows that a furnisher still holds the consent may have ended meanwhile.
# They tell it nothing that it did not record itself.
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
