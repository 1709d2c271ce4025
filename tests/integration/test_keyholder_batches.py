"""A gateway that lies gets nothing: only what a member signed is evaluated, once charged.

The attacker here has the gateway's certificate and the consortium's authority: it can call the
key-holder, read and change every batch, and make certificates in any name.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from concordat.v1 import keyholder_pb2
from concordat_gateway.pki import Authority, Names, certificate_pem, new_key
from concordat_keyholder.batches import MAX_REPEATS
from concordat_keyholder.config import load_config
from concordat_keyholder.store.migrate import opened_store
from concordat_privacy import oprf
from concordat_rpc.peer import Role
from concordat_store.meters import history
from tests.certificates import of_version_2, self_signed, with_strange_name
from tests.keyholders import (
    ONLINE,
    PORTFOLIO,
    TRUST_DOMAIN,
    Host,
    Member,
    evaluate,
    evaluate_refused,
    new_authority,
)
from tests.postgresql import Cluster
from tests.stores import ManualClock, database_of

MINUTE = 60_000_000
STATE, BLINDED = oprf.blind_batch([b"first", b"second", b"third"])


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """A clock that only the tests move."""
    return ManualClock()


def begins_at(host: Host, clock: ManualClock) -> None:
    """Set the clock into the first epoch."""
    clock.microseconds = host.key_log.keys[0].valid_from + MINUTE


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def serving(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    clock: ManualClock,
) -> Iterator[Host]:
    """A serving key-holder, with a store of either kind."""
    with ExitStack() as stack:
        url = "sqlite:///keyholder.db"
        if request.param == "postgresql":
            cluster: Cluster = request.getfixturevalue("postgresql_cluster")
            url = stack.enter_context(database_of(cluster)).control_url
        folder = tmp_path_factory.mktemp(request.param) / "host"
        made = Host.made(folder, authority, "--store-url", url)
        begins_at(made, clock)
        stack.enter_context(made.serving(clock))
        yield made


@pytest.fixture
def host(serving: Host, clock: ManualClock) -> Host:
    """A key-holder that admits by its own roster, as in production, and knows nobody yet."""
    begins_at(serving, clock)
    serving.forget_members()
    return serving


@pytest.fixture
def development(tmp_path: Path, authority: Authority, clock: ManualClock) -> Iterator[Host]:
    """A serving key-holder that takes the authority's word at first sight."""
    made = Host.made(tmp_path / "development", authority, "--development")
    begins_at(made, clock)
    with made.serving(clock):
        yield made


@pytest.fixture(scope="module")
def alpha(authority: Authority) -> Member:
    return Member.certified_by(authority, "alpha")


@pytest.fixture(scope="module")
def beta(authority: Authority) -> Member:
    return Member.certified_by(authority, "beta")


@pytest.fixture
def channel(host: Host) -> Iterator[grpc.Channel]:
    """The gateway's connection, which the attacker has."""
    with host.channel(Role.GATEWAY) as opened:
        yield opened


def charged(host: Host, member_id: str) -> int:
    """Evaluations charged to a member, whenever."""
    with (
        opened_store(load_config(host.config).store_url) as database,
        database.read() as connection,
    ):
        return sum(
            amount
            for (member, _, _), amount in history(connection, [ONLINE, PORTFOLIO], 0).items()
            if member == member_id
        )


# What the member may do.


def test_an_admitted_member_s_batch_is_evaluated(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock
) -> None:
    host.admit(alpha)
    reply = evaluate(channel, alpha.signed(BLINDED, now=clock()))

    elements = oprf.finalize_batch(STATE, reply.evaluated_elements, reply.proof, host.public_key())
    assert len(set(elements)) == 3
    assert charged(host, "alpha") == 3


def test_a_p384_key_signs_too(
    host: Host, channel: grpc.Channel, authority: Authority, clock: ManualClock
) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    uri = f"spiffe://{TRUST_DOMAIN}/member/alpha"
    certificate = authority.issue(
        key.public_key(), Names(uri), datetime.now(UTC), timedelta(days=1)
    )
    member = Member("alpha", key, certificate_pem(certificate))
    host.admit(member)
    evaluate(channel, member.signed(BLINDED, now=clock()))


def test_a_batch_brought_again_is_answered_and_charged_once(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock
) -> None:
    host.admit(alpha)
    request = alpha.signed(BLINDED, now=clock())
    replies = {evaluate(channel, request).evaluated_elements for _ in range(1 + MAX_REPEATS)}

    assert len(replies) == 1
    assert charged(host, "alpha") == 3
    refusal = evaluate_refused(channel, request)
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "NONCE_REUSED",
    )


# What the gateway may not.


