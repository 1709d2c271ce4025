"""TokenService before several key-holders: who is asked, who stands in, what members are told.

The key-holders here are servers that misbehave on demand and compute with real keys; what a
key-holder itself checks is tested with the real one.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concordat.v1 import keyholder_pb2, keyholder_pb2_grpc, token_pb2, token_pb2_grpc
from concordat_gateway.keyholder import Endpoint, KeyholderClient
from concordat_gateway.keylog import KeyLogFile
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.pki import new_key
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.server import POLICY
from concordat_gateway.services.token import TokenServicer
from concordat_privacy import oprf
from concordat_privacy.keylog import Holder, KeyLog, key_entry, split_entry
from concordat_privacy.oprf import SecretKey, Share, ShareReply, derive_key_pair
from concordat_privacy.oprf.sharing import split, weighted, weighted_public_key
from concordat_rpc.errors import (
    Refusal,
    exhausted,
    failed_precondition,
    invalid,
    permission_denied,
    unavailable,
)
from concordat_rpc.limits import Limits
from concordat_rpc.peer import Peer, Role, Serial
from concordat_rpc.server import RpcServer, build_server
from tests.certificates import of_version_2, with_strange_name
from tests.services import AMPLE, TRUST_DOMAIN, fields_of, party, reason_of
from tests.stores import ManualClock, StoreUrls, open_journal, subject_keys_of
from tests.tokenkeys import LOG_KEY, LONG_AGO, peppers

SECRET = derive_key_pair(bytes(32), b"token service").secret
INPUTS = [b"first", b"second"]
HOST = "keyholder.concordat.test"
_METHODS = ("EvaluateBlinded", "UpdateBlinded", "ListHeldKeys")
_POLICY = {
    f"/concordat.v1.KeyholderService/{method}": frozenset({Role.GATEWAY}) for method in _METHODS
}

Fault = Callable[[], None]


class Unobserved:
    def observe(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        """Nothing is measured here."""


def admit(_peer: Peer, _serial: Serial, _method: str) -> None:
    """Membership has tests of its own."""


def serve(add: Callable[[grpc.Server], None], role: Role, policy: Any, *hosts: str) -> RpcServer:
    server = build_server(
        [add],
        address="127.0.0.1:0",
        tls=party(role, "main", *hosts),
        trust_domain=TRUST_DOMAIN,
        policy=policy,
        limits=Limits(),
        identity_check=admit,
        observer=Unobserved(),
    )
    server.start()
    return server


class Keyholder(keyholder_pb2_grpc.KeyholderServiceServicer):
    """Holds the whole key, or a share; does what `fault` does first."""

    def __init__(self, held: SecretKey | Share) -> None:
        self.held = held
        self.holder = held.holder if isinstance(held, Share) else 0
        self.asked: list[keyholder_pb2.EvaluateBlindedRequest] = []
        self.greeted = 0
        self.fault: Fault = lambda: None
        self.server = serve(
            lambda server: keyholder_pb2_grpc.add_KeyholderServiceServicer_to_server(self, server),
            Role.KEYHOLDER,
            _POLICY,
            HOST,
        )

    def EvaluateBlinded(  # noqa: N802  the contract's name
        self, request: keyholder_pb2.EvaluateBlindedRequest, _context: grpc.ServicerContext
    ) -> keyholder_pb2.EvaluateBlindedResponse:
        self.asked.append(request)
        self.fault()
        held = self.held
        key = weighted(held, list(request.holders)) if isinstance(held, Share) else held
        elements, proof = oprf.evaluate_batch(key, request.blinded_elements)
        return keyholder_pb2.EvaluateBlindedResponse(evaluated_elements=elements, proof=proof)

    def ListHeldKeys(  # noqa: N802  the contract's name
        self, _request: keyholder_pb2.ListHeldKeysRequest, _context: grpc.ServicerContext
    ) -> keyholder_pb2.ListHeldKeysResponse:
        self.greeted += 1
        return keyholder_pb2.ListHeldKeysResponse()


@dataclass
class Service:
    """A gateway's TokenService before some key-holders, and a member that calls it."""

    holders: Sequence[Keyholder]
    stub: token_pb2_grpc.TokenServiceStub
    log: KeyLog
    monotonic: list[float] = field(default_factory=lambda: [0.0])

    def evaluate(
        self, blinded: bytes, timeout: float = 60, **fields: Any
    ) -> token_pb2.EvaluateResponse:
        values: dict[str, Any] = {
            "epoch": 1,
            "blinded_elements": blinded,
            "nonce": bytes(16),
            "quota": token_pb2.EVALUATION_QUOTA_ONLINE,
            "certificate": certificate_of("alpha"),
            "signature": b"as the member signed it",
        }
        return self.stub.Evaluate(token_pb2.EvaluateRequest(**(values | fields)), timeout=timeout)

    def tokens(self, **fields: Any) -> tuple[list[int], list[bytes]]:
        """Who answered, and the tokens, every proof verified against the key log."""
        state, blinded = oprf.blind_batch(INPUTS)
        reply = self.evaluate(blinded, **fields)
        [key] = self.log.keys
        if not reply.shares:
            made = oprf.finalize_batch(state, reply.evaluated_elements, reply.proof, key.public_key)
            return [], made
        together = [share.holder for share in reply.shares]
        public = {one.holder: one.public_key for one in key.holders}
        answers = [
            ShareReply(
                share.holder,
                weighted_public_key(public[share.holder], share.holder, together),
                share.evaluated_elements,
                share.proof,
            )
            for share in reply.shares
        ]
        return together, oprf.finalize_shares(state, answers)


