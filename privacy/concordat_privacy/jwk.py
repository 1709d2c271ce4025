"""Public keys as JSON Web Keys (RFC 7517, 7518, 8037), of the two kinds that sign consents.

Strict on purpose: exactly Ed25519 and P-256, exact lengths, no private parts, points on the curve.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VerifyingKey: TypeAlias = Ed25519PublicKey | ec.EllipticCurvePublicKey

MAX_JWK_CHARACTERS: Final = 2_000
_COORDINATE_BYTES: Final = 32
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class JwkError(ValueError):
    """Not a public key of these kinds. The message never repeats the key."""


@dataclass(frozen=True, slots=True)
class PublicJwk:
    """A checked key."""

    key: VerifyingKey
    algorithm: str
    """The one JWS algorithm it may be used with: "EdDSA" or "ES256"."""
    members: Mapping[str, str]
    """The members that make the key, and no others."""

    @property
    def thumbprint(self) -> bytes:
        """RFC 7638 with SHA-256, 32 bytes."""
        return hashlib.sha256(self.text.encode()).digest()

    @property
    def text(self) -> str:
        """The required members as JSON in the form that RFC 7638 hashes."""
        return json.dumps(dict(sorted(self.members.items())), separators=(",", ":"))


def parse_jwk(text: str) -> PublicJwk:
    """A key from its JSON text. Raises JwkError."""
    if len(text) > MAX_JWK_CHARACTERS:
        raise JwkError(f"{len(text)} characters, at most {MAX_JWK_CHARACTERS} wanted")
    try:
        value = json.loads(text, object_pairs_hook=once_each)
    except (ValueError, RecursionError):
        raise JwkError("not JSON") from None
    return read_jwk(value)


def read_jwk(value: object) -> PublicJwk:
    """A key from a parsed JSON value. Raises JwkError."""
    if not isinstance(value, dict):
        raise JwkError("not a JSON object")
    if not _PRIVATE.isdisjoint(value):
        raise JwkError("it holds a private key")
    if value.get("use", "sig") != "sig":
        raise JwkError('its "use" is not "sig"')
    match value.get("kty"), value.get("crv"):
        case "OKP", "Ed25519":
            members, algorithm = _members(value, "x"), "EdDSA"
            key: VerifyingKey = Ed25519PublicKey.from_public_bytes(_bytes(members["x"]))
        case "EC", "P-256":
            members, algorithm = _members(value, "x", "y"), "ES256"
            key = _point(_bytes(members["x"]), _bytes(members["y"]))
        case _:
            raise JwkError("only Ed25519 (OKP) and P-256 (EC) keys are taken")
    if value.get("alg", algorithm) != algorithm:
        raise JwkError(f'its "alg" is not {algorithm}')
    return PublicJwk(key, algorithm, members)


def once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object hook for `json.loads` that refuses a name given twice. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _members(value: Mapping[str, object], *coordinates: str) -> dict[str, str]:
    members: dict[str, str] = {}
    for name in ("kty", "crv", *coordinates):
        text = value.get(name)
        if not isinstance(text, str):
            raise JwkError(f'"{name}" is missing or no text')
        members[name] = text
    return members


def _bytes(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise JwkError("a coordinate is not base64url") from None
    # One key has one spelling: its thumbprint must not depend on unused bits.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise JwkError("a coordinate is not base64url without padding")
    if len(data) != _COORDINATE_BYTES:
        raise JwkError(f"a coordinate of {len(data)} bytes, {_COORDINATE_BYTES} wanted")
    return data


def _point(x: bytes, y: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicNumbers(
            int.from_bytes(x), int.from_bytes(y), ec.SECP256R1()
        ).public_key()
    except ValueError:
        raise JwkError("not a point of P-256") from None
