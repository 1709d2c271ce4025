"""How the stores name subjects, and what keeps their elements."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from concordat_gateway.store.subjects import (
    SEALED_BYTES,
    ElementSeal,
    SealBroken,
    SubjectKey,
    require_epoch,
    subject_key,
)
from concordat_rpc.errors import Refusal

PEPPER = bytes(range(32))
ELEMENT = b"\xe1" * 32


def test_a_name_is_an_hmac_of_the_element() -> None:
    assert subject_key(PEPPER, ELEMENT) == hmac.digest(PEPPER, ELEMENT, hashlib.sha256)
    with pytest.raises(ValueError, match="pepper: at least 32 bytes wanted, 31 given"):
        subject_key(PEPPER[1:], ELEMENT)


def test_what_is_sealed_opens_for_its_subject_alone() -> None:
    subject, other = subject_key(PEPPER, ELEMENT), subject_key(PEPPER, bytes(32))
    seal = ElementSeal(PEPPER)
    sealed = seal.close(subject, ELEMENT)

    assert len(sealed) == SEALED_BYTES
    assert ElementSeal(PEPPER).open(subject, sealed) == ELEMENT
    assert ELEMENT not in sealed
    assert seal.close(subject, ELEMENT) != sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for key, name, box in (
        (seal, other, sealed),
        (seal, subject, changed),
        (ElementSeal(b"\1" * 32), subject, sealed),
    ):
        with pytest.raises(SealBroken):
            key.open(name, box)


def test_the_sealing_key_is_hkdf_of_the_pepper() -> None:
    """RFC 5869 by hand: no salt, SHA-256, one block of output."""
    pseudorandom = hmac.digest(bytes(32), PEPPER, hashlib.sha256)
    key = hmac.digest(pseudorandom, b"concordat/subject-element/v1\x01", hashlib.sha256)
    subject = SubjectKey(bytes(32))
    sealed = ElementSeal(PEPPER).close(subject, ELEMENT)
    assert ChaCha20Poly1305(key).decrypt(sealed[:12], sealed[12:], subject) == ELEMENT


@pytest.mark.parametrize(("found", "wanted"), [(1, 2), (2, 1), (0, 1), (0, 0)])
def test_names_of_another_epoch_are_refused_for_now(found: int, wanted: int) -> None:
    with pytest.raises(Refusal) as refused:
        require_epoch(found, wanted)
    assert refused.value.reason == "TOKENS_ROTATING"
    assert refused.value.retry_after_seconds
    require_epoch(wanted or 1, wanted or 1)
