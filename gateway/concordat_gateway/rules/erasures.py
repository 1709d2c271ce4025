"""Erasure of a subject, in two steps: a member passes a request on, the operator decides.

Executed, it is one transaction: the entry with an item for each of the subject's consents, whoever
holds them, and with it everything in the control store that leads from a name to the ledger is
gone. What the other stores hold goes next, see `erased_stores`. The ledger stays as it is.

A request looks the same whether the pool knows the subject or not, to the member and in the ledger.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Item, Journal, Transaction
from concordat_gateway.rules import subject_records
from concordat_gateway.rules.consent_records import COLUMNS, Consent, consent_of
from concordat_gateway.rules.drafts import text_problems
from concordat_gateway.rules.erased_stores import ErasureState, finish_erasures
from concordat_gateway.rules.notices import NoticeCause, issue
from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.requests import (
    Fingerprint,
    Reply,
    Request,
    check_request_id,
    check_sha256,
    once,
)
from concordat_gateway.rules.staff import Viewed, record_view
from concordat_gateway.rules.standing import require_active
from concordat_gateway.rules.subject_records import (
    RecordsChanged,
    SubjectRecord,
    evidence_id_of,
    records,
    until_unchanged,
)
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.store import rotation_sql
from concordat_gateway.store.control_tables import (
    consent,
    erased_consent,
    erased_name,
)
from concordat_gateway.store.control_tables import erasure as erasure_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subject_keys import KeyLost, SubjectKeys
from concordat_gateway.store.subjects import ROTATING, SubjectKey, require_epoch, tokens_rotating
from concordat_privacy.log.leaf import Json
from concordat_privacy.oprf import TOKEN_BYTES
from concordat_rpc.errors import Refusal, failed_precondition, invalid, not_found
from concordat_rpc.peer import Peer, Role

ERASURE_ID_BYTES: Final = 16
MAX_TEXT_CHARACTERS: Final = 500
MAX_PAGE: Final = 1_000
DEFAULT_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Erasure:
    """A request to erase a subject and what became of it. Moments: microseconds since the epoch."""

    erasure_id: bytes
    member_id: str
    ground: str
    state: int
    requested_at: int
    requested_entry: int
    decided_at: int | None = None
    decided_entry: int | None = None
    erased_at: int | None = None
    basis: str | None = None
    rows: int | None = None
    consents: int | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """An erasure after a decision, and its entry; None where it was decided so before."""

    erasure: Erasure
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some erasures, oldest first."""

    erasures: Sequence[Erasure]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class _Target:
    """What is known of whoever is to be erased, before the transaction that does it."""

    subject: SubjectKey | None
    live_id: bytes | None
    evidence_id: bytes | None
    rows: int


