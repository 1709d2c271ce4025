"""The life of a consent through the service: requested, activated, paused, resumed, ended."""

import json
from itertools import pairwise
from typing import Any

import grpc
import pytest

from concordat.v1 import common_pb2, consent_pb2, signal_pb2
from concordat_gateway.rules.permits import countable
from concordat_gateway.store.subjects import subject_key
from tests.services import (
    CALL_SECONDS,
    PEPPER,
    YEAR_SECONDS,
    Caller,
    Consortium,
    account,
    contribute,
    draft,
    fields_of,
    grant,
    grant_one,
    reason_of,
    request_id,
    timestamp,
    token,
    withdraw,
)

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
CONTRIBUTION = common_pb2.PURPOSE_CONTRIBUTION
REQUESTED = consent_pb2.CONSENT_STATE_REQUESTED
ACTIVE = consent_pb2.CONSENT_STATE_ACTIVE
PAUSED = consent_pb2.CONSENT_STATE_PAUSED
WITHDRAWN = consent_pb2.CONSENT_STATE_WITHDRAWN
REVOKED = consent_pb2.CONSENT_STATE_REVOKED
SHA256 = b"\x22" * 32


def ask(caller: Caller, *drafts: consent_pb2.ConsentDraft) -> consent_pb2.RequestConsentsResponse:
    """Request consents; the drafts lose their evidence."""
    for one in drafts:
        one.ClearField("evidence_sha256")
    request = consent_pb2.RequestConsentsRequest(request_id=request_id(), consents=drafts)
    return caller.consents.RequestConsents(request, timeout=CALL_SECONDS)


def ask_one(caller: Caller, one: consent_pb2.ConsentDraft) -> bytes:
    [requested] = ask(caller, one).requested
    return requested.consent_id


def call(caller: Caller, method: str, consent_id: bytes, **fields: Any) -> Any:
    """Change a consent."""
    request = getattr(consent_pb2, f"{method}Request")(consent_id=consent_id, **fields)
    return getattr(caller.consents, method)(request, timeout=CALL_SECONDS)


def activate(caller: Caller, consent_id: bytes, sha256: bytes = SHA256) -> Any:
    return call(caller, "ActivateConsent", consent_id, evidence_sha256=sha256)


def pause(caller: Caller, consent_id: bytes) -> Any:
    return call(caller, "PauseConsent", consent_id, reason="the subject asked for a pause")


def resume(caller: Caller, consent_id: bytes) -> Any:
    return call(caller, "ResumeConsent", consent_id, reason="the subject goes on")


def revoke(caller: Caller, consent_id: bytes, **fields: str) -> Any:
    return call(caller, "RevokeConsent", consent_id, reason="recorded by mistake", **fields)


def is_permitted(consortium: Consortium, subject: int) -> bool:
    """Whether alpha may look the subject up for underwriting."""
    request = signal_pb2.LookupRequest(
        token=token(subject), purpose=UNDERWRITING, request_id=request_id()
    )
    response = consortium.alpha.signals.Lookup(request, timeout=CALL_SECONDS)
    return response.result.status == signal_pb2.SUBJECT_STATUS_OK


def accepted(consortium: Consortium, subject: int) -> int:
    """Rows that alpha may contribute about the subject, of one."""
    return contribute(consortium.alpha, [account(consortium, subject)]).rows_accepted


def test_what_is_requested_permits_nothing_until_the_subject_gives_it(
    consortium: Consortium,
) -> None:
    both = [UNDERWRITING, CONTRIBUTION]
    response = ask(consortium.alpha, draft(consortium, 1, both), draft(consortium, b"short"))
    [requested] = response.requested
    assert [(r.item, r.reason) for r in response.refused] == [(1, "WRONG_LENGTH")]
    entry = json.loads(response.receipt.entry)
    assert entry["type"] == "consent.requested"
    assert not {name for name in entry if name.startswith("evidence")}
    assert not is_permitted(consortium, 1)
    assert accepted(consortium, 1) == 0

    consortium.clock.advance(60)
    changed = activate(consortium.alpha, requested.consent_id)
    assert changed.consent.state == ACTIVE
    assert changed.consent.requested_at == changed.consent.granted_at
    assert changed.consent.activated_at == timestamp(consortium.clock.microseconds)
    activated = json.loads(changed.receipt.entry)
    assert activated["type"] == "consent.activated"
    assert activated["evidence_sha256"] == SHA256.hex()
    assert activated["subject"] == entry["subject"]
    assert is_permitted(consortium, 1)
    assert accepted(consortium, 1) == 1


