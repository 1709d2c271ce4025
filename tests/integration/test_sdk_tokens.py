"""How both clients come by tokens, and what they do when key-holders fail or lie: over real TLS."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from concordat import (
    AlarmKind,
    Client,
    ConsentDraft,
    DataCategory,
    FailedPrecondition,
    InvalidInput,
    KeyLogForked,
    KeyLogInvalid,
    NotPermitted,
    Options,
    ProfileError,
    ProofInvalid,
    ProtocolViolation,
    Purpose,
    QuotaExhausted,
    ReceiptInvalid,
    ResidentId,
    ServerFault,
    Token,
    Unavailable,
    UsageKind,
)
from concordat_privacy.identifiers import oprf_input
from concordat_privacy.keylog import KeyLog
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.oprf import blind_batch, evaluate_batch, finalize_batch
from concordat_rpc.errors import Kind, Refusal
from tests.fabricate import resident_id
from tests.gateways import eventually
from tests.peer import Abort, Certificates, Change, Hold, Later, Peer, PrivateKey, Refuse
from tests.peer_clients import Opener
from tests.peer_ledger import SPIFFE_ID
from tests.peer_tokens import EPOCH, LOG_NAME, pair_of

PEOPLE = [ResidentId(resident_id(index)) for index in range(4_500)]
NEXT = EPOCH + 1


def expected_token(peer: Peer, person: ResidentId, epoch: int = EPOCH) -> Token:
    """The person's token under the epoch's whole key, made without client or server."""
    pair = peer.keyholders.pairs[epoch]
    state, blinded = blind_batch([oprf_input(person)])
    [element] = finalize_batch(state, *evaluate_batch(pair.secret, blinded), pair.public)
    return Token(element, epoch)


def expected_tokens(peer: Peer, people: list[ResidentId], epoch: int = EPOCH) -> list[Token]:
    return [expected_token(peer, person, epoch) for person in people]


def batch_sizes(peer: Peer) -> list[int]:
    return [len(request.blinded_elements) // 32 for request in peer.requests["Evaluate"]]


# Batches


def test_tokens_come_in_order_and_equal_identifiers_are_sent_once(
    client: Client, peer: Peer
) -> None:
    people = [PEOPLE[1], PEOPLE[0], PEOPLE[1]]
    assert client.tokenise(people) == expected_tokens(peer, people)
    assert batch_sizes(peer) == [2]
    assert peer.requests["Evaluate"][0].epoch == EPOCH


def test_many_identifiers_go_in_batches_and_progress_is_told(client: Client, peer: Peer) -> None:
    told: list[tuple[int, int]] = []
    tokens = client.tokenise(PEOPLE, progress=lambda done, total: told.append((done, total)))
    assert len(set(tokens)) == len(PEOPLE)
    assert sorted(batch_sizes(peer)) == [500, 2_000, 2_000]
    assert told == [(2_000, 4_500), (4_000, 4_500), (4_500, 4_500)]


def test_no_identifiers_are_no_request(client: Client, peer: Peer) -> None:
    assert client.tokenise([]) == []
    assert peer.requests["Evaluate"] == []


def test_cached_tokens_are_not_asked_for_again(opened: Opener, peer: Peer) -> None:
    client = opened(Options(cached_tokens=10))
    first = client.tokenise(PEOPLE[:2])
    assert client.tokenise(PEOPLE[:3])[:2] == first
    assert batch_sizes(peer) == [2, 1]


def test_a_text_that_is_no_identifier_is_refused_and_not_repeated(client: Client) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.tokenise([resident_id(1)])  # type: ignore[list-item]  # the mistake under test
    assert resident_id(1) not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("portfolio", 1), ("epoch", 0), ("epoch", "3"), ("progress", 5)]
)
def test_a_careless_call_is_told_what_is_wrong(
    client: Client, peer: Peer, field: str, value: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.tokenise(PEOPLE[:1], **{field: value})
    assert [violation.field for violation in caught.value.violations] == [field]
    assert peer.requests["Evaluate"] == []


def test_tokens_made_before_a_failure_are_not_lost(opened: Opener, peer: Peer) -> None:
    client = opened(Options(parallelism=1, cached_tokens=10_000))
    peer.next("Evaluate", None, Abort(grpc.StatusCode.INTERNAL))
    with pytest.raises(ServerFault) as caught:
        client.tokenise([*PEOPLE, PEOPLE[0]])
    partial = caught.value.partial
    assert isinstance(partial, tuple)
    assert partial[:2] == tuple(expected_tokens(peer, PEOPLE[:2]))
    assert partial[-1] == partial[0]
    assert [token is None for token in partial] == [False] * 2_000 + [True] * 2_500 + [False]
    [note] = caught.value.__notes__
    assert "error.partial" in note

    peer.requests["Evaluate"].clear()
    assert client.tokenise(PEOPLE)[:2_000] == list(partial[:2_000])
    assert batch_sizes(peer) == [2_000, 500]


# Signatures


def test_a_batch_is_signed_with_the_profiles_key(client: Client, peer: Peer, profile: Path) -> None:
    # The peer verifies every signature, by the contract's words, before it evaluates.
    client.tokenise(PEOPLE[:2])
    [request] = peer.requests["Evaluate"]
    leaf = x509.load_pem_x509_certificate((profile / "cert.pem").read_bytes())
    assert x509.load_der_x509_certificate(request.certificate) == leaf
    assert request.signed_at.ToDatetime(UTC) == peer.time
    assert peer.keyholders.quotas == [1]


def use_key(profile: Path, certificates: Certificates, key: PrivateKey) -> None:
    certificate, pem = certificates.issue(SPIFFE_ID, key=key)
    (profile / "cert.pem").write_bytes(certificate)
    (profile / "key.pem").write_bytes(pem)


def test_a_key_on_p384_signs_too(
    opened: Opener, peer: Peer, profile: Path, certificates: Certificates
) -> None:
    use_key(profile, certificates, ec.generate_private_key(ec.SECP384R1()))
    assert opened().tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1])


def test_a_key_that_cannot_sign_is_told_before_anything_is_sent(
    opened: Opener, peer: Peer, profile: Path, certificates: Certificates
) -> None:
    use_key(profile, certificates, rsa.generate_private_key(65_537, 2_048))
    client = opened()
    with pytest.raises(ProfileError) as caught:
        client.tokenise(PEOPLE[:1])
    assert caught.value.reason == "KEY_CANNOT_SIGN"
    assert peer.requests["Evaluate"] == []
    client.checkpoint()


def test_each_batch_has_a_nonce_of_its_own_that_its_repeats_keep(
    opened: Opener, peer: Peer
) -> None:
    client = opened(Options(parallelism=1))
    peer.next("Evaluate", Abort(grpc.StatusCode.UNAVAILABLE, after_work=True))
    client.tokenise(PEOPLE[:2_001])
    first, again, other = peer.requests["Evaluate"]
    assert first == again
    assert len(first.nonce) == len(other.nonce) == 16
    assert first.nonce != other.nonce
    assert sorted(peer.keyholders.charged.values()) == [1, 2_000]


def test_a_portfolio_has_a_quota_of_its_own(client: Client, peer: Peer) -> None:
    client.tokenise(PEOPLE[:1], portfolio=True)
    assert peer.keyholders.quotas == [2]


def test_a_changed_batch_is_not_signed(client: Client, peer: Peer) -> None:
    # Shows that the peer of these tests would notice.
    client.tokenise(PEOPLE[:1])
    [request] = peer.requests["Evaluate"]
    for changed in ({"quota": 2}, {"epoch": NEXT}, {"nonce": bytes(16)}):
        forged = type(request).FromString(request.SerializeToString())
        for name, value in changed.items():
            setattr(forged, name, value)
        refusal = peer.keyholders.evaluate(forged, peer.time)
        assert isinstance(refusal, Refusal)
        assert refusal.reason == "SIGNATURE_INVALID"


def test_a_batch_that_grew_stale_while_it_was_repeated_is_signed_anew(
    client: Client, peer: Peer
) -> None:
    peer.next("Evaluate", Later(timedelta(minutes=6)))
    assert client.tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1])
    first, second = peer.requests["Evaluate"]
    assert first.nonce != second.nonce
    assert first.blinded_elements == second.blinded_elements
    assert second.signed_at.ToDatetime(UTC) == peer.time


def test_a_batch_that_was_repeated_too_often_is_signed_anew_once(
    client: Client, peer: Peer
) -> None:
    repeated = Refuse(Refusal(Kind.PERMISSION_DENIED, "NONCE_REUSED", "repeated 8 times"))
    lost = Abort(grpc.StatusCode.UNAVAILABLE, after_work=True)
    peer.next("Evaluate", lost, repeated)
    assert client.tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1])
    first, again, anew = peer.requests["Evaluate"]
    assert first == again
    assert anew.nonce != first.nonce
    assert anew.blinded_elements == first.blinded_elements

    peer.next("Evaluate", repeated, repeated)
    with pytest.raises(NotPermitted) as caught:
        client.tokenise(PEOPLE[1:2])
    assert caught.value.reason == "NONCE_REUSED"
    assert len(peer.requests["Evaluate"]) == 5


def test_a_clock_that_is_wrong_is_told_at_once(client: Client, peer: Peer) -> None:
    peer.clients_ahead = timedelta(minutes=-20)
    with pytest.raises(NotPermitted) as caught:
        client.tokenise(PEOPLE[:1])
    assert caught.value.reason == "REQUEST_STALE"
    assert any("clock" in note for note in caught.value.__notes__)
    assert len(peer.requests["Evaluate"]) == 1


# Proofs


def test_tokens_made_with_another_key_are_not_returned(client: Client, peer: Peer) -> None:
    peer.keyholders.pairs[EPOCH] = pair_of("another key")
    with pytest.raises(ProofInvalid) as caught:
        client.tokenise(PEOPLE[:3])
    assert caught.value.operation == "tokenise"
    assert caught.value.holder is None


def test_one_wrong_batch_of_many_fails_the_whole_call(client: Client, peer: Peer) -> None:
    def swap(reply: Any) -> Any:
        elements = reply.evaluated_elements
        reply.evaluated_elements = elements[32:64] + elements[:32] + elements[64:]
        return reply

    peer.next("Evaluate", None, Change(swap))
    with pytest.raises(ProofInvalid):
        client.tokenise(PEOPLE)


@pytest.mark.parametrize("cut", [0, 32, 63])
def test_a_reply_of_another_length_is_a_violation(client: Client, peer: Peer, cut: int) -> None:
    def shorten(reply: Any) -> Any:
        reply.evaluated_elements = reply.evaluated_elements[:cut]
        return reply

    peer.next("Evaluate", Change(shorten))
    with pytest.raises(ProtocolViolation):
        client.tokenise(PEOPLE[:3])


# Split keys


@pytest.fixture
def split(peer: Peer, profile: Path) -> Peer:
    """The peer, its key split two of three, and the profile that pins that."""
    peer.keyholders.split_epoch(EPOCH, 2, 3)
    (profile / "keys.log").write_text(peer.keyholders.log)
    return peer


def test_a_split_key_makes_the_whole_keys_tokens(opened: Opener, split: Peer) -> None:
    assert opened().tokenise(PEOPLE[:3]) == expected_tokens(split, PEOPLE[:3])


@pytest.mark.parametrize("corrupt", [1, 2])
def test_a_corrupt_key_holder_is_named_and_others_are_asked(
    opened: Opener, split: Peer, corrupt: int, caplog: pytest.LogCaptureFixture
) -> None:
    split.keyholders.corrupt = {corrupt}
    with caplog.at_level(logging.WARNING, "concordat"):
        tokens = opened().tokenise(PEOPLE[:3])
    assert tokens == expected_tokens(split, PEOPLE[:3])
    first, second = split.requests["Evaluate"]
    assert (list(first.avoid_holders), list(second.avoid_holders)) == ([], [corrupt])
    assert (first.nonce, first.signature) == (second.nonce, second.signature)
    [record] = caplog.records
    assert f"key-holder {corrupt} of token epoch {EPOCH}" in record.getMessage()
    assert not any(bytes(token).hex() in record.getMessage() for token in tokens)


def test_a_corrupt_key_holder_is_asked_once_by_all_batches(opened: Opener, split: Peer) -> None:
    split.keyholders.corrupt = {1}
    client = opened(Options(parallelism=1))
    assert client.tokenise(PEOPLE)[0] == expected_token(split, PEOPLE[0])
    assert [list(request.avoid_holders) for request in split.requests["Evaluate"]] == [
        [],
        [1],
        [1],
        [1],
    ]


def test_too_many_corrupt_key_holders_make_no_token(
    opened: Opener, split: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    split.keyholders.corrupt = {2, 3}
    with caplog.at_level(logging.WARNING, "concordat"), pytest.raises(ProofInvalid) as caught:
        opened().tokenise(PEOPLE[:3])
    assert caught.value.holder == 3
    assert len(split.requests["Evaluate"]) == 2
    assert [record.getMessage()[:12] for record in caplog.records] == [
        "key-holder 2",
        "key-holder 3",
    ]


def test_a_gateway_that_asks_the_corrupt_one_again_is_not_asked_on(
    opened: Opener, split: Peer
) -> None:
    split.keyholders.corrupt = {1}
    split.keyholders.stubborn = True
    with pytest.raises(ProofInvalid) as caught:
        opened().tokenise(PEOPLE[:3])
    assert caught.value.holder == 1
    assert len(split.requests["Evaluate"]) == 2


def drop_a_share(reply: Any) -> Any:
    del reply.shares[0]
    return reply


def repeat_a_share(reply: Any) -> Any:
    reply.shares[1].CopyFrom(reply.shares[0])
    return reply


def add_a_share(reply: Any) -> Any:
    reply.shares.add().CopyFrom(reply.shares[0])
    reply.shares[2].holder = 3
    return reply


def from_a_stranger(reply: Any) -> Any:
    reply.shares[1].holder = 4
    return reply


def from_nobody(reply: Any) -> Any:
    reply.shares[0].holder = 0
    return reply


def unsplit(reply: Any) -> Any:
    reply.evaluated_elements = reply.shares[0].evaluated_elements
    reply.proof = reply.shares[0].proof
    del reply.shares[:]
    return reply


def both(reply: Any) -> Any:
    reply.proof = reply.shares[0].proof
    return reply


@pytest.mark.parametrize(
    "change",
    [drop_a_share, repeat_a_share, add_a_share, from_a_stranger, from_nobody, unsplit, both],
)
def test_answers_of_others_than_the_logs_holders_are_a_violation(
    opened: Opener, split: Peer, change: Any
) -> None:
    split.next("Evaluate", Change(change))
    with pytest.raises(ProtocolViolation) as caught:
        opened().tokenise(PEOPLE[:3])
    assert not isinstance(caught.value, ProofInvalid)


def test_a_share_of_another_length_is_its_holders_fault(opened: Opener, split: Peer) -> None:
    def shorten(reply: Any) -> Any:
        reply.shares[1].evaluated_elements = reply.shares[1].evaluated_elements[:33]
        return reply

    split.next("Evaluate", Change(shorten))
    assert opened().tokenise(PEOPLE[:3]) == expected_tokens(split, PEOPLE[:3])
    assert list(split.requests["Evaluate"][1].avoid_holders) == [2]


def test_a_key_that_was_split_since_the_log_was_pinned_is_learned(
    client: Client, peer: Peer
) -> None:
    peer.keyholders.split_epoch(EPOCH, 2, 3)
    assert client.tokenise(PEOPLE[:3]) == expected_tokens(peer, PEOPLE[:3])
    assert batch_sizes(peer) == [3]
    assert client.tokenise(PEOPLE[:4]) == expected_tokens(peer, PEOPLE[:4])
    assert len(peer.requests["ListTokenKeys"]) == 1


def test_shares_of_a_whole_key_are_a_violation(client: Client, peer: Peer) -> None:
    def share(reply: Any) -> Any:
        reply.shares.add(holder=1, evaluated_elements=reply.evaluated_elements, proof=reply.proof)
        return reply

    peer.next("Evaluate", Change(share))
    with pytest.raises(ProtocolViolation, match="whole"):
        client.tokenise(PEOPLE[:1])


# The key log


def test_the_keys_are_listed_from_the_verified_log(client: Client, peer: Peer) -> None:
    end = peer.time + timedelta(days=30)
    peer.keyholders.add_epoch(NEXT, peer.time)
    peer.keyholders.end_epoch(EPOCH, end)
    old, new = client.list_token_keys()
    assert (old.epoch, old.pinned, old.valid_to) == (EPOCH, True, end)
    assert (new.epoch, new.pinned, new.valid_to) == (NEXT, False, None)
    assert new.valid_from == peer.time
    assert new.public_key == bytes(pair_of(f"epoch {NEXT}").public)
    assert (new.threshold, new.holders) == (1, 0)
    assert client.key_log == peer.keyholders.log
    assert client.tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1], NEXT)


def test_a_pinned_log_is_kept_until_a_later_one_is_read(client: Client, peer: Peer) -> None:
    pinned = client.key_log
    peer.keyholders.add_epoch(NEXT, peer.time)
    client.tokenise(PEOPLE[:1])
    assert client.key_log == pinned
    assert peer.requests["ListTokenKeys"] == []


def test_a_split_key_is_listed_with_its_holders(opened: Opener, split: Peer) -> None:
    [key] = opened().list_token_keys()
    assert (key.threshold, key.holders) == (2, 3)


def test_a_log_that_does_not_extend_the_pinned_one_is_evidence(client: Client, peer: Peer) -> None:
    pinned = client.key_log
    peer.keyholders.fork()
    with pytest.raises(KeyLogForked) as caught:
        client.list_token_keys()
    assert caught.value.seen == pinned
    assert caught.value.offered == peer.keyholders.log
    verifier = peer.keyholders.log_key.verifier
    for evidence in (caught.value.seen, caught.value.offered):
        assert KeyLog.open(evidence, verifier).text == evidence
    assert client.key_log == pinned


def test_a_log_of_another_signer_is_refused(client: Client, peer: Peer) -> None:
    peer.keyholders.log_key = SigningKey.generate(LOG_NAME)
    with pytest.raises(KeyLogInvalid) as caught:
        client.list_token_keys()
    assert not isinstance(caught.value, KeyLogForked)


def test_a_log_that_lags_behind_is_no_fork(client: Client, peer: Peer) -> None:
    earlier = peer.keyholders.listing
    peer.keyholders.add_epoch(NEXT, peer.time)
    client.list_token_keys()
    newest = client.key_log

    peer.next("ListTokenKeys", Change(lambda _: earlier))
    assert [key.epoch for key in client.list_token_keys()] == [EPOCH, NEXT]
    assert client.key_log == newest


def test_a_listing_that_differs_from_the_log_is_a_violation(client: Client, peer: Peer) -> None:
    def another(reply: Any) -> Any:
        reply.keys[0].public_key = bytes(pair_of("another key").public)
        return reply

    peer.next("ListTokenKeys", Change(another))
    with pytest.raises(ProtocolViolation, match="lists other token keys"):
        client.list_token_keys()


def test_without_a_pinned_log_no_token_is_made(opened: Opener, profile: Path, peer: Peer) -> None:
    settings = profile / "profile.toml"
    text = settings.read_text()
    settings.write_text(text[: text.index("key_log_vkey")])
    (profile / "keys.log").unlink()
    client = opened()
    assert client.key_log is None
    for call in (lambda: client.tokenise(PEOPLE[:1]), client.list_token_keys):
        with pytest.raises(ProfileError) as caught:
            call()
        assert caught.value.key == "key_log_vkey"
    assert not any(peer.requests.values())


# Epochs


def test_an_epoch_that_ended_makes_the_client_read_the_log_again(
    client: Client, peer: Peer
) -> None:
    peer.keyholders.add_epoch(NEXT, peer.time)
    peer.keyholders.end_epoch(EPOCH, peer.time)
    assert client.tokenise(PEOPLE[:2]) == expected_tokens(peer, PEOPLE[:2], NEXT)
    assert [request.epoch for request in peer.requests["Evaluate"]] == [EPOCH, NEXT]
    assert client.tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1], NEXT)
    assert len(peer.requests["ListTokenKeys"]) == 1


def test_a_pinned_log_without_a_key_in_use_is_read_again_first(
    opened: Opener, peer: Peer, profile: Path
) -> None:
    peer.keyholders.end_epoch(EPOCH, peer.time)
    (profile / "keys.log").write_text(peer.keyholders.log)
    peer.keyholders.add_epoch(NEXT, peer.time)
    assert opened().tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1], NEXT)
    assert [request.epoch for request in peer.requests["Evaluate"]] == [NEXT]


def test_a_new_epoch_is_used_from_its_first_moment_on(
    opened: Opener, peer: Peer, profile: Path
) -> None:
    peer.keyholders.add_epoch(NEXT, peer.time + timedelta(hours=1))
    (profile / "keys.log").write_text(peer.keyholders.log)
    client = opened()
    assert client.tokenise(PEOPLE[:1])[0].epoch == EPOCH
    peer.time += timedelta(hours=1)
    assert client.tokenise(PEOPLE[:1])[0].epoch == NEXT
    assert client.tokenise(PEOPLE[:1], epoch=EPOCH)[0].epoch == EPOCH


def test_a_client_whose_clock_is_ahead_falls_back_on_the_epoch_before(
    opened: Opener, peer: Peer, profile: Path
) -> None:
    peer.keyholders.add_epoch(NEXT, peer.time + timedelta(minutes=1))
    (profile / "keys.log").write_text(peer.keyholders.log)
    peer.clients_ahead = timedelta(minutes=2)
    assert opened().tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1])
    assert [request.epoch for request in peer.requests["Evaluate"]] == [NEXT, EPOCH]


def test_an_epoch_that_is_over_for_good_is_told(client: Client, peer: Peer) -> None:
    peer.keyholders.end_epoch(EPOCH, peer.time)
    with pytest.raises(FailedPrecondition) as caught:
        client.tokenise(PEOPLE[:1])
    assert caught.value.reason == "EPOCH_NOT_ACTIVE"
    assert len(peer.requests["Evaluate"]) == len(peer.requests["ListTokenKeys"]) == 1


def test_a_chosen_epoch_is_not_replaced(client: Client, peer: Peer) -> None:
    peer.keyholders.add_epoch(NEXT, peer.time)
    peer.keyholders.end_epoch(EPOCH, peer.time)
    with pytest.raises(FailedPrecondition):
        client.tokenise(PEOPLE[:1], epoch=EPOCH)
    assert client.tokenise(PEOPLE[:1], epoch=NEXT) == expected_tokens(peer, PEOPLE[:1], NEXT)
    with pytest.raises(ProfileError, match=f"epoch {NEXT + 1}"):
        client.tokenise(PEOPLE[:1], epoch=NEXT + 1)


def test_cached_tokens_of_an_epoch_that_a_lookup_was_refused_for_are_not_used_again(
    opened: Opener, peer: Peer
) -> None:
    client = opened(Options(cached_tokens=10))
    [old] = client.tokenise(PEOPLE[:1])
    peer.keyholders.add_epoch(NEXT, peer.time)
    peer.keyholders.end_epoch(EPOCH, peer.time)
    peer.next(
        "Lookup",
        Refuse(Refusal(Kind.FAILED_PRECONDITION, "EPOCH_NOT_ACTIVE", "epoch 3 is over")),
    )
    with pytest.raises(FailedPrecondition):
        client.lookup(old, Purpose.UNDERWRITING)
    assert client.tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1], NEXT)


def draft(token: Token) -> ConsentDraft:
    return ConsentDraft(
        token=token,
        purposes={Purpose.UNDERWRITING},
        categories={DataCategory.CREDIT_ACCOUNTS},
        expires_at=datetime(2030, 1, 1, tzinfo=UTC),
        notice_version="2026-1",
        evidence_sha256=bytes(32),
    )


def test_calls_name_the_epoch_of_their_tokens(client: Client, peer: Peer) -> None:
    token = Token(bytes(range(32)), 7)
    client.lookup(token, Purpose.UNDERWRITING)
    client.lookup_batch([token, token], Purpose.UNDERWRITING)
    client.grant_consents([draft(token)])
    next(client.list_consents(token))
    for method in ("Lookup", "BatchLookup", "GrantConsents", "ListConsents"):
        [request] = peer.requests[method]
        assert request.epoch == 7, method


def test_tokens_of_two_epochs_are_not_mixed(client: Client, peer: Peer) -> None:
    old, new = Token(bytes(range(32)), EPOCH), Token(bytes(range(32)), NEXT)
    for call, field in (
        (lambda: client.lookup_batch([old, old, new], Purpose.UNDERWRITING), "tokens[2]"),
        (lambda: client.grant_consents([draft(old), draft(new)]), "consents[1].token"),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert [violation.field for violation in caught.value.violations] == [field]
    assert not any(peer.requests.values())


# Quotas


def spent(reason: str, seconds: float) -> Refuse:
    return Refuse(
        Refusal(
            Kind.RESOURCE_EXHAUSTED,
            reason,
            "the day's quota is spent",
            quota_subject="alpha/day",
            retry_after_seconds=seconds,
        )
    )


def test_batches_under_way_when_another_is_refused_are_not_lost(opened: Opener, peer: Peer) -> None:
    """They are charged: their tokens are in `partial` and in the cache."""
    client = opened(Options(cached_tokens=10_000))
    released = threading.Event()
    peer.next("Evaluate", spent("EVALUATIONS_EXHAUSTED", 20_000.0), Hold(released), Hold(released))
    with ThreadPoolExecutor(1) as other_thread:
        call = other_thread.submit(client.tokenise, PEOPLE)
        eventually(lambda: len(peer.requests["Evaluate"]) == 3, "all three batches are sent")
        released.set()
        error = call.exception()
    assert isinstance(error, QuotaExhausted)
    assert isinstance(error.partial, tuple)
    refused = batch_sizes(peer)[0]
    assert error.partial.count(None) == refused

    peer.requests["Evaluate"].clear()
    client.tokenise(PEOPLE)
    assert batch_sizes(peer) == [refused]


@pytest.mark.parametrize("reason", ["EVALUATIONS_EXHAUSTED", "PORTFOLIO_EXHAUSTED"])
def test_a_spent_quota_is_not_slept_through(
    client: Client, peer: Peer, waits: list[float], reason: str
) -> None:
    peer.next("Evaluate", spent(reason, 20_000.0))
    with pytest.raises(QuotaExhausted) as caught:
        client.tokenise(PEOPLE[:1], timeout=86_400)
    assert caught.value.reason == reason
    assert caught.value.subject == "alpha/day"
    assert caught.value.retry_after_seconds == 20_000.0
    assert waits == []


def test_a_short_wait_is_kept_within_the_timeout(
    client: Client, peer: Peer, waits: list[float]
) -> None:
    peer.next("Evaluate", spent("EVALUATIONS_EXHAUSTED", 2.0))
    assert client.tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1])
    assert waits == [2.05]
    peer.next("Evaluate", spent("EVALUATIONS_EXHAUSTED", 2.0))
    with pytest.raises(QuotaExhausted):
        client.tokenise(PEOPLE[1:2], timeout=1.5)
    assert waits == [2.05]


def test_a_spent_quota_of_lookups_is_no_result(
    client: Client, peer: Peer, waits: list[float]
) -> None:
    token = Token(bytes(range(32)), EPOCH)
    for method, call in (
        ("Lookup", lambda: client.lookup(token, Purpose.UNDERWRITING)),
        ("BatchLookup", lambda: client.lookup_batch([token], Purpose.UNDERWRITING)),
    ):
        peer.next(method, spent("LOOKUPS_EXHAUSTED", 3_600.0))
        with pytest.raises(QuotaExhausted) as caught:
            call()
        assert caught.value.reason == "LOOKUPS_EXHAUSTED"
        assert caught.value.retry_after_seconds == 3_600.0
        assert caught.value.partial in (None, ())
    assert waits == []


def test_a_lookup_that_came_too_fast_is_made_later(
    client: Client, peer: Peer, waits: list[float]
) -> None:
    peer.next("Lookup", spent("LOOKUPS_EXHAUSTED", 0.5))
    token = Token(bytes(range(32)), EPOCH)
    assert client.lookup(token, Purpose.UNDERWRITING)["lenders_open"].band == 3
    assert waits == [0.55]


def test_calls_wait_while_tokens_move_to_a_new_epoch(
    client: Client, peer: Peer, waits: list[float]
) -> None:
    rotating = Refuse(
        Refusal(Kind.UNAVAILABLE, "TOKENS_ROTATING", "a moment", retry_after_seconds=1.0)
    )
    peer.next("Lookup", rotating, rotating)
    token = Token(bytes(range(32)), EPOCH)
    assert client.lookup(token, Purpose.UNDERWRITING)["lenders_open"].band == 3
    assert waits == [1.05, 1.1]
    peer.next("Lookup", *repeat(rotating, 100))
    with pytest.raises(Unavailable) as caught:
        client.lookup(token, Purpose.UNDERWRITING)
    assert caught.value.reason == "TOKENS_ROTATING"


def test_too_few_key_holders_are_waited_for(client: Client, peer: Peer) -> None:
    down = Refuse(Refusal(Kind.UNAVAILABLE, "KEYHOLDER_UNAVAILABLE", "1 of 2 key-holders answer"))
    peer.next("Evaluate", down)
    assert client.tokenise(PEOPLE[:1]) == expected_tokens(peer, PEOPLE[:1])
    first, second = peer.requests["Evaluate"]
    assert first == second


# Usage


def test_usage_is_typed(client: Client, peer: Peer) -> None:
    [member] = client.usage()
    assert peer.requests["ListUsage"][0].member_id == ""
    assert (member.member_id, member.as_of) == ("alpha", peer.time)
    lookups, consents = member[UsageKind.LOOKUPS], member[UsageKind.CONSENTS]
    assert (lookups.today, lookups.this_month) == (1, 10)
    assert (lookups.daily_limit, lookups.monthly_limit) == (100, None)
    assert consents.daily_limit is None
    [alarm] = member.alarms
    # 20,000 days after 1970-01-01, by the proleptic calendar.
    assert (alarm.kind, str(alarm.day)) == (AlarmKind.REFUSED_SHARE, "2024-10-04")
    client.usage("beta")
    assert peer.requests["ListUsage"][1].member_id == "beta"


def test_a_quota_is_set_and_its_receipt_checked(client: Client, peer: Peer) -> None:
    receipt = client.set_lookup_quota("beta", 100, 2_000, request_id=bytes(16))
    assert receipt.fields["member"] == "beta"
    [request] = peer.requests["SetLookupQuota"]
    assert (request.daily_limit, request.monthly_limit) == (100, 2_000)
    assert request.request_id == bytes(16)


def test_a_receipt_of_another_quota_is_refused(client: Client, peer: Peer) -> None:
    def another(reply: Any) -> Any:
        reply.receipt.entry = reply.receipt.entry.replace(b":100", b":101")
        return reply

    peer.next("SetLookupQuota", Change(another))
    with pytest.raises(ReceiptInvalid, match="not this call's"):
        client.set_lookup_quota("beta", 100, 2_000)


@pytest.mark.parametrize(
    ("daily", "monthly"), [(0, 5), (5, 4), (10**9 + 1, 10**9 + 1), (1, 31 * 10**9 + 1), ("1", 5)]
)
def test_a_quota_that_makes_no_sense_is_not_sent(
    client: Client, peer: Peer, daily: Any, monthly: int
) -> None:
    with pytest.raises(InvalidInput):
        client.set_lookup_quota("beta", daily, monthly)
    assert peer.requests["SetLookupQuota"] == []
