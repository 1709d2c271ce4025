"""Shares of a key: any t of n do exactly what the whole key does, and fewer do not.

The model is Shamir's scheme over plain integers.
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concordat_privacy import oprf
from concordat_privacy.oprf import (
    BatchInvalid,
    KeyInvalid,
    PublicKey,
    SecretKey,
    Share,
    ShareInvalid,
    ShareReply,
    sharing,
)
from concordat_privacy.oprf import ristretto as r

ORDER = 2**252 + 27742317777372353535851937790883648493
scalars = st.integers(min_value=1, max_value=ORDER - 1)
FEW = settings(max_examples=25, deadline=None)


def key(scalar: int) -> SecretKey:
    return SecretKey((scalar % ORDER).to_bytes(32, "little"))


def number(secret: SecretKey) -> int:
    return int.from_bytes(bytes(secret), "little")


@st.composite
def deals(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """A threshold, a number of holders, and as many of them as the threshold or more."""
    holders = draw(st.integers(2, 16))
    threshold = draw(st.integers(2, holders))
    size = draw(st.integers(threshold, holders))
    chosen = draw(st.permutations(range(1, holders + 1)))[:size]
    return threshold, holders, sorted(chosen)


@FEW
@given(secret=scalars, deal=deals())
def test_enough_shares_make_the_key(secret: int, deal: tuple[int, int, list[int]]) -> None:
    threshold, holders, chosen = deal
    shares = sharing.split(key(secret), threshold, holders)
    assert [share.holder for share in shares] == list(range(1, holders + 1))
    assert number(sharing.join([shares[at - 1] for at in chosen])) == secret


@FEW
@given(secret=scalars, data=st.data())
def test_too_few_shares_make_another_key(secret: int, data: st.DataObject) -> None:
    holders = data.draw(st.integers(2, 16))
    threshold = data.draw(st.integers(2, holders))
    shares = sharing.split(key(secret), threshold, holders)
    chosen = data.draw(st.permutations(shares))[: threshold - 1]
    assert number(sharing.join(chosen)) != secret


@FEW
@given(secret=scalars, guess=scalars, data=st.data())
def test_too_few_shares_fit_every_key(secret: int, guess: int, data: st.DataObject) -> None:
    """So they say nothing of it: one more share can be made up that leads to any key at all."""
    threshold = data.draw(st.integers(2, 5))
    shares = sharing.split(key(secret), threshold, threshold + 1)
    known = data.draw(st.permutations(shares))[: threshold - 1]
    free = next(at for at in range(1, threshold + 2) if at not in {one.holder for one in known})
    together = sorted([*(one.holder for one in known), free])
    weights = {at: int.from_bytes(sharing.coefficient(at, together), "little") for at in together}
    rest = guess - sum(weights[one.holder] * number(one.secret) for one in known)
    made_up = rest * pow(weights[free], -1, ORDER) % ORDER
    if made_up:
        assert number(sharing.join([*known, Share(free, key(made_up))])) == guess


def test_coefficients_are_lagrange_s() -> None:
    """f(0) of the polynomial through given points, worked out by hand."""
    # Through (1, 3) and (2, 5): 2x + 1. Through (1, 6), (3, 12), (4, 15): 3x + 3.
    two, three = key(2), key(3)
    assert number(sharing.join([Share(1, three), Share(2, key(5))])) == 1
    points = [Share(1, key(6)), Share(3, key(12)), Share(4, key(15))]
    assert number(sharing.join(points)) == 3
    assert number(sharing.weighted(Share(1, two), [1, 2])) == 4
    assert number(sharing.weighted(Share(2, two), [1, 2])) == ORDER - 2


@given(chosen=st.sets(st.integers(1, 16), min_size=1, max_size=16))
def test_coefficients_sum_to_one(chosen: set[int]) -> None:
    """A constant polynomial is its own value at 0."""
    total = sum(int.from_bytes(sharing.coefficient(at, chosen), "little") for at in chosen)
    assert total % ORDER == 1


@FEW
@given(secret=scalars, deal=deals())
def test_public_shares_make_the_public_key(secret: int, deal: tuple[int, int, list[int]]) -> None:
    threshold, holders, chosen = deal
    shares = sharing.split(key(secret), threshold, holders)
    public = [(share.holder, share.secret.public_key()) for share in shares]
    assert sharing.public_key_of([public[at - 1] for at in chosen]) == key(secret).public_key()
    for at in chosen:
        assert (
            sharing.weighted_public_key(public[at - 1][1], at, chosen)
            == sharing.weighted(shares[at - 1], chosen).public_key()
        )


def replies_of(shares: list[Share], chosen: list[int], blinded: bytes) -> list[ShareReply]:
    """What holders answer together."""
    replies = []
    for at in chosen:
        secret = sharing.weighted(shares[at - 1], chosen)
        elements, proof = oprf.evaluate_batch(secret, blinded)
        replies.append(ShareReply(at, secret.public_key(), elements, proof))
    return replies


@settings(max_examples=15, deadline=None)
@given(
    secret=scalars, deal=deals(), inputs=st.lists(st.binary(max_size=40), min_size=1, max_size=3)
)
def test_holders_together_give_the_whole_key_s_elements(
    secret: int, deal: tuple[int, int, list[int]], inputs: list[bytes]
) -> None:
    threshold, holders, chosen = deal
    shares = sharing.split(key(secret), threshold, holders)
    state, blinded = oprf.blind_batch(inputs)
    evaluated, proof = oprf.evaluate_batch(key(secret), blinded)
    expected = oprf.finalize_batch(state, evaluated, proof, key(secret).public_key())
    assert oprf.finalize_shares(state, replies_of(shares, chosen, blinded)) == expected


@settings(max_examples=15, deadline=None)
@given(secret=scalars, bad=st.integers(0, 2), part=st.sampled_from(["elements", "proof", "key"]))
def test_the_holder_that_lies_is_named(secret: int, bad: int, part: str) -> None:
    shares = sharing.split(key(secret), 3, 5)
    state, blinded = oprf.blind_batch([b"one", b"two"])
    replies = replies_of(shares, [1, 3, 4], blinded)
    lie = oprf.evaluate_batch(oprf.generate_key().secret, blinded)
    was = replies[bad]
    replies[bad] = ShareReply(
        was.holder,
        was.public_key,
        was.elements if part == "proof" else lie[0],
        was.proof if part == "elements" else lie[1],
    )
    with pytest.raises(ShareInvalid) as caught:
        oprf.finalize_shares(state, replies)
    assert caught.value.holder == was.holder


def test_shares_are_fresh_in_every_deal() -> None:
    """A holder of two deals of one key learns no more than of one."""
    secret = oprf.generate_key().secret
    deals = [sharing.split(secret, 2, 3) for _ in range(2)]
    for one, other in itertools.product(*deals):
        assert one.secret != other.secret


# The ratio of two keys.


@settings(max_examples=15, deadline=None)
@given(old=scalars, new=scalars, blind=scalars)
def test_the_ratio_turns_one_key_s_elements_into_the_other_s(
    old: int, new: int, blind: int
) -> None:
    """Also where they are blinded on the way, as the gateway does it."""
    point = r.elements_from_uniform(bytes(range(64)))
    under_old = r.scalar_multiply_each(bytes(key(old)), point)
    under_new = r.scalar_multiply_each(bytes(key(new)), point)
    ratio = oprf.key_ratio(key(old), key(new))
    assert number(ratio) == new * pow(old, -1, ORDER) % ORDER

    blinded = r.scalar_multiply_each(bytes(key(blind)), under_old)
    updated, proof = oprf.update_batch(ratio, key(old).public_key(), blinded)
    oprf.verify_update(blinded, updated, proof, key(old).public_key(), key(new).public_key())
    unblinded = r.scalar_multiply_each(bytes(key(pow(blind, -1, ORDER))), updated)
    assert unblinded == under_new


@settings(max_examples=10, deadline=None)
@given(old=scalars, new=scalars, deal=deals())
def test_holders_together_turn_them_too(
    old: int, new: int, deal: tuple[int, int, list[int]]
) -> None:
    threshold, holders, chosen = deal
    shares = sharing.split(oprf.key_ratio(key(old), key(new)), threshold, holders)
    point = r.elements_from_uniform(bytes(range(64)))
    under_old = r.scalar_multiply_each(bytes(key(old)), point)
    parts = []
    for at in chosen:
        weighted = sharing.weighted(shares[at - 1], chosen)
        updated, proof = oprf.update_batch(weighted, key(old).public_key(), under_old)
        result = r.scalar_multiply_each(bytes(weighted), bytes(key(old).public_key()))
        oprf.verify_update(under_old, updated, proof, key(old).public_key(), PublicKey(result))
        parts.append(updated)
    assert sharing.sum_of(parts) == r.scalar_multiply_each(bytes(key(new)), point)


def test_an_update_by_another_ratio_is_seen() -> None:
    old, new = oprf.generate_key(), oprf.generate_key()
    point = r.elements_from_uniform(bytes(range(64)))
    wrong = oprf.generate_key().secret
    updated, proof = oprf.update_batch(wrong, old.public, point)
    with pytest.raises(oprf.ProofInvalid):
        oprf.verify_update(point, updated, proof, old.public, new.public)


# What makes no sense.


@pytest.mark.parametrize(("threshold", "holders"), [(1, 2), (3, 2), (2, 17), (0, 0), (-1, 3)])
def test_thresholds_that_make_no_sense_are_refused(threshold: int, holders: int) -> None:
    with pytest.raises(KeyInvalid, match="2 <= threshold <= holders <= 16"):
        sharing.split(oprf.generate_key().secret, threshold, holders)


@pytest.mark.parametrize("chosen", [[], [2], [1, 1], [1, 0], [1, 17], [2, 3]], ids=str)
def test_a_holder_answers_only_with_others(chosen: list[int]) -> None:
    with pytest.raises(KeyInvalid, match="holder 1 cannot answer together"):
        sharing.coefficient(1, chosen)


def test_nothing_is_made_of_no_shares() -> None:
    with pytest.raises(KeyInvalid):
        sharing.join([])
    with pytest.raises(BatchInvalid):
        sharing.sum_of([])
    state, _ = oprf.blind_batch([b"one"])
    with pytest.raises(BatchInvalid):
        oprf.finalize_shares(state, [])
    share = sharing.split(oprf.generate_key().secret, 2, 2)[0]
    with pytest.raises(KeyInvalid):
        sharing.join([share, share])