def test_a_request_has_no_evidence(consortium: Consortium) -> None:
    request = consent_pb2.RequestConsentsRequest(
        request_id=request_id(), consents=[draft(consortium, 1)]
    )
    response = consortium.alpha.consents.RequestConsents(request, timeout=CALL_SECONDS)
    [refusal] = response.refused
    assert (refusal.field, refusal.reason) == ("evidence_sha256", "INCONSISTENT")


def test_a_repeated_request_of_consents_is_answered_alike(consortium: Consortium) -> None:
    one = draft(consortium, 1)
    one.ClearField("evidence_sha256")
    request = consent_pb2.RequestConsentsRequest(request_id=request_id(), consents=[one])
    first = consortium.alpha.consents.RequestConsents(request, timeout=CALL_SECONDS)
    second = consortium.alpha.consents.RequestConsents(request, timeout=CALL_SECONDS)
    assert first.requested == second.requested
    # Another method's request is another request, whatever its id.
    grant_request = consent_pb2.GrantConsentsRequest(
        request_id=request.request_id, consents=[draft(consortium, 1)]
    )
    assert consortium.alpha.consents.GrantConsents(grant_request, timeout=CALL_SECONDS).granted


def test_a_paused_consent_permits_nothing_at_once_and_everything_again_when_resumed(
    consortium: Consortium,
) -> None:
    both = [UNDERWRITING, CONTRIBUTION]
    consent_id = grant_one(consortium.alpha, draft(consortium, 1, both))
    assert is_permitted(consortium, 1)
    paused = pause(consortium.alpha, consent_id)
    assert (paused.consent.state, paused.consent.reason) == (
        PAUSED,
        "the subject asked for a pause",
    )
    assert paused.consent.paused_at == timestamp(consortium.clock.microseconds)
    assert json.loads(paused.receipt.entry)["reason"] == "the subject asked for a pause"
    assert not is_permitted(consortium, 1)
    assert accepted(consortium, 1) == 0

    consortium.clock.advance(5)
    resumed = resume(consortium.alpha, consent_id)
    assert resumed.consent.state == ACTIVE
    assert not resumed.consent.HasField("paused_at")
    assert resumed.consent.resumed_at == timestamp(consortium.clock.microseconds)
    assert resumed.consent.reason == ""
    assert json.loads(resumed.receipt.entry)["type"] == "consent.resumed"
    assert is_permitted(consortium, 1)
    assert accepted(consortium, 1) == 1


def test_a_contributors_rows_are_hidden_while_its_consent_is_paused(
    consortium: Consortium,
) -> None:
    consent_id = grant_one(consortium.beta, draft(consortium, 1, [CONTRIBUTION]))
    assert contribute(consortium.beta, [account(consortium, 1)]).rows_accepted == 1
    grant_one(consortium.alpha, draft(consortium, 1))

    def lenders() -> str:
        request = signal_pb2.LookupRequest(
            token=token(1), purpose=UNDERWRITING, request_id=request_id()
        )
        response = consortium.alpha.signals.Lookup(request, timeout=CALL_SECONDS)
        [found] = [s for s in response.result.signals if s.name == "lenders_open"]
        return str(found.band_label)

    before = lenders()
    pause(consortium.beta, consent_id)
    assert lenders() != before
    resume(consortium.beta, consent_id)
    assert lenders() == before