def expected_tokens() -> list[bytes]:
    """What the whole key makes of the inputs, without any gateway."""
    state, blinded = oprf.blind_batch(INPUTS)
    elements, proof = oprf.evaluate_batch(SECRET, blinded)
    return oprf.finalize_batch(state, elements, proof, SECRET.public_key())


def certificate_of(member: str) -> bytes:
    pem = party(Role.MEMBER, member).certificate_pem
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@contextmanager
def serving(
    folder: Path, journal: Journal, clock: ManualClock, held: Sequence[SecretKey | Share]
) -> Iterator[Service]:
    entries = [key_entry(1, SECRET.public_key(), LONG_AGO)]
    shares = [one for one in held if isinstance(one, Share)]
    if shares:
        public = [Holder(one.holder, one.secret.public_key(), None) for one in shares]
        entries.append(split_entry(1, 2, public))
    log = KeyLog.signed(entries, LOG_KEY)
    (folder / "keys.log").write_text(log.text)
    file = KeyLogFile(folder / "keys.log", LOG_KEY.verifier)
    with ExitStack() as stack:
        holders = [Keyholder(one) for one in held]
        for one in holders:
            stack.callback(one.server.stop)
        now = [0.0]
        client = KeyholderClient(
            [Endpoint(one.holder, f"127.0.0.1:{one.server.port}", HOST) for one in holders],
            party(Role.GATEWAY, "main"),
            monotonic=lambda: now[0],
        )
        subjects = Subjects(
            journal,
            file.current,
            peppers(1).__getitem__,
            client.update,
            clock,
            AMPLE,
            subject_keys_of(journal, clock),
        )
        servicer = TokenServicer(journal, client, file, subjects)
        gateway = serve(
            lambda server: token_pb2_grpc.add_TokenServiceServicer_to_server(servicer, server),
            Role.GATEWAY,
            POLICY,
            "localhost",
        )
        stack.callback(gateway.stop)
        identity = party(Role.MEMBER, "alpha")
        credentials = grpc.ssl_channel_credentials(
            identity.ca_pem, identity.private_key_pem, identity.certificate_pem
        )
        channel = stack.enter_context(grpc.secure_channel(f"localhost:{gateway.port}", credentials))
        yield Service(holders, token_pb2_grpc.TokenServiceStub(channel), log, now)