def is_refused(
    channel: grpc.Channel, request: keyholder_pb2.EvaluateBlindedRequest, reason: str
) -> None:
    refusal = evaluate_refused(channel, request)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, reason)


def altered(
    request: keyholder_pb2.EvaluateBlindedRequest, **changes: object
) -> keyholder_pb2.EvaluateBlindedRequest:
    copy = keyholder_pb2.EvaluateBlindedRequest()
    copy.CopyFrom(request)
    for name, value in changes.items():
        setattr(copy, name, value)
    return copy


def test_batches_that_it_makes_up_are_not_evaluated(
    host: Host, channel: grpc.Channel, alpha: Member, authority: Authority, clock: ManualClock
) -> None:
    """The dictionary attack through the key-holder: it guesses identifiers in alpha's name."""
    host.admit(alpha)
    _, guesses = oprf.blind_batch([b"a guess"])
    forged = Member.certified_by(authority, "alpha")

    unsigned = altered(alpha.signed(guesses, now=clock()), signature=os.urandom(70))
    is_refused(channel, unsigned, "SIGNATURE_INVALID")
    # With a certificate that the authority has signed for it.
    is_refused(channel, forged.signed(guesses, now=clock()), "KEY_NOT_ADMITTED")
    # Alpha's own certificate beside the forged key's signature.
    mixed = altered(forged.signed(guesses, now=clock()), certificate=alpha.certificate_der)
    is_refused(channel, mixed, "SIGNATURE_INVALID")
    assert charged(host, "alpha") == 0


def test_members_that_it_makes_up_are_not_admitted(
    host: Host, channel: grpc.Channel, authority: Authority, clock: ManualClock
) -> None:
    ghost = Member.certified_by(authority, "ghost")
    is_refused(channel, ghost.signed(BLINDED, now=clock()), "NOT_ADMITTED")
    # Nor does asking again help, or that the operator has given the name a quota already.
    host.does("quota", "ghost", "--daily", "5", "--monthly", "5")
    host.does("grant", "ghost", "--evaluations", "5", "--until", "2098-12-31")
    is_refused(channel, ghost.signed(BLINDED, now=clock()), "NOT_ADMITTED")
    portfolio = ghost.signed(BLINDED, quota=PORTFOLIO, now=clock())
    is_refused(channel, portfolio, "NOT_ADMITTED")


def test_elements_that_it_alters_are_not_evaluated(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock
) -> None:
    host.admit(alpha)
    request = alpha.signed(BLINDED, now=clock())
    _, guess = oprf.blind_batch([b"a guess"])
    for elements in (BLINDED + guess, guess + BLINDED[32:], BLINDED[:64], BLINDED[32:] + guess):
        is_refused(channel, altered(request, blinded_elements=elements), "SIGNATURE_INVALID")
    assert charged(host, "alpha") == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": bytes(16)},
        {"quota": PORTFOLIO},
        {"signature": b"\x30\x06\x02\x01\x01\x02\x01\x01"},
        {"signature": b"not a signature"},
    ],
    ids=["nonce", "quota", "signature", "garbage"],
)
def test_nothing_that_was_signed_can_be_changed(
    host: Host,
    channel: grpc.Channel,
    alpha: Member,
    clock: ManualClock,
    changes: dict[str, object],
) -> None:
    host.admit(alpha)
    is_refused(channel, altered(alpha.signed(BLINDED, now=clock()), **changes), "SIGNATURE_INVALID")


def test_the_time_that_was_signed_cannot_be_changed(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock
) -> None:
    host.admit(alpha)
    request = alpha.signed(BLINDED, now=clock() - 6 * MINUTE)
    request.signed_at.FromMicroseconds(clock())
    is_refused(channel, request, "SIGNATURE_INVALID")


def test_a_batch_is_not_charged_to_another_member(
    host: Host, channel: grpc.Channel, alpha: Member, beta: Member, clock: ManualClock
) -> None:
    host.admit(alpha)
    host.admit(beta)
    request = alpha.signed(BLINDED, now=clock())
    is_refused(channel, altered(request, certificate=beta.certificate_der), "SIGNATURE_INVALID")
    # The name in the request is not read.
    evaluate(channel, altered(request, member_id="beta"))
    assert charged(host, "alpha") == 3
    assert charged(host, "beta") == 0


def test_one_member_s_signature_does_not_stand_for_another_s(
    host: Host, channel: grpc.Channel, alpha: Member, authority: Authority, clock: ManualClock
) -> None:
    """A certificate for alpha's key in beta's name, which the authority can make."""
    host.admit(alpha)
    uri = f"spiffe://{TRUST_DOMAIN}/member/beta"
    certificate = authority.issue(
        alpha.key.public_key(), Names(uri), datetime.now(UTC), timedelta(days=1)
    )
    as_beta = altered(
        alpha.signed(BLINDED, now=clock()),
        certificate=certificate.public_bytes(serialization.Encoding.DER),
    )
    is_refused(channel, as_beta, "SIGNATURE_INVALID")


