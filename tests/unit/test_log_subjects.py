"""How entries name persons: the derivations of docs/ledger.md, computed by hand."""

import hashlib
import hmac

from concordat_privacy.log.subjects import Asker, asking_key, consent_commitment

KEY = bytes(range(32))


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def committed(name: bytes, salt: bytes) -> bytes:
    assert len(salt) == 16
    return hashlib.sha256(b"concordat/subject/v1" + salt + name).digest()


def test_a_consent_is_named_by_its_number_under_the_evidence_key() -> None:
    for number in (0, 1, 2**40):
        salt = mac(KEY, b"consent" + number.to_bytes(8, "big"))[:16]
        assert consent_commitment(KEY, number) == committed(mac(KEY, b"record"), salt)


def test_what_is_asked_is_named_by_request_and_position_under_the_asking_key() -> None:
    key = asking_key(KEY, b"s" * 32)
    assert key == mac(KEY, b"s" * 32)
    asker = Asker(key)
    for request, item in ((bytes(16), 0), (b"r" * 16, 999)):
        salt = mac(key, request + item.to_bytes(8, "big"))[:16]
        # Twice: the running hash is copied, not used up.
        for _ in range(2):
            assert asker.commitment(request, item) == committed(mac(key, b"asking"), salt)


def test_one_person_is_named_differently_each_time() -> None:
    asker = Asker(KEY)
    names = [asker.commitment(bytes(16), item) for item in range(5)]
    names += [asker.commitment(b"\1" * 16, item) for item in range(5)]
    names += [consent_commitment(KEY, number) for number in range(5)]
    assert len(set(names)) == 15
