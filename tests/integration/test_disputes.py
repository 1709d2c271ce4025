"""Disputes: passed on under a consent, answered in time by who holds the data, told in one word."""

import hashlib
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import grpc
import pytest

from concordat.v1 import common_pb2, dispute_pb2, usage_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.dispute_deadlines import mark_overdue
from concordat_gateway.rules.usage import watch
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.metering import Quota
from tests.contributing import findings, replayed
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    draft,
    grant,
    grant_one,
    quota_subject_of,
    reason_of,
    request_id,
    retry_seconds_of,
    serving,
    token,
    withdraw,
)
from tests.stores import ManualClock, shape_of, traced

DAY = 86_400
# The clock starts on 2026-11-18 at 11:06:40 UTC.
SECONDS_TO_MIDNIGHT = 46_400
GATEWAY = "spiffe://concordat.test/gateway/gateway"
WORDS = hashlib.sha256(b"this loan is not mine").digest()
ACCOUNTS = common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS
INQUIRIES = common_pb2.DATA_CATEGORY_INQUIRIES
NO_CONSENT = (grpc.StatusCode.PERMISSION_DENIED, "NO_CONSENT")
CORRECTED = dispute_pb2.DISPUTE_OUTCOME_CORRECTED
DELETED = dispute_pb2.DISPUTE_OUTCOME_DELETED
UPHELD = dispute_pb2.DISPUTE_OUTCOME_UPHELD
NOT_ON_FILE = dispute_pb2.DISPUTE_OUTCOME_NOT_ON_FILE


