"""The life of a recorded consent: activated, paused, resumed, withdrawn, revoked.

Each change is one transaction with one entry, so it works before it is acknowledged (PIPL 15,
GDPR 7). What may follow what is `rules.consent_states`. Terms never change: a new purpose is a new
consent. A member that was suspended meanwhile can end consents and open none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules import consent_records, managers
from concordat_gateway.rules.consent_records import (
    Consent,
    Evidence,
    check_consent_id,
    find,
)
from concordat_gateway.rules.consent_states import Change, changes, wrong_state
from concordat_gateway.rules.drafts import MAX_JWS_CHARACTERS, text_problems
from concordat_gateway.rules.evidence import (
    EvidenceInvalid,
    evidence_problems,
    signatories_of,
    verified,
)
from concordat_gateway.rules.notices import NoticeCause, issue
from concordat_gateway.rules.requests import check_sha256
from concordat_gateway.rules.standing import require_active
from concordat_privacy.consent_terms import terms_bytes
from concordat_privacy.log.leaf import Json
from concordat_rpc.errors import failed_precondition, invalid, permission_denied
from concordat_rpc.peer import Peer, Role
from concordat_store.clock import rfc3339

MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Changed:
    """A consent after a change, and the entry; None where it was in that state before."""

    consent: Consent
    entry: Entry | None


def activate(
    journal: Journal,
    recipient: Peer,
    consent_id: bytes,
    evidence_sha256: bytes,
    evidence_jws: str,
    timeout_seconds: float,
) -> Committed[Changed]:
    """Record that the subject has given a requested consent.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (CONSENT_NOT_FOUND), PERMISSION_DENIED
    (MEMBER_SUSPENDED), FAILED_PRECONDITION (EVIDENCE_INVALID, CONSENT_<STATE>; CONSENT_ACTIVE for
    one that has other evidence), UNAVAILABLE (LEDGER_NOT_WITNESSED).
    """
    check_consent_id(consent_id)
    _check_evidence(evidence_sha256, evidence_jws)
    evidence = Evidence(evidence_sha256=evidence_sha256)
    if evidence_jws:
        evidence = _verified(journal, recipient, consent_id, evidence_jws)

    def change(transaction: Transaction) -> Changed:
        require_active(transaction.connection, recipient.name)
        consent = find(transaction.connection, recipient, consent_id)
        state = consent.state(transaction.now)
        if not changes(state, Change.ACTIVATE):
            given = (consent.evidence_sha256 or b"", consent.evidence_jws or "")
            if given != (evidence_sha256, evidence_jws):
                raise wrong_state(state, Change.ACTIVATE)
            return Changed(consent, None)
        transaction.require_witnessed()
        for problem in evidence_problems(transaction.connection, {0: evidence}).values():
            raise failed_precondition(problem.reason, problem.description)
        columns = {"activated_at": transaction.now, **evidence.columns()}
        return _changed(
            transaction, recipient, consent, "consent.activated", columns, evidence.fields()
        )

    return journal.write(change, timeout_seconds)


def pause(
    journal: Journal, recipient: Peer, consent_id: bytes, reason: str, timeout_seconds: float
) -> Committed[Changed]:
    """Pause an active consent; nothing that commits later can rest on it until it is resumed.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (CONSENT_NOT_FOUND), FAILED_PRECONDITION
    (CONSENT_<STATE>).
    """
    check_consent_id(consent_id)
    _check_reason(reason)

    def change(transaction: Transaction) -> Changed:
        consent = find(transaction.connection, recipient, consent_id)
        if not changes(consent.state(transaction.now), Change.PAUSE):
            return Changed(consent, None)
        columns = {"paused_at": transaction.now, "reason": reason}
        return _changed(
            transaction, recipient, consent, "consent.paused", columns, {"reason": reason}
        )

    return journal.write(change, timeout_seconds)


def resume(
    journal: Journal, recipient: Peer, consent_id: bytes, reason: str, timeout_seconds: float
) -> Committed[Changed]:
    """Lift a pause.

    Raises as `pause`, and PERMISSION_DENIED (MEMBER_SUSPENDED), UNAVAILABLE (LEDGER_NOT_WITNESSED).
    """
    check_consent_id(consent_id)
    _check_reason(reason)

    def change(transaction: Transaction) -> Changed:
        require_active(transaction.connection, recipient.name)
        consent = find(transaction.connection, recipient, consent_id)
        if not changes(consent.state(transaction.now), Change.RESUME):
            return Changed(consent, None)
        transaction.require_witnessed()
        columns = {"paused_at": None, "resumed_at": transaction.now, "reason": None}
        return _changed(
            transaction, recipient, consent, "consent.resumed", columns, {"reason": reason}
        )

    return journal.write(change, timeout_seconds)


def withdraw(
    journal: Journal,
    caller: Peer,
    consent_id: bytes,
    asked_at: int | None,
    evidence_sha256: bytes,
    timeout_seconds: float,
) -> Committed[Changed]:
    """Record that the subject withdraws a consent; nothing that commits later can rest on it.

    `asked_at`: when the subject asked, in microseconds since the epoch. `evidence_sha256` is that
    of the subject's own words, or empty. The caller is the recipient, or the operator where the
    subject turned to the consortium. A consent that has expired can be withdrawn too.
    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (CONSENT_NOT_FOUND), FAILED_PRECONDITION
    (CONSENT_REVOKED).
    """
    check_consent_id(consent_id)
    if evidence_sha256:
        check_sha256(evidence_sha256, "evidence_sha256")
    if asked_at is not None and asked_at < 0:
        raise invalid("asked_at", "a time from 1970 on is wanted")

    def change(transaction: Transaction) -> Changed:
        consent = find(transaction.connection, caller, consent_id)
        if not changes(consent.state(transaction.now), Change.WITHDRAW):
            return Changed(consent, None)
        fields: dict[str, Json] = {}
        if asked_at is not None:
            if asked_at > transaction.now:
                raise invalid("asked_at", "it is in the future")
            fields["asked_at"] = rfc3339(asked_at)
        if evidence_sha256:
            fields["evidence_sha256"] = evidence_sha256.hex()
        fields.update(_notice(transaction, consent, NoticeCause.WITHDRAWN))
        columns = {"withdrawn_at": transaction.now, "asked_at": asked_at}
        return _changed(
            transaction, caller, consent, "consent.withdrawn", columns, fields, "withdraw_entry"
        )

    return journal.write(change, timeout_seconds)


def revoke(
    journal: Journal,
    caller: Peer,
    consent_id: bytes,
    reason: str,
    manager_id: str,
    timeout_seconds: float,
) -> Committed[Changed]:
    """End a consent by another than its subject; nothing that commits later can rest on it.

    The caller is the recipient, or the operator, who may name any consent, and also the registered
    manager that revoked it.
    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (CONSENT_NOT_FOUND, MANAGER_NOT_FOUND),
    PERMISSION_DENIED (NOT_OPERATOR), FAILED_PRECONDITION (CONSENT_WITHDRAWN, MANAGER_DISABLED).
    """
    check_consent_id(consent_id)
    _check_reason(reason)
    is_operator = caller.role is Role.OPERATOR
    if manager_id and not is_operator:
        raise permission_denied("NOT_OPERATOR", "only the operator records a manager's revocation")
    by = f"manager:{manager_id}" if manager_id else "operator" if is_operator else "recipient"

    def change(transaction: Transaction) -> Changed:
        consent = find(transaction.connection, caller, consent_id)
        if manager_id:
            manager = managers.read_one(transaction.connection, manager_id)
            if manager.disabled_at is not None:
                raise failed_precondition("MANAGER_DISABLED", f"{manager_id} is disabled")
        if not changes(consent.state(transaction.now), Change.REVOKE):
            return Changed(consent, None)
        fields: dict[str, Json] = {"by": by, "reason": reason}
        fields.update(_notice(transaction, consent, NoticeCause.REVOKED))
        columns = {"revoked_at": transaction.now, "revoked_by": by, "reason": reason}
        return _changed(
            transaction, caller, consent, "consent.revoked", columns, fields, "revoke_entry"
        )

    return journal.write(change, timeout_seconds)


def _notice(transaction: Transaction, consent: Consent, cause: NoticeCause) -> dict[str, Json]:
    return issue(transaction, consent.consent_id, consent.recipient, consent.jurisdiction, cause)


def _changed(
    transaction: Transaction,
    actor: Peer,
    consent: Consent,
    entry_type: str,
    columns: Mapping[str, object],
    fields: Mapping[str, Json],
    entry_column: str | None = None,
) -> Changed:
    """Append the entry and change the row, in one transaction."""
    entry = transaction.append(
        entry_type,
        actor.spiffe_id,
        {**consent.naming_fields(), **fields},
        changes_pool=consent.concerns_pool,
    )
    kept = {**columns, entry_column: entry.index} if entry_column else columns
    consent_records.update(transaction.connection, consent.consent_id, kept)
    return Changed(replace(consent, **columns), entry)  # type: ignore[arg-type]  # its own fields


def _verified(journal: Journal, recipient: Peer, consent_id: bytes, jws: str) -> Evidence:
    """The evidence that a JWS is for a recorded consent, whose terms never change."""
    with journal.read() as connection:
        consent = find(connection, recipient, consent_id)
        signatories = signatories_of(connection)
    if consent.evidence_jws == jws:
        # Activated before; the transaction says so.
        return Evidence(evidence_jws=jws)
    if consent.evidence_subject is None:
        raise invalid("evidence_jws", "the request gave no evidence_nonce")
    terms = terms_bytes(consent.terms.fields(), consent.recipient, consent.evidence_subject)
    try:
        return verified(jws, terms, signatories)
    except EvidenceInvalid as error:
        raise failed_precondition("EVIDENCE_INVALID", str(error)) from None


def _check_evidence(sha256: bytes, jws: str) -> None:
    if bool(sha256) == bool(jws):
        raise invalid("evidence_sha256", "exactly one of it and evidence_jws wanted")
    if sha256:
        check_sha256(sha256, "evidence_sha256")
    if len(jws) > MAX_JWS_CHARACTERS:
        raise invalid("evidence_jws", f"at most {MAX_JWS_CHARACTERS} characters wanted")


def _check_reason(reason: str) -> None:
    if not reason:
        raise invalid("reason", f"1 to {MAX_REASON_CHARACTERS} characters wanted")
    for problem in text_problems("reason", reason, MAX_REASON_CHARACTERS):
        raise invalid("reason", problem.description)