@pytest.fixture
def journal(sqlite_stores: StoreUrls, clock: ManualClock) -> Iterator[Journal]:
    with open_journal(sqlite_stores, clock) as opened:
        yield opened


@pytest.fixture
def two_of_three(tmp_path: Path, journal: Journal, clock: ManualClock) -> Iterator[Service]:
    with serving(tmp_path, journal, clock, split(SECRET, 2, 3)) as service:
        yield service


@pytest.fixture
def whole(tmp_path: Path, journal: Journal, clock: ManualClock) -> Iterator[Service]:
    """Two key-holders with the same whole key."""
    with serving(tmp_path, journal, clock, [SECRET, SECRET]) as service:
        yield service


def raising(refusal: Refusal) -> Fault:
    def fault() -> None:
        raise refusal

    return fault


def refused(service: Service, **fields: Any) -> grpc.RpcError:
    _, blinded = oprf.blind_batch(INPUTS)
    with pytest.raises(grpc.RpcError) as caught:
        service.evaluate(**({"blinded": blinded} | fields))
    return caught.value


def retry_seconds(error: grpc.RpcError) -> float:
    for detail in rpc_status.from_call(error).details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            return retry.retry_delay.ToMilliseconds() / 1000
    raise AssertionError("no RetryInfo")


def test_the_key_log_is_served_as_it_is(whole: Service) -> None:
    listed = whole.stub.ListTokenKeys(token_pb2.ListTokenKeysRequest(), timeout=30)
    assert listed.key_log == whole.log.text
    [key] = listed.keys
    assert (key.epoch, key.public_key) == (1, bytes(SECRET.public_key()))
    assert (key.valid_from.ToMicroseconds(), key.HasField("valid_to")) == (LONG_AGO, False)


def test_the_member_s_request_is_passed_on_as_it_was_signed(whole: Service) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    request = token_pb2.EvaluateRequest(
        epoch=1,
        blinded_elements=blinded,
        nonce=b"n" * 16,
        quota=token_pb2.EVALUATION_QUOTA_PORTFOLIO,
        certificate=certificate_of("alpha"),
        signature=b"signed",
    )
    request.signed_at.FromMicroseconds(1_795_000_000_123_456)
    whole.stub.Evaluate(request, timeout=30)

    [asked] = whole.holders[0].asked
    for name in ("epoch", "blinded_elements", "nonce", "quota", "certificate", "signature"):
        assert getattr(asked, name) == getattr(request, name), name
    assert asked.signed_at == request.signed_at
    assert list(asked.holders) == []
    assert not whole.holders[1].asked


def test_a_whole_key_s_second_key_holder_stands_in_for_the_first(whole: Service) -> None:
    assert whole.tokens() == ([], expected_tokens())
    whole.holders[0].server.stop()
    assert whole.tokens() == ([], expected_tokens())
    assert len(whole.holders[1].asked) == 1


def test_as_many_holders_answer_together_as_the_threshold_says(two_of_three: Service) -> None:
    assert two_of_three.tokens() == ([1, 2], expected_tokens())

    first, second, third = (one.asked for one in two_of_three.holders)
    assert not third
    assert first == second
    assert list(first[0].holders) == [1, 2]


def test_a_dead_holder_is_replaced_and_remembered_for_a_while(two_of_three: Service) -> None:
    dead = two_of_three.holders[0]
    dead.fault = raising(unavailable("SHUTTING_DOWN", "shutting down"))
    assert two_of_three.tokens() == ([2, 3], expected_tokens())
    dead.fault = lambda: None
    assert two_of_three.tokens() == ([2, 3], expected_tokens())
    assert len(dead.asked) == 1

    two_of_three.monotonic[0] += 60
    assert two_of_three.tokens() == ([1, 2], expected_tokens())


