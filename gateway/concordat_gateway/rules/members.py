"""Members: who belongs to the consortium, and who may call at this moment.

Joining takes two steps. The operator invites and gets a short-lived certificate that is good for
one call; with it the member sends its own certificate request. The state is asked for on every
call, so a suspension works on the next call of a connection that is already open.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.pki import Authority, Names, certificate_pem, read_request
from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.requests import Fingerprint, Reply, Request, check_request_id, once
from concordat_gateway.rules.standing import MemberState, check_standing
from concordat_gateway.store.control_tables import invitation as invitation_table
from concordat_gateway.store.control_tables import member as member_table
from concordat_privacy.moments import micros_of, moment_of
from concordat_rpc.errors import (
    already_exists,
    exhausted,
    failed_precondition,
    invalid,
    not_found,
    permission_denied,
)
from concordat_rpc.peer import Peer, Role, Serial, certificate_serial, spiffe_id
from concordat_store.clock import Clock

MAX_MEMBERS = 32_767
DEFAULT_PAGE = 100
MAX_PAGE = 1_000

_MEMBER_ID = re.compile(r"[a-z][a-z0-9-]{1,39}")
_MAX_NAME = 200
_MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Member:
    """A member institution. Times in microseconds since the epoch."""

    member_id: str
    display_name: str
    state: MemberState
    invited_at: int
    joined_at: int | None


@dataclass(frozen=True, slots=True)
class Admission:
    """A certificate was issued: for an invitation or for a member that joined."""

    member: Member
    certificate_pem: bytes
    expires_at: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Change:
    """A member after a change, and its entry; None where nothing changed."""

    member: Member
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Registrar:
    """Issues the consortium's certificates."""

    authority: Authority
    trust_domain: str
    invitation_lifetime: timedelta
    certificate_lifetime: timedelta
    clock: Clock

    def issue(self, role: Role, name: str, csr_pem: bytes) -> x509.Certificate:
        """A certificate for a request's key; raises Refusal INVALID_ARGUMENT."""
        lifetime = (
            self.invitation_lifetime if role is Role.INVITATION else self.certificate_lifetime
        )
        return self.authority.issue(
            read_request(csr_pem),
            Names(spiffe_id(self.trust_domain, role, name)),
            moment_of(self.clock()),
            lifetime,
        )