def test_a_pause_and_its_end_are_another_snapshot_of_the_pool(consortium: Consortium) -> None:
    counted = grant_one(consortium.alpha, draft(consortium, 1, [CONTRIBUTION]))
    other = grant_one(consortium.alpha, draft(consortium, 1, [UNDERWRITING]))
    asked = ask_one(consortium.alpha, draft(consortium, 2, [CONTRIBUTION]))
    versions = [consortium.journal.pool_version]
    for change in (
        lambda: pause(consortium.alpha, counted),
        lambda: resume(consortium.alpha, counted),
        lambda: activate(consortium.alpha, asked),
        lambda: revoke(consortium.alpha, counted),
        lambda: pause(consortium.alpha, other),
        lambda: ask_one(consortium.alpha, draft(consortium, 3, [CONTRIBUTION])),
    ):
        change()
        versions.append(consortium.journal.pool_version)
    steps = [after - before for before, after in pairwise(versions)]
    assert steps == [1, 1, 1, 1, 0, 0]


def test_a_repeated_change_changes_nothing_and_says_so(consortium: Consortium) -> None:
    consent_id = ask_one(consortium.alpha, draft(consortium, 1))
    for change in (activate, pause, resume, revoke):
        first = change(consortium.alpha, consent_id)
        assert first.HasField("receipt")
        size = consortium.journal.size
        consortium.clock.advance(1)
        again = change(consortium.alpha, consent_id)
        assert not again.HasField("receipt")
        assert again.consent == first.consent
        assert consortium.journal.size == size


def test_an_active_consent_keeps_its_evidence(consortium: Consortium) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1))
    assert not activate(consortium.alpha, consent_id, b"\xee" * 32).HasField("receipt")
    with pytest.raises(grpc.RpcError) as refusal:
        activate(consortium.alpha, consent_id, SHA256)
    assert reason_of(refusal.value) == "CONSENT_ACTIVE"


@pytest.mark.parametrize(
    ("method", "fields", "reason"),
    [
        ("ActivateConsent", {"evidence_sha256": SHA256}, "CONSENT_WITHDRAWN"),
        ("PauseConsent", {"reason": "x"}, "CONSENT_WITHDRAWN"),
        ("ResumeConsent", {"reason": "x"}, "CONSENT_WITHDRAWN"),
        ("RevokeConsent", {"reason": "x"}, "CONSENT_WITHDRAWN"),
    ],
)
def test_a_withdrawal_is_final(
    consortium: Consortium, method: str, fields: dict[str, Any], reason: str
) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1))
    withdraw(consortium.alpha, consent_id)
    size = consortium.journal.size
    with pytest.raises(grpc.RpcError) as refusal:
        call(consortium.alpha, method, consent_id, **fields)
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(refusal.value) == reason
    assert consortium.journal.size == size


def test_what_has_expired_can_be_ended_and_nothing_else(consortium: Consortium) -> None:
    ids = [grant_one(consortium.alpha, draft(consortium, n, lasts_seconds=10)) for n in (1, 2)]
    consortium.clock.advance(YEAR_SECONDS)
    with pytest.raises(grpc.RpcError) as refusal:
        pause(consortium.alpha, ids[0])
    assert reason_of(refusal.value) == "CONSENT_EXPIRED"
    assert withdraw(consortium.alpha, ids[0]).consent.state == WITHDRAWN
    assert revoke(consortium.alpha, ids[1]).consent.state == REVOKED


def test_a_recipient_revokes_its_own_consent_and_it_permits_nothing_any_more(
    consortium: Consortium,
) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1))
    revoked = revoke(consortium.alpha, consent_id)
    assert (revoked.consent.state, revoked.consent.revoked_by) == (REVOKED, "recipient")
    entry = json.loads(revoked.receipt.entry)
    assert (entry["type"], entry["by"], entry["reason"]) == (
        "consent.revoked",
        "recipient",
        "recorded by mistake",
    )
    assert not is_permitted(consortium, 1)
    with pytest.raises(grpc.RpcError) as refusal:
        withdraw(consortium.alpha, consent_id)
    assert reason_of(refusal.value) == "CONSENT_REVOKED"


