"""Moving elements from one epoch's key to the next, without their inputs."""

import pytest

from concordat_privacy.oprf import (
    BatchInvalid,
    ElementInvalid,
    ProofInvalid,
    PublicKey,
    blind_batch,
    derive_key_pair,
    evaluate_batch,
    finalize_batch,
    key_ratio,
    update_batch,
    verify_update,
)

OLD = derive_key_pair(bytes(range(32)), b"epoch 1")
NEW = derive_key_pair(bytes(range(32)), b"epoch 2")
OTHER = derive_key_pair(bytes(range(32)), b"neither")
RATIO = key_ratio(OLD.secret, NEW.secret)


def elements(pair_number: int) -> bytes:
    pair = (OLD, NEW)[pair_number - 1]
    state, blinded = blind_batch([b"first", b"second", b"third"])
    return b"".join(finalize_batch(state, *evaluate_batch(pair.secret, blinded), pair.public))


MOVED, PROOF = update_batch(RATIO, OLD.public, elements(1))


def refuses(updated: bytes, proof: bytes, old: PublicKey, new: PublicKey) -> None:
    with pytest.raises(ProofInvalid):
        verify_update(elements(1), updated, proof, old, new)


def test_the_ratio_turns_old_elements_into_those_of_the_new_key() -> None:
    assert elements(2) == MOVED
    verify_update(elements(1), MOVED, PROOF, OLD.public, NEW.public)


def test_one_element_moves_alone() -> None:
    moved, proof = update_batch(RATIO, OLD.public, elements(1)[:32])
    assert moved == elements(2)[:32]
    verify_update(elements(1)[:32], moved, proof, OLD.public, NEW.public)


def test_a_proof_holds_for_its_two_keys_alone() -> None:
    refuses(MOVED, PROOF, OLD.public, OTHER.public)
    refuses(MOVED, PROOF, OTHER.public, NEW.public)
    refuses(MOVED, PROOF, NEW.public, OLD.public)


def test_one_element_moved_elsewhere_is_noticed() -> None:
    astray, _ = update_batch(key_ratio(OLD.secret, OTHER.secret), OLD.public, elements(1))
    refuses(MOVED[:32] + astray[32:64] + MOVED[64:], PROOF, OLD.public, NEW.public)
    refuses(MOVED[32:64] + MOVED[:32] + MOVED[64:], PROOF, OLD.public, NEW.public)


def test_an_update_is_no_evaluation() -> None:
    """The base of its proof is the old key: it does not pass as a proof of the new key's use."""
    state, blinded = blind_batch([b"first"])
    with pytest.raises(ProofInvalid):
        finalize_batch(state, *update_batch(NEW.secret, OLD.public, blinded), NEW.public)


def test_malformed_batches() -> None:
    with pytest.raises(ElementInvalid, match="element 1:"):
        update_batch(RATIO, OLD.public, elements(1)[:32] + bytes(32))
    with pytest.raises(BatchInvalid):
        verify_update(elements(1), MOVED[:64], PROOF, OLD.public, NEW.public)
