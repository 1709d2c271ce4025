"""Tokens: what further designs and attacks cost, in scalar multiplications of libsodium."""

import os
import statistics
import time
from collections.abc import Callable

from bench import lookups
from bench.harness import Figure
from concordat_gateway.store.subjects import PEPPER_BYTES, SubjectKey, subject_key
from concordat_privacy.oprf import (
    ELEMENT_BYTES,
    Mode,
    ShareReply,
    blind_batch,
    evaluate_batch,
    evaluate_batch_unproven,
    finalize_batch,
    finalize_shares,
    generate_key,
    key_ratio,
    protocol,
    ristretto,
    sharing,
    suite,
    update_batch,
    verify_update,
)

ITEMS = 1000
ROUNDS = 7
THRESHOLD, HOLDERS = 2, 3
IDENTIFIERS = 2**37
"""Values that a Chinese resident id can take (docs/threat-model.md)."""
CANDIDATES = 1000
"""The same, once county and birth date are known."""


def run() -> list[Figure]:
    """Measure: about 10 seconds."""
    return [_one(), _per_member(), _rotate(), _dictionary(), _shares()]


def _in_turns(*works: Callable[[], object]) -> list[float]:
    """Median CPU microseconds an item of each work, which take turns, after a round uncounted."""
    rounds = []
    for _ in range(ROUNDS + 1):
        row = []
        for work in works:
            started = time.process_time()
            work()
            row.append((time.process_time() - started) / ITEMS * 1e6)
        rounds.append(row)
    return [statistics.median(column) for column in zip(*rounds[1:], strict=True)]


def _inputs() -> list[bytes]:
    return [b"bench %d" % index for index in range(ITEMS)]


def _elements() -> bytes:
    return blind_batch(_inputs())[1]


def _split(packed: bytes) -> list[bytes]:
    return [packed[at : at + ELEMENT_BYTES] for at in range(0, len(packed), ELEMENT_BYTES)]


def _one() -> Figure:
    """A batch of one, which is what an applicant at the counter is."""
    pair = generate_key()

    def exchange() -> None:
        for _ in range(ITEMS):
            state, blinded = blind_batch([b"bench"])
            finalize_batch(state, *evaluate_batch(pair.secret, blinded), pair.public)

    elements = _elements()
    both, bare = _in_turns(
        exchange, lambda: ristretto.scalar_multiply_each(pair.secret.scalar, elements)
    )
    return Figure(
        name="tokens.one_with_proof",
        value=both,
        unit="µs",
        reference=bare,
        ratio=both / bare,
        target="",
        holds=None,
        note="CPU of both sides for a batch of one: blind, evaluate, prove, verify, finalise; 11 "
        "multiplications and 3 of the generator. Reference: one multiplication",
    )


def _per_member() -> Figure:
    """Tokens that each member writes otherwise: the gateway turns them back by a key a member."""
    members_key = generate_key().secret
    pepper = os.urandom(PEPPER_BYTES)
    packed = _elements()
    tokens = _split(packed)
    with lookups.on_sqlite() as gateway:

        def resolve() -> list[SubjectKey]:
            return [subject_key(pepper, token) for token in tokens]

        subjects = resolve()
        turned, resolved, looked_up = _in_turns(
            lambda: ristretto.scalar_multiply_each(members_key.scalar, packed),
            resolve,
            lambda: gateway.look_up(subjects),
        )
    return Figure(
        name="tokens.per_member_price",
        value=turned,
        unit="µs/token",
        reference=looked_up,
        ratio=turned / looked_up,
        target="",
        holds=None,
        note="CPU: one scalar multiplication a token that reaches the gateway, against a token's "
        f"share of a lookup of {ITEMS} (rules, ledger, SQLite; all refused); the "
        "HMAC by which a token is resolved now "
        f"takes {resolved:.2f} µs, {turned / resolved:.0f} times less",
    )


def _rotate() -> Figure:
    old, new = generate_key(), generate_key()
    ratio = key_ratio(old.secret, new.secret)
    elements = evaluate_batch_unproven(old.secret, _elements())
    blinds = ristretto.random_scalars(ITEMS)
    blinded = ristretto.scalar_multiply_pairs(blinds, elements)
    updated, proof = update_batch(ratio, old.public, blinded)

    def blind() -> None:
        ristretto.scalar_multiply_pairs(ristretto.random_scalars(ITEMS), elements)

    def verify_and_unblind() -> None:
        verify_update(blinded, updated, proof, old.public, new.public)
        protocol.unblind(blinds, updated)

    bare, *parts = _in_turns(
        lambda: ristretto.scalar_multiply_each(ratio.scalar, elements),
        blind,
        lambda: update_batch(ratio, old.public, blinded),
        verify_and_unblind,
    )
    gateway, keyholder = parts[0] + parts[2], parts[1]
    total = gateway + keyholder
    return Figure(
        name="tokens.rotate_per_row",
        value=total,
        unit="µs/row",
        reference=bare,
        ratio=total / bare,
        target="",
        holds=None,
        note=f"CPU of moving one element to the next key in batches of {ITEMS}, without the store: "
        f"key-holder {keyholder:.0f} µs (update and prove), gateway {gateway:.0f} µs (blind, "
        "verify, unblind). Reference: the one multiplication by the key ratio",
    )


def _dictionary() -> Figure:
    """Whoever holds the key needs no blinding: hash a candidate to the group and multiply."""
    secret = generate_key().secret
    candidates = _inputs()
    dst = suite.DOMAINS[Mode.VOPRF].group_dst
    elements = _elements()

    def try_candidates() -> None:
        uniform = b"".join(suite.expand_message_xmd(value, dst, 64) for value in candidates)
        ristretto.scalar_multiply_each(secret.scalar, ristretto.elements_from_uniform(uniform))

    tried, bare = _in_turns(
        try_candidates, lambda: ristretto.scalar_multiply_each(secret.scalar, elements)
    )
    rate = 1e6 / tried
    return Figure(
        name="tokens.dictionary_attack",
        value=rate,
        unit="candidates/s",
        reference=1e6 / bare,
        ratio=bare / tried,
        target="",
        holds=None,
        note=f"one core with the key in hand, by libsodium: {IDENTIFIERS / rate / 86_400:.0f} "
        f"core-days for 2^37 ids, {CANDIDATES / rate:.3f} s for {CANDIDATES} candidates. "
        "Reference: scalar multiplications, which is the key-holder's rate without proofs",
    )


def _shares() -> Figure:
    pair = generate_key()
    state, blinded = blind_batch(_inputs())
    single = evaluate_batch(pair.secret, blinded)
    answering = sharing.split(pair.secret, THRESHOLD, HOLDERS)[:THRESHOLD]
    numbers = [share.holder for share in answering]
    replies = []
    for share in answering:
        weighted = sharing.weighted(share, numbers)
        reply = evaluate_batch(weighted, blinded)
        replies.append(ShareReply(share.holder, weighted.public_key(), *reply))
    shared, whole = _in_turns(
        lambda: finalize_shares(state, replies),
        lambda: finalize_batch(state, *single, pair.public),
    )
    return Figure(
        name="tokens.shares_2of3_over_single",
        value=shared,
        unit="µs/item",
        reference=whole,
        ratio=shared / whole,
        target="",
        holds=None,
        note=f"CPU of the client: verify {THRESHOLD} shares' proofs, add, unblind, against one "
        f"whole key's proof; batches of {ITEMS}",
    )
