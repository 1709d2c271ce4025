"""The life of a consent through the SDK, both clients, on a gateway with processes of its own."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from concordat import (
    AsyncClient,
    Client,
    Conflict,
    ConsentDraft,
    ConsentState,
    DataCategory,
    FailedPrecondition,
    Frequency,
    InvalidInput,
    NotFound,
    NotPermitted,
    Period,
    Purpose,
    ResidentId,
    SubjectStatus,
    TimeUnit,
    Token,
    consent_terms,
)
from tests.fabricate import resident_id
from tests.gateways import Gateway
from tests.sdk_clients import blocking_face
from tests.signers import Signer

NOW = datetime.now(UTC).replace(microsecond=123)


@pytest.fixture(params=["blocking", "awaiting"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def clients(gateway: Gateway, kind: str) -> Iterator[dict[str, Client]]:
    """A lender and the operator."""
    profiles = {
        "lender": gateway.join(f"consents-lender-{kind}"),
        "operator": gateway.operator,
    }
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                Client.open(profile)
                if kind == "blocking"
                else blocking_face(lambda profile=profile: AsyncClient.open(profile))
            )
            for name, profile in profiles.items()
        }


@pytest.fixture
def lender(clients: dict[str, Client]) -> Client:
    return clients["lender"]


@pytest.fixture
def operator(clients: dict[str, Client]) -> Client:
    return clients["operator"]


@pytest.fixture
def person(lender: Client, request: pytest.FixtureRequest) -> Token:
    """A subject of this test's own."""
    digest = hashlib.sha256(request.node.nodeid.encode()).digest()
    number = int.from_bytes(digest[:4], "big") % 3_000_000
    return lender.tokenise([ResidentId(resident_id(number))])[0]


def draft(token: Token, **fields: Any) -> ConsentDraft:
    """A full consent, without its evidence."""
    values: dict[str, Any] = {
        "token": token,
        "purposes": {Purpose.UNDERWRITING},
        "categories": {DataCategory.CREDIT_ACCOUNTS},
        "starts_at": NOW - timedelta(minutes=1),
        "expires_at": NOW + timedelta(days=30),
        "notice_version": "2026-1",
        "notice_sha256": hashlib.sha256(b"the notice").digest(),
        "language": "zh-Hans-CN",
        "withdrawal_method": "https://lender.example/withdraw",
        "jurisdiction": "CN",
        "data_life": Period(TimeUnit.MONTH, 6),
        "frequency": Frequency(TimeUnit.DAY, 1),
    }
    return ConsentDraft(**(values | fields))


def is_permitted(lender: Client, person: Token) -> bool:
    return lender.lookup(person, Purpose.UNDERWRITING).status is SubjectStatus.OK


def test_a_consent_lives_from_request_to_withdrawal(lender: Client, person: Token) -> None:
    asked = lender.request_consents([draft(person, frequency=None)])
    assert asked.refused == ()
    [requested] = asked.requested
    assert asked.receipts[0].fields["type"] == "consent.requested"
    assert not is_permitted(lender, person)

    evidence = hashlib.sha256(b"the signed form").digest()
    active = lender.activate_consent(requested.consent_id, evidence_sha256=evidence)
    assert active.consent.state is ConsentState.ACTIVE
    assert active.consent.evidence_sha256 == evidence
    assert active.consent.activated_at is not None
    assert active.consent.permits_at(NOW)
    assert not active.consent.permits_at(NOW - timedelta(minutes=2))
    assert is_permitted(lender, person)

    paused = lender.pause_consent(requested.consent_id, "asked for a pause")
    assert (paused.consent.state, paused.consent.reason) == (
        ConsentState.PAUSED,
        "asked for a pause",
    )
    assert not paused.consent.permits_at(NOW)
    assert not is_permitted(lender, person)
    assert lender.pause_consent(requested.consent_id, "again").receipt is None
    resumed = lender.resume_consent(requested.consent_id, "goes on")
    assert resumed.receipt is not None
    assert lender.verify_receipt(resumed.receipt).fields["type"] == "consent.resumed"
    assert is_permitted(lender, person)

    yesterday = NOW - timedelta(days=1)
    withdrawn = lender.withdraw_consent(
        requested.consent_id, asked_at=yesterday, evidence_sha256=evidence
    )
    assert withdrawn.consent.asked_at == yesterday
    assert withdrawn.receipt is not None
    assert withdrawn.receipt.fields["evidence_sha256"] == evidence.hex()
    assert not is_permitted(lender, person)
    with pytest.raises(FailedPrecondition) as caught:
        lender.resume_consent(requested.consent_id, "too late")
    assert caught.value.reason == "CONSENT_WITHDRAWN"