def test_the_operator_ends_any_consent_and_names_who_did(consortium: Consortium) -> None:
    from tests.integration.test_consent_evidence import ED25519, disable, register

    first, second, third = (
        grant_one(consortium.alpha, draft(consortium, number)) for number in (1, 2, 3)
    )
    register(consortium, "house", ED25519)
    by_operator = revoke(consortium.operator, first)
    assert by_operator.consent.revoked_by == "operator"
    entry = json.loads(by_operator.receipt.entry)
    assert entry["actor"] == "spiffe://concordat.test/operator/operator"
    assert entry["recipient"] == "alpha"
    by_manager = revoke(consortium.operator, second, manager_id="house")
    assert json.loads(by_manager.receipt.entry)["by"] == "manager:house"
    withdrawn = withdraw(consortium.operator, third)
    entry = json.loads(withdrawn.receipt.entry)
    assert (entry["type"], entry["actor"]) == (
        "consent.withdrawn",
        "spiffe://concordat.test/operator/operator",
    )
    assert not any(is_permitted(consortium, number) for number in (1, 2, 3))

    fourth = grant_one(consortium.alpha, draft(consortium, 4))
    disable(consortium, "house")
    for manager_id, reason in (("house", "MANAGER_DISABLED"), ("nobody", "MANAGER_NOT_FOUND")):
        with pytest.raises(grpc.RpcError) as refusal:
            revoke(consortium.operator, fourth, manager_id=manager_id)
        assert reason_of(refusal.value) == reason
    with pytest.raises(grpc.RpcError) as refusal:
        revoke(consortium.alpha, fourth, manager_id="house")
    assert reason_of(refusal.value) == "NOT_OPERATOR"
    assert is_permitted(consortium, 4)


def test_a_withdrawal_says_when_the_subject_asked(consortium: Consortium) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1))
    asked_at = timestamp(consortium.clock.microseconds - 3 * 86_400_000_000)
    later = timestamp(consortium.clock.microseconds + 1)
    with pytest.raises(grpc.RpcError) as refusal:
        call(consortium.alpha, "WithdrawConsent", consent_id, asked_at=later)
    assert fields_of(refusal.value) == ["asked_at"]
    with pytest.raises(grpc.RpcError) as refusal:
        call(consortium.alpha, "WithdrawConsent", consent_id, evidence_sha256=b"\1" * 31)
    assert fields_of(refusal.value) == ["evidence_sha256"]

    withdrawn = call(
        consortium.alpha,
        "WithdrawConsent",
        consent_id,
        asked_at=asked_at,
        evidence_sha256=SHA256,
    )
    assert withdrawn.consent.asked_at == asked_at
    entry = json.loads(withdrawn.receipt.entry)
    assert entry["asked_at"] == "2026-11-15T11:06:40.000000Z"
    assert entry["evidence_sha256"] == SHA256.hex()


ALL_CHANGES = [
    ("ActivateConsent", {"evidence_sha256": SHA256}),
    ("PauseConsent", {"reason": "x"}),
    ("ResumeConsent", {"reason": "x"}),
    ("WithdrawConsent", {}),
    ("RevokeConsent", {"reason": "x"}),
]


@pytest.mark.parametrize(("method", "fields"), ALL_CHANGES)
def test_a_member_changes_no_consent_of_another(
    consortium: Consortium, method: str, fields: dict[str, Any]
) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1))
    size = consortium.journal.size
    for wanted in (consent_id, b"\xff" * 16):
        with pytest.raises(grpc.RpcError) as refusal:
            call(consortium.beta, method, wanted, **fields)
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        assert reason_of(refusal.value) == "CONSENT_NOT_FOUND"
    with pytest.raises(grpc.RpcError) as refusal:
        call(consortium.alpha, method, consent_id[:-1], **fields)
    assert fields_of(refusal.value) == ["consent_id"]
    with pytest.raises(grpc.RpcError) as refusal:
        call(consortium.auditor, method, consent_id, **fields)
    assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert consortium.journal.size == size
    assert is_permitted(consortium, 1)


