"""Blind, evaluate, prove, verify, finalise: what members and the token service may rely on."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concordat_privacy.oprf import (
    MAX_BATCH,
    PROOF_BYTES,
    BatchInvalid,
    BlindedBatch,
    ElementInvalid,
    InputInvalid,
    KeyInvalid,
    KeyPair,
    LengthInvalid,
    Mode,
    OprfError,
    ProofInvalid,
    PublicKey,
    ScalarInvalid,
    SecretKey,
    Token,
    blind_batch,
    derive_key_pair,
    evaluate_batch,
    evaluate_batch_unproven,
    finalize_batch,
    finalize_batch_unproven,
    generate_key,
)

ORDER = 2**252 + 27742317777372353535851937790883648493
PAIR = derive_key_pair(bytes(range(32)), b"tests")
OTHER = derive_key_pair(bytes(range(1, 33)), b"tests")
INPUTS = [b"first", b"second", b"third"]


def tokens(inputs: list[bytes], pair: KeyPair = PAIR) -> list[Token]:
    state, blinded = blind_batch(inputs)
    return finalize_batch(state, *evaluate_batch(pair.secret, blinded), pair.public)


class Exchange:
    """One honest run over three inputs, to be tampered with."""

    def __init__(self) -> None:
        self.state, self.blinded = blind_batch(INPUTS)
        self.evaluated, self.proof = evaluate_batch(PAIR.secret, self.blinded)

    def refuses(self, evaluated: bytes, proof: bytes, public: PublicKey = PAIR.public) -> None:
        with pytest.raises(ProofInvalid):
            finalize_batch(self.state, evaluated, proof, public)


EXCHANGE = Exchange()


def test_a_token_depends_on_input_and_key_alone() -> None:
    together = tokens(INPUTS)
    assert together == [tokens([value])[0] for value in INPUTS]
    assert tokens(INPUTS[::-1]) == together[::-1]
    assert len({*together, *tokens(INPUTS, OTHER)}) == 6


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=8))
def test_equal_inputs_and_only_they_have_equal_tokens(inputs: list[bytes]) -> None:
    found = tokens(inputs)
    assert len(found) == len(inputs)
    assert len(set(found)) == len(set(inputs))
    assert dict(zip(inputs, found, strict=True)) == dict(zip(inputs, tokens(inputs), strict=True))


def test_the_server_sees_fresh_elements_each_time() -> None:
    seen = {blind_batch([b"same person"])[1] for _ in range(20)}
    assert len(seen) == 20


def test_the_unproven_mode_gives_other_tokens() -> None:
    state, blinded = blind_batch(INPUTS, mode=Mode.OPRF)
    found = finalize_batch_unproven(state, evaluate_batch_unproven(PAIR.secret, blinded))
    assert not set(found) & set(tokens(INPUTS))


def test_a_proof_may_not_be_skipped() -> None:
    with pytest.raises(BatchInvalid, match="VOPRF"):
        finalize_batch_unproven(EXCHANGE.state, EXCHANGE.evaluated)


def test_an_unproven_batch_does_not_pass_as_proven() -> None:
    state, blinded = blind_batch(INPUTS, mode=Mode.OPRF)
    with pytest.raises(BatchInvalid, match="OPRF"):
        finalize_batch(state, *evaluate_batch(PAIR.secret, blinded), PAIR.public)


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=8 * PROOF_BYTES - 1))
def test_every_bit_of_the_proof_counts(bit: int) -> None:
    number = int.from_bytes(EXCHANGE.proof, "big") ^ 1 << bit
    EXCHANGE.refuses(EXCHANGE.evaluated, number.to_bytes(PROOF_BYTES, "big"))


@pytest.mark.parametrize("half", [0, 1])
def test_a_proof_has_one_encoding(half: int) -> None:
    scalars = [EXCHANGE.proof[:32], EXCHANGE.proof[32:]]
    unreduced = int.from_bytes(scalars[half], "little") + ORDER
    scalars[half] = unreduced.to_bytes(32, "little")
    EXCHANGE.refuses(EXCHANGE.evaluated, b"".join(scalars))


@pytest.mark.parametrize(
    "proof",
    [b"", bytes(PROOF_BYTES), EXCHANGE.proof[:-1], EXCHANGE.proof + b"\0"],
    ids=["empty", "zeros", "short", "long"],
)
def test_malformed_proofs(proof: bytes) -> None:
    EXCHANGE.refuses(EXCHANGE.evaluated, proof)


def test_a_proof_under_another_key() -> None:
    EXCHANGE.refuses(*evaluate_batch(OTHER.secret, EXCHANGE.blinded))
    EXCHANGE.refuses(EXCHANGE.evaluated, EXCHANGE.proof, OTHER.public)


def test_a_proof_of_another_batch() -> None:
    EXCHANGE.refuses(EXCHANGE.evaluated, Exchange().proof)


def test_elements_in_another_order() -> None:
    first, second, third = (EXCHANGE.evaluated[i : i + 32] for i in (0, 32, 64))
    EXCHANGE.refuses(second + first + third, EXCHANGE.proof)


@pytest.mark.parametrize("index", range(3))
def test_one_item_evaluated_under_another_key(index: int) -> None:
    tampered = bytearray(EXCHANGE.evaluated)
    marked = evaluate_batch_unproven(OTHER.secret, EXCHANGE.blinded)
    tampered[32 * index : 32 * index + 32] = marked[32 * index : 32 * index + 32]
    EXCHANGE.refuses(bytes(tampered), EXCHANGE.proof)


def test_a_server_that_tags_one_item_cannot_prove_it() -> None:
    """Evaluating one person's element under a second key would single that person out."""
    evaluated = bytearray(EXCHANGE.evaluated)
    evaluated[:32] = evaluate_batch_unproven(OTHER.secret, EXCHANGE.blinded[:32])
    _, proof = evaluate_batch(PAIR.secret, bytes(evaluated))
    EXCHANGE.refuses(bytes(evaluated), proof)


