"""Consents: what a subject allows one recipient to do, from when to when, until withdrawn.

A consent is live at a moment t when it is not withdrawn and starts_at <= t < expires_at. Law
behind the rules: a consent is per recipient and purpose (PIPL 23, GDPR 7), withdrawal works before
its acknowledgement (PIPL 15, GDPR 7). A member sees the consents it received and no others:
another's and none at all cannot be told apart.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import IntEnum

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.ledger.tree import read_tokens_epoch
from concordat_gateway.rules.commitments import commitment, fresh_salt
from concordat_gateway.rules.counters import count_consents
from concordat_gateway.rules.drafts import (
    ConsentDraft,
    form_problem,
    time_problem,
)
from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.permits import unended
from concordat_gateway.rules.requests import Fingerprint, Reply, Request, check_request_id, once
from concordat_gateway.rules.scopes import (
    CONSENT_ID_BYTES,
    ConsentId,
    Mask,
    Purpose,
    categories_in,
    covers,
    names_of,
    purposes_in,
)
from concordat_gateway.rules.standing import require_active
from concordat_gateway.rules.subjects import Named, Subjects
from concordat_gateway.store.control_tables import consent as consent_table
from concordat_gateway.store.subjects import SubjectKey, require_epoch
from concordat_privacy.catalogue.rows import FieldProblem
from concordat_privacy.oprf import TOKEN_BYTES
from concordat_rpc.errors import Refusal, invalid, not_found
from concordat_rpc.peer import Peer
from concordat_store.clock import rfc3339

MAX_CONSENTS = 1_000
"""Of one call."""
MAX_OF_SUBJECT = 16
"""Not ended, of one subject to one recipient: every use of the subject's data reads them all."""
MAX_PAGE = 1_000
DEFAULT_PAGE = 100


class ConsentState(IntEnum):
    """Numbers as in `concordat.v1` (consent.proto)."""

    ACTIVE = 1
    WITHDRAWN = 2
    EXPIRED = 3


@dataclass(frozen=True, slots=True)
class Consent:
    """A recorded consent. Moments are microseconds since the epoch; fields as in the store."""

    consent_id: ConsentId
    subject: SubjectKey
    recipient: str
    purposes: Mask
    categories: Mask
    starts_at: int
    expires_at: int
    notice_version: str
    evidence_sha256: bytes
    granted_at: int
    withdrawn_at: int | None
    grant_entry: int
    salt: bytes

    def state(self, now: int) -> ConsentState:
        """State at a moment. A consent that has not started yet is ACTIVE."""
        if self.withdrawn_at is not None:
            return ConsentState.WITHDRAWN
        return ConsentState.ACTIVE if now < self.expires_at else ConsentState.EXPIRED


@dataclass(frozen=True, slots=True)
class Granted:
    """One recorded item of a call."""

    item: int
    consent_id: ConsentId
    entry: Entry


@dataclass(frozen=True, slots=True)
class Grants:
    """What became of the items of one call, each in the request's order."""

    granted: Sequence[Granted]
    refused: Sequence[ItemRefusal]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A consent after its withdrawal, and the entry; None where it was withdrawn before."""

    consent: Consent
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some consents, oldest first."""

    consents: Sequence[Consent]
    next_page_token: str