def test_holders_whose_last_answer_was_wrong_are_avoided(two_of_three: Service) -> None:
    assert two_of_three.tokens(avoid_holders=[2])[0] == [1, 3]
    # As long as there are enough others.
    assert len(two_of_three.tokens(avoid_holders=[2, 3])[0]) == 2


def test_with_fewer_holders_than_needed_nothing_is_evaluated(two_of_three: Service) -> None:
    for one in two_of_three.holders[:2]:
        one.server.stop()
    error = refused(two_of_three)

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(error) == "KEYHOLDER_UNAVAILABLE"
    assert retry_seconds(error) > 0


def test_a_holder_that_hangs_is_replaced(two_of_three: Service) -> None:
    released = threading.Event()
    two_of_three.holders[1].fault = lambda: released.wait(60) and None
    try:
        assert two_of_three.tokens(timeout=6) == ([1, 3], expected_tokens())
    finally:
        released.set()


def test_the_dead_are_found_before_the_living_are_charged(two_of_three: Service) -> None:
    first, second, third = two_of_three.holders
    first.server.stop()
    assert two_of_three.tokens() == ([2, 3], expected_tokens())
    # As if it had been known from the beginning.
    assert (len(second.asked), len(third.asked)) == (1, 1)


def test_an_outage_takes_no_repeats_of_the_living(two_of_three: Service) -> None:
    """A member that repeats its batch until enough holders are back must find them willing."""
    first, second, third = two_of_three.holders
    assert two_of_three.tokens()[0] == [1, 2]
    for dead in (second, third):
        dead.server.stop()
    for _ in range(12):
        assert reason_of(refused(two_of_three)) == "KEYHOLDER_UNAVAILABLE"
        two_of_three.monotonic[0] += 60
    # Once before, and once more until it was clear that the others are gone.
    assert len(first.asked) <= 3


def test_who_is_up_is_greeted_once(two_of_three: Service) -> None:
    for _ in range(3):
        two_of_three.tokens()
    assert [one.greeted for one in two_of_three.holders] == [1, 1, 1]


def test_who_answered_already_is_asked_again_rather_than_a_new_one(
    tmp_path: Path, journal: Journal, clock: ManualClock
) -> None:
    """Each holder that answers charges the member."""
    with serving(tmp_path, journal, clock, split(SECRET, 2, 4)) as service:
        service.holders[0].fault = raising(permission_denied("NOT_ADMITTED", "no such member"))
        service.holders[2].fault = raising(permission_denied("NOT_ADMITTED", "no such member"))
        assert service.tokens() == ([2, 4], expected_tokens())
        assert [len(one.asked) for one in service.holders] == [1, 3, 1, 1]


REFUSALS = pytest.mark.parametrize(
    "refusal",
    [
        permission_denied("SIGNATURE_INVALID", "the signature does not verify"),
        permission_denied("NOT_ADMITTED", "no such member"),
        permission_denied("KEY_NOT_ADMITTED", "another key"),
        permission_denied("REQUEST_STALE", "signed too long ago"),
        permission_denied("NONCE_REUSED", "used before"),
        invalid("blinded_elements[1]", "not an element"),
        exhausted("EVALUATIONS_EXHAUSTED", "no more today", "member:alpha", 3600),
        exhausted("PORTFOLIO_EXHAUSTED", "no more", "member:alpha", 60),
    ],
    ids=lambda refusal: refusal.reason,
)


