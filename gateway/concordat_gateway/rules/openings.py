"""A subject's keys, opened for an auditor whom the person or a court permits.

With them the auditor finds everything about the subject in an export of the ledger, and nothing
about anybody else. That they were opened is an entry of the ledger before they are shown.
"""

import os
from dataclasses import dataclass, field

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal
from concordat_gateway.ledger.tree import read_tokens_epoch
from concordat_gateway.rules.requests import REQUEST_ID_BYTES, check_sha256
from concordat_gateway.rules.scopes import CONSENT_ID_BYTES
from concordat_gateway.rules.staff import Viewed, check_case, record_view
from concordat_gateway.rules.subject_records import (
    evidence_id_of,
    older_asking_keys,
    records,
    until_unchanged,
)
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.store.control_tables import consent, erased_consent
from concordat_gateway.store.subject_keys import KeyLost
from concordat_gateway.store.subjects import ROTATING, SubjectKey, require_epoch, tokens_rotating
from concordat_privacy.oprf import TOKEN_BYTES
from concordat_rpc.errors import invalid, not_found
from concordat_rpc.peer import Peer


@dataclass(frozen=True, slots=True)
class Permission:
    """What an opening is for."""

    case: str
    """The auditor's own reference."""
    sha256: bytes
    """Hash of the document by which the person or a court permits it."""


@dataclass(frozen=True, slots=True)
class OpenedSubject:
    """A subject's keys, as far as there are any."""

    evidence: tuple[tuple[bytes, int], ...] = field(repr=False)
    """(evidence key, number of consents); none where no consent was recorded, or the subject was
    erased and is not found by one of its consents."""
    asking: tuple[tuple[int, bytes], ...] = field(repr=False)
    """(epoch, asking key), oldest first; none of an erased subject that a consent found."""
    subject: SubjectKey | None = field(repr=False)


def open_consent(
    journal: Journal,
    subjects: Subjects,
    auditor: Peer,
    consent_id: bytes,
    permission: Permission,
    timeout_seconds: float,
) -> tuple[OpenedSubject, Committed[Entry]]:
    """The keys of a consent's subject, also of an erased one.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (CONSENT_NOT_FOUND), UNAVAILABLE (TOKENS_ROTATING
    too), DEADLINE_EXCEEDED.
    """
    if len(consent_id) != CONSENT_ID_BYTES:
        raise invalid("consent_id", f"{CONSENT_ID_BYTES} bytes wanted, {len(consent_id)} given")
    _check(permission)

    def work() -> OpenedSubject:
        with journal.read() as connection:
            subject = connection.execute(_SUBJECT_OF, {"id": consent_id}).scalar()
            if subject is not None:
                epoch = read_tokens_epoch(connection)
                if epoch == ROTATING:
                    raise tokens_rotating()
                return _opened(connection, subjects, subject, epoch)
            stub = connection.execute(_STUB_OF, {"id": consent_id}).one_or_none()
        if stub is None:
            raise not_found("CONSENT_NOT_FOUND", "there is no consent with this id")
        return OpenedSubject(((_evidence(subjects, stub.evidence_id), stub.consents),), (), None)

    opened = until_unchanged(work)
    return opened, _recorded(
        journal, subjects, auditor, permission, opened, consent_id, timeout_seconds
    )


def open_token(
    journal: Journal,
    subjects: Subjects,
    auditor: Peer,
    token: bytes,
    epoch: int,
    permission: Permission,
    timeout_seconds: float,
) -> tuple[OpenedSubject, Committed[Entry]]:
    """The keys of a token's subject: the asking key also of one that the pool does not know.

    Raises Refusal INVALID_ARGUMENT, FAILED_PRECONDITION (EPOCH_NOT_ACTIVE, EPOCH_REQUIRED),
    UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED (CARRIED_EXHAUSTED).
    """
    if len(token) != TOKEN_BYTES:
        raise invalid("token", f"{TOKEN_BYTES} bytes wanted, {len(token)} given")
    _check(permission)

    def work(store_epoch: int) -> OpenedSubject:
        # By the whole identity: a member may have the auditor's name.
        named = subjects.named(auditor.spiffe_id, [token], epoch, store_epoch, timeout_seconds)
        [subject] = named.keys
        with journal.read() as connection:
            require_epoch(read_tokens_epoch(connection), named.epoch)
            return _opened(connection, subjects, subject, named.epoch)

    opened = until_unchanged(lambda: subjects.settled(work))
    return opened, _recorded(journal, subjects, auditor, permission, opened, b"", timeout_seconds)


def _check(permission: Permission) -> None:
    if not check_case(permission.case):
        raise invalid("case", "the reference of the case is wanted")
    check_sha256(permission.sha256, "permission_sha256")


def _opened(
    connection: sa.Connection, subjects: Subjects, subject: SubjectKey, epoch: int
) -> OpenedSubject:
    keys = subjects.keys
    asking = {epoch: keys.asking_key(subject)}
    record = records(connection, [subject]).get(subject)
    if record is None:
        return OpenedSubject((), tuple(asking.items()), subject)
    asking |= older_asking_keys(connection, keys, record.live_id)
    evidence = _evidence(subjects, evidence_id_of(keys, record))
    return OpenedSubject(((evidence, record.next_consent),), tuple(sorted(asking.items())), subject)


def _evidence(subjects: Subjects, evidence_id: bytes) -> bytes:
    found = subjects.keys.evidence.read([evidence_id])
    if evidence_id not in found:
        raise KeyLost("an evidence key that must be there is not")
    return found[evidence_id]


def _recorded(
    journal: Journal,
    subjects: Subjects,
    auditor: Peer,
    permission: Permission,
    opened: OpenedSubject,
    consent_id: bytes,
    timeout_seconds: float,
) -> Committed[Entry]:
    request_id = os.urandom(REQUEST_ID_BYTES)
    subject = opened.subject
    viewed = Viewed(
        "subject.open",
        case=permission.case,
        subject=(
            subjects.keys.asked("staff.viewed", auditor.spiffe_id, subject, request_id, 0)
            if subject
            else ""
        ),
        request=request_id if subject else b"",
        consent=consent_id,
        permission_sha256=permission.sha256,
    )
    recorded = record_view(journal, auditor, viewed, timeout_seconds)
    assert recorded is not None  # only an auditor comes here
    return recorded


_SUBJECT_OF = sa.select(consent.c.subject).where(consent.c.consent_id == sa.bindparam("id"))
_STUB_OF = sa.select(erased_consent.c.evidence_id, erased_consent.c.consents).where(
    erased_consent.c.consent_id == sa.bindparam("id")
)