BAD_ELEMENTS = {
    "identity": bytes(32),
    "negative": b"\x01" + bytes(31),
    "not canonical": b"\xed" + b"\xff" * 30 + b"\x7f",
}


def replaced(packed: bytes, index: int, element: bytes) -> bytes:
    return packed[: 32 * index] + element + packed[32 * index + 32 :]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("bad", list(BAD_ELEMENTS.values()), ids=list(BAD_ELEMENTS))
def test_bad_elements_are_named_by_their_place(bad: bytes, index: int) -> None:
    unproven, _ = blind_batch(INPUTS, mode=Mode.OPRF)
    blinded = replaced(EXCHANGE.blinded, index, bad)
    evaluated = replaced(EXCHANGE.evaluated, index, bad)
    for attempt in (
        lambda: evaluate_batch(PAIR.secret, blinded),
        lambda: evaluate_batch_unproven(PAIR.secret, blinded),
        lambda: finalize_batch(EXCHANGE.state, evaluated, EXCHANGE.proof, PAIR.public),
        lambda: finalize_batch_unproven(unproven, evaluated),
    ):
        with pytest.raises(ElementInvalid, match=f"element {index}:") as caught:
            attempt()
        assert caught.value.index == index


def test_a_short_element_is_named() -> None:
    with pytest.raises(ElementInvalid) as caught:
        evaluate_batch(PAIR.secret, EXCHANGE.blinded[:-1])
    assert caught.value.index == 2
    with pytest.raises(ElementInvalid) as caught:
        finalize_batch(EXCHANGE.state, EXCHANGE.evaluated + b"\0", EXCHANGE.proof, PAIR.public)
    assert caught.value.index == 3


@pytest.mark.parametrize("items", [1, 2, 4])
def test_a_reply_with_another_number_of_elements(items: int) -> None:
    evaluated = (EXCHANGE.evaluated * 2)[: 32 * items]
    with pytest.raises(BatchInvalid):
        finalize_batch(EXCHANGE.state, evaluated, EXCHANGE.proof, PAIR.public)


def test_the_largest_batch_passes_and_the_next_does_not() -> None:
    inputs = [index.to_bytes(2, "big") for index in range(MAX_BATCH)]
    found = tokens(inputs)
    assert len(set(found)) == MAX_BATCH
    assert [found[0], found[-1]] == tokens([inputs[0], inputs[-1]])
    with pytest.raises(BatchInvalid, match="4097"):
        blind_batch([*inputs, b"one more"])
    with pytest.raises(BatchInvalid, match="4097"):
        evaluate_batch(PAIR.secret, EXCHANGE.blinded[:32] * (MAX_BATCH + 1))