@REFUSALS
def test_one_holder_s_no_is_not_the_others(
    two_of_three: Service, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    """Its roster, quotas and clock are its own; the operator is told which one it is."""
    two_of_three.holders[1].fault = raising(refusal)
    with caplog.at_level(logging.WARNING, "concordat_gateway"):
        assert two_of_three.tokens() == ([1, 3], expected_tokens())
    assert caplog.messages == [f"key-holder 2 refused: {refusal.reason}"]


def test_wrong_numbers_of_holders_are_the_operator_s_to_mend(
    two_of_three: Service, caplog: pytest.LogCaptureFixture
) -> None:
    for one in two_of_three.holders:
        one.fault = raising(invalid("holders", "this is key-holder 7, which is not among them"))
    with caplog.at_level(logging.ERROR, "concordat_gateway"):
        assert reason_of(refused(two_of_three)) == "KEYHOLDER_UNAVAILABLE"
    assert any("numbers in [[keyholders]]" in message for message in caplog.messages)


def test_a_no_while_others_are_down_is_an_outage(two_of_three: Service) -> None:
    """With the one that is down the batch can succeed, so the member may try again."""
    two_of_three.holders[0].server.stop()
    two_of_three.holders[1].fault = raising(permission_denied("REQUEST_STALE", "signed long ago"))
    assert reason_of(refused(two_of_three)) == "KEYHOLDER_UNAVAILABLE"


@REFUSALS
@pytest.mark.parametrize("service_name", ["two_of_three", "whole"])
def test_what_the_key_holders_say_to_the_member_arrives(
    request: pytest.FixtureRequest, service_name: str, refusal: Refusal
) -> None:
    """Where too few are left that could say otherwise. Holders of the whole key are as one."""
    service: Service = request.getfixturevalue(service_name)
    for one in service.holders[: 1 if service_name == "whole" else 2]:
        one.fault = raising(refusal)
    error = refused(service)

    assert error.code() is refusal.kind.value
    assert error.details() == refusal.message
    assert reason_of(error) == refusal.reason
    if refusal.violations:
        assert fields_of(error) == ["blinded_elements[1]"]
    if refusal.retry_after_seconds:
        assert retry_seconds(error) == refusal.retry_after_seconds
        quota = error_details_pb2.QuotaFailure()
        assert any(detail.Unpack(quota) for detail in rpc_status.from_call(error).details)
        assert quota.violations[0].subject == "member:alpha"


def test_what_it_says_to_nobody_does_not(whole: Service) -> None:
    def broken() -> None:
        raise RuntimeError("where the key lies")

    for one in whole.holders:
        one.fault = broken
    error = refused(whole)
    assert reason_of(error) == "KEYHOLDER_UNAVAILABLE"
    assert "key lies" not in (error.details() or "")
    assert "error_id" not in str(rpc_status.from_call(error))


def test_a_holder_without_the_epoch_s_share_is_replaced(two_of_three: Service) -> None:
    lacking = raising(failed_precondition("EPOCH_NOT_ACTIVE", "no share of epoch 1"))
    two_of_three.holders[0].fault = lacking
    assert two_of_three.tokens()[0] == [2, 3]
    two_of_three.holders[1].fault = lacking
    error = refused(two_of_three)
    assert (error.code(), reason_of(error)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "EPOCH_NOT_ACTIVE",
    )


@pytest.mark.parametrize(
    "certificate",
    [
        b"",
        b"no certificate",
        certificate_of("beta"),
        of_version_2(certificate_of("alpha")),
        with_strange_name(new_key()),
    ],
    ids=["empty", "none", "beta's", "of version 2", "a strange name"],
)
def test_a_batch_with_another_s_certificate_is_not_passed_on(
    whole: Service, certificate: bytes
) -> None:
    error = refused(whole, certificate=certificate)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason_of(error) == "SIGNATURE_INVALID"
    assert not whole.holders[0].asked


@pytest.mark.parametrize("length", [0, 31, 33, 32 * 4096 + 32])
def test_a_batch_of_wrong_length_is_not_passed_on(whole: Service, length: int) -> None:
    error = refused(whole, blinded=bytes(length))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_of(error) == ["blinded_elements"]
    assert not whole.holders[0].asked


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_that_is_not_in_use_is_not_passed_on(whole: Service, epoch: int) -> None:
    error = refused(whole, epoch=epoch)
    assert reason_of(error) == "EPOCH_NOT_ACTIVE"
    assert not whole.holders[0].asked