def grant(
    journal: Journal,
    recipient: Peer,
    request_id: bytes,
    drafts: Sequence[ConsentDraft],
    epoch: int,
    subjects: Subjects,
    to_reply: Callable[[Grants], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Record consents, each in an entry of its own, all in one transaction.

    Items are independent: good ones are recorded, bad ones are listed. Returns the bytes that
    `to_reply` made, now or when the same request came first. With a subject's first consent its
    element is kept, sealed. `epoch` is that of the drafts' tokens.
    Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS (REQUEST_ID_REUSED), FAILED_PRECONDITION
    (EPOCH_NOT_ACTIVE, EPOCH_REQUIRED), UNAVAILABLE, RESOURCE_EXHAUSTED (CARRIED_EXHAUSTED).
    """
    check_request_id(request_id)
    if not 1 <= len(drafts) <= MAX_CONSENTS:
        raise invalid("consents", f"1 to {MAX_CONSENTS} items wanted, {len(drafts)} given")
    problems = _form_problems(drafts)
    good = [item for item in range(len(drafts)) if item not in problems]
    request = Request(recipient.spiffe_id, "GrantConsents", request_id, _digest(drafts, epoch))

    def work(store_epoch: int) -> Committed[bytes]:
        named = subjects.named(
            recipient.name,
            [drafts[item].token for item in good],
            epoch,
            store_epoch,
            timeout_seconds,
        )
        kept = _Kept.of(recipient, named, subjects)
        return journal.write(
            lambda transaction: once(
                transaction, request, lambda: record(transaction, named, kept)
            ),
            timeout_seconds,
        )

    def record(transaction: Transaction, named: Named, kept: "_Kept") -> Reply:
        transaction.require_witnessed()
        require_epoch(transaction.tokens_epoch, named.epoch)
        require_active(transaction.connection, recipient.name)
        refused = dict(problems)
        consents: list[Consent] = []
        granted: list[Granted] = []
        held = unended(transaction.connection, recipient.name, set(named.keys), transaction.now)
        for item, subject in zip(good, named.keys, strict=True):
            problem = time_problem(drafts[item], transaction.now) or _crowd_problem(held[subject])
            if problem is not None:
                refused[item] = problem
                continue
            held[subject] += 1
            consent, entry = _recorded(transaction, recipient, request_id, drafts[item], subject)
            consents.append(consent)
            granted.append(Granted(item, consent.consent_id, entry))
        if consents:
            transaction.connection.execute(_INSERT, [asdict(consent) for consent in consents])
            kept.record(transaction.connection, {consent.subject for consent in consents})
            count_consents(transaction.connection, recipient.name, len(consents), transaction.now)
        refusals = [ItemRefusal.of(item, refused[item]) for item in sorted(refused)]
        last = granted[-1].entry.index if granted else None
        return Reply(to_reply(Grants(granted, refusals)), last)

    return subjects.settled(work)


def withdraw(
    journal: Journal, recipient: Peer, consent_id: bytes, timeout_seconds: float
) -> Committed[Withdrawal]:
    """Withdraw a consent; nothing that commits later can rest on it.

    A consent that has expired can be withdrawn too. Withdrawing twice changes nothing.
    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (CONSENT_NOT_FOUND).
    """
    _check_consent_id(consent_id)

    def change(transaction: Transaction) -> Withdrawal:
        consent = _find(transaction.connection, recipient, consent_id)
        if consent.withdrawn_at is not None:
            return Withdrawal(consent, None)
        entry = transaction.append(
            "consent.withdrawn",
            recipient.spiffe_id,
            {
                "consent": consent.consent_id.hex(),
                "recipient": consent.recipient,
                "subject": commitment(consent.subject, consent.salt),
            },
            changes_pool=_concerns_pool(consent.purposes),
        )
        withdrawn = replace(consent, withdrawn_at=transaction.now)
        transaction.connection.execute(
            _WITHDRAW,
            {"id": consent_id, "withdrawn_at": transaction.now, "withdraw_entry": entry.index},
        )
        return Withdrawal(withdrawn, entry)

    return journal.write(change, timeout_seconds)


def get(journal: Journal, recipient: Peer, consent_id: bytes) -> Consent:
    """One consent of the recipient.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (CONSENT_NOT_FOUND).
    """
    _check_consent_id(consent_id)
    with journal.read() as connection:
        return _find(connection, recipient, consent_id)


def list_page(
    journal: Journal,
    recipient: Peer,
    token: bytes,
    wanted: int,
    page_token: str,
    epoch: int,
    subjects: Subjects,
    timeout_seconds: float,
) -> Page:
    """A page of the recipient's consents; only one subject's unless `token` is empty.

    Raises Refusal INVALID_ARGUMENT, and for a token FAILED_PRECONDITION (EPOCH_NOT_ACTIVE,
    EPOCH_REQUIRED), UNAVAILABLE.
    """
    size = page_size(wanted, DEFAULT_PAGE, MAX_PAGE)
    if token and len(token) != TOKEN_BYTES:
        raise invalid("token", f"{TOKEN_BYTES} bytes or none wanted, {len(token)} given")
    listing = Listing.of(b"consents", recipient.spiffe_id.encode(), token)
    # One more than fits tells whether there is a next page.
    parameters = {
        "recipient": recipient.name,
        "after": listing.position(page_token),
        "size": size + 1,
    }

    def of_subject(store_epoch: int) -> list[Consent]:
        named = subjects.named(recipient.name, [token], epoch, store_epoch, timeout_seconds)
        [subject] = named.keys
        with journal.read() as connection:
            require_epoch(read_tokens_epoch(connection), named.epoch)
            found = connection.execute(
                _OF_RECIPIENT_AND_SUBJECT, {**parameters, "subject": subject}
            )
            return [Consent(*row) for row in found]

    if token:
        consents = subjects.settled(of_subject)
    else:
        with journal.read() as connection:
            consents = [Consent(*row) for row in connection.execute(_OF_RECIPIENT, parameters)]
    if len(consents) <= size:
        return Page(consents, "")
    return Page(consents[:size], listing.token(consents[size - 1].grant_entry))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of subjects beside their consents: sealed elements, and names they had."""

    elements: Sequence[Mapping[str, object]]
    aliases: Sequence[Mapping[str, object]]

    @classmethod
    def of(cls, recipient: Peer, named: Named, subjects: Subjects) -> "_Kept":
        """Made before the transaction, which everybody else waits for."""
        seal = subjects.seal(named.epoch)
        elements = {
            subject: element
            for subject, element in zip(named.keys, named.elements, strict=True)
            if element is not None
        }
        return cls(
            [
                {"subject": subject, "epoch": named.epoch, "sealed": seal.close(subject, element)}
                for subject, element in sorted(elements.items())
            ],
            [
                {"recipient": recipient.name, "old_subject": old, "subject": subject}
                for subject, older in zip(named.keys, named.older, strict=True)
                for old in older
            ],
        )

    def record(self, connection: sa.Connection, subjects: Collection[SubjectKey]) -> None:
        """Keep what is of these subjects."""
        for statement, rows in (
            (_KEEP_ELEMENT, self.elements),
            (_KEEP_ALIAS, self.aliases),
        ):
            chosen = [row for row in rows if row["subject"] in subjects]
            if chosen:
                connection.execute(statement, chosen)


def _form_problems(drafts: Sequence[ConsentDraft]) -> Mapping[int, FieldProblem]:
    problems: dict[int, FieldProblem] = {}
    first_with: dict[ConsentDraft, int] = {}
    for item, draft in enumerate(drafts):
        problem = form_problem(draft)
        if problem is None:
            first = first_with.setdefault(_in_order(draft), item)
            if first != item:
                problem = FieldProblem("", "DUPLICATE", f"the same consent as item {first}")
        if problem is not None:
            problems[item] = problem
    return problems


def _crowd_problem(held: int) -> FieldProblem | None:
    if held < MAX_OF_SUBJECT:
        return None
    return FieldProblem(
        "token",
        "TOO_MANY_CONSENTS",
        f"the calling member holds {held} consents of this subject that have not ended",
    )


def _in_order(draft: ConsentDraft) -> ConsentDraft:
    return replace(
        draft,
        purposes=tuple(sorted(draft.purposes)),
        categories=tuple(sorted(draft.categories)),
    )


def _recorded(
    transaction: Transaction,
    recipient: Peer,
    request_id: bytes,
    draft: ConsentDraft,
    subject: SubjectKey,
) -> tuple[Consent, Entry]:
    """The consent that a good draft becomes, and its ledger entry."""
    assert draft.expires_at is not None  # time_problem has seen to it
    now, salt = transaction.now, fresh_salt()
    consent_id = ConsentId(os.urandom(CONSENT_ID_BYTES))
    starts_at = now if draft.starts_at is None else draft.starts_at
    entry = transaction.append(
        "consent.granted",
        recipient.spiffe_id,
        {
            "consent": consent_id.hex(),
            "recipient": recipient.name,
            "request": request_id.hex(),
            "subject": commitment(subject, salt),
            "purposes": names_of(purposes_in(draft.purpose_mask)),
            "categories": names_of(categories_in(draft.category_mask)),
            "starts_at": rfc3339(starts_at),
            "expires_at": rfc3339(draft.expires_at),
            "notice_version": draft.notice_version,
            "evidence_sha256": draft.evidence_sha256.hex(),
        },
        changes_pool=_concerns_pool(draft.purpose_mask),
    )
    consent = Consent(
        consent_id=consent_id,
        subject=subject,
        recipient=recipient.name,
        purposes=draft.purpose_mask,
        categories=draft.category_mask,
        starts_at=starts_at,
        expires_at=draft.expires_at,
        notice_version=draft.notice_version,
        evidence_sha256=draft.evidence_sha256,
        granted_at=now,
        withdrawn_at=None,
        grant_entry=entry.index,
        salt=salt,
    )
    return consent, entry


def _concerns_pool(purposes: Mask) -> bool:
    """Whether answers about the whole pool can rest on a consent with these purposes."""
    return covers(purposes, Purpose.CONTRIBUTION) or covers(purposes, Purpose.AGGREGATE_STATISTICS)


def _check_consent_id(consent_id: bytes) -> None:
    if len(consent_id) != CONSENT_ID_BYTES:
        raise invalid("consent_id", f"{CONSENT_ID_BYTES} bytes wanted, {len(consent_id)} given")


def _find(connection: sa.Connection, recipient: Peer, consent_id: bytes) -> Consent:
    row = connection.execute(_BY_ID, {"id": consent_id, "recipient": recipient.name}).one_or_none()
    if row is None:
        raise _no_such_consent()
    return Consent(*row)


def _no_such_consent() -> Refusal:
    return not_found("CONSENT_NOT_FOUND", "the calling member holds no consent with this id")


def _digest(drafts: Sequence[ConsentDraft], epoch: int) -> bytes:
    fingerprint = Fingerprint("GrantConsents")
    if epoch:
        fingerprint.add(epoch)
    for draft in drafts:
        fingerprint.add(draft.token, len(draft.purposes), *draft.purposes)
        fingerprint.add(len(draft.categories), *draft.categories)
        fingerprint.add(draft.starts_at, draft.expires_at)
        fingerprint.add(draft.notice_version, draft.evidence_sha256)
    return fingerprint.digest()


_COLUMNS = [consent_table.c[name] for name in Consent.__dataclass_fields__]
_INSERT = sa.insert(consent_table)
# The same texts on both kinds of database. An element is written whether it is kept already or
# not: time must not tell a member which subjects the pool knew before.
_KEEP_ELEMENT = sa.text(
    "INSERT INTO subject_element (subject, epoch, sealed) VALUES (:subject, :epoch, :sealed)"
    " ON CONFLICT (subject) DO UPDATE SET epoch = excluded.epoch, sealed = excluded.sealed"
)
_KEEP_ALIAS = sa.text(
    "INSERT INTO subject_alias (recipient, old_subject, subject)"
    " VALUES (:recipient, :old_subject, :subject) ON CONFLICT (recipient, old_subject) DO NOTHING"
)
_WITHDRAW = (
    sa.update(consent_table)
    .where(consent_table.c.consent_id == sa.bindparam("id"))
    .values(
        withdrawn_at=sa.bindparam("withdrawn_at"), withdraw_entry=sa.bindparam("withdraw_entry")
    )
)
_BY_ID = sa.select(*_COLUMNS).where(
    consent_table.c.consent_id == sa.bindparam("id"),
    consent_table.c.recipient == sa.bindparam("recipient"),
)
_OF_RECIPIENT = (
    sa.select(*_COLUMNS)
    .where(
        consent_table.c.recipient == sa.bindparam("recipient"),
        consent_table.c.grant_entry > sa.bindparam("after"),
    )
    .order_by(consent_table.c.grant_entry)
    .limit(sa.bindparam("size"))
)
_OF_RECIPIENT_AND_SUBJECT = _OF_RECIPIENT.where(consent_table.c.subject == sa.bindparam("subject"))
