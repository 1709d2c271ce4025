"""Whoever signs consents in tests: detached JWS made by hand, without the library that verifies."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class Signer:
    """A key of a subject or of a consent manager."""

    key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey

    @classmethod
    def ed25519(cls) -> "Signer":
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def p256(cls) -> "Signer":
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def algorithm(self) -> str:
        return "EdDSA" if isinstance(self.key, Ed25519PrivateKey) else "ES256"

    @property
    def jwk(self) -> dict[str, str]:
        """The public key."""
        if isinstance(self.key, Ed25519PrivateKey):
            x = self.key.public_key().public_bytes_raw()
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(x)}
        numbers = self.key.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": b64(numbers.x.to_bytes(32)),
            "y": b64(numbers.y.to_bytes(32)),
        }

    @property
    def jwk_text(self) -> str:
        return json.dumps(self.jwk)

    def sign(self, payload: bytes, *, kid: str | None = None, **header: Any) -> str:
        """A detached JWS with `kid`, or with the key itself, in its header.

        `header` replaces or adds members, None removes one; b64=False leaves the payload as it is.
        """
        names = {"jwk": self.jwk} if kid is None else {"kid": kid}
        merged = {"alg": self.algorithm, **names, **header}
        members = {name: value for name, value in merged.items() if value is not None}
        return self.sign_under(b64(json.dumps(members).encode()), payload, members.get("b64", True))

    def sign_under(self, protected: str, payload: bytes, encoded: bool = True) -> str:
        """A detached JWS under a protected header as it is given."""
        content = b64(payload).encode() if encoded else payload
        return f"{protected}..{b64(self.raw(protected.encode() + b'.' + content))}"

    def raw(self, data: bytes) -> bytes:
        """The signature as JWS carries it."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(data)
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


def mirrored(jws: str) -> str:
    """The other ES256 signature that verifies whenever this one does: (r, n - s)."""
    head, signature = jws.rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    other = P256_ORDER - int.from_bytes(raw[32:])
    return f"{head}.{b64(raw[:32] + other.to_bytes(32))}"
