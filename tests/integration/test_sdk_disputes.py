"""Disputes and notices through the SDK, both clients, and through the commands, over mutual TLS.

On the shared gateway, which other tests use too: each test has a person of its own, and looks only
at what it caused.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from concordat import (
    AsyncClient,
    Client,
    Conflict,
    ConsentDraft,
    DataCategory,
    Dispute,
    DisputeOutcome,
    DisputeReason,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Notice,
    NoticeCause,
    NotPermitted,
    Purpose,
    ResidentId,
    Suspended,
    Token,
)
from concordat_gateway.cli import main
from tests.fabricate import resident_id
from tests.gateways import Gateway
from tests.sdk_clients import blocking_face

NOW = datetime.now(UTC).replace(microsecond=123)
ACCOUNTS = DataCategory.CREDIT_ACCOUNTS
WORDS = hashlib.sha256(b"this loan is not mine").digest()
RECORD = hashlib.sha256(b"deleted from three systems").digest()


class Opener:
    """Opens clients of the kind under test."""

    def __init__(self, gateway: Gateway, kind: str, stack: ExitStack) -> None:
        self.gateway = gateway
        self.kind = kind
        self._stack = stack

    def __call__(self, profile: Path) -> Client:
        if self.kind == "blocking":
            return self._stack.enter_context(Client.open(profile))
        return self._stack.enter_context(blocking_face(lambda: AsyncClient.open(profile)))


@pytest.fixture(params=["blocking", "awaiting"])
def opened(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[Opener]:
    with ExitStack() as stack:
        yield Opener(gateway, request.param, stack)


@pytest.fixture
def lender(gateway: Gateway, opened: Opener) -> Client:
    """A member to whom persons come with disputes."""
    return opened(gateway.join("settling-lender"))


@pytest.fixture
def furnisher(gateway: Gateway, opened: Opener) -> Client:
    """A member that contributes."""
    return opened(gateway.join("settling-furnisher"))


@pytest.fixture
def number(request: pytest.FixtureRequest) -> str:
    """The resident number of a person of this test's own."""
    digest = hashlib.sha256(request.node.nodeid.encode()).digest()
    return resident_id(int.from_bytes(digest[:4], "big") % 3_000_000)


def token(client: Client, number: str) -> Token:
    return client.tokenise([ResidentId(number)])[0]


def consented(client: Client, number: str, purpose: Purpose, jurisdiction: str = "US") -> bytes:
    draft = ConsentDraft(
        token=token(client, number),
        purposes={purpose},
        categories={ACCOUNTS},
        starts_at=NOW - timedelta(minutes=1),
        expires_at=NOW + timedelta(days=30),
        notice_version="2026-1",
        notice_sha256=hashlib.sha256(b"the notice").digest(),
        evidence_sha256=hashlib.sha256(b"the signed form").digest(),
        language="en",
        withdrawal_method="https://lender.example/withdraw",
        jurisdiction=jurisdiction,
    )
    return client.grant_consents([draft]).granted[0].consent_id


def disputed(lender: Client, furnisher: Client, number: str, jurisdiction: str = "US") -> Dispute:
    """An open dispute that the furnisher is to answer."""
    consented(furnisher, number, Purpose.CONTRIBUTION)
    consented(lender, number, Purpose.DISPUTE, jurisdiction)
    change = lender.open_dispute(token(lender, number), ACCOUNTS, DisputeReason.NOT_MINE, WORDS)
    return change.dispute


def the_dispute(client: Client, dispute: Dispute, with_resolved: bool = False) -> list[Dispute]:
    """A dispute, if it is in a client's list; pages of two, so that there are several."""
    found = client.list_disputes(with_resolved=with_resolved, page_size=2)
    return [one for one in found if one.dispute_id == dispute.dispute_id]


def notices_of(client: Client, consent_id: bytes, with_settled: bool = False) -> list[Notice]:
    found = client.list_notices(with_settled=with_settled, page_size=2)
    return [one for one in found if one.consent_id == consent_id]


