"""Evidence of consents by signature: what is taken, and all that is not."""

import base64
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from concordat.v1 import consent_pb2
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    draft,
    fields_of,
    grant,
    reason_of,
    request_id,
    timestamp,
    token,
)
from tests.signers import Signer, b64, mirrored

NONCE = bytes(range(16))
ED25519, P256 = Signer.ed25519(), Signer.p256()


def terms_of(one: consent_pb2.ConsentDraft, recipient: str = "alpha", **changes: object) -> bytes:
    """The bytes to sign, written down from docs/consents.md and not by our own code."""
    binding = hashlib.sha256(b"concordat/consent-terms/v1" + one.evidence_nonce + one.token)

    def moment(value: object) -> str:
        return value.ToDatetime().isoformat(timespec="microseconds") + "Z"  # type: ignore[attr-defined]  # a Timestamp

    terms: dict[str, object] = {
        "v": 1,
        "type": "consent.terms",
        "recipient": recipient,
        "subject": binding.hexdigest(),
        "purposes": ["underwriting"],
        "categories": ["credit_accounts"],
        "starts_at": moment(one.validity.start),
        "expires_at": moment(one.validity.expiry),
        "notice_version": one.notice_version,
        "notice_sha256": one.notice_sha256.hex(),
        "language": one.language,
        "withdrawal_method": one.withdrawal_method,
        "jurisdiction": one.jurisdiction,
        "frequency": {"unit": "day", "uses": 3},
        **changes,
    }
    return json.dumps(terms, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signable(
    consortium: Consortium, subject: int = 1, nonce: bytes = NONCE
) -> consent_pb2.ConsentDraft:
    """A full draft that only lacks its signature."""
    one = draft(consortium, subject, starts_in_seconds=0)
    one.ClearField("evidence_sha256")
    one.notice_sha256 = b"\x11" * 32
    one.language = "zh-Hans-CN"
    one.withdrawal_method = "撤回 https://alpha.example/withdraw"
    one.jurisdiction = "CN"
    one.frequency.CopyFrom(consent_pb2.Frequency(unit=consent_pb2.TIME_UNIT_DAY, uses=3))
    one.evidence_nonce = nonce
    return one


def signed(one: consent_pb2.ConsentDraft, jws: str) -> consent_pb2.ConsentDraft:
    copy = consent_pb2.ConsentDraft()
    copy.CopyFrom(one)
    copy.evidence_jws = jws
    return copy


def get(caller: Caller, consent_id: bytes) -> consent_pb2.Consent:
    request = consent_pb2.GetConsentRequest(consent_id=consent_id)
    return caller.consents.GetConsent(request, timeout=CALL_SECONDS).consent


def register(
    consortium: Consortium, manager_id: str, signer: Signer
) -> consent_pb2.RegisterConsentManagerResponse:
    request = consent_pb2.RegisterConsentManagerRequest(
        manager_id=manager_id, name="Consent House", jwk=signer.jwk_text
    )
    return consortium.operator.consents.RegisterConsentManager(request, timeout=CALL_SECONDS)


def disable(consortium: Consortium, manager_id: str) -> consent_pb2.DisableConsentManagerResponse:
    request = consent_pb2.DisableConsentManagerRequest(manager_id=manager_id)
    return consortium.operator.consents.DisableConsentManager(request, timeout=CALL_SECONDS)


def thumbprint(signer: Signer) -> bytes:
    """RFC 7638, written down again."""
    text = json.dumps(signer.jwk, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def refused_as_invalid(consortium: Consortium, one: consent_pb2.ConsentDraft) -> str:
    """That the draft is refused for its evidence and leaves nothing; the description."""
    size = consortium.journal.size
    response = grant(consortium.alpha, [one])
    [refusal] = response.refused
    assert (refusal.field, refusal.reason) == ("evidence_jws", "EVIDENCE_INVALID")
    assert not response.granted
    assert consortium.journal.size == size
    listed = consent_pb2.ListConsentsRequest(token=one.token)
    assert not consortium.alpha.consents.ListConsents(listed, timeout=CALL_SECONDS).consents
    return str(refusal.description)


@pytest.mark.parametrize("signer", [ED25519, P256], ids=["EdDSA", "ES256"])
@pytest.mark.parametrize("header", [{}, {"b64": False, "crit": ["b64"]}], ids=["encoded", "b64"])
def test_a_subjects_signature_is_verified_and_recorded(
    consortium: Consortium, signer: Signer, header: dict[str, object]
) -> None:
    one = signable(consortium)
    jws = signer.sign(terms_of(one), **header)
    response = grant(consortium.alpha, [signed(one, jws)])

    entry = json.loads(response.receipt.entry)
    assert "evidence_sha256" not in entry
    assert entry["evidence_jws_sha256"] == hashlib.sha256(jws.encode()).hexdigest()
    assert entry["evidence_signer"] == "subject"
    assert entry["evidence_key"] == thumbprint(signer).hex()
    assert NONCE.hex() not in response.receipt.entry.decode()
    consent = get(consortium.alpha, response.granted[0].consent_id)
    assert consent.evidence_jws == jws
    assert consent.evidence_signer == "subject"
    assert consent.evidence_key == thumbprint(signer)
    # Who holds the record can verify again: terms from the entry, the binding from the record.
    binding = hashlib.sha256(b"concordat/consent-terms/v1" + NONCE + token(1)).digest()
    assert consent.evidence_subject == binding


def test_a_registered_managers_signature_is_taken_until_it_is_disabled(
    consortium: Consortium,
) -> None:
    register(consortium, "house", P256)
    one = signable(consortium)
    response = grant(consortium.alpha, [signed(one, P256.sign(terms_of(one), kid="house"))])
    assert json.loads(response.receipt.entry)["evidence_signer"] == "manager:house"

    disable(consortium, "house")
    two = signable(consortium, 2)
    refused_as_invalid(consortium, signed(two, P256.sign(terms_of(two), kid="house")))
    # Nor does its key come back as a subject's.
    refused_as_invalid(consortium, signed(two, P256.sign(terms_of(two))))
    assert get(consortium.alpha, response.granted[0].consent_id).state == 1


Forgery = Callable[[Consortium, consent_pb2.ConsentDraft], str]


def with_header(text: str) -> Forgery:
    """Signed well, under a header with this JSON text."""
    return lambda _, one: ED25519.sign_under(b64(text.encode()), terms_of(one))


def hmac_with_the_public_key(_: Consortium, one: consent_pb2.ConsentDraft) -> str:
    """The classic confusion: HS256, keyed with what everybody knows."""
    import hmac

    header = b64(json.dumps({"alg": "HS256", "jwk": ED25519.jwk}).encode())
    key = ED25519.key.public_key().public_bytes_raw()  # type: ignore[union-attr]  # Ed25519
    mac = hmac.digest(key, f"{header}.{b64(terms_of(one))}".encode(), "sha256")
    return f"{header}..{b64(mac)}"


JWK = json.dumps(ED25519.jwk)
FORGERIES: dict[str, Forgery] = {
    "other terms": lambda _, one: ED25519.sign(terms_of(one, language="de")),
    "another purpose": lambda _, one: ED25519.sign(terms_of(one, purposes=["contribution"])),
    "one more use": lambda _, one: ED25519.sign(
        terms_of(one, frequency={"unit": "day", "uses": 4})
    ),
    "no frequency": lambda _, one: ED25519.sign(terms_of(one).replace(b'"frequency"', b'"f"')),
    "another recipient": lambda _, one: ED25519.sign(terms_of(one, "beta")),
    "another subject": lambda c, _: ED25519.sign(terms_of(signable(c, 2))),
    "another nonce": lambda c, _: ED25519.sign(terms_of(signable(c, 1, b"\7" * 16))),
    "another type": lambda _, one: ED25519.sign(terms_of(one, type="consent.granted")),
    "another key": lambda _, one: ED25519.sign(terms_of(one), jwk=Signer.ed25519().jwk),
    "none": lambda _, one: b64(json.dumps({"alg": "none", "jwk": ED25519.jwk}).encode()) + "..",
    "no alg": lambda _, one: ED25519.sign(terms_of(one), alg=None),
    "alg of another key": lambda _, one: ED25519.sign(terms_of(one), alg="ES256"),
    "HS256": hmac_with_the_public_key,
    "ES256 key as EdDSA": lambda _, one: P256.sign(terms_of(one), alg="EdDSA"),
    "unknown crit": lambda _, one: ED25519.sign(terms_of(one), crit=["exp"], exp=1),
    "b64 and unknown crit": lambda _, one: ED25519.sign(
        terms_of(one), b64=False, crit=["b64", "exp"], exp=1
    ),
    "b64 without crit": lambda _, one: ED25519.sign(terms_of(one), b64=False),
    "b64 true without crit": lambda _, one: ED25519.sign(terms_of(one), b64=True),
    "crit without b64": lambda _, one: ED25519.sign(terms_of(one), crit=["b64"]),
    "empty crit": lambda _, one: ED25519.sign(terms_of(one), crit=[]),
    "b64 of another type": lambda _, one: ED25519.sign(terms_of(one), b64="false", crit=["b64"]),
    "both names": lambda _, one: ED25519.sign(terms_of(one), jwk=ED25519.jwk, kid="house"),
    "neither name": lambda _, one: ED25519.sign(terms_of(one), jwk=None),
    "unknown manager": lambda _, one: ED25519.sign(terms_of(one), kid="nobody"),
    "kid of another type": lambda _, one: ED25519.sign(terms_of(one), jwk=None, kid=1),
    "another's key under a kid": lambda _, one: ED25519.sign(terms_of(one), kid="house"),
    "private key in the header": lambda _, one: ED25519.sign(
        terms_of(one), jwk={**ED25519.jwk, "d": "AAAA"}
    ),
    "jwk of another type": lambda _, one: ED25519.sign(terms_of(one), jwk="x"),
    "payload attached": lambda _, one: ED25519.sign(terms_of(one)).replace(
        "..", f".{b64(terms_of(one))}."
    ),
    "no signature": lambda _, one: ED25519.sign(terms_of(one)).rsplit(".", 1)[0] + ".",
    "signature cut": lambda _, one: ED25519.sign(terms_of(one))[:-4],
    "padding": lambda _, one: ED25519.sign(terms_of(one)) + "==",
    "two parts": lambda _, one: ED25519.sign(terms_of(one)).replace("..", "."),
    "four parts": lambda _, one: ED25519.sign(terms_of(one)) + ".x",
    "only dots": lambda _, one: "..",
    "not ASCII": lambda _, one: "é" + ED25519.sign(terms_of(one)),
    "white space": lambda _, one: ED25519.sign(terms_of(one)) + "\n",
    "alg twice": with_header(f'{{"alg":"none","alg":"EdDSA","jwk":{JWK}}}'),
    "a list": with_header('["EdDSA"]'),
    "no JSON": with_header('{"alg":"EdDSA"'),
    "deep": with_header("[" * 900),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_wrong_signature_is_refused_and_leaves_nothing(
    consortium: Consortium, forgery: Forgery
) -> None:
    register(consortium, "house", P256)
    one = signable(consortium)
    jws = forgery(consortium, one)
    description = refused_as_invalid(consortium, signed(one, jws))
    assert jws not in description
    assert one.token.hex() not in description


def test_one_signature_serves_for_one_consent_however_it_is_written(
    consortium: Consortium,
) -> None:
    one = signable(consortium)
    jws = P256.sign(terms_of(one))
    [granted] = grant(consortium.alpha, [signed(one, jws)]).granted
    size = consortium.journal.size
    attempts = [
        signed(one, jws),
        signed(one, mirrored(jws)),
        signed(one, ED25519.sign(terms_of(one))),
    ]
    for attempt in attempts:
        [refusal] = grant(consortium.alpha, [attempt]).refused
        assert refusal.reason == "EVIDENCE_INVALID"
    # Nor after the subject has withdrawn what it signed.
    consortium.alpha.consents.WithdrawConsent(
        consent_pb2.WithdrawConsentRequest(consent_id=granted.consent_id), timeout=CALL_SECONDS
    )
    [refusal] = grant(consortium.alpha, [attempts[0]]).refused
    assert refusal.reason == "EVIDENCE_INVALID"
    assert consortium.journal.size == size + 1


def test_of_one_signature_twice_in_a_request_the_second_is_refused(consortium: Consortium) -> None:
    one = signable(consortium)
    jws = P256.sign(terms_of(one))
    response = grant(consortium.alpha, [signed(one, jws), signed(one, mirrored(jws))])
    assert [granted.item for granted in response.granted] == [0]
    assert [(r.item, r.reason) for r in response.refused] == [(1, "EVIDENCE_INVALID")]


def test_a_repeated_request_with_a_signature_is_answered_alike(consortium: Consortium) -> None:
    one = signable(consortium)
    request = consent_pb2.GrantConsentsRequest(
        request_id=request_id(), consents=[signed(one, P256.sign(terms_of(one)))]
    )
    first = consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)
    second = consortium.alpha.consents.GrantConsents(request, timeout=CALL_SECONDS)
    assert first.granted == second.granted
    assert not second.refused


@pytest.mark.parametrize(
    ("spoil", "field", "reason"),
    [
        (lambda d: d.ClearField("evidence_nonce"), "evidence_nonce", "REQUIRED"),
        (lambda d: setattr(d, "evidence_nonce", b"\1" * 15), "evidence_nonce", "WRONG_LENGTH"),
        (lambda d: d.validity.ClearField("start"), "validity.start", "REQUIRED"),
        (lambda d: d.ClearField("jurisdiction"), "jurisdiction", "REQUIRED"),
        (lambda d: setattr(d, "evidence_sha256", b"\1" * 32), "evidence_jws", "INCONSISTENT"),
        (lambda d: setattr(d, "evidence_jws", "x" * 2049), "evidence_jws", "WRONG_LENGTH"),
    ],
)
def test_what_a_signature_needs_is_asked_for(
    consortium: Consortium,
    spoil: Callable[[consent_pb2.ConsentDraft], object],
    field: str,
    reason: str,
) -> None:
    one = signed(signable(consortium), P256.sign(b""))
    spoil(one)
    [refusal] = grant(consortium.alpha, [one]).refused
    assert (refusal.field, refusal.reason) == (field, reason)


def test_a_draft_needs_evidence_of_one_kind(consortium: Consortium) -> None:
    neither, nonce = draft(consortium, 1), draft(consortium, 2)
    neither.ClearField("evidence_sha256")
    nonce.evidence_nonce = NONCE
    refused = grant(consortium.alpha, [neither, nonce]).refused
    assert [(r.item, r.field, r.reason) for r in refused] == [
        (0, "evidence_sha256", "REQUIRED"),
        (1, "evidence_nonce", "INCONSISTENT"),
    ]


def ask(consortium: Consortium, one: consent_pb2.ConsentDraft) -> bytes:
    """Request a consent; its id."""
    request = consent_pb2.RequestConsentsRequest(request_id=request_id(), consents=[one])
    response = consortium.alpha.consents.RequestConsents(request, timeout=CALL_SECONDS)
    [requested] = response.requested
    return requested.consent_id


def activate(
    consortium: Consortium, consent_id: bytes, jws: str
) -> consent_pb2.ActivateConsentResponse:
    request = consent_pb2.ActivateConsentRequest(consent_id=consent_id, evidence_jws=jws)
    return consortium.alpha.consents.ActivateConsent(request, timeout=CALL_SECONDS)


def test_a_requested_consent_is_activated_by_a_signature_over_its_recorded_terms(
    consortium: Consortium,
) -> None:
    one = signable(consortium)
    consent_id = ask(consortium, one)
    consortium.clock.advance(60)
    jws = ED25519.sign(terms_of(one))
    response = activate(consortium, consent_id, jws)

    assert response.consent.state == consent_pb2.CONSENT_STATE_ACTIVE
    assert response.consent.activated_at == timestamp(consortium.clock.microseconds)
    entry = json.loads(response.receipt.entry)
    assert entry["type"] == "consent.activated"
    assert entry["evidence_jws_sha256"] == hashlib.sha256(jws.encode()).hexdigest()
    again = activate(consortium, consent_id, jws)
    assert not again.HasField("receipt")
    with pytest.raises(grpc.RpcError) as refusal:
        activate(consortium, consent_id, P256.sign(terms_of(one)))
    assert reason_of(refusal.value) == "CONSENT_ACTIVE"


def test_a_wrong_signature_activates_nothing(consortium: Consortium) -> None:
    one = signable(consortium)
    consent_id = ask(consortium, one)
    size = consortium.journal.size
    for jws in (ED25519.sign(terms_of(one, language="de")), "..", b64(b"{}") + "..AA"):
        with pytest.raises(grpc.RpcError) as refusal:
            activate(consortium, consent_id, jws)
        assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(refusal.value) == "EVIDENCE_INVALID"
    assert consortium.journal.size == size
    assert get(consortium.alpha, consent_id).state == consent_pb2.CONSENT_STATE_REQUESTED


def test_a_signature_that_another_consent_has_activates_nothing(consortium: Consortium) -> None:
    one = signable(consortium)
    jws = P256.sign(terms_of(one))
    first, second = ask(consortium, one), ask(consortium, one)
    activate(consortium, first, jws)
    with pytest.raises(grpc.RpcError) as refusal:
        activate(consortium, second, mirrored(jws))
    assert reason_of(refusal.value) == "EVIDENCE_INVALID"


def test_without_a_nonce_nothing_can_be_signed_later(consortium: Consortium) -> None:
    one = signable(consortium)
    one.ClearField("evidence_nonce")
    consent_id = ask(consortium, one)
    with pytest.raises(grpc.RpcError) as refusal:
        activate(consortium, consent_id, P256.sign(terms_of(one)))
    assert fields_of(refusal.value) == ["evidence_jws"]


def test_managers_are_registered_once_and_never_come_back(consortium: Consortium) -> None:
    first = register(consortium, "house", ED25519)
    entry = json.loads(first.receipt.entry)
    assert (entry["type"], entry["manager"], entry["name"], entry["key"]) == (
        "manager.registered",
        "house",
        "Consent House",
        thumbprint(ED25519).hex(),
    )
    assert first.manager.key == thumbprint(ED25519)
    assert not register(consortium, "house", ED25519).HasField("receipt")
    for manager_id, signer, reason in (
        ("house", P256, "MANAGER_EXISTS"),
        ("other", ED25519, "MANAGER_KEY_EXISTS"),
    ):
        with pytest.raises(grpc.RpcError) as refusal:
            register(consortium, manager_id, signer)
        assert refusal.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert reason_of(refusal.value) == reason

    disabled = disable(consortium, "house")
    assert json.loads(disabled.receipt.entry)["type"] == "manager.disabled"
    assert not disable(consortium, "house").HasField("receipt")
    with pytest.raises(grpc.RpcError) as refusal:
        register(consortium, "house", ED25519)
    assert reason_of(refusal.value) == "MANAGER_EXISTS"
    with pytest.raises(grpc.RpcError) as refusal:
        disable(consortium, "nobody")
    assert reason_of(refusal.value) == "MANAGER_NOT_FOUND"

    listed = consortium.alpha.consents.ListConsentManagers(
        consent_pb2.ListConsentManagersRequest(), timeout=CALL_SECONDS
    )
    [manager] = listed.managers
    assert manager == disabled.manager
    assert json.loads(manager.jwk) == ED25519.jwk


def test_only_the_operator_registers_managers(consortium: Consortium) -> None:
    request = consent_pb2.RegisterConsentManagerRequest(
        manager_id="mine", name="Mine", jwk=ED25519.jwk_text
    )
    for caller in (consortium.alpha, consortium.auditor):
        with pytest.raises(grpc.RpcError) as refusal:
            caller.consents.RegisterConsentManager(request, timeout=CALL_SECONDS)
        assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"manager_id": "A"}, "manager_id"),
        ({"manager_id": ""}, "manager_id"),
        ({"manager_id": "x" * 41}, "manager_id"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"jwk": "{}"}, "jwk"),
        ({"jwk": '{"kty":"oct","k":"AAAA"}'}, "jwk"),
    ],
)
def test_a_malformed_manager_is_refused(
    consortium: Consortium, changes: dict[str, str], field: str
) -> None:
    values = {"manager_id": "house", "name": "House", "jwk": ED25519.jwk_text} | changes
    with pytest.raises(grpc.RpcError) as refusal:
        consortium.operator.consents.RegisterConsentManager(
            consent_pb2.RegisterConsentManagerRequest(**values), timeout=CALL_SECONDS
        )
    assert fields_of(refusal.value) == [field]


