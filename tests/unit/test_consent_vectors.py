"""The published terms and signatures are those that the SDK makes and the gateway takes."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from concordat import (
    ConsentDraft,
    DataCategory,
    Frequency,
    Period,
    Purpose,
    TimeUnit,
    Token,
    consent_terms,
)
from concordat_gateway.rules.evidence import Signatories, verified

FILE = Path(__file__).resolve().parents[2] / "docs" / "vectors" / "consent_terms.json"
DATA: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def optional_hex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


@pytest.mark.parametrize("vector", DATA["vectors"])
def test_the_sdk_makes_the_published_terms(vector: dict[str, str]) -> None:
    said = json.loads(vector["terms"])
    life, frequency = said.get("data_life"), said.get("frequency")
    draft = ConsentDraft(
        token=Token(bytes.fromhex(DATA["token"]), 1),
        purposes=[Purpose[name.upper()] for name in reversed(said["purposes"])],
        categories=[DataCategory[name.upper()] for name in said["categories"]],
        starts_at=datetime.fromisoformat(said["starts_at"]),
        expires_at=datetime.fromisoformat(said["expires_at"]),
        notice_version=said["notice_version"],
        notice_sha256=optional_hex(said.get("notice_sha256")),
        language=said.get("language"),
        withdrawal_method=said.get("withdrawal_method"),
        jurisdiction=said["jurisdiction"],
        data_life=life and Period(TimeUnit[life["unit"].upper()], life["value"]),
        frequency=frequency and Frequency(TimeUnit[frequency["unit"].upper()], frequency["uses"]),
        evidence_nonce=bytes.fromhex(DATA["nonce"]),
    )
    assert said["subject"] == DATA["binding"]
    assert consent_terms(draft, said["recipient"]) == vector["terms"].encode()


@pytest.mark.parametrize("vector", DATA["vectors"])
def test_the_gateway_takes_the_published_signatures(vector: dict[str, str]) -> None:
    terms = vector["terms"].encode()
    assert hashlib.sha256(terms).hexdigest() == vector["terms_sha256"]
    evidence = verified(vector["jws"], terms, Signatories({}))
    assert evidence.evidence_key is not None
    assert evidence.evidence_key.hex() == DATA["thumbprint"]
    assert evidence.evidence_jws_sha256 is not None
    assert evidence.evidence_jws_sha256.hex() == vector["jws_sha256"]