def ended(client: Client, number: str) -> Notice:
    """The notice of a consent that was withdrawn."""
    consent_id = consented(client, number, Purpose.UNDERWRITING)
    client.withdraw_consent(consent_id)
    [notice] = notices_of(client, consent_id)
    return notice


def test_a_dispute_goes_from_opening_to_its_outcome(
    lender: Client, furnisher: Client, number: str
) -> None:
    contribution = consented(furnisher, number, Purpose.CONTRIBUTION)
    consent = consented(lender, number, Purpose.DISPUTE)
    request_id = hashlib.sha256(number.encode()).digest()[:16]
    arguments = (token(lender, number), ACCOUNTS, DisputeReason.NOT_MINE, WORDS)
    change = lender.open_dispute(*arguments, request_id=request_id)
    assert change.receipt is not None
    fields = lender.verify_receipt(change.receipt).fields
    assert (fields["type"], fields["consents"]) == (
        "dispute.opened",
        {"credit_accounts": consent.hex()},
    )
    again = lender.open_dispute(*arguments, request_id=request_id)
    assert again.dispute == change.dispute
    other = (token(lender, number), ACCOUNTS, DisputeReason.OTHER, WORDS)
    with pytest.raises(Conflict):
        lender.open_dispute(*other, request_id=request_id)

    dispute = change.dispute
    assert (dispute.category, dispute.reason) == (ACCOUNTS, DisputeReason.NOT_MINE)
    assert dispute.statement_sha256 == WORDS
    assert (dispute.outcome, dispute.resolved_at) == (None, None)
    assert dispute.answer_by - dispute.opened_at == timedelta(days=30)
    assert the_dispute(lender, dispute) == [dispute]
    [task] = the_dispute(furnisher, dispute)
    assert task.to_answer
    assert task.consent_ids == (contribution,)

    answered = furnisher.answer_dispute(dispute.dispute_id, DisputeOutcome.CORRECTED, RECORD)
    assert answered.receipt is not None
    fields = furnisher.verify_receipt(answered.receipt).fields
    assert (fields["type"], fields["outcome"]) == ("dispute.answered", "corrected")
    assert answered.dispute.outcome is DisputeOutcome.CORRECTED
    repeated = furnisher.answer_dispute(dispute.dispute_id, DisputeOutcome.UPHELD, RECORD)
    assert (repeated.receipt, repeated.dispute) == (None, answered.dispute)

    assert the_dispute(lender, dispute) == the_dispute(furnisher, dispute) == []
    [told] = the_dispute(lender, dispute, with_resolved=True)
    assert told.outcome is DisputeOutcome.CORRECTED
    assert told.resolved_at is not None
    assert told.consent_ids == ()


def test_a_deadline_is_put_off_by_the_opener_or_the_operator(
    opened: Opener, lender: Client, furnisher: Client, number: str
) -> None:
    operator = opened(opened.gateway.operator)
    for caller, idle in ((lender, operator), (operator, lender)):
        dispute = disputed(lender, furnisher, number)
        change = caller.extend_dispute(dispute.dispute_id)
        assert change.dispute.answer_by - dispute.answer_by == timedelta(days=15)
        assert change.receipt is not None
        assert caller.verify_receipt(change.receipt).fields["type"] == "dispute.extended"
        assert idle.extend_dispute(dispute.dispute_id).receipt is None
        with pytest.raises(NotFound) as caught:
            furnisher.extend_dispute(dispute.dispute_id)
        assert caught.value.reason == "DISPUTE_NOT_FOUND"


def test_what_a_jurisdiction_does_not_put_off_nobody_does(
    opened: Opener, lender: Client, furnisher: Client, number: str
) -> None:
    dispute = disputed(lender, furnisher, number, jurisdiction="CN")
    for caller in (lender, opened(opened.gateway.operator)):
        with pytest.raises(FailedPrecondition) as caught:
            caller.extend_dispute(dispute.dispute_id)
        assert caught.value.reason == "NOT_EXTENSIBLE"