def test_all_that_was_said_is_read_again(lender: Client, person: Token) -> None:
    one = draft(person, evidence_sha256=bytes(32))
    [granted] = lender.grant_consents([one]).granted
    found = lender.get_consent(granted.consent_id)
    for field in (
        "starts_at",
        "expires_at",
        "notice_version",
        "notice_sha256",
        "language",
        "withdrawal_method",
        "jurisdiction",
        "data_life",
        "frequency",
    ):
        assert getattr(found, field) == getattr(one, field), field
    assert found.policies >= 1
    assert (found.evidence_jws, found.evidence_signer, found.requested_at) == (None, None, None)
    assert is_permitted(lender, person)
    assert not is_permitted(lender, person)


def test_a_subject_signs_the_terms_of_a_draft(lender: Client, person: Token) -> None:
    signer, nonce = Signer.ed25519(), os.urandom(16)
    unsigned = draft(person, evidence_nonce=nonce)
    recipient = lender.profile.spiffe_id.rpartition("/")[2]
    jws = signer.sign(consent_terms(unsigned, recipient))
    signed = draft(person, evidence_nonce=nonce, evidence_jws=jws)
    wrong = draft(person, evidence_nonce=os.urandom(16), evidence_jws=jws)

    result = lender.grant_consents([signed, wrong])
    assert [refusal.reason for refusal in result.refused] == ["EVIDENCE_INVALID"]
    found = lender.get_consent(result.granted[0].consent_id)
    assert (found.evidence_jws, found.evidence_signer) == (jws, "subject")


def test_a_manager_signs_a_requested_consent_until_it_is_disabled(
    lender: Client, operator: Client, person: Token, kind: str
) -> None:
    signer, manager_id = Signer.p256(), f"house-{kind}"
    registered = operator.register_consent_manager(manager_id, "Consent House", signer.jwk_text)
    assert registered.receipt is not None
    again = operator.register_consent_manager(manager_id, "Consent House", signer.jwk_text)
    assert again.receipt is None
    with pytest.raises(Conflict) as caught:
        operator.register_consent_manager(f"{manager_id}-2", "Other", signer.jwk_text)
    assert caught.value.reason == "MANAGER_KEY_EXISTS"

    recipient = lender.profile.spiffe_id.rpartition("/")[2]
    ids = [
        requested.consent_id
        for requested in lender.request_consents(
            [draft(person, evidence_nonce=os.urandom(16)) for _ in range(2)]
        ).requested
    ]
    jws = [
        signer.sign(consent_terms(lender.get_consent(one), recipient), kid=manager_id)
        for one in ids
    ]
    active = lender.activate_consent(ids[0], evidence_jws=jws[0])
    assert active.consent.evidence_signer == f"manager:{manager_id}"
    assert active.consent.evidence_key == registered.manager.key

    disabled = operator.disable_consent_manager(manager_id)
    assert disabled.manager.disabled_at is not None
    assert disabled.manager in lender.list_consent_managers()
    with pytest.raises(FailedPrecondition) as refused:
        lender.activate_consent(ids[1], evidence_jws=jws[1])
    assert refused.value.reason == "EVIDENCE_INVALID"
    with pytest.raises(NotFound):
        operator.disable_consent_manager("nobody")
    with pytest.raises(NotPermitted):
        lender.disable_consent_manager(manager_id)


def test_recipient_and_operator_revoke(lender: Client, operator: Client, person: Token) -> None:
    first, second, third = (
        granted.consent_id
        for granted in lender.grant_consents(
            [draft(person, evidence_sha256=bytes([n]) * 32) for n in range(3)]
        ).granted
    )
    assert lender.revoke_consent(first, "by mistake").consent.revoked_by == "recipient"
    by_operator = operator.revoke_consent(second, "a court order")
    assert by_operator.consent.revoked_by == "operator"
    assert by_operator.consent.state is ConsentState.REVOKED
    assert operator.withdraw_consent(third).consent.state is ConsentState.WITHDRAWN
    assert not is_permitted(lender, person)
    with pytest.raises(NotPermitted):
        lender.revoke_consent(first, "x", manager_id="house")


def test_what_cannot_be_sent_is_refused_before_it_is(lender: Client, person: Token) -> None:
    wrong = [
        lambda: lender.grant_consents([draft(person)]),
        lambda: lender.request_consents([draft(person, evidence_sha256=bytes(32))]),
        lambda: lender.activate_consent(bytes(16)),
        lambda: lender.activate_consent(bytes(16), evidence_sha256=bytes(32), evidence_jws="x"),
        lambda: lender.activate_consent(bytes(16), evidence_sha256=bytes(31)),
        lambda: lender.pause_consent(bytes(16), ""),
        lambda: lender.resume_consent(bytes(15), "x"),
        lambda: lender.revoke_consent(bytes(16), "x" * 501),
        lambda: lender.withdraw_consent(bytes(16), asked_at=datetime(2026, 1, 1)),
        lambda: lender.withdraw_consent(bytes(16), evidence_sha256=b""),
        lambda: lender.register_consent_manager("x", "X", json.dumps({"kty": "oct"})),
        lambda: lender.register_consent_manager("", "X", Signer.p256().jwk_text),
    ]
    for call in wrong:
        with pytest.raises(InvalidInput):
            call()
