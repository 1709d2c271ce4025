"""How a person is named in the ledger: golden values, worked out here without the code."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.log import subjects

VECTORS = Path(__file__).parents[2] / "docs" / "vectors" / "subjects.json"
MEMBER = "spiffe://concordat.example/member/alpha"
KEY = st.binary(min_size=32, max_size=32)
REQUEST = st.binary(min_size=16, max_size=16)


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def committed(salt: bytes, name: bytes) -> str:
    return hashlib.sha256(b"concordat/subject/v1" + salt + name).hexdigest()


def test_the_published_vectors_are_what_the_page_says() -> None:
    vectors = json.loads(VECTORS.read_text())
    evidence = bytes.fromhex(vectors["evidence_key"])
    asking = mac(bytes.fromhex(vectors["evidence_secret"]), bytes.fromhex(vectors["store_name"]))
    assert asking.hex() == vectors["asking_key"]
    for one in vectors["consents"]:
        salt = mac(evidence, b"consent" + one["number"].to_bytes(8, "big"))[:16]
        assert committed(salt, mac(evidence, b"record")) == one["subject"]
        assert subjects.consent_commitment(evidence, one["number"]) == one["subject"]
    for one in vectors["asked"]:
        request = bytes.fromhex(one["request"])
        told = one["type"].encode() + b"\0" + one["actor"].encode()
        salt = mac(asking, request + one["item"].to_bytes(8, "big") + told)[:16]
        assert committed(salt, mac(asking, b"asking")) == one["subject"]
        asker = subjects.Asker(asking)
        found = asker.commitment(one["type"], one["actor"], request, one["item"])
        assert found == one["subject"]


@given(secret=KEY, name=KEY)
def test_an_asking_key_exists_for_any_name(secret: bytes, name: bytes) -> None:
    assert subjects.asking_key(secret, name) == mac(secret, name)


@given(key=KEY, request=REQUEST, item=st.integers(0, 2**64 - 1))
def test_nobody_else_s_entry_has_the_same_commitment_for_the_same_request_id(
    key: bytes, request: bytes, item: int
) -> None:
    """Request ids stand in the ledger in clear: whoever reuses one must learn nothing by it."""
    asker = subjects.Asker(key)
    own = asker.commitment("lookup", MEMBER, request, item)
    other = MEMBER.replace("alpha", "beta")
    assert own != asker.commitment("lookup", other, request, item)
    assert own != asker.commitment("erasure.requested", MEMBER, request, item)
    assert own == subjects.Asker(key).commitment("lookup", MEMBER, request, item)
    assert own == subjects.asked_commitment(key, "lookup", MEMBER, request, item)


@pytest.mark.parametrize(
    "call",
    [
        lambda: subjects.Asker(bytes(31)),
        lambda: subjects.Asker(bytes(32)).salt("lookup", MEMBER, bytes(15), 0),
        lambda: subjects.Asker(bytes(32)).salt("lookup", MEMBER, bytes(16), -1),
        lambda: subjects.consent_commitment(bytes(33), 0),
        lambda: subjects.consent_commitment(bytes(32), -1),
        lambda: subjects.asking_key(bytes(31), bytes(32)),
        lambda: subjects.commitment(bytes(31), bytes(16)),
        lambda: subjects.commitment(bytes(32), bytes(15)),
    ],
)
def test_other_lengths_are_refused_without_repeating_the_value(call: object) -> None:
    with pytest.raises(ValueError, match="wanted"):
        call()  # type: ignore[operator]