@pytest.mark.parametrize("method", ["PauseConsent", "ResumeConsent", "RevokeConsent"])
@pytest.mark.parametrize("reason", ["", "x" * 501, "a\nb", "e\u0301"])
def test_a_reason_is_asked_for(consortium: Consortium, method: str, reason: str) -> None:
    consent_id = grant_one(consortium.alpha, draft(consortium, 1))
    with pytest.raises(grpc.RpcError) as refusal:
        call(consortium.alpha, method, consent_id, reason=reason)
    assert fields_of(refusal.value) == ["reason"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "evidence_sha256"),
        ({"evidence_sha256": SHA256, "evidence_jws": "x"}, "evidence_sha256"),
        ({"evidence_sha256": b"\1" * 31}, "evidence_sha256"),
        ({"evidence_jws": "x" * 2049}, "evidence_jws"),
    ],
)
def test_an_activation_has_evidence_of_one_kind(
    consortium: Consortium, fields: dict[str, Any], field: str
) -> None:
    consent_id = ask_one(consortium.alpha, draft(consortium, 1))
    with pytest.raises(grpc.RpcError) as refusal:
        call(consortium.alpha, "ActivateConsent", consent_id, **fields)
    assert fields_of(refusal.value) == [field]


def test_requested_and_paused_consents_count_among_the_16(consortium: Consortium) -> None:
    def drafts(number: int) -> list[consent_pb2.ConsentDraft]:
        return [draft(consortium, 1, lasts_seconds=3_600 + at) for at in range(number)]

    paused = grant(consortium.alpha, drafts(8)).granted
    pause(consortium.alpha, paused[0].consent_id)
    asked = ask(consortium.alpha, *drafts(9))
    assert [(r.item, r.reason) for r in asked.refused] == [(8, "TOO_MANY_CONSENTS")]
    revoke(consortium.alpha, paused[1].consent_id)
    assert not grant(consortium.alpha, drafts(1)).refused


def test_a_consent_that_begins_later_permits_nothing_before(consortium: Consortium) -> None:
    one = draft(consortium, 1, starts_in_seconds=3_600)
    consent_id = grant_one(consortium.alpha, one)
    request = consent_pb2.GetConsentRequest(consent_id=consent_id)
    found = consortium.alpha.consents.GetConsent(request, timeout=CALL_SECONDS).consent
    assert (found.state, found.validity.start) == (ACTIVE, one.validity.start)
    consortium.clock.advance(3_599.999999)
    assert not is_permitted(consortium, 1)
    consortium.clock.advance(0.000001)
    assert is_permitted(consortium, 1)


def test_a_member_suspended_meanwhile_opens_no_consent_and_can_end_any_of_its_own(
    consortium: Consortium,
) -> None:
    from tests.integration.test_standing import suspend

    asked = ask_one(consortium.alpha, draft(consortium, 1))
    held = grant_one(consortium.alpha, draft(consortium, 2))
    pause(consortium.alpha, held)
    suspend(consortium, "alpha")
    for change, consent_id in ((activate, asked), (resume, held)):
        with pytest.raises(grpc.RpcError) as refusal:
            change(consortium.alpha, consent_id)
        assert reason_of(refusal.value) == "MEMBER_SUSPENDED"
    assert withdraw(consortium.alpha, asked).consent.state == WITHDRAWN
    assert revoke(consortium.alpha, held).consent.state == REVOKED


def test_a_paused_or_only_requested_consent_counts_nobody_in_aggregates(
    consortium: Consortium,
) -> None:
    purposes = [CONTRIBUTION, common_pb2.PURPOSE_AGGREGATE_STATISTICS]
    subject = subject_key(PEPPER, token(1))

    def is_counted() -> bool:
        with consortium.journal.read() as connection:
            found = countable(connection, subject[0], consortium.clock.microseconds)
        return (subject, 1) in found

    consent_id = ask_one(consortium.alpha, draft(consortium, 1, purposes))
    assert not is_counted()
    activate(consortium.alpha, consent_id)
    assert is_counted()
    pause(consortium.alpha, consent_id)
    assert not is_counted()
    resume(consortium.alpha, consent_id)
    assert is_counted()
    revoke(consortium.alpha, consent_id)
    assert not is_counted()
