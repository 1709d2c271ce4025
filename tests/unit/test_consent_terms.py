"""What is signed for a consent, and the small formats in it: units, language tags, public keys."""

import base64
import hashlib
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from concordat.v1 import consent_pb2
from concordat_privacy.consent_terms import Terms, subject_binding, terms_bytes
from concordat_privacy.jwk import JwkError, parse_jwk
from concordat_privacy.languages import is_language_tag
from concordat_privacy.moments import micros_of
from concordat_privacy.periods import Frequency, Period, TimeUnit, span_number

TERMS = Terms(
    purposes=["underwriting"],
    categories=["credit_accounts", "inquiries"],
    starts_at=1_795_000_000_000_000,
    expires_at=1_796_000_000_000_001,
    notice_version="2026-1",
    notice_sha256=bytes(range(32)),
    language="zh-Hans-CN",
    withdrawal_method="https://lender.example/withdraw",
    jurisdiction="CN",
    data_life=Period(TimeUnit.MONTH, 6),
    frequency=Frequency(TimeUnit.INF, 2),
)


def test_the_signed_bytes_are_these() -> None:
    binding = hashlib.sha256(b"concordat/consent-terms/v1" + b"\1" * 16 + b"\2" * 32).digest()
    assert subject_binding(b"\1" * 16, b"\2" * 32) == binding
    assert terms_bytes(TERMS.fields(), "alpha", binding).decode() == (
        '{"categories":["credit_accounts","inquiries"],"data_life":{"unit":"month","value":6},'
        '"expires_at":"2026-11-30T00:53:20.000001Z","frequency":{"unit":"inf","uses":2},'
        '"jurisdiction":"CN","language":"zh-Hans-CN",'
        '"notice_sha256":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",'
        '"notice_version":"2026-1","purposes":["underwriting"],"recipient":"alpha",'
        '"starts_at":"2026-11-18T11:06:40.000000Z",'
        f'"subject":"{binding.hex()}","type":"consent.terms","v":1,'
        '"withdrawal_method":"https://lender.example/withdraw"}'
    )


def test_what_was_not_agreed_is_left_out() -> None:
    bare = Terms(
        purposes=["dispute"],
        categories=["spending"],
        starts_at=0,
        expires_at=1,
        notice_version="1",
        notice_sha256=b"",
        language="",
        withdrawal_method="",
        jurisdiction="ZZ",
        data_life=None,
        frequency=None,
    )
    assert set(bare.fields()) == {
        "purposes",
        "categories",
        "starts_at",
        "expires_at",
        "notice_version",
        "jurisdiction",
    }


def test_a_binding_needs_its_whole_nonce() -> None:
    with pytest.raises(ValueError, match="16 wanted"):
        subject_binding(b"\1" * 15, b"\2" * 32)


def test_units_have_the_numbers_of_the_contract() -> None:
    theirs = {
        name.removeprefix("TIME_UNIT_"): number for name, number in consent_pb2.TimeUnit.items()
    }
    assert {unit.name: int(unit) for unit in TimeUnit} | {"UNSPECIFIED": 0} == theirs


@pytest.mark.parametrize(
    ("unit", "last", "first"),
    [
        (TimeUnit.HOUR, "2026-11-18T11:59:59.999999", "2026-11-18T12:00:00"),
        (TimeUnit.DAY, "2026-11-18T23:59:59.999999", "2026-11-19T00:00:00"),
        (TimeUnit.MONTH, "2028-02-29T23:59:59.999999", "2028-03-01T00:00:00"),
        (TimeUnit.YEAR, "2026-12-31T23:59:59.999999", "2027-01-01T00:00:00"),
    ],
)
def test_a_calendar_unit_ends_where_the_next_begins(unit: TimeUnit, last: str, first: str) -> None:
    before, after = (
        micros_of(datetime.fromisoformat(text).replace(tzinfo=UTC)) for text in (last, first)
    )
    assert after - before == 1
    assert span_number(unit, after) == span_number(unit, before) + 1
    assert span_number(TimeUnit.INF, after) == span_number(TimeUnit.INF, before)


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)),
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)),
)
def test_two_moments_share_a_month_exactly_where_the_calendar_says_so(
    one: datetime, other: datetime
) -> None:
    numbers = {
        span_number(TimeUnit.MONTH, micros_of(at.replace(tzinfo=UTC))) for at in (one, other)
    }
    same = (one.year, one.month) == (other.year, other.month)
    assert (len(numbers) == 1) is same


TAGS = ["de", "DE-de", "en-US", "es-419", "de-1996", "zh-Hans-CN", "zh-yue", "x-lender", "de-x-a"]
LONG_TAGS = ["sl-rozaj-biske-1994", "en-u-ca-buddhist"]
NO_TAGS = ["e", "de_DE", "-de", "de-", "de--DE", "deutsch-DE-DE-x", "de-DE-DE", "1de", "dé"]


@pytest.mark.parametrize("tag", [*TAGS, *LONG_TAGS])
def test_language_tags_of_rfc_5646_are_taken(tag: str) -> None:
    assert is_language_tag(tag)


@pytest.mark.parametrize("tag", [*NO_TAGS, "", "a b", "de\n", "en-" + "abcde-" * 6 + "abcde"])
def test_what_is_no_language_tag_is_refused(tag: str) -> None:
    assert not is_language_tag(tag)


# RFC 8037, appendix A.2 and A.3.
ED25519 = '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
ED25519_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
# RFC 7517, appendix A.1.
P256 = (
    '{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",'
    '"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1"}'
)


def test_a_thumbprint_is_that_of_the_rfc() -> None:
    key = parse_jwk(ED25519)
    assert key.algorithm == "EdDSA"
    assert base64.urlsafe_b64encode(key.thumbprint).rstrip(b"=").decode() == ED25519_THUMBPRINT


def test_a_p256_key_is_for_es256_and_what_does_not_make_it_is_left_out() -> None:
    key = parse_jwk(P256)
    assert key.algorithm == "ES256"
    assert isinstance(key.key, ec.EllipticCurvePublicKey)
    assert set(json.loads(key.text)) == {"kty", "crv", "x", "y"}
    assert parse_jwk(key.text).thumbprint == key.thumbprint


def spoiled(text: str, **changes: object) -> str:
    """The key with members changed; None removes one."""
    members = json.loads(text) | changes
    return json.dumps({name: value for name, value in members.items() if value is not None})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '"x"',
        "[" * 100_000,
        '{"kty":"OKP","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}',
        spoiled(ED25519, d="nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"),
        spoiled(ED25519, crv="Ed448"),
        spoiled(ED25519, crv="X25519"),
        spoiled(ED25519, kty="EC"),
        spoiled(ED25519, x=None),
        spoiled(ED25519, x=5),
        spoiled(ED25519, x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"),
        spoiled(ED25519, x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
        spoiled(ED25519, x="11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
        spoiled(ED25519, x="AAAA"),
        spoiled(ED25519, alg="ES256"),
        spoiled(ED25519, use="enc"),
        spoiled(P256, crv="P-384"),
        spoiled(P256, crv="secp256k1"),
        spoiled(P256, y="MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"),
        spoiled(P256, alg="HS256"),
        '{"kty":"oct","k":"AAAA"}',
        '{"kty":"RSA","n":"AQAB","e":"AQAB"}',
        spoiled(P256, note="x" * 2_000),
    ],
)
def test_no_other_key_is_taken(text: str) -> None:
    with pytest.raises(JwkError) as error:
        parse_jwk(text)
    assert "11qYAYKx" not in str(error.value)
