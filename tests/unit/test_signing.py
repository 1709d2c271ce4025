"""What a member signs, byte for byte, and that nothing of it can be changed."""

import hashlib
import struct
from dataclasses import replace
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from concordat_privacy.signing import EvaluationStatement

P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
STATEMENT = EvaluationStatement(
    epoch=7,
    quota=2,
    nonce=bytes(range(16)),
    signed_at=1_795_000_000_123_456,
    blinded_elements=b"\x01" * 64,
    spiffe_id="spiffe://concordat.test/member/alpha",
)

statements = st.builds(
    EvaluationStatement,
    epoch=st.integers(0, 2**32 - 1),
    quota=st.integers(0, 255),
    nonce=st.binary(min_size=16, max_size=16),
    signed_at=st.integers(0, 2**64 - 1),
    blinded_elements=st.binary(max_size=96),
    spiffe_id=st.text(
        st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40
    ),
)


@given(statement=statements)
def test_the_message_is_what_the_contract_says(statement: EvaluationStatement) -> None:
    expected = b"concordat/evaluate/v1" + struct.pack(
        ">IB16sQ32s",
        statement.epoch,
        statement.quota,
        statement.nonce,
        statement.signed_at,
        hashlib.sha256(statement.blinded_elements).digest(),
    )
    assert statement.message() == expected + statement.spiffe_id.encode()


@given(one=statements, other=statements)
def test_different_statements_have_different_messages(
    one: EvaluationStatement, other: EvaluationStatement
) -> None:
    assert (one == other) == (one.message() == other.message())


@pytest.mark.parametrize(
    ("key", "algorithm", "wrong"),
    [(P256, hashes.SHA256(), hashes.SHA384()), (P384, hashes.SHA384(), hashes.SHA256())],
    ids=["P-256", "P-384"],
)
def test_it_is_signed_with_the_curve_s_own_hash(
    key: ec.EllipticCurvePrivateKey,
    algorithm: hashes.HashAlgorithm,
    wrong: hashes.HashAlgorithm,
) -> None:
    signature = STATEMENT.sign(key)
    public = key.public_key()
    public.verify(signature, STATEMENT.message(), ec.ECDSA(algorithm))
    with pytest.raises(InvalidSignature):
        public.verify(signature, STATEMENT.message(), ec.ECDSA(wrong))
    assert STATEMENT.is_signed_by(public, signature)
    other = key.sign(STATEMENT.message(), ec.ECDSA(wrong))
    assert not STATEMENT.is_signed_by(public, other)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 8},
        {"quota": 1},
        {"nonce": bytes(16)},
        {"signed_at": STATEMENT.signed_at + 1},
        {"blinded_elements": b"\x01" * 32},
        {"blinded_elements": b"\x01" * 96},
        {"spiffe_id": "spiffe://concordat.test/member/beta"},
        {"spiffe_id": "spiffe://concordat.test/member/alpha2"},
    ],
    ids=str,
)
def test_a_signature_is_over_every_field(change: dict[str, Any]) -> None:
    signature = STATEMENT.sign(P256)
    assert not replace(STATEMENT, **change).is_signed_by(P256.public_key(), signature)


def test_a_signature_is_of_one_key() -> None:
    signature = STATEMENT.sign(P256)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert not STATEMENT.is_signed_by(other, signature)
    assert not STATEMENT.is_signed_by(P384.public_key(), signature)


@pytest.mark.parametrize(
    "signature", [b"", b"\x30\x00", bytes(64), b"\x30\x06\x02\x01\x00\x02\x01\x00"]
)
def test_what_is_no_signature_is_none(signature: bytes) -> None:
    assert not STATEMENT.is_signed_by(P256.public_key(), signature)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": bytes(15)},
        {"nonce": bytes(17)},
        {"epoch": -1},
        {"epoch": 2**32},
        {"quota": 256},
        {"quota": -1},
        {"signed_at": -1},
        {"signed_at": 2**64},
    ],
    ids=str,
)
def test_what_does_not_fit_its_bytes_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(STATEMENT, **change)