def request(
    journal: Journal,
    member: Peer,
    request_id: bytes,
    token: bytes,
    epoch: int,
    ground: str,
    evidence_sha256: bytes,
    subjects: Subjects,
    to_reply: Callable[[Erasure, Entry], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Record that a subject asks to be erased.

    Returns the bytes that `to_reply` made, now or when the same request came first. Raises Refusal
    INVALID_ARGUMENT, ALREADY_EXISTS (REQUEST_ID_REUSED), PERMISSION_DENIED (MEMBER_SUSPENDED),
    FAILED_PRECONDITION (EPOCH_NOT_ACTIVE, EPOCH_REQUIRED), UNAVAILABLE, RESOURCE_EXHAUSTED
    (CARRIED_EXHAUSTED).
    """
    check_request_id(request_id)
    if len(token) != TOKEN_BYTES:
        raise invalid("token", f"{TOKEN_BYTES} bytes wanted, {len(token)} given")
    check_sha256(evidence_sha256, "evidence_sha256")
    _check_text("ground", ground)
    fingerprint = Fingerprint("RequestErasure")
    fingerprint.add(token, epoch, ground, evidence_sha256)
    call = Request(member.spiffe_id, "RequestErasure", request_id, fingerprint.digest())

    def work(store_epoch: int) -> Committed[bytes]:
        named = subjects.named(member.name, [token], epoch, store_epoch, timeout_seconds)
        [subject] = named.keys
        commitment = named.asked("erasure.requested", member.spiffe_id, subject, request_id, 0)

        def record(transaction: Transaction) -> Reply:
            require_epoch(transaction.tokens_epoch, named.epoch)
            require_active(transaction.connection, member.name)
            erasure_id = os.urandom(ERASURE_ID_BYTES)
            entry = transaction.append(
                "erasure.requested",
                member.spiffe_id,
                {
                    "erasure": erasure_id.hex(),
                    "subject": commitment,
                    "request": request_id.hex(),
                    "ground": ground,
                    "evidence_sha256": evidence_sha256.hex(),
                },
            )
            erasure = Erasure(
                erasure_id,
                member.name,
                ground,
                ErasureState.REQUESTED,
                transaction.now,
                entry.index,
            )
            transaction.connection.execute(
                _INSERT,
                {
                    "erasure_id": erasure_id,
                    "member_id": member.name,
                    "request_id": request_id,
                    "ground": ground,
                    "evidence_sha256": evidence_sha256,
                    "state": int(ErasureState.REQUESTED),
                    "subject": subject,
                    "requested_at": transaction.now,
                    "requested_entry": entry.index,
                },
            )
            return Reply(to_reply(erasure, entry), entry.index)

        return journal.write(
            lambda transaction: once(transaction, call, lambda: record(transaction)),
            timeout_seconds,
        )

    return subjects.settled(work)


def execute(
    journal: Journal,
    signals: SignalStore,
    keys: SubjectKeys,
    operator: Peer,
    erasure_id: bytes,
    basis: str,
    timeout_seconds: float,
) -> Committed[Decided]:
    """Erase the subject of a request. What another store does not destroy now goes later.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (ERASURE_NOT_FOUND), FAILED_PRECONDITION
    (ERASURE_REFUSED), UNAVAILABLE (TOKENS_ROTATING too), DEADLINE_EXCEEDED.
    """
    _check_text("basis", basis)

    def work() -> Committed[Decided]:
        target = _target(journal, signals, keys, erasure_id)
        return journal.write(
            lambda transaction: _erase(transaction, keys, operator, erasure_id, basis, target),
            timeout_seconds,
        )

    committed = until_unchanged(work)
    try:
        finish_erasures(journal, signals, keys)
    except Refusal:
        # It is executed, and saying anything else would be wrong: the resumption ends it.
        return committed
    with journal.read() as connection:
        erasure = _erasure(connection, erasure_id)
    return Committed(Decided(erasure, committed.value.entry), committed.checkpoint)


def refuse(
    journal: Journal, operator: Peer, erasure_id: bytes, basis: str, timeout_seconds: float
) -> Committed[Decided]:
    """Record that a request is not followed, and why, such as a duty to keep the data.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (ERASURE_NOT_FOUND), FAILED_PRECONDITION
    (ERASURE_EXECUTED), UNAVAILABLE, DEADLINE_EXCEEDED.
    """
    _check_text("basis", basis)

    def change(transaction: Transaction) -> Decided:
        found = _erasure(transaction.connection, erasure_id)
        if found.state == ErasureState.REFUSED:
            return Decided(found, None)
        if found.state != ErasureState.REQUESTED:
            raise failed_precondition("ERASURE_EXECUTED", "the subject is erased already")
        entry = transaction.append(
            "erasure.refused", operator.spiffe_id, {"erasure": erasure_id.hex(), "basis": basis}
        )
        decision = {"state": int(ErasureState.REFUSED), "subject": None}
        return Decided(_decide(transaction, erasure_id, entry, basis, decision), entry)

    return journal.write(change, timeout_seconds)


def list_page(
    journal: Journal, caller: Peer, wanted: int, page_token: str, case: str, timeout_seconds: float
) -> Page:
    """A page of erasures: a member's own, to operator and auditors all.

    What staff sees is recorded before. Raises Refusal INVALID_ARGUMENT, UNAVAILABLE.
    """
    size = page_size(wanted, DEFAULT_PAGE, MAX_PAGE)
    listing = Listing.of(b"erasures", caller.spiffe_id.encode())
    parameters = {"after": listing.position(page_token), "size": size + 1}
    record_view(journal, caller, Viewed("erasure.list", case=case), timeout_seconds)
    with journal.read() as connection:
        if caller.role is Role.MEMBER:
            rows = connection.execute(_OF_MEMBER, {**parameters, "member": caller.name})
        else:
            rows = connection.execute(_PAGE, parameters)
        erasures = [Erasure(*row) for row in rows]
    if len(erasures) <= size:
        return Page(erasures, "")
    return Page(erasures[:size], listing.token(erasures[size - 1].requested_entry))


def _target(
    journal: Journal, signals: SignalStore, keys: SubjectKeys, erasure_id: bytes
) -> _Target:
    with journal.read() as connection:
        _erasure(connection, erasure_id)
        subject = connection.execute(_SUBJECT, {"id": erasure_id}).scalar()
        if subject is None:
            return _Target(None, None, None, 0)
        record = records(connection, [subject]).get(subject)
    evidence_id = None
    if record is not None:
        try:
            evidence_id = evidence_id_of(keys, record)
        except KeyLost:
            # Then the way to the evidence key is gone already: that is no reason not to erase.
            evidence_id = None
    live_id = record.live_id if record is not None else None
    return _Target(subject, live_id, evidence_id, signals.count(subject))


def _erase(
    transaction: Transaction,
    keys: SubjectKeys,
    operator: Peer,
    erasure_id: bytes,
    basis: str,
    target: _Target,
) -> Decided:
    connection = transaction.connection
    found = _erasure(connection, erasure_id)
    if found.state == ErasureState.REFUSED:
        raise failed_precondition("ERASURE_REFUSED", "the request was refused")
    if found.state != ErasureState.REQUESTED:
        return Decided(found, None)
    if transaction.tokens_epoch == ROTATING:
        raise tokens_rotating()
    subject = connection.execute(_SUBJECT, {"id": erasure_id}).scalar_one()
    record = records(connection, [subject]).get(subject)
    # Consents that were counted meanwhile are no other record: they are erased as well.
    if subject != target.subject or (record.live_id if record else None) != target.live_id:
        raise RecordsChanged
    rows = connection.execute(_CONSENTS, {"subject": subject}).all()
    consents = [consent_of(row) for row in rows]
    entry = transaction.append(
        "erasure.executed",
        operator.spiffe_id,
        {
            "erasure": erasure_id.hex(),
            "subject": keys.asked("erasure.executed", operator.spiffe_id, subject, erasure_id, 0),
            "basis": basis,
            "rows": target.rows,
        },
        [_item(transaction, one) for one in consents],
        changes_pool=True,
    )
    stubs = [] if record is None else _stubs(consents, target.evidence_id, record)
    _forget(transaction, keys, erasure_id, subject, target.live_id, stubs)
    decision: dict[str, object] = {
        "state": int(ErasureState.EXECUTED),
        "live_id": target.live_id,
        "rows": target.rows,
        "consents": len(consents),
    }
    return Decided(_decide(transaction, erasure_id, entry, basis, decision), entry)


def _item(transaction: Transaction, one: Consent) -> Item:
    """An erased consent, with the notice to its recipient, unless its end was told before."""
    content: dict[str, Json] = {"consent": one.consent_id.hex(), "recipient": one.recipient}
    if one.withdrawn_at is None and one.revoked_at is None:
        content |= issue(
            transaction, one.consent_id, one.recipient, one.jurisdiction, NoticeCause.ERASED
        )
    return Item(content)


def _stubs(
    consents: Sequence[Consent], evidence_id: bytes | None, record: SubjectRecord
) -> list[dict[str, object]]:
    """What is kept of erased consents, as far as they are under an evidence key."""
    if evidence_id is None:
        return []
    return [
        {
            "consent_id": one.consent_id,
            "evidence_id": evidence_id,
            "consents": record.next_consent,
        }
        for one in consents
        if one.salt is None
    ]


def _forget(
    transaction: Transaction,
    keys: SubjectKeys,
    erasure_id: bytes,
    subject: SubjectKey,
    live_id: bytes | None,
    stubs: Sequence[Mapping[str, object]],
) -> None:
    """Take out of control whatever leads from a name of the subject to anything."""
    connection = transaction.connection
    if stubs:
        connection.execute(_KEEP_STUBS, stubs)
    connection.execute(_DELETE_CONSENTS, {"subject": subject})
    names = rotation_sql.forget_subject(connection, subject)
    if live_id is not None:
        subject_records.forget(connection, subject, live_id)
    marks = sorted(map(keys.erased_mark, names))
    connection.execute(_KEEP_NAMES, [{"mark": mark, "erasure_id": erasure_id} for mark in marks])


def _decide(
    transaction: Transaction,
    erasure_id: bytes,
    entry: Entry,
    basis: str,
    columns: Mapping[str, object],
) -> Erasure:
    transaction.connection.execute(
        sa.update(erasure_table)
        .where(erasure_table.c.erasure_id == erasure_id)
        .values(decided_at=transaction.now, decided_entry=entry.index, basis=basis, **columns)
    )
    return _erasure(transaction.connection, erasure_id)


def _erasure(connection: sa.Connection, erasure_id: bytes) -> Erasure:
    row = connection.execute(_BY_ID, {"id": erasure_id}).one_or_none()
    if row is None:
        raise not_found("ERASURE_NOT_FOUND", "there is no erasure with this id")
    return Erasure(*row)


def _check_text(field: str, text: str) -> None:
    if not text:
        raise invalid(field, f"1 to {MAX_TEXT_CHARACTERS} characters wanted")
    for problem in text_problems(field, text, MAX_TEXT_CHARACTERS):
        raise invalid(field, problem.description)


_COLUMNS = [erasure_table.c[one.name] for one in fields(Erasure)]
_INSERT = sa.insert(erasure_table)
_IS_ID = erasure_table.c.erasure_id == sa.bindparam("id")
_BY_ID = sa.select(*_COLUMNS).where(_IS_ID)
_SUBJECT = sa.select(erasure_table.c.subject).where(_IS_ID)
_PAGE = (
    sa.select(*_COLUMNS)
    .where(erasure_table.c.requested_entry > sa.bindparam("after"))
    .order_by(erasure_table.c.requested_entry)
    .limit(sa.bindparam("size"))
)
_OF_MEMBER = _PAGE.where(erasure_table.c.member_id == sa.bindparam("member"))
_CONSENTS = (
    sa.select(*COLUMNS)
    .where(consent.c.subject == sa.bindparam("subject"))
    .order_by(consent.c.grant_entry)
)
_DELETE_CONSENTS = sa.delete(consent).where(consent.c.subject == sa.bindparam("subject"))
_KEEP_STUBS = sa.insert(erased_consent)
_KEEP_NAMES = sa.insert(erased_name)
