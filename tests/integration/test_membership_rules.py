"""Membership over time, on both kinds of store, with a clock that the test moves."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from concordat_gateway.ledger.journal import Committed, Journal
from concordat_gateway.pki import Authority, Names, certificate_pem, new_key, new_request
from concordat_gateway.rules import members
from concordat_gateway.rules.members import Admission, MemberState, Registrar
from concordat_gateway.server import POLICY, admit
from concordat_rpc.errors import Refusal
from concordat_rpc.peer import Peer, PeerCertificate, Role, Serial, read_certificate
from tests.stores import ManualClock

DOMAIN = "concordat.test"
DAY_SECONDS = 86_400
CHECKPOINT = "/concordat.v1.LedgerService/GetCheckpoint"
OPERATOR_ID = f"spiffe://{DOMAIN}/operator/main"


@dataclass
class Desk:
    """The operator's desk: invites and accepts with fresh keys and request ids."""

    journal: Journal
    registrar: Registrar
    operator: PeerCertificate
    requests: int = 0

    def invite(self, member_id: str) -> PeerCertificate:
        """Invite; the identity that the invitation gives."""
        pem = members.invite(
            self.journal,
            self.registrar,
            self.operator.peer,
            self.request_id(),
            member_id,
            f"Bank {member_id}",
            new_request(new_key()),
            certificate_of,
            30,
        ).value
        return read_certificate(pem, DOMAIN)

    def accept(self, invitation: PeerCertificate) -> PeerCertificate:
        """Accept; the member's identity."""
        return read_certificate(self.accepted(invitation).value, DOMAIN)

    def accepted(self, invitation: PeerCertificate) -> Committed[bytes]:
        return members.accept(
            self.journal,
            self.registrar,
            invitation.peer,
            invitation.serial,
            self.request_id(),
            new_request(new_key()),
            certificate_of,
            30,
        )

    def request_id(self) -> bytes:
        self.requests += 1
        return self.requests.to_bytes(16, "big")

    def admits(self, certificate: PeerCertificate, method: str = CHECKPOINT) -> str:
        """The reason for which a call is refused at this moment, "" if it is not."""
        try:
            admit(self.journal, certificate.peer, certificate.serial, method)
        except Refusal as refusal:
            return refusal.reason
        return ""


def certificate_of(admission: Admission) -> bytes:
    return admission.certificate_pem


@pytest.fixture
def desk(journal: Journal, clock: ManualClock) -> Desk:
    now = datetime.fromtimestamp(clock() / 1_000_000, UTC)
    authority = Authority.create(DOMAIN, now)
    registrar = Registrar(authority, DOMAIN, timedelta(days=7), timedelta(days=365), clock)
    operator = operator_identity(registrar)
    return Desk(journal, registrar, operator)


def operator_identity(registrar: Registrar) -> PeerCertificate:
    certificate = registrar.authority.issue(
        new_key().public_key(),
        Names(OPERATOR_ID),
        datetime.fromtimestamp(registrar.clock() / 1_000_000, UTC),
        timedelta(days=1),
    )
    return read_certificate(certificate_pem(certificate), DOMAIN)