def test_empty_batches() -> None:
    with pytest.raises(BatchInvalid):
        blind_batch([])
    with pytest.raises(LengthInvalid):
        evaluate_batch(PAIR.secret, b"")
    with pytest.raises(LengthInvalid):
        finalize_batch(EXCHANGE.state, b"", EXCHANGE.proof, PAIR.public)


def test_the_longest_input_passes_and_a_longer_one_is_named() -> None:
    assert len(tokens([bytes(65535)])) == 1
    with pytest.raises(InputInvalid) as caught:
        blind_batch([b"ok", bytes(65536)])
    assert caught.value.index == 1


def test_given_blinds_are_checked() -> None:
    one = (1).to_bytes(32, "little")
    with pytest.raises(BatchInvalid):
        blind_batch(INPUTS, blinds=one * 2)
    with pytest.raises(ScalarInvalid):
        blind_batch(INPUTS, blinds=one * 2 + bytes(32))
    with pytest.raises(ScalarInvalid):
        blind_batch(INPUTS, blinds=one * 2 + ORDER.to_bytes(32, "little"))


def test_threads_share_the_library() -> None:
    expected = tokens(INPUTS)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(lambda _: tokens(INPUTS), range(16)))


def test_generated_keys_work_and_differ() -> None:
    first, second = generate_key(), generate_key()
    assert first.secret != second.secret
    assert first.public == first.secret.public_key()
    assert tokens(INPUTS, first) != tokens(INPUTS, second)


def test_a_key_survives_its_encoding() -> None:
    assert SecretKey(bytes(PAIR.secret)) == PAIR.secret
    assert PublicKey(bytes(PAIR.public)) == PAIR.public
    assert KeyPair.from_secret(SecretKey(bytes(PAIR.secret))) == PAIR


def test_derivation_depends_on_seed_and_info() -> None:
    again = derive_key_pair(bytes(range(32)), b"tests")
    assert again == PAIR
    assert derive_key_pair(bytes(range(32)), b"other") != PAIR
    assert derive_key_pair(bytes(range(32)), b"tests", Mode.OPRF) != PAIR


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: SecretKey(bytes(32)),
        lambda: SecretKey(bytes(31)),
        lambda: SecretKey(ORDER.to_bytes(32, "little")),
        lambda: PublicKey(bytes(32)),
        lambda: PublicKey(bytes(PAIR.public)[:-1]),
        lambda: PublicKey(b"\x01" + bytes(31)),
        lambda: derive_key_pair(bytes(31), b""),
        lambda: derive_key_pair(bytes(33), b""),
    ],
)
def test_what_is_no_key(attempt: Callable[[], object]) -> None:
    with pytest.raises(KeyInvalid):
        attempt()


def test_nothing_secret_is_shown() -> None:
    (token,) = tokens([b"first"])
    state, _ = blind_batch([b"a person's number"])
    for shown in (
        *(repr(value) for value in (PAIR, PAIR.secret, state, token)),
        *(str(value) for value in (PAIR, PAIR.secret, state, token)),
    ):
        assert bytes(PAIR.secret).hex() not in shown
        assert repr(bytes(PAIR.secret)) not in shown
        assert state.blinds.hex() not in shown
        assert "person" not in shown
        assert bytes(token).hex()[:8] not in shown


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_token_has_32_bytes(size: int) -> None:
    with pytest.raises(LengthInvalid):
        Token(bytes(size), 1)


def test_tokens_sort_as_their_bytes() -> None:
    found = tokens([bytes([n]) for n in range(10)])
    assert [bytes(token) for token in sorted(found)] == sorted(bytes(token) for token in found)


def test_errors_cross_processes() -> None:
    error = ElementInvalid(7, "is short")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ElementInvalid)
    assert isinstance(copy, OprfError)
    assert (str(copy), copy.index) == (str(error), 7)


def test_the_state_counts_its_items() -> None:
    assert isinstance(EXCHANGE.state, BlindedBatch)
    assert len(EXCHANGE.state) == 3