@pytest.mark.parametrize("off", [-5 * MINUTE - 1, 5 * MINUTE + 1], ids=["old", "early"])
def test_a_batch_that_is_not_fresh_is_refused(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock, off: int
) -> None:
    host.admit(alpha)
    is_refused(channel, alpha.signed(BLINDED, now=clock() + off), "REQUEST_STALE")


@pytest.mark.parametrize("off", [-5 * MINUTE, 5 * MINUTE], ids=["old", "early"])
def test_five_minutes_are_fresh(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock, off: int
) -> None:
    host.admit(alpha)
    evaluate(channel, alpha.signed(BLINDED, now=clock() + off))


def test_an_old_batch_is_not_evaluated_again(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock
) -> None:
    host.admit(alpha)
    request = alpha.signed(BLINDED, now=clock())
    evaluate(channel, request)
    clock.advance(301)
    is_refused(channel, request, "REQUEST_STALE")


def test_a_nonce_is_good_for_one_batch(
    host: Host, channel: grpc.Channel, alpha: Member, beta: Member, clock: ManualClock
) -> None:
    host.admit(alpha)
    host.admit(beta)
    nonce = os.urandom(16)
    evaluate(channel, alpha.signed(BLINDED, nonce=nonce, now=clock()))
    for other in (
        alpha.signed(BLINDED[32:], nonce=nonce, now=clock()),
        alpha.signed(BLINDED, nonce=nonce, now=clock() + 1),
        alpha.signed(BLINDED, nonce=nonce, quota=PORTFOLIO, now=clock()),
    ):
        is_refused(channel, other, "NONCE_REUSED")
    # Nonces are each member's own: nobody can use up another's.
    evaluate(channel, beta.signed(BLINDED, nonce=nonce, now=clock()))


def test_a_refused_batch_can_be_brought_again(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock
) -> None:
    """Its nonce was not used up: it counts from the charge on."""
    request = alpha.signed(BLINDED, now=clock())
    is_refused(channel, request, "NOT_ADMITTED")
    host.admit(alpha)
    evaluate(channel, request)


# The roster.


def test_a_renewed_certificate_of_the_same_key_is_admitted(
    host: Host, channel: grpc.Channel, alpha: Member, authority: Authority, clock: ManualClock
) -> None:
    host.admit(alpha)
    uri = f"spiffe://{TRUST_DOMAIN}/member/alpha"
    renewed = authority.issue(
        alpha.key.public_key(), Names(uri), datetime.now(UTC), timedelta(days=1)
    )
    member = replace(alpha, certificate_pem=certificate_pem(renewed))
    evaluate(channel, member.signed(BLINDED, now=clock()))


def test_a_new_key_counts_once_it_was_admitted_and_the_old_one_no_more(
    host: Host, channel: grpc.Channel, alpha: Member, authority: Authority, clock: ManualClock
) -> None:
    host.admit(alpha)
    renewed = Member.certified_by(authority, "alpha")
    is_refused(channel, renewed.signed(BLINDED, now=clock()), "KEY_NOT_ADMITTED")
    host.admit(renewed)
    evaluate(channel, renewed.signed(BLINDED, now=clock()))
    is_refused(channel, alpha.signed(BLINDED, now=clock()), "KEY_NOT_ADMITTED")


def test_an_expelled_member_stays_out_until_it_is_admitted(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock
) -> None:
    host.admit(alpha)
    evaluate(channel, alpha.signed(BLINDED, now=clock()))
    host.does("expel", "alpha")
    is_refused(channel, alpha.signed(BLINDED, now=clock()), "NOT_ADMITTED")
    host.admit(alpha)
    evaluate(channel, alpha.signed(BLINDED, now=clock()))


# In development the authority's word counts, at first sight.


def test_the_authority_s_members_come_in_at_first_sight_with_their_key(
    development: Host, alpha: Member, authority: Authority, clock: ManualClock
) -> None:
    other = Member.certified_by(authority, "alpha")
    with development.channel() as channel:
        evaluate(channel, alpha.signed(BLINDED, now=clock()))
        is_refused(channel, other.signed(BLINDED, now=clock()), "KEY_NOT_ADMITTED")
        development.admit(other)
        evaluate(channel, other.signed(BLINDED, now=clock()))


def test_a_quota_may_be_there_before_its_member(
    development: Host, alpha: Member, clock: ManualClock
) -> None:
    development.does("quota", "alpha", "--daily", "3", "--monthly", "3")
    with development.channel() as channel:
        evaluate(channel, alpha.signed(BLINDED, now=clock()))
        refusal = evaluate_refused(channel, alpha.signed(BLINDED, now=clock()))
    assert refusal.reason == "EVALUATIONS_EXHAUSTED"


