"""The RFC 9497 working group's vector file, when it lies next to the checkout."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from concordat_privacy.oprf import (
    KeyPair,
    Mode,
    blind_batch,
    derive_key_pair,
    evaluate_batch,
    evaluate_batch_unproven,
    finalize_batch,
    finalize_batch_unproven,
    protocol,
)

VECTORS = (
    Path(__file__).parents[3] / "shared" / "conformance" / "oprf"
) / "rfc9497-ristretto255-sha512.json"


def packed(field: str) -> bytes:
    return bytes.fromhex(field.replace(",", ""))


def items(field: str) -> list[bytes]:
    return [bytes.fromhex(item) for item in field.split(",")]


@pytest.mark.parametrize("mode", Mode)
def test_every_vector_of_the_mode(mode: Mode) -> None:
    if not VECTORS.exists():
        pytest.skip(f"{VECTORS.name} is not there")
    suites: list[dict[str, Any]] = json.loads(VECTORS.read_text())
    (suite,) = (suite for suite in suites if suite["mode"] == mode)
    pair = derive_key_pair(packed(suite["seed"]), packed(suite["keyInfo"]), mode)
    assert bytes(pair.secret) == packed(suite["skSm"])
    assert suite["vectors"]
    for vector in suite["vectors"]:
        check(mode, vector, pair)


def check(mode: Mode, vector: dict[str, Any], pair: KeyPair) -> None:
    state, blinded = blind_batch(items(vector["Input"]), mode=mode, blinds=packed(vector["Blind"]))
    assert blinded == packed(vector["BlindedElement"])
    if mode is Mode.OPRF:
        evaluated = evaluate_batch_unproven(pair.secret, blinded)
        elements = finalize_batch_unproven(state, evaluated)
    else:
        evaluated, proof = evaluate_batch(
            pair.secret, blinded, proof_scalar=packed(vector["Proof"]["r"])
        )
        assert proof == packed(vector["Proof"]["proof"])
        elements = finalize_batch(state, evaluated, proof, pair.public)
    assert evaluated == packed(vector["EvaluationElement"])
    outputs = protocol.finalize(items(vector["Input"]), packed(vector["Blind"]), evaluated)
    assert outputs == items(vector["Output"])
    # An element is Finalize before its last hash (RFC 9497 section 3.3.1, I2OSP(32, 2) = 0x0020).
    for value, element, output in zip(items(vector["Input"]), elements, outputs, strict=True):
        hashed = len(value).to_bytes(2, "big") + value + b"\x00\x20" + element + b"Finalize"
        assert hashlib.sha512(hashed).digest() == output