def invite(
    journal: Journal,
    registrar: Registrar,
    operator: Peer,
    request_id: bytes,
    member_id: str,
    display_name: str,
    csr_pem: bytes,
    to_reply: Callable[[Admission], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Invite an institution. One that let its invitation expire can be invited again.

    Returns the bytes that `to_reply` made, now or when the same request came first.
    Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS (MEMBER_EXISTS, REQUEST_ID_REUSED).
    """
    check_request_id(request_id)
    _check_member_id(member_id)
    _check_text("display_name", display_name, _MAX_NAME)
    certificate = registrar.issue(Role.INVITATION, member_id, csr_pem)
    expires_at = micros_of(certificate.not_valid_after_utc)
    content = Fingerprint("InviteMember")
    content.add(member_id, display_name, csr_pem)
    request = Request(operator.spiffe_id, "InviteMember", request_id, content.digest())

    def record(transaction: Transaction) -> Reply:
        member = Member(member_id, display_name, MemberState.INVITED, transaction.now, None)
        _put_invited(transaction, member)
        transaction.connection.execute(
            sa.insert(invitation_table),
            {
                "certificate_serial": certificate_serial(certificate),
                "member_id": member_id,
                "expires_at": expires_at,
            },
        )
        entry = transaction.append(
            "member.invited",
            operator.spiffe_id,
            {"member": member_id, "name": display_name, "certificate": _digest(certificate)},
        )
        admission = Admission(member, certificate_pem(certificate), expires_at, entry)
        return Reply(to_reply(admission), entry.index)

    return journal.write(
        lambda transaction: once(transaction, request, lambda: record(transaction)),
        timeout_seconds,
    )


def accept(
    journal: Journal,
    registrar: Registrar,
    invited: Peer,
    invitation: Serial,
    request_id: bytes,
    csr_pem: bytes,
    to_reply: Callable[[Admission], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Accept the invitation whose certificate made the call; it cannot be used again.

    Returns the bytes that `to_reply` made, now or when the same request came first.
    Raises Refusal INVALID_ARGUMENT, PERMISSION_DENIED (INVITATION_USED, INVITATION_EXPIRED),
    ALREADY_EXISTS (REQUEST_ID_REUSED).
    """
    check_request_id(request_id)
    certificate = registrar.issue(Role.MEMBER, invited.name, csr_pem)
    content = Fingerprint("AcceptInvitation")
    content.add(invitation, csr_pem)
    request = Request(invited.spiffe_id, "AcceptInvitation", request_id, content.digest())

    def record(transaction: Transaction) -> Reply:
        _burn(transaction, invitation)
        member = replace(
            _find(transaction.connection, invited.name),
            state=MemberState.ACTIVE,
            joined_at=transaction.now,
        )
        transaction.connection.execute(
            sa.update(member_table).where(member_table.c.member_id == member.member_id),
            {
                "state": member.state,
                "joined_at": member.joined_at,
                "certificate_serial": certificate_serial(certificate),
            },
        )
        entry = transaction.append(
            "member.joined",
            invited.spiffe_id,
            {"member": member.member_id, "certificate": _digest(certificate)},
        )
        expires_at = micros_of(certificate.not_valid_after_utc)
        admission = Admission(member, certificate_pem(certificate), expires_at, entry)
        return Reply(to_reply(admission), entry.index)

    return journal.write(
        lambda transaction: once(transaction, request, lambda: record(transaction)),
        timeout_seconds,
    )


def suspend(
    journal: Journal, operator: Peer, member_id: str, reason: str, timeout_seconds: float
) -> Committed[Change]:
    """Refuse every further call of a member; changes nothing for a suspended one.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (MEMBER_NOT_FOUND), FAILED_PRECONDITION
    (MEMBER_NOT_JOINED).
    """
    return _move(
        journal,
        operator,
        member_id,
        MemberState.SUSPENDED,
        timeout_seconds,
        entry_type="member.suspended",
        reason=reason,
    )


def reinstate(
    journal: Journal, operator: Peer, member_id: str, reason: str, timeout_seconds: float
) -> Committed[Change]:
    """Lift a suspension. Raises as `suspend`."""
    return _move(
        journal,
        operator,
        member_id,
        MemberState.ACTIVE,
        timeout_seconds,
        entry_type="member.reinstated",
        reason=reason,
    )


def list_members(journal: Journal, wanted: int, page_token: str) -> tuple[Sequence[Member], str]:
    """One page of members in order of id, and the next page's token, "" on the last.

    Raises Refusal INVALID_ARGUMENT.
    """
    size = page_size(wanted, DEFAULT_PAGE, MAX_PAGE)
    listing = Listing.of(b"ListMembers")
    # Numbers are dense and never re-used, so the last item's says where to go on.
    last_no = listing.position(page_token)
    after = (
        sa.select(member_table.c.member_id)
        .where(member_table.c.member_no == last_no)
        .scalar_subquery()
    )
    statement = sa.select(member_table).order_by(member_table.c.member_id).limit(size + 1)
    if last_no >= 0:
        statement = statement.where(member_table.c.member_id > after)
    with journal.read() as connection:
        rows = connection.execute(statement).all()
    page = rows[:size]
    more = len(rows) > size
    return [_member(row) for row in page], listing.token(page[-1].member_no) if more else ""


def check_admitted(journal: Journal, peer: Peer, serial: Serial, while_suspended: bool) -> None:
    """Refuse a caller that may not make a call at this moment. Asked on every call.

    A member must be active, or suspended where the call is one to make `while_suspended`, and show
    the certificate it joined with; an invitation must be one that was issued. Operators, auditors
    and processes are who their certificate says.
    Raises Refusal PERMISSION_DENIED (NOT_A_MEMBER, MEMBER_SUSPENDED, CERTIFICATE_REPLACED,
    NOT_INVITED).
    """
    match peer.role:
        case Role.MEMBER:
            _check_member(journal, peer, serial, while_suspended)
        case Role.INVITATION:
            _check_invitation(journal, peer, serial)
        case Role.OPERATOR | Role.AUDITOR | Role.GATEWAY | Role.KEYHOLDER:
            return


def _check_member(journal: Journal, peer: Peer, serial: Serial, while_suspended: bool) -> None:
    with journal.read() as connection:
        row = connection.execute(_ADMITTED, {"member_id": peer.name}).one_or_none()
    if row is None or row.state != MemberState.SUSPENDED or not while_suspended:
        check_standing(peer.name, None if row is None else row.state)
    if row is None or row.certificate_serial != serial:
        raise permission_denied(
            "CERTIFICATE_REPLACED", "this is not the certificate the member joined with"
        )


def _check_invitation(journal: Journal, peer: Peer, serial: Serial) -> None:
    with journal.read() as connection:
        member_id = connection.execute(_INVITED, {"serial": serial}).scalar_one_or_none()
    if member_id != peer.name:
        raise permission_denied("NOT_INVITED", "this gateway issued no such invitation")


def _put_invited(transaction: Transaction, member: Member) -> None:
    """Record an invited member; raises Refusal MEMBER_EXISTS unless its invitations ran out."""
    known = transaction.connection.execute(
        sa.select(member_table).where(member_table.c.member_id == member.member_id)
    ).one_or_none()
    if known is None:
        transaction.connection.execute(
            sa.insert(member_table),
            {
                "member_id": member.member_id,
                "member_no": _next_number(transaction.connection),
                "display_name": member.display_name,
                "state": member.state,
                "invited_at": member.invited_at,
            },
        )
        return
    live = transaction.connection.execute(
        sa.select(sa.func.count())
        .select_from(invitation_table)
        .where(
            invitation_table.c.member_id == member.member_id,
            invitation_table.c.expires_at > transaction.now,
        )
    ).scalar_one()
    if known.state != MemberState.INVITED or live:
        raise already_exists("MEMBER_EXISTS", f"{member.member_id} is a member or invited already")
    transaction.connection.execute(
        sa.update(member_table).where(member_table.c.member_id == member.member_id),
        {"display_name": member.display_name, "invited_at": member.invited_at},
    )


def _next_number(connection: sa.Connection) -> int:
    # Changes run one after another, so nobody else takes the same number.
    highest = connection.execute(sa.select(sa.func.max(member_table.c.member_no))).scalar_one()
    number: int = (highest or 0) + 1
    if number > MAX_MEMBERS:
        raise exhausted("TOO_MANY_MEMBERS", f"at most {MAX_MEMBERS} members", "consortium")
    return number


def _burn(transaction: Transaction, invitation: Serial) -> None:
    row = transaction.connection.execute(
        sa.select(invitation_table).where(invitation_table.c.certificate_serial == invitation)
    ).one()
    if row.used_at is not None:
        raise permission_denied("INVITATION_USED", "this invitation was accepted before")
    if row.expires_at <= transaction.now:
        raise permission_denied("INVITATION_EXPIRED", "this invitation has expired")
    transaction.connection.execute(
        sa.update(invitation_table).where(invitation_table.c.certificate_serial == invitation),
        {"used_at": transaction.now},
    )


def _move(
    journal: Journal,
    operator: Peer,
    member_id: str,
    to: MemberState,
    timeout_seconds: float,
    *,
    entry_type: str,
    reason: str,
) -> Committed[Change]:
    _check_member_id(member_id)
    _check_text("reason", reason, _MAX_REASON)

    def change(transaction: Transaction) -> Change:
        member = _find(transaction.connection, member_id)
        if member.state is MemberState.INVITED:
            raise failed_precondition("MEMBER_NOT_JOINED", f"{member_id} has not joined yet")
        if member.state is to:
            return Change(member, None)
        transaction.connection.execute(
            sa.update(member_table).where(member_table.c.member_id == member_id), {"state": to}
        )
        entry = transaction.append(
            entry_type, operator.spiffe_id, {"member": member_id, "reason": reason}
        )
        return Change(replace(member, state=to), entry)

    return journal.write(change, timeout_seconds)


def _find(connection: sa.Connection, member_id: str) -> Member:
    row = connection.execute(
        sa.select(member_table).where(member_table.c.member_id == member_id)
    ).one_or_none()
    if row is None:
        raise not_found("MEMBER_NOT_FOUND", f"there is no member {member_id}")
    return _member(row)


def _member(row: sa.Row[tuple[object, ...]]) -> Member:
    return Member(
        row.member_id, row.display_name, MemberState(row.state), row.invited_at, row.joined_at
    )


def _check_member_id(member_id: str) -> None:
    if not _MEMBER_ID.fullmatch(member_id):
        raise invalid(
            "member_id",
            "2 to 40 lower-case letters, digits and hyphens wanted, the first a letter",
        )


def _check_text(field: str, text: str, longest: int) -> None:
    """It goes into the ledger: printable, normalised (NFC), of bounded length."""
    if not 1 <= len(text) <= longest:
        raise invalid(field, f"1 to {longest} characters wanted, {len(text)} given")
    if not text.isprintable() or not text.strip():
        raise invalid(field, "printable characters on one line wanted")
    if not unicodedata.is_normalized("NFC", text):
        raise invalid(field, "text in Unicode normalisation form C wanted")


def _digest(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


_ADMITTED = sa.select(member_table.c.state, member_table.c.certificate_serial).where(
    member_table.c.member_id == sa.bindparam("member_id")
)
_INVITED = sa.select(invitation_table.c.member_id).where(
    invitation_table.c.certificate_serial == sa.bindparam("serial")
)