def test_others_certificates_admit_nobody(
    development: Host, authority: Authority, clock: ManualClock
) -> None:
    stranger = Member.certified_by(new_authority(), "alpha")
    with development.channel() as channel:
        is_refused(channel, stranger.signed(BLINDED, now=clock()), "NOT_ADMITTED")
        # The true one can still come.
        member = Member.certified_by(authority, "alpha")
        evaluate(channel, member.signed(BLINDED, now=clock()))


@pytest.mark.parametrize("days", [-3, 3], ids=["expired", "not yet valid"])
def test_a_certificate_out_of_its_time_admits_nobody(
    development: Host, authority: Authority, clock: ManualClock, days: int
) -> None:
    key = new_key()
    uri = f"spiffe://{TRUST_DOMAIN}/member/alpha"
    starts = datetime.fromtimestamp(clock() / 1e6, UTC) + timedelta(days=days)
    certificate = authority.issue(key.public_key(), Names(uri), starts, timedelta(days=1))
    member = Member("alpha", key, certificate_pem(certificate))
    with development.channel() as channel:
        is_refused(channel, member.signed(BLINDED, now=clock()), "NOT_ADMITTED")


def test_an_expelled_member_cannot_come_in_at_first_sight(
    development: Host, alpha: Member, clock: ManualClock
) -> None:
    development.does("expel", "alpha")
    with development.channel() as channel:
        is_refused(channel, alpha.signed(BLINDED, now=clock()), "NOT_ADMITTED")


# What is not even a member's batch.


def test_certificates_of_others_than_members_are_refused(
    host: Host, channel: grpc.Channel, authority: Authority, clock: ManualClock
) -> None:
    for uri in (
        f"spiffe://{TRUST_DOMAIN}/operator/main",
        f"spiffe://{TRUST_DOMAIN}/gateway/main",
        f"spiffe://{TRUST_DOMAIN}/invitation/alpha",
        "spiffe://other.test/member/alpha",
        "https://alpha.test",
    ):
        member = Member.certified_by(authority, "alpha", uri)
        refusal = evaluate_refused(channel, member.signed(BLINDED, now=clock()))
        assert [field for field, _ in refusal.violations] == ["certificate"]


def uris(*texts: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(text) for text in texts])


def test_certificates_that_say_nothing_clear_are_refused(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock
) -> None:
    uri, key = f"spiffe://{TRUST_DOMAIN}/member/alpha", new_key()
    for certificate in (
        b"",
        b"not a certificate",
        alpha.certificate_pem,
        alpha.certificate_der[:-1],
        alpha.certificate_der + bytes(9000),
        of_version_2(alpha.certificate_der),
        with_strange_name(key),
        self_signed(key, None),
        self_signed(key, uris(uri, uri)),
        self_signed(rsa.generate_private_key(65537, 2048), uris(uri)),
        self_signed(ec.generate_private_key(ec.SECP521R1()), uris(uri)),
        self_signed(ec.generate_private_key(ec.SECP256K1()), uris(uri)),
    ):
        request = altered(alpha.signed(BLINDED, now=clock()), certificate=certificate)
        refusal = evaluate_refused(channel, request)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert [field for field, _ in refusal.violations] == ["certificate"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nonce", b""),
        ("nonce", bytes(15)),
        ("nonce", bytes(17)),
        ("quota", 0),
        ("quota", 3),
        ("signature", b""),
        ("signature", bytes(257)),
    ],
)
def test_malformed_fields_are_named(
    host: Host,
    channel: grpc.Channel,
    alpha: Member,
    clock: ManualClock,
    field: str,
    value: object,
) -> None:
    host.admit(alpha)
    request = altered(alpha.signed(BLINDED, quota=ONLINE, now=clock()), **{field: value})
    refusal = evaluate_refused(channel, request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [name for name, _ in refusal.violations] == [field]


@pytest.mark.parametrize("seconds", [-1, -(10**10), 2**62])
def test_a_time_that_is_none_is_named(
    host: Host, channel: grpc.Channel, alpha: Member, clock: ManualClock, seconds: int
) -> None:
    request = alpha.signed(BLINDED, now=clock())
    request.signed_at.seconds = seconds
    refusal = evaluate_refused(channel, request)
    assert [name for name, _ in refusal.violations] == ["signed_at"]


def test_a_batch_without_its_time_is_not_fresh(
    host: Host, channel: grpc.Channel, alpha: Member
) -> None:
    request = alpha.signed(BLINDED, now=0)
    request.ClearField("signed_at")
    is_refused(channel, request, "REQUEST_STALE")
