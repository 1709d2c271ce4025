"""Notices: whoever held a consent that ended is told, must settle it in time, and is found out."""

import hashlib
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import grpc
import pytest

from concordat.v1 import common_pb2, consent_pb2, notice_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.notices import mark_overdue
from concordat_gateway.rules.usage import watch
from concordat_gateway.store.signal_store import SignalStore
from concordat_rpc.timestamps import micros_of
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    draft,
    grant_one,
    reason_of,
    serving,
    withdraw,
)
from tests.stores import ManualClock

GATEWAY = "spiffe://concordat.test/gateway/gateway"
DAY = 86_400
RECORD = hashlib.sha256(b"deleted from three systems").digest()
UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
ACCOUNTS = [common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS]
# From the laws, see policies.toml: days to acknowledge, days to delete.
DEADLINES = {"CN": (3, 15), "EU": (3, 30), "US": (3, 45), "": (3, 15)}


@pytest.fixture
def consortium(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> Iterator[Consortium]:
    with serving(journal, signal_store, clock) as running:
        yield running


def consented(consortium: Consortium, subject: int, jurisdiction: str = "") -> bytes:
    made = draft(consortium, subject, [UNDERWRITING], ACCOUNTS)
    if jurisdiction:
        made.jurisdiction = jurisdiction
        made.notice_sha256 = hashlib.sha256(b"notice").digest()
        made.language = "en"
        made.withdrawal_method = "write to us"
    return grant_one(consortium.alpha, made)


def notices(caller: Caller, **selection: object) -> list[notice_pb2.Notice]:
    request = notice_pb2.ListNoticesRequest(**selection)  # type: ignore[arg-type]
    return list(caller.notices.ListNotices(request, timeout=CALL_SECONDS).notices)


def acknowledge(caller: Caller, notice: bytes) -> notice_pb2.AcknowledgeNoticeResponse:
    request = notice_pb2.AcknowledgeNoticeRequest(notice_id=notice)
    return caller.notices.AcknowledgeNotice(request, timeout=CALL_SECONDS)


def confirm(
    consortium: Consortium, caller: Caller, notice: bytes, late_by: int = 0
) -> notice_pb2.ConfirmDeletionResponse:
    request = notice_pb2.ConfirmDeletionRequest(notice_id=notice, record_sha256=RECORD)
    request.deleted_at.FromMicroseconds(consortium.clock() + late_by)
    return caller.notices.ConfirmDeletion(request, timeout=CALL_SECONDS)


def refusal(call: object, *arguments: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments)  # type: ignore[operator]
    return raised.value.code(), reason_of(raised.value)


def entries(journal: Journal, kind: str) -> list[dict[str, object]]:
    leaves = (json.loads(leaf) for _, leaf, _ in journal.entries(0, journal.size))
    return [fields for fields in leaves if fields["type"] == kind]


@pytest.mark.parametrize("jurisdiction", DEADLINES)
def test_a_withdrawal_tells_the_recipient_by_when_to_acknowledge_and_delete(
    consortium: Consortium, jurisdiction: str
) -> None:
    consent = consented(consortium, 1, jurisdiction)
    receipt = withdraw(consortium.alpha, consent).receipt
    entry = json.loads(receipt.entry)
    [notice] = notices(consortium.alpha)
    assert (notice.consent_id, notice.recipient) == (consent, "alpha")
    assert notice.cause == notice_pb2.NOTICE_CAUSE_WITHDRAWN
    assert entry["notice"] == notice.notice_id.hex()
    at = datetime.fromisoformat(entry["time"])
    days, delete_days = DEADLINES[jurisdiction]
    assert datetime.fromisoformat(entry["acknowledge_by"]) - at == timedelta(days=days)
    assert datetime.fromisoformat(entry["delete_by"]) - at == timedelta(days=delete_days)
    assert micros_of(notice.acknowledge_by) - micros_of(notice.issued_at) == days * DAY * 10**6


def test_a_revocation_by_the_operator_tells_the_recipient(consortium: Consortium) -> None:
    consent = consented(consortium, 1)
    request = consent_pb2.RevokeConsentRequest(consent_id=consent, reason="ordered by a court")
    consortium.operator.consents.RevokeConsent(request, timeout=CALL_SECONDS)
    [notice] = notices(consortium.alpha)
    assert notice.cause == notice_pb2.NOTICE_CAUSE_REVOKED
    assert notices(consortium.beta) == []


def test_withdrawing_twice_tells_once(consortium: Consortium) -> None:
    consent = consented(consortium, 1)
    withdraw(consortium.alpha, consent)
    withdraw(consortium.alpha, consent)
    assert len(notices(consortium.alpha)) == 1


def test_settling_is_recorded_once_each(consortium: Consortium) -> None:
    withdraw(consortium.alpha, consented(consortium, 1))
    [notice] = notices(consortium.alpha)
    first = acknowledge(consortium.alpha, notice.notice_id)
    assert json.loads(first.receipt.entry)["type"] == "notice.acknowledged"
    assert not acknowledge(consortium.alpha, notice.notice_id).HasField("receipt")
    receipt = json.loads(confirm(consortium, consortium.alpha, notice.notice_id).receipt.entry)
    assert receipt["type"] == "deletion.confirmed"
    assert receipt["record_sha256"] == RECORD.hex()
    assert receipt["consent"] == notice.consent_id.hex()
    assert not confirm(consortium, consortium.alpha, notice.notice_id).HasField("receipt")
    assert notices(consortium.alpha) == []
    [settled] = notices(consortium.alpha, with_settled=True)
    assert settled.HasField("confirmed_at")
    assert len(entries(consortium.journal, "notice.acknowledged")) == 1
    assert len(entries(consortium.journal, "deletion.confirmed")) == 1


def test_no_deletion_receipt_before_the_acknowledgement(consortium: Consortium) -> None:
    withdraw(consortium.alpha, consented(consortium, 1))
    [notice] = notices(consortium.alpha)
    assert refusal(confirm, consortium, consortium.alpha, notice.notice_id) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NOTICE_NOT_ACKNOWLEDGED",
    )
    acknowledge(consortium.alpha, notice.notice_id)
    code, _ = refusal(confirm, consortium, consortium.alpha, notice.notice_id, 10_000_000)
    assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_another_s_notice_is_as_unknown_as_none(consortium: Consortium) -> None:
    withdraw(consortium.alpha, consented(consortium, 1))
    [notice] = notices(consortium.alpha)
    unknown = (grpc.StatusCode.NOT_FOUND, "NOTICE_NOT_FOUND")
    assert refusal(acknowledge, consortium.beta, notice.notice_id) == unknown
    assert refusal(acknowledge, consortium.beta, bytes(16)) == unknown
    assert refusal(acknowledge, consortium.alpha, bytes(15))[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_oversight_sees_all_notices_and_is_seen(consortium: Consortium) -> None:
    withdraw(consortium.alpha, consented(consortium, 1))
    assert len(notices(consortium.auditor)) == 1
    [view] = entries(consortium.journal, "staff.viewed")
    assert view["view"] == "notices"


def test_pages_go_on_where_the_last_ended(consortium: Consortium) -> None:
    for subject in range(5):
        withdraw(consortium.alpha, consented(consortium, subject))
    seen, token = [], ""
    while True:
        request = notice_pb2.ListNoticesRequest(page_size=2, page_token=token)
        page = consortium.alpha.notices.ListNotices(request, timeout=CALL_SECONDS)
        seen += [notice.notice_id for notice in page.notices]
        token = page.next_page_token
        if not token:
            break
    assert seen == [notice.notice_id for notice in notices(consortium.alpha)]
    assert len(set(seen)) == 5


def test_a_deadline_that_passes_is_an_entry_and_an_alarm_once(
    consortium: Consortium, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "concordat_gateway.rules.usage")
    journal, clock = consortium.journal, consortium.clock
    withdraw(consortium.alpha, consented(consortium, 1))
    withdraw(consortium.alpha, consented(consortium, 2))
    [first, second] = notices(consortium.alpha)
    acknowledge(consortium.alpha, first.notice_id)

    clock.advance(seconds=3 * DAY)
    assert mark_overdue(journal, GATEWAY, clock()) == 0  # the last moment is in time
    clock.advance(seconds=1)
    assert mark_overdue(journal, GATEWAY, clock()) == 1
    assert mark_overdue(journal, GATEWAY, clock()) == 0
    [late] = entries(journal, "notice.overdue")
    assert (late["notice"], late["what"]) == (second.notice_id.hex(), "acknowledgement")
    assert (late["member"], late["actor"]) == ("alpha", GATEWAY)

    clock.advance(seconds=12 * DAY)
    assert mark_overdue(journal, GATEWAY, clock()) == 2
    assert mark_overdue(journal, GATEWAY, clock()) == 0
    kinds = [(one["notice"], one["what"]) for one in entries(journal, "notice.overdue")[1:]]
    assert sorted(kinds) == sorted(
        [(first.notice_id.hex(), "deletion"), (second.notice_id.hex(), "deletion")]
    )
    assert {kind.name: members for kind, members in watch(journal, clock()).items()}[
        "NOTICE_OVERDUE"
    ] == 1
    # Once a day: two days had some.
    told = [(one.__dict__["member"], one.__dict__["alarm"]) for one in caplog.records]
    assert told == [("alpha", "NOTICE_OVERDUE")] * 2


def test_what_is_settled_in_time_is_never_overdue(consortium: Consortium) -> None:
    withdraw(consortium.alpha, consented(consortium, 1))
    [notice] = notices(consortium.alpha)
    acknowledge(consortium.alpha, notice.notice_id)
    confirm(consortium, consortium.alpha, notice.notice_id)
    consortium.clock.advance(seconds=400 * DAY)
    assert mark_overdue(consortium.journal, GATEWAY, consortium.clock()) == 0