def test_the_mirrored_signature_is_a_good_one() -> None:
    """So that the tests that refuse it refuse it for the right reason."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    jws = mirrored(P256.sign(b"x"))
    head, _, signature = jws.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key = P256.key.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(der, f"{head}.{b64(b'x')}".encode(), ec.ECDSA(hashes.SHA256()))


def test_of_racing_grants_with_one_signature_one_is_recorded(consortium: Consortium) -> None:
    one = signable(consortium)
    jws = P256.sign(terms_of(one))
    attempts = [signed(one, jws), signed(one, mirrored(jws))] * 3
    with ThreadPoolExecutor(6) as pool:
        responses = list(pool.map(lambda attempt: grant(consortium.alpha, [attempt]), attempts))
    assert sum(len(response.granted) for response in responses) == 1
    reasons = {refusal.reason for response in responses for refusal in response.refused}
    assert reasons == {"EVIDENCE_INVALID"}


def test_evidence_is_good_in_every_batch_size(consortium: Consortium) -> None:
    drafts = [signable(consortium, subject) for subject in range(40)]
    good = [signed(one, ED25519.sign(terms_of(one))) for one in drafts]
    good[7] = signed(drafts[7], ED25519.sign(terms_of(drafts[8])))
    response = grant(consortium.alpha, good)
    assert [(r.item, r.reason) for r in response.refused] == [(7, "EVIDENCE_INVALID")]
    assert [granted.item for granted in response.granted] == [n for n in range(40) if n != 7]
