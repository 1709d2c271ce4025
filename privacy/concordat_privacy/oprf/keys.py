"""Keys of the token service: generation, derivation, encoding (RFC 9497 section 3.2)."""

import hmac
from dataclasses import dataclass
from typing import Final, Self

from . import ristretto
from .errors import KeyInvalid, ScalarInvalid
from .suite import DOMAINS, Mode, hash_to_scalar, i2osp, length_prefixed

KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
_ZERO: Final = bytes(ristretto.SCALAR_BYTES)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: 32 bytes, a canonical element other than the identity.

    Raises:
        KeyInvalid: it is not.
    """

    element: bytes

    def __post_init__(self) -> None:
        if not ristretto.is_element(self.element):
            raise KeyInvalid("public key is not a canonical ristretto255 element")

    def __bytes__(self) -> bytes:
        return self.element

    def __repr__(self) -> str:
        return f"PublicKey({self.element.hex()})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SecretKey:
    """A secret key: a reduced, non-zero scalar, 32 bytes little-endian. Its repr hides it.

    Raises:
        KeyInvalid: it is not.
    """

    scalar: bytes

    def __post_init__(self) -> None:
        if len(self.scalar) != KEY_BYTES:
            raise KeyInvalid(f"secret key has {len(self.scalar)} bytes instead of {KEY_BYTES}")
        try:
            ristretto.check_scalars(self.scalar)
        except ScalarInvalid as error:
            raise KeyInvalid(f"secret key {error.reason}") from None

    def public_key(self) -> PublicKey:
        """The key's public half."""
        return PublicKey(ristretto.scalar_multiply_base(self.scalar))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretKey):
            return NotImplemented
        return hmac.compare_digest(self.scalar, other.scalar)

    def __bytes__(self) -> bytes:
        return self.scalar

    def __repr__(self) -> str:
        return "SecretKey(hidden)"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A secret key and its public key."""

    secret: SecretKey
    public: PublicKey

    @classmethod
    def from_secret(cls, secret: SecretKey) -> Self:
        """Pair a secret key with the public key that it has."""
        return cls(secret, secret.public_key())


def key_ratio(old: SecretKey, new: SecretKey) -> SecretKey:
    """``new / old``: what turns an element under the old key into the same one under the new."""
    inverse = ristretto.invert_scalars(old.scalar)
    return SecretKey(ristretto.scalar_multiply(new.scalar, inverse))


def generate_key() -> KeyPair:
    """GenerateKeyPair: a fresh pair from libsodium's generator."""
    return KeyPair.from_secret(SecretKey(ristretto.random_scalars(1)))


def derive_key_pair(seed: bytes, info: bytes, mode: Mode = Mode.VOPRF) -> KeyPair:
    """DeriveKeyPair (RFC 9497 section 3.2.1): the same seed and info give the same pair.

    Args:
        seed: 32 secret, uniformly random bytes.
        info: public label, at most 65,535 bytes.

    Raises:
        KeyInvalid: the seed has another length, or no counter gives a key.
        LengthInvalid: ``info`` is too long.
    """
    if len(seed) != SEED_BYTES:
        raise KeyInvalid(f"seed has {len(seed)} bytes instead of {SEED_BYTES}")
    message = seed + length_prefixed(info)
    for counter in range(256):
        scalar = hash_to_scalar(message + i2osp(counter, 1), DOMAINS[mode].key_dst)
        if not hmac.compare_digest(scalar, _ZERO):
            return KeyPair.from_secret(SecretKey(scalar))
    raise KeyInvalid("no key can be derived from this seed")