def test_without_a_consent_nothing_is_opened_and_what_nobody_holds_is_not_on_file(
    lender: Client, number: str
) -> None:
    with pytest.raises(NotPermitted) as caught:
        lender.open_dispute(token(lender, number), ACCOUNTS, DisputeReason.OTHER, WORDS)
    assert caught.value.reason == "NO_CONSENT"
    consented(lender, number, Purpose.DISPUTE)
    opened = lender.open_dispute(token(lender, number), ACCOUNTS, DisputeReason.OTHER, WORDS)
    assert opened.dispute.outcome is DisputeOutcome.NOT_ON_FILE
    assert opened.dispute.resolved_at is not None
    assert the_dispute(lender, opened.dispute) == []
    assert the_dispute(lender, opened.dispute, with_resolved=True) == [opened.dispute]


def test_who_has_nothing_to_do_with_a_dispute_does_not_find_it(
    opened: Opener, lender: Client, furnisher: Client, number: str
) -> None:
    dispute = disputed(lender, furnisher, number)
    stranger = opened(opened.gateway.join("settling-stranger"))
    assert the_dispute(stranger, dispute, with_resolved=True) == []
    for dispute_id in (dispute.dispute_id, bytes(16)):
        with pytest.raises(NotFound):
            stranger.answer_dispute(dispute_id, DisputeOutcome.UPHELD, WORDS)
    with pytest.raises(InvalidInput):
        furnisher.answer_dispute(dispute.dispute_id, DisputeOutcome.NOT_ON_FILE, WORDS)
    [seen] = the_dispute(opened(opened.gateway.auditor), dispute)
    assert (seen.to_answer, seen.consent_ids) == (False, ())


def test_a_notice_is_acknowledged_and_its_deletion_confirmed(lender: Client, number: str) -> None:
    notice = ended(lender, number)
    assert (notice.recipient, notice.cause) == ("settling-lender", NoticeCause.WITHDRAWN)
    assert notice.acknowledge_by - notice.issued_at == timedelta(days=3)
    assert notice.delete_by - notice.issued_at == timedelta(days=45)
    with pytest.raises(FailedPrecondition) as caught:
        lender.confirm_deletion(notice.notice_id, NOW, RECORD)
    assert caught.value.reason == "NOTICE_NOT_ACKNOWLEDGED"

    change = lender.acknowledge_notice(notice.notice_id)
    assert change.notice.acknowledged_at is not None
    assert change.receipt is not None
    assert lender.verify_receipt(change.receipt).fields["type"] == "notice.acknowledged"
    assert lender.acknowledge_notice(notice.notice_id).receipt is None
    with pytest.raises(InvalidInput):
        lender.confirm_deletion(notice.notice_id, NOW + timedelta(days=1), RECORD)
    assert len(notices_of(lender, notice.consent_id)) == 1

    deleted = lender.confirm_deletion(notice.notice_id, NOW, RECORD)
    assert deleted.receipt is not None
    fields = lender.verify_receipt(deleted.receipt).fields
    assert (fields["type"], fields["record_sha256"]) == ("deletion.confirmed", RECORD.hex())
    assert deleted.notice.deleted_at == NOW
    assert lender.confirm_deletion(notice.notice_id, NOW, WORDS).receipt is None
    assert notices_of(lender, notice.consent_id) == []
    assert notices_of(lender, notice.consent_id, with_settled=True) == [deleted.notice]


def test_another_member_s_notice_is_not_found_and_the_auditor_sees_all(
    opened: Opener, lender: Client, furnisher: Client, number: str
) -> None:
    notice = ended(lender, number)
    for notice_id in (notice.notice_id, bytes(16)):
        with pytest.raises(NotFound):
            furnisher.acknowledge_notice(notice_id)
        with pytest.raises(NotFound):
            furnisher.confirm_deletion(notice_id, NOW, RECORD)
    assert notices_of(furnisher, notice.consent_id) == []
    assert notices_of(opened(opened.gateway.auditor), notice.consent_id) == [notice]


