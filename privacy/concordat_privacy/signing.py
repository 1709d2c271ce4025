"""What a member signs when it has blinded elements evaluated, and how the signature is checked.

The key-holder acts on this signature alone, so that a gateway can pass batches on and cannot make
any. The contract's token.proto says the same in words.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

NONCE_BYTES: Final = 16
_DOMAIN: Final = b"concordat/evaluate/v1"


@dataclass(frozen=True, slots=True)
class EvaluationStatement:
    """A batch that a member asks to have evaluated.

    Raises:
        ValueError: a number does not fit its bytes, or the nonce has not 16 bytes.
    """

    epoch: int
    quota: int
    """Number of the contract's EvaluationQuota."""
    nonce: bytes
    signed_at: int
    """Microseconds since 1970."""
    blinded_elements: bytes
    spiffe_id: str
    """The member's identity, as its certificate has it."""

    def __post_init__(self) -> None:
        if len(self.nonce) != NONCE_BYTES:
            raise ValueError(f"nonce: {NONCE_BYTES} bytes wanted, {len(self.nonce)} given")
        for name, value, size in (
            ("epoch", self.epoch, 4),
            ("quota", self.quota, 1),
            ("signed_at", self.signed_at, 8),
        ):
            if not 0 <= value < 256**size:
                raise ValueError(f"{name}: {value} does not fit {size} bytes")

    def message(self) -> bytes:
        """The bytes that are signed. Everything before the identity has a fixed length."""
        return b"".join(
            (
                _DOMAIN,
                self.epoch.to_bytes(4, "big"),
                self.quota.to_bytes(1, "big"),
                self.nonce,
                self.signed_at.to_bytes(8, "big"),
                hashlib.sha256(self.blinded_elements).digest(),
                self.spiffe_id.encode(),
            )
        )

    def sign(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        """ECDSA, DER; SHA-384 for P-384, else SHA-256."""
        return key.sign(self.message(), _algorithm(key.curve))

    def is_signed_by(self, key: ec.EllipticCurvePublicKey, signature: bytes) -> bool:
        """Whether the signature is this key's over exactly this statement."""
        try:
            key.verify(signature, self.message(), _algorithm(key.curve))
        except InvalidSignature:
            return False
        return True


def _algorithm(curve: ec.EllipticCurve) -> ec.ECDSA:
    return ec.ECDSA(hashes.SHA384() if curve.name == "secp384r1" else hashes.SHA256())