def refusal_reason(action: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as raised:
        action()
    return raised.value.reason


def test_a_suspended_member_does_what_it_owes_to_subjects_and_nothing_else(desk: Desk) -> None:
    member = desk.accept(desk.invite("alpha"))
    members.suspend(desk.journal, desk.operator.peer, "alpha", "overdue", 30)
    allowed = {name for name, roles in POLICY.items() if desk.admits(member, name) == ""}
    assert allowed == {
        "/concordat.v1.NoticeService/ListNotices",
        "/concordat.v1.NoticeService/AcknowledgeNotice",
        "/concordat.v1.NoticeService/ConfirmDeletion",
        "/concordat.v1.DisputeService/ListDisputes",
        "/concordat.v1.DisputeService/AnswerDispute",
    }
    owed = "/concordat.v1.NoticeService/ConfirmDeletion"
    replaced = PeerCertificate(member.peer, Serial("1"))
    assert desk.admits(replaced, owed) == "CERTIFICATE_REPLACED"


def test_who_has_not_joined_owes_nothing(desk: Desk) -> None:
    desk.invite("alpha")
    nobody = Peer(Role.MEMBER, "alpha", "spiffe://concordat.test/member/alpha")
    for name in ("/concordat.v1.NoticeService/ConfirmDeletion", CHECKPOINT):
        assert desk.admits(PeerCertificate(nobody, Serial("1")), name) == "NOT_A_MEMBER"


def test_from_invitation_to_reinstatement(desk: Desk) -> None:
    invitation = desk.invite("alpha")
    assert desk.admits(invitation) == ""
    member = desk.accept(invitation)
    assert desk.admits(member) == ""
    members.suspend(desk.journal, desk.operator.peer, "alpha", "overdue", 30)
    assert desk.admits(member) == "MEMBER_SUSPENDED"
    members.reinstate(desk.journal, desk.operator.peer, "alpha", "paid", 30)
    assert desk.admits(member) == ""
    assert desk.admits(desk.operator) == ""

    [found], following = members.list_members(desk.journal, 10, "")
    assert (found.member_id, found.state, following) == ("alpha", MemberState.ACTIVE, "")


def test_an_invitation_ends(desk: Desk, clock: ManualClock) -> None:
    in_time, too_late = desk.invite("alpha"), desk.invite("beta")
    clock.advance(7 * DAY_SECONDS - 1)
    assert desk.accept(in_time).peer.name == "alpha"
    clock.advance(1)

    # A connection that was opened in time is still refused.
    assert refusal_reason(lambda: desk.accepted(too_late)) == "INVITATION_EXPIRED"


def test_who_let_an_invitation_end_can_be_invited_again(desk: Desk, clock: ManualClock) -> None:
    first = desk.invite("alpha")
    assert refusal_reason(lambda: desk.invite("alpha")) == "MEMBER_EXISTS"
    clock.advance(8 * DAY_SECONDS)
    second = desk.invite("alpha")

    assert refusal_reason(lambda: desk.accepted(first)) == "INVITATION_EXPIRED"
    assert desk.admits(desk.accept(second)) == ""
    assert refusal_reason(lambda: desk.accepted(second)) == "INVITATION_USED"
    clock.advance(8 * DAY_SECONDS)
    assert refusal_reason(lambda: desk.invite("alpha")) == "MEMBER_EXISTS"


def test_nothing_of_a_refused_acceptance_stays(desk: Desk) -> None:
    invitation = desk.invite("alpha")
    member = desk.accept(invitation)
    size = desk.journal.size

    assert refusal_reason(lambda: desk.accepted(invitation)) == "INVITATION_USED"
    assert desk.journal.size == size
    assert desk.admits(member) == ""


def test_only_who_has_joined_can_be_suspended(desk: Desk) -> None:
    desk.invite("alpha")

    def on(member_id: str) -> Callable[[], object]:
        return lambda: members.suspend(desk.journal, desk.operator.peer, member_id, "reason", 30)

    assert refusal_reason(on("alpha")) == "MEMBER_NOT_JOINED"
    assert refusal_reason(on("nobody")) == "MEMBER_NOT_FOUND"


@pytest.mark.parametrize("reason", ["", "x" * 501, "two\nlines", "e\u0301"])
def test_a_reason_that_cannot_go_into_the_ledger_is_refused(desk: Desk, reason: str) -> None:
    desk.accept(desk.invite("alpha"))
    with pytest.raises(Refusal) as raised:
        members.suspend(desk.journal, desk.operator.peer, "alpha", reason, 30)

    assert raised.value.violations[0].field == "reason"


def test_pages_hold_every_member_once_in_order_of_id(desk: Desk) -> None:
    # Joined in another order than that of their ids.
    ids = [f"bank-{number}" for number in (3, 1, 4, 5, 9, 2, 6)]
    for member_id in ids:
        desk.invite(member_id)
    pages, token = [], ""
    while True:
        page, token = members.list_members(desk.journal, 3, token)
        pages.append([member.member_id for member in page])
        if not token:
            break
        # Whoever joins meanwhile does not shift the pages.
        desk.invite(f"aa-{len(pages)}")

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [member_id for page in pages for member_id in page] == sorted(ids)


@pytest.mark.parametrize("token", ["x", "AAAA", "!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_a_page_token_of_another_list_is_refused(desk: Desk, token: str) -> None:
    with pytest.raises(Refusal) as raised:
        members.list_members(desk.journal, 3, token)

    assert raised.value.violations[0].field == "page_token"