def test_a_suspended_member_settles_its_notices_and_answers_disputes(
    opened: Opener, lender: Client, number: str
) -> None:
    name = f"settling-suspended-{opened.kind}"
    member = opened(opened.gateway.join(name))
    operator = opened(opened.gateway.operator)
    notice = ended(member, number)
    dispute = disputed(lender, member, number)
    operator.suspend_member(name, "overdue fees")

    for refused in (
        lambda: consented(member, number, Purpose.UNDERWRITING),
        lambda: member.extend_dispute(dispute.dispute_id),
        lambda: member.usage(),
    ):
        with pytest.raises(Suspended):
            refused()
    assert notices_of(member, notice.consent_id) == [notice]
    acknowledged = member.acknowledge_notice(notice.notice_id)
    confirmed = member.confirm_deletion(notice.notice_id, NOW, RECORD)
    [task] = the_dispute(member, dispute)
    answered = member.answer_dispute(task.dispute_id, DisputeOutcome.DELETED, WORDS)
    types = []
    for change in (acknowledged, confirmed, answered):
        assert change.receipt is not None
        types.append(change.receipt.fields["type"])
    assert types == ["notice.acknowledged", "deletion.confirmed", "dispute.answered"]
    [told] = the_dispute(lender, dispute, with_resolved=True)
    assert told.outcome is DisputeOutcome.DELETED

    operator.reinstate_member(name, "paid")
    assert member.usage()


# The commands.


class Desk:
    """Runs commands for one profile, in this process."""

    def __init__(self, profile: Path) -> None:
        self.profile = profile

    def __call__(self, *arguments: object, stdin: str = "", code: int = 0) -> str:
        line = [*map(str, arguments), "--profile", str(self.profile)]
        result = CliRunner().invoke(main, line, input=stdin)
        assert result.exit_code == code, result.output
        return result.output

    def listed(self, group: str, key: str, value: str, *options: str) -> list[dict[str, Any]]:
        found = json.loads(self(group, "list", "--json", *options))
        return [one for one in found if one[key] == value]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    file = tmp_path / "words.txt"
    file.write_bytes(b"this loan is not mine")
    return file


@pytest.fixture
def desks(gateway: Gateway) -> dict[str, Desk]:
    return {
        "lender": Desk(gateway.join("settling-lender")),
        "furnisher": Desk(gateway.join("settling-furnisher")),
        "operator": Desk(gateway.operator),
    }


def test_a_dispute_is_passed_on_put_off_and_answered_by_commands(
    desks: dict[str, Desk], words: Path, number: str
) -> None:
    lender, furnisher, operator = desks.values()
    with Client.open(furnisher.profile) as client:
        contribution = consented(client, number, Purpose.CONTRIBUTION)
    opening = (
        *("dispute", "open", "--resident-id", "-", "--category", "credit_accounts"),
        *("--reason", "not_mine", "--statement", words),
    )
    refused = lender(*opening, stdin=number, code=1)
    assert "NO_CONSENT" in refused
    with Client.open(lender.profile) as client:
        consented(client, number, Purpose.DISPUTE)
    printed = lender(*opening, stdin=number)
    told = re.match(r"Dispute ([0-9a-f]{32}), to be answered by \d{4}-\d\d-\d\d\.\n", printed)
    assert told is not None
    assert re.search(r"^Ledger entry \d+\.$", printed, re.M)
    dispute = told[1]

    [task] = furnisher.listed("dispute", "dispute", dispute)
    assert (task["category"], task["reason"]) == ("credit_accounts", "not_mine")
    assert (task["to_answer"], task["consents"]) == (True, [contribution.hex()])
    assert task["statement_sha256"] == WORDS.hex()
    row = re.search(
        rf"^{dispute} +credit_accounts\.not_mine .* yes$", furnisher("dispute", "list"), re.M
    )
    assert row is not None

    later = re.search(r"by (\S+)\.", operator("dispute", "extend", dispute))
    assert later is not None
    by = datetime.fromisoformat(task["answer_by"]) + timedelta(days=15)
    assert later[1] == f"{by:%Y-%m-%d}"
    assert "Nothing changed." in lender("dispute", "extend", dispute)

    answering = ("dispute", "answer", dispute, "--outcome", "deleted", "--statement", words)
    assert "DISPUTE_NOT_FOUND" in lender(*answering, code=1)
    assert "Outcome: deleted." in furnisher(*answering)
    assert "Nothing changed." in furnisher(*answering)
    assert lender.listed("dispute", "dispute", dispute) == []
    [seen] = lender.listed("dispute", "dispute", dispute, "--all")
    assert (seen["outcome"], seen["to_answer"], seen["consents"]) == ("deleted", False, [])
    assert seen["resolved_at"] is not None