@pytest.fixture
def consortium(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> Iterator[Consortium]:
    with serving(journal, signal_store, clock) as running:
        yield running


def consented(
    consortium: Consortium,
    caller: Caller,
    subject: int,
    purpose: int = common_pb2.PURPOSE_DISPUTE,
    jurisdiction: str = "",
) -> bytes:
    made = draft(consortium, subject, [purpose], [ACCOUNTS])
    if jurisdiction:
        made.jurisdiction = jurisdiction
        made.notice_sha256 = hashlib.sha256(b"notice").digest()
        made.language = "en"
        made.withdrawal_method = "write to us"
    return grant_one(caller, made)


def contributes(consortium: Consortium, caller: Caller, subject: int) -> bytes:
    return consented(consortium, caller, subject, common_pb2.PURPOSE_CONTRIBUTION)


def open_dispute(
    caller: Caller, subject: int, category: int = ACCOUNTS, request: bytes | None = None
) -> dispute_pb2.OpenDisputeResponse:
    asked = dispute_pb2.OpenDisputeRequest(
        request_id=request or request_id(),
        token=token(subject),
        category=category,  # type: ignore[arg-type]  # a number of the enum
        reason=dispute_pb2.DISPUTE_REASON_NOT_MINE,
        statement_sha256=WORDS,
    )
    return caller.disputes.OpenDispute(asked, timeout=CALL_SECONDS)


def answer(caller: Caller, dispute: bytes, outcome: int) -> dispute_pb2.AnswerDisputeResponse:
    request = dispute_pb2.AnswerDisputeRequest(
        dispute_id=dispute,
        outcome=outcome,  # type: ignore[arg-type]  # a number of the enum
        statement_sha256=WORDS,
    )
    return caller.disputes.AnswerDispute(request, timeout=CALL_SECONDS)


def extend(caller: Caller, dispute: bytes) -> dispute_pb2.ExtendDisputeResponse:
    request = dispute_pb2.ExtendDisputeRequest(dispute_id=dispute)
    return caller.disputes.ExtendDispute(request, timeout=CALL_SECONDS)


def listed(caller: Caller, with_resolved: bool = False) -> list[dispute_pb2.Dispute]:
    request = dispute_pb2.ListDisputesRequest(with_resolved=with_resolved)
    return list(caller.disputes.ListDisputes(request, timeout=CALL_SECONDS).disputes)


def refusal(call: object, *arguments: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments)  # type: ignore[operator]
    return raised.value.code(), reason_of(raised.value)


def entries(journal: Journal, kind: str) -> list[dict[str, object]]:
    leaves = (json.loads(leaf) for _, leaf, _ in journal.entries(0, journal.size))
    return [fields for fields in leaves if fields["type"].startswith(kind)]


def charged(caller: Caller) -> dict[str, int]:
    request = usage_pb2.ListUsageRequest()
    [member] = caller.usage.ListUsage(request, timeout=CALL_SECONDS).members
    today = {usage_pb2.UsageKind.Name(one.kind)[11:]: one.today for one in member.usage}
    return {name: today[name] for name in ("LOOKUPS", "LOOKUPS_REFUSED")}


@pytest.mark.parametrize(("jurisdiction", "days"), [("CN", 20), ("US", 30), ("EU", 30), ("", 20)])
def test_a_dispute_is_tied_to_its_consent_and_has_the_law_s_deadline(
    consortium: Consortium, jurisdiction: str, days: int
) -> None:
    contributes(consortium, consortium.beta, 1)
    consent = consented(consortium, consortium.alpha, 1, jurisdiction=jurisdiction)
    entry = json.loads(open_dispute(consortium.alpha, 1).receipt.entry)
    assert entry["type"] == "dispute.opened"
    assert entry["consents"] == {"credit_accounts": consent.hex()}
    assert entry["jurisdiction"] == (jurisdiction or "ZZ")
    assert entry["about"] == "credit_accounts.not_mine"
    allowed = datetime.fromisoformat(entry["answer_by"]) - datetime.fromisoformat(entry["time"])
    assert allowed == timedelta(days=days)


def test_no_consent_and_nobody_known_are_one_refusal(consortium: Consortium) -> None:
    contributes(consortium, consortium.beta, 1)
    consented(consortium, consortium.alpha, 2, common_pb2.PURPOSE_UNDERWRITING)
    ended = consented(consortium, consortium.alpha, 3)
    withdraw(consortium.alpha, ended)
    consented(consortium, consortium.alpha, 4)
    told = {
        (*refusal(open_dispute, consortium.alpha, 1), "another member's"),
        (*refusal(open_dispute, consortium.alpha, 2), "another purpose"),
        (*refusal(open_dispute, consortium.alpha, 3), "withdrawn"),
        (*refusal(open_dispute, consortium.alpha, 9), "unknown"),
        (*refusal(open_dispute, consortium.alpha, 4, INQUIRIES), "another category"),
    }
    assert {one[:2] for one in told} == {NO_CONSENT}
    refused = entries(consortium.journal, "dispute.")
    assert [entry["type"] for entry in refused] == ["dispute.refused"] * 5
    assert len({str(entry.pop("subject")) for entry in refused}) == 5
    assert {len(json.dumps(entry)) for entry in refused[:4]} == {len(json.dumps(refused[0]))}
    for entry in refused:
        assert set(entry["consents"].values()) == {"00" * 16}  # type: ignore[attr-defined]
        assert entry["actor"] == "spiffe://concordat.test/member/alpha"
    assert refused[0]["consents"] == {"credit_accounts": "00" * 16}
    assert refused[0]["about"] == "credit_accounts.not_mine"
    assert refused[0]["statement_sha256"] == WORDS.hex()
    assert findings(replayed(consortium.journal)) == []


def test_whoever_watches_the_database_cannot_tell_refused_disputes_apart(
    consortium: Consortium,
) -> None:
    alpha = consortium.alpha
    for subject in range(2, 7):
        contributes(consortium, consortium.beta, subject)
    consented(consortium, alpha, 3, common_pb2.PURPOSE_UNDERWRITING)
    withdraw(alpha, consented(consortium, alpha, 4))
    consented(consortium, consortium.gamma, 5)
    grant_one(alpha, draft(consortium, 6, [common_pb2.PURPOSE_DISPUTE], [INQUIRIES]))
    # Indexes and sizes of equally many digits, whatever the subject.
    grant(alpha, [draft(consortium, subject) for subject in range(1000, 1150)])
    runs = {}
    # The first call makes the counter that later ones add to.
    for subject in (7, 1, 2, 3, 4, 5, 6):
        with traced() as seen:
            assert refusal(open_dispute, alpha, subject) == NO_CONSENT
        runs[subject] = shape_of(seen)
    first = runs.pop(7)
    assert len(first) > 5
    assert all(run == runs[1] for run in runs.values())
    # The caller's standing and quota are found, and no consent.
    fetched = [one.rows for one in runs[1] if "member" in one.text or "consent" in one.text]
    assert [rows for rows in fetched if rows] == [1]

    consented(consortium, alpha, 2)
    with traced() as seen:
        open_dispute(alpha, 2)
    assert shape_of(seen) != runs[1]


def test_an_opening_is_charged_as_a_lookup_whether_refused_or_not(consortium: Consortium) -> None:
    alpha = consortium.alpha
    contributes(consortium, consortium.beta, 1)
    for subject in (1, 2):
        consented(consortium, alpha, subject)
    request = request_id()
    open_dispute(alpha, 1, request=request)
    open_dispute(alpha, 2)
    assert refusal(open_dispute, alpha, 9) == NO_CONSENT
    assert charged(alpha) == {"LOOKUPS": 3, "LOOKUPS_REFUSED": 1}
    open_dispute(alpha, 1, request=request)
    assert charged(alpha) == {"LOOKUPS": 3, "LOOKUPS_REFUSED": 1}


def test_what_was_refused_opens_with_the_same_request_once_there_is_a_consent(
    consortium: Consortium,
) -> None:
    request = request_id()
    contributes(consortium, consortium.beta, 1)
    for _ in range(2):
        assert refusal(open_dispute, consortium.alpha, 1, ACCOUNTS, request) == NO_CONSENT
    consented(consortium, consortium.alpha, 1)
    open_dispute(consortium.alpha, 1, request=request)
    kinds = [entry["type"] for entry in entries(consortium.journal, "dispute.")]
    assert kinds == ["dispute.refused", "dispute.refused", "dispute.opened"]
    reused = (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert refusal(open_dispute, consortium.alpha, 2, ACCOUNTS, request) == reused


def test_who_has_used_its_quota_of_lookups_opens_no_dispute(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    quota = Quota(daily=3, monthly=100, per_second=1e6, burst=100)
    with serving(journal, signal_store, clock, quota=quota) as consortium:
        alpha = consortium.alpha
        contributes(consortium, consortium.beta, 1)
        for subject in (1, 2):
            consented(consortium, alpha, subject)
        request = request_id()
        first = open_dispute(alpha, 2, request=request).dispute
        for _ in range(2):
            assert refusal(open_dispute, alpha, 9) == NO_CONSENT
        size = journal.size
        told = set()
        for subject in (1, 2, 9):
            with pytest.raises(grpc.RpcError) as raised:
                open_dispute(alpha, subject)
            told.add((raised.value.code(), reason_of(raised.value), raised.value.details()))
            assert quota_subject_of(raised.value) == "member:alpha/lookups/day"
            assert retry_seconds_of(raised.value) == pytest.approx(SECONDS_TO_MIDNIGHT, abs=1)
        [(code, reason, _)] = told
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LOOKUPS_EXHAUSTED")
        assert journal.size == size
        # A repeat asks nothing new.
        assert open_dispute(alpha, 2, request=request).dispute == first
        assert charged(alpha) == {"LOOKUPS": 3, "LOOKUPS_REFUSED": 2}
        clock.advance(SECONDS_TO_MIDNIGHT)
        assert open_dispute(alpha, 1).dispute.outcome != NOT_ON_FILE


def test_who_contributes_answers_and_the_opener_learns_one_word(consortium: Consortium) -> None:
    beta, gamma = consortium.beta, consortium.gamma
    of_beta = contributes(consortium, beta, 1)
    contributes(consortium, gamma, 1)
    consented(consortium, consortium.alpha, 1)
    dispute = open_dispute(consortium.alpha, 1).dispute.dispute_id
    [own] = listed(consortium.alpha)
    assert (own.to_answer, list(own.consent_ids), own.outcome) == (False, [], 0)
    [task] = listed(beta)
    assert (task.to_answer, list(task.consent_ids)) == (True, [of_beta])

    answer(beta, dispute, UPHELD)
    [own] = listed(consortium.alpha)
    assert not own.HasField("resolved_at")
    answer(gamma, dispute, CORRECTED)
    [own] = listed(consortium.alpha, with_resolved=True)
    assert own.outcome == CORRECTED
    assert own.HasField("resolved_at")
    kinds = [entry["type"] for entry in entries(consortium.journal, "dispute.")]
    assert kinds == ["dispute.opened", "dispute.answered", "dispute.answered", "dispute.resolved"]
    assert not answer(beta, dispute, CORRECTED).HasField("receipt")
    # What beta sees of it stays its own part.
    [seen] = listed(beta, with_resolved=True)
    assert seen.outcome == UPHELD


@pytest.mark.parametrize(
    ("answers", "ended"),
    [
        ([CORRECTED, DELETED], CORRECTED),
        ([DELETED, CORRECTED], CORRECTED),
        ([DELETED, UPHELD], DELETED),
        ([UPHELD, DELETED], DELETED),
        ([UPHELD, UPHELD], UPHELD),
    ],
)
def test_a_correction_is_told_before_a_deletion_and_both_before_what_was_right(
    consortium: Consortium, answers: list[int], ended: int
) -> None:
    furnishers = (consortium.beta, consortium.gamma)
    for caller in furnishers:
        contributes(consortium, caller, 1)
    consented(consortium, consortium.alpha, 1)
    dispute = open_dispute(consortium.alpha, 1).dispute.dispute_id
    for caller, outcome in zip(furnishers, answers, strict=True):
        answer(caller, dispute, outcome)
    [own] = listed(consortium.alpha, with_resolved=True)
    assert own.outcome == ended


def test_who_has_answered_cannot_tell_whether_others_still_have_to(
    consortium: Consortium,
) -> None:
    alpha, beta, gamma = consortium.alpha, consortium.beta, consortium.gamma
    shared, alone = 1, 2
    for caller, subject in ((beta, shared), (gamma, shared), (beta, alone)):
        contributes(consortium, caller, subject)
    opened = {}
    for subject in (shared, alone):
        consented(consortium, alpha, subject)
        opened[subject] = open_dispute(alpha, subject).dispute.dispute_id
        answer(beta, opened[subject], UPHELD)
    assert listed(beta) == []
    seen = {one.dispute_id: one for one in listed(beta, with_resolved=True)}
    of_shared, of_alone = (seen[opened[subject]] for subject in (shared, alone))
    for one in (of_shared, of_alone):
        assert (one.outcome, one.to_answer) == (UPHELD, False)
        assert one.HasField("resolved_at")
    # Gamma and the opener still see it as open.
    assert [one.dispute_id for one in listed(gamma)] == [opened[shared]]
    assert [one.dispute_id for one in listed(alpha)] == [opened[shared]]
    before = listed(beta, with_resolved=True)
    answer(gamma, opened[shared], CORRECTED)
    assert listed(beta, with_resolved=True) == before
    assert listed(alpha) == []


def test_a_furnisher_s_own_dispute_is_open_to_it_until_all_have_answered(
    consortium: Consortium,
) -> None:
    beta, gamma = consortium.beta, consortium.gamma
    contributes(consortium, beta, 1)
    contributes(consortium, gamma, 1)
    consented(consortium, beta, 1)
    dispute = open_dispute(beta, 1).dispute.dispute_id
    answer(beta, dispute, UPHELD)
    [own] = listed(beta)
    assert (own.to_answer, own.HasField("resolved_at")) == (False, False)
    answer(gamma, dispute, UPHELD)
    assert listed(beta) == []


def test_who_is_to_answer_is_given_only_consents_to_contribute_the_category(
    consortium: Consortium,
) -> None:
    beta = consortium.beta
    contribution = common_pb2.PURPOSE_CONTRIBUTION
    both = grant_one(beta, draft(consortium, 1, [contribution], [ACCOUNTS, INQUIRIES]))
    ended = contributes(consortium, beta, 1)
    withdraw(beta, ended)
    grant_one(beta, draft(consortium, 1, [contribution], [INQUIRIES]))
    grant_one(beta, draft(consortium, 1, [common_pb2.PURPOSE_UNDERWRITING], [ACCOUNTS]))
    contributes(consortium, beta, 2)
    consented(consortium, consortium.alpha, 1)
    open_dispute(consortium.alpha, 1)
    [task] = listed(beta)
    assert list(task.consent_ids) == [both, ended]


def test_what_nobody_holds_is_said_to_be_not_on_file(consortium: Consortium) -> None:
    consented(consortium, consortium.alpha, 1)
    opened = open_dispute(consortium.alpha, 1).dispute
    assert opened.outcome == NOT_ON_FILE
    assert listed(consortium.alpha) == []


def test_a_repeated_request_opens_one_dispute(consortium: Consortium) -> None:
    contributes(consortium, consortium.beta, 1)
    consented(consortium, consortium.alpha, 1)
    request = request_id()
    first = open_dispute(consortium.alpha, 1, request=request)
    again = open_dispute(consortium.alpha, 1, request=request)
    assert again.dispute == first.dispute
    assert len(listed(consortium.alpha)) == 1


def test_others_disputes_are_as_unknown_as_none(consortium: Consortium) -> None:
    contributes(consortium, consortium.beta, 1)
    consented(consortium, consortium.alpha, 1)
    dispute = open_dispute(consortium.alpha, 1).dispute.dispute_id
    unknown = (grpc.StatusCode.NOT_FOUND, "DISPUTE_NOT_FOUND")
    assert refusal(answer, consortium.gamma, dispute, UPHELD) == unknown
    assert refusal(answer, consortium.alpha, dispute, UPHELD) == unknown
    assert refusal(extend, consortium.beta, dispute) == unknown
    assert refusal(answer, consortium.beta, bytes(16), UPHELD) == unknown
    code, _ = refusal(answer, consortium.beta, dispute, NOT_ON_FILE)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert listed(consortium.gamma) == []
    assert len(listed(consortium.auditor)) == 1
    assert [view["view"] for view in entries(consortium.journal, "staff.")] == ["disputes"]


@pytest.mark.parametrize(("jurisdiction", "days"), [("US", 15), ("EU", 60)])
def test_a_deadline_is_put_off_once_by_what_the_law_allows(
    consortium: Consortium, jurisdiction: str, days: int
) -> None:
    contributes(consortium, consortium.beta, 1)
    consented(consortium, consortium.alpha, 1, jurisdiction=jurisdiction)
    opened = open_dispute(consortium.alpha, 1).dispute
    later = extend(consortium.alpha, opened.dispute_id).dispute
    assert later.answer_by.seconds - opened.answer_by.seconds == days * DAY
    again = extend(consortium.alpha, opened.dispute_id)
    assert again.dispute.answer_by == later.answer_by
    assert not again.HasField("receipt")


def test_the_operator_puts_a_deadline_off_as_the_opener_may(consortium: Consortium) -> None:
    alpha, operator = consortium.alpha, consortium.operator
    contributes(consortium, consortium.beta, 1)
    consented(consortium, alpha, 1, jurisdiction="US")
    opened = open_dispute(alpha, 1).dispute
    changed = extend(operator, opened.dispute_id)
    assert changed.dispute.answer_by.seconds - opened.answer_by.seconds == 15 * DAY
    [entry] = entries(consortium.journal, "dispute.extended")
    assert json.loads(changed.receipt.entry) == entry
    assert entry["actor"] == "spiffe://concordat.test/operator/operator"
    assert set(entry) == {"v", "type", "time", "actor", "dispute", "answer_by"}
    assert entries(consortium.journal, "staff.") == []
    # Once, whoever asks; what an entry does not tell the operator is recorded as a view.
    assert not extend(alpha, opened.dispute_id).HasField("receipt")
    assert entries(consortium.journal, "staff.") == []
    again = extend(operator, opened.dispute_id)
    assert not again.HasField("receipt")
    assert again.dispute.answer_by == changed.dispute.answer_by
    [view] = entries(consortium.journal, "staff.")
    assert (view["view"], view["actor"]) == ("disputes", entry["actor"])
    assert listed(consortium.beta)[0].answer_by == changed.dispute.answer_by
    assert findings(replayed(consortium.journal)) == []


def test_the_operator_is_bound_by_the_law_and_only_it_and_the_opener_may_extend(
    consortium: Consortium,
) -> None:
    contributes(consortium, consortium.beta, 1)
    not_extensible = (grpc.StatusCode.FAILED_PRECONDITION, "NOT_EXTENSIBLE")
    not_allowed = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    disputes = {}
    for code in ("CN", "US"):
        consent = consented(consortium, consortium.alpha, 1, jurisdiction=code)
        disputes[code] = open_dispute(consortium.alpha, 1).dispute.dispute_id
        withdraw(consortium.alpha, consent)
    assert refusal(extend, consortium.operator, disputes["CN"]) == not_extensible
    assert refusal(extend, consortium.auditor, disputes["US"]) == not_allowed
    unknown = (grpc.StatusCode.NOT_FOUND, "DISPUTE_NOT_FOUND")
    assert refusal(extend, consortium.operator, bytes(16)) == unknown
    consortium.clock.advance(seconds=30 * DAY + 1)
    assert refusal(extend, consortium.operator, disputes["US"]) == not_extensible
    assert entries(consortium.journal, "dispute.extended") == []


def test_china_s_twenty_days_are_not_put_off(consortium: Consortium) -> None:
    contributes(consortium, consortium.beta, 1)
    consented(consortium, consortium.alpha, 1, jurisdiction="CN")
    dispute = open_dispute(consortium.alpha, 1).dispute.dispute_id
    code, reason = refusal(extend, consortium.alpha, dispute)
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_EXTENSIBLE")


def test_who_is_late_has_an_entry_and_an_alarm_once(
    consortium: Consortium, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "concordat_gateway.rules.usage")
    journal, clock = consortium.journal, consortium.clock
    contributes(consortium, consortium.beta, 1)
    contributes(consortium, consortium.gamma, 1)
    consented(consortium, consortium.alpha, 1)
    opened = open_dispute(consortium.alpha, 1)
    dispute = opened.dispute.dispute_id
    answer(consortium.gamma, dispute, UPHELD)
    clock.advance(seconds=20 * DAY)
    assert mark_overdue(journal, GATEWAY, clock()) == 0
    assert caplog.records == []
    clock.advance(seconds=1)
    assert mark_overdue(journal, GATEWAY, clock()) == 1
    assert mark_overdue(journal, GATEWAY, clock()) == 0
    [late] = entries(journal, "dispute.overdue")
    assert (late["actor"], late["member"]) == (GATEWAY, "beta")
    assert late["dispute"] == dispute.hex()
    assert late["due"] == json.loads(opened.receipt.entry)["answer_by"]
    [record] = caplog.records
    assert (record.__dict__["member"], record.__dict__["alarm"]) == ("beta", "DISPUTE_OVERDUE")
    assert dispute.hex() not in record.getMessage()
    alarms = {kind.name: members for kind, members in watch(journal, clock()).items()}
    assert alarms["DISPUTE_OVERDUE"] == 1


def test_an_outsider_finds_nothing_wrong_with_disputes_in_time(consortium: Consortium) -> None:
    """The real entries, replayed by the auditor's own code."""
    contributes(consortium, consortium.beta, 1)
    consented(consortium, consortium.alpha, 1)
    dispute = open_dispute(consortium.alpha, 1).dispute.dispute_id
    answer(consortium.beta, dispute, CORRECTED)
    consented(consortium, consortium.alpha, 2)
    open_dispute(consortium.alpha, 2)
    assert findings(replayed(consortium.journal)) == []


def test_an_outsider_finds_the_dispute_late_and_the_gateway_s_entry_about_it_right(
    consortium: Consortium,
) -> None:
    contributes(consortium, consortium.beta, 1)
    consented(consortium, consortium.alpha, 1)
    dispute = open_dispute(consortium.alpha, 1).dispute.dispute_id
    consortium.clock.advance(seconds=20 * DAY + 1)
    assert mark_overdue(consortium.journal, GATEWAY, consortium.clock()) == 1
    assert findings(replayed(consortium.journal)) == ["DISPUTE_LATE"]
    answer(consortium.beta, dispute, CORRECTED)
    assert findings(replayed(consortium.journal)) == ["DISPUTE_LATE"]
