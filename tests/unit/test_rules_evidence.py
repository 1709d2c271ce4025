"""Whatever is sent as a signature: it is refused in one way, or it is the one over the terms."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_gateway.rules.evidence import EvidenceInvalid, Signatories, verified
from concordat_privacy.jwk import JwkError, parse_jwk
from tests.signers import Signer, b64

SIGNER, TERMS = Signer.p256(), b'{"v":1}'
NOBODY = Signatories({})
GOOD = SIGNER.sign(TERMS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["ES256", "EdDSA", "none", "HS256", "ES384"]) | json_values,
        "jwk": st.just(SIGNER.jwk) | json_values,
        "kid": st.just("house") | json_values,
        "b64": st.booleans() | json_values,
        "crit": st.just(["b64"]) | json_values,
    },
)


def test_the_good_one_is_taken() -> None:
    assert verified(GOOD, TERMS, NOBODY).evidence_jws == GOOD


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_=-]*\.[a-z]{0,2}\.[A-Za-z0-9_=-]*"))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(EvidenceInvalid):
        verified(text, TERMS, NOBODY)


@given(headers)
def test_a_header_is_taken_exactly_where_it_says_what_the_guide_says(
    header: dict[str, object],
) -> None:
    encoded = header.get("b64", True) is not False
    jws = SIGNER.sign_under(b64(json.dumps(header).encode()), TERMS, encoded)
    plain = "b64" not in header and "crit" not in header
    named = isinstance(header.get("b64"), bool) and header.get("crit") == ["b64"]
    good = (
        header.get("alg") == "ES256"
        and header.get("jwk") == SIGNER.jwk
        and "kid" not in header
        and (plain or named)
    )
    if good:
        assert verified(jws, TERMS, NOBODY).evidence_signer == "subject"
    else:
        with pytest.raises(EvidenceInvalid):
            verified(jws, TERMS, NOBODY)


@given(st.integers(0, len(GOOD) - 1), st.characters())
def test_no_character_of_a_signature_can_be_changed(at: int, character: str) -> None:
    changed = GOOD[:at] + character + GOOD[at + 1 :]
    if changed == GOOD:
        return
    with pytest.raises(EvidenceInvalid):
        verified(changed, TERMS, NOBODY)


@given(st.binary(max_size=100))
def test_no_other_terms_stand_under_a_signature(terms: bytes) -> None:
    if terms != TERMS:
        with pytest.raises(EvidenceInvalid):
            verified(GOOD, terms, NOBODY)


@given(st.text(max_size=100) | json_values.map(json.dumps))
def test_no_text_is_a_key_that_is_none(text: str) -> None:
    with pytest.raises(JwkError):
        parse_jwk(text)
