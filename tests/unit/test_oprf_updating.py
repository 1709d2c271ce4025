"""Elements are carried from one key to the next unseen, and nothing else comes back unnoticed."""

import pytest

from concordat_privacy.oprf import (
    BatchInvalid,
    ElementInvalid,
    PublicKey,
    SecretKey,
    ShareInvalid,
    ShareReply,
    derive_key_pair,
    finish_update,
    key_ratio,
    mask_elements,
    update_batch,
)
from concordat_privacy.oprf.protocol import blind_evaluate
from concordat_privacy.oprf.sharing import split, weighted, weighted_public_key
from concordat_privacy.oprf.suite import DOMAINS, Mode, hash_to_group

OLD = derive_key_pair(bytes(32), b"old").secret
NEW = derive_key_pair(bytes(32), b"new").secret
PERSONS = b"".join(hash_to_group(bytes([n]), DOMAINS[Mode.VOPRF].group_dst) for n in range(5))
UNDER_OLD = blind_evaluate(OLD.scalar, PERSONS)
UNDER_NEW = blind_evaluate(NEW.scalar, PERSONS)


def reply(holder: int, ratio: SecretKey, result: PublicKey, packed: bytes) -> ShareReply:
    return ShareReply(holder, result, *update_batch(ratio, OLD.public_key(), packed))


def test_a_whole_ratio_makes_what_the_new_key_makes_of_the_same_persons() -> None:
    masked = mask_elements(UNDER_OLD)
    answer = reply(0, key_ratio(OLD, NEW), NEW.public_key(), masked.packed)
    assert finish_update(masked, OLD.public_key(), [answer]) == UNDER_NEW


def test_so_do_any_two_of_three_shares_of_the_ratio() -> None:
    shares = split(key_ratio(OLD, NEW), 2, 3)
    for together in ((1, 2), (1, 3), (2, 3)):
        masked = mask_elements(UNDER_OLD)
        answers = []
        for share in shares:
            if share.holder not in together:
                continue
            public = PublicKey(blind_evaluate(share.secret.scalar, OLD.public_key().element))
            result = weighted_public_key(public, share.holder, together)
            answers.append(reply(share.holder, weighted(share, together), result, masked.packed))
        assert finish_update(masked, OLD.public_key(), answers) == UNDER_NEW


def test_masked_elements_are_others_each_time() -> None:
    first, second = mask_elements(UNDER_OLD), mask_elements(UNDER_OLD)
    shown = {
        packed[at : at + 32] for packed in (first.packed, second.packed) for at in range(0, 160, 32)
    }
    assert len(shown) == 10
    assert not shown & {UNDER_OLD[at : at + 32] for at in range(0, 160, 32)}
    assert first.scalars.hex() not in repr(first)


def test_another_ratio_or_another_answer_is_refused_and_its_holder_named() -> None:
    masked = mask_elements(UNDER_OLD)
    honest = reply(3, key_ratio(OLD, NEW), NEW.public_key(), masked.packed)
    wrong_ratio = reply(3, NEW, NEW.public_key(), masked.packed)
    swapped = honest.elements[32:64] + honest.elements[:32] + honest.elements[64:]
    for answer in (
        wrong_ratio,
        ShareReply(3, NEW.public_key(), swapped, honest.proof),
        ShareReply(3, NEW.public_key(), honest.elements[:-32], honest.proof),
        ShareReply(3, NEW.public_key(), honest.elements, bytes(64)),
        ShareReply(3, NEW.public_key(), b"", honest.proof),
        ShareReply(3, NEW.public_key(), bytes(160), honest.proof),
    ):
        with pytest.raises(ShareInvalid) as refused:
            finish_update(masked, OLD.public_key(), [answer])
        assert refused.value.holder == 3


def test_what_is_no_element_is_not_masked() -> None:
    with pytest.raises(ElementInvalid) as refused:
        mask_elements(UNDER_OLD[:32] + bytes(32))
    assert refused.value.index == 1
    with pytest.raises(BatchInvalid):
        finish_update(mask_elements(UNDER_OLD), OLD.public_key(), [])