def test_a_notice_is_settled_by_commands(
    desks: dict[str, Desk], tmp_path: Path, number: str
) -> None:
    lender = desks["lender"]
    with Client.open(lender.profile) as client:
        notice = ended(client, number)
    notice_id, consent = notice.notice_id.hex(), notice.consent_id.hex()
    [pending] = lender.listed("notice", "notice", notice_id)
    assert (pending["consent"], pending["member"]) == (consent, "settling-lender")
    assert (pending["cause"], pending["acknowledged_at"]) == ("withdrawn", None)
    table = lender("notice", "list")
    by = f"{notice.acknowledge_by:%Y-%m-%d %H:%M}"
    assert re.search(rf"^{notice_id} +{consent} +settling-lender +withdrawn +{by} ", table, re.M)

    record = tmp_path / "deletion.txt"
    record.write_bytes(b"deleted from three systems")
    deleting = ("notice", "deleted", notice_id, "--record", record)
    assert "NOTICE_NOT_ACKNOWLEDGED" in lender(*deleting, code=1)
    assert "NOTICE_NOT_FOUND" in desks["furnisher"]("notice", "acknowledge", notice_id, code=1)
    acknowledged = lender("notice", "acknowledge", notice_id)
    assert re.fullmatch(r"Acknowledged: entry \d+\.\n", acknowledged)
    assert lender("notice", "acknowledge", notice_id) == "Was acknowledged before.\n"
    confirmed = lender(*deleting, "--at", "2026-01-02T03:04:05")
    assert re.fullmatch(r"Deletion confirmed: entry \d+\.\n", confirmed)
    assert lender(*deleting) == "Was confirmed before.\n"
    assert lender.listed("notice", "notice", notice_id) == []
    [settled] = lender.listed("notice", "notice", notice_id, "--all")
    assert settled["deleted_at"] == "2026-01-02T03:04:05+00:00"
    assert re.search(rf"^{notice_id} .* done ", lender("notice", "list", "--all"), re.M)


@pytest.mark.parametrize(
    "arguments",
    [
        ("dispute", "extend", "abc"),
        ("dispute", "extend", "zz" * 16),
        ("notice", "acknowledge", "00" * 15),
    ],
)
def test_an_id_that_is_none_is_a_wrong_argument(
    desks: dict[str, Desk], arguments: tuple[str, ...]
) -> None:
    assert "32 hexadecimal digits wanted" in desks["lender"](*arguments, code=2)


def test_who_has_none_is_told_so(gateway: Gateway) -> None:
    idle = Desk(gateway.join("settling-idle"))
    assert idle("dispute", "list") == "No disputes that are open.\n"
    assert idle("dispute", "list", "--all") == "No disputes.\n"
    assert idle("notice", "list") == "No notices that are not settled.\n"
    assert idle("notice", "list", "--all") == "No notices.\n"
    assert json.loads(idle("notice", "list", "--json")) == []
