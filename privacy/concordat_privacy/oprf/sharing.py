"""A secret key in shares: t of n holders evaluate together what the whole key would.

Shamir's scheme over the scalars: the key is ``f(0)`` of a random polynomial of degree ``t - 1``,
holder ``i`` has ``f(i)``. Any t shares, each times its Lagrange coefficient for the holders that
answer together, sum up to the key; so do their evaluations of one element, and that sum is exactly
the whole key's. Fewer than t shares are independent of the key.

Each holder multiplies its share by its own coefficient, so whoever combines only adds.

Shares stay in libsodium's constant-time functions. Holders' numbers and coefficients are public.

Reference: A. Shamir, How to share a secret, CACM 22 (1979); the same arithmetic in RFC 9591
section 4.2 and appendix C.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from . import ristretto
from .errors import BatchInvalid, KeyInvalid
from .keys import PublicKey, SecretKey

MAX_HOLDERS: Final = 16
"""More would make no consortium safer, and every evaluation dearer."""

_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


@dataclass(frozen=True, slots=True)
class Share:
    """One holder's part of a secret key."""

    holder: int
    """From 1 to the number of holders."""
    secret: SecretKey


@dataclass(frozen=True, slots=True)
class ShareReply:
    """What one holder answered to a batch."""

    holder: int
    public_key: PublicKey
    """The key its proof must hold for: its public share times its coefficient."""
    elements: bytes
    """Packed; its part of the evaluated elements."""
    proof: bytes


def split(secret: SecretKey, threshold: int, holders: int) -> list[Share]:
    """Shares for holders 1 to ``holders``, of which any ``threshold`` make the key.

    Raises:
        KeyInvalid: not ``2 <= threshold <= holders <= 16``.
    """
    if not 2 <= threshold <= holders <= MAX_HOLDERS:
        raise KeyInvalid(
            f"cannot split a key {threshold} of {holders}: "
            f"2 <= threshold <= holders <= {MAX_HOLDERS} wanted"
        )
    coefficients = [secret.scalar, *(ristretto.random_scalars(1) for _ in range(threshold - 1))]
    return [
        Share(number, SecretKey(_value_at(coefficients, number)))
        for number in range(1, holders + 1)
    ]


def join(shares: Sequence[Share]) -> SecretKey:
    """The key of ``threshold`` or more shares. Fewer give some other key, and nothing says so.

    Raises:
        KeyInvalid: no shares, or two of one holder.
    """
    holders = [share.holder for share in shares]
    total = bytes(ristretto.SCALAR_BYTES)
    for share in shares:
        total = ristretto.scalar_add(total, weighted(share, holders).scalar)
    return SecretKey(total)


def weighted(share: Share, holders: Collection[int]) -> SecretKey:
    """The share times its coefficient for the holders that answer together.

    Raises:
        KeyInvalid: as :func:`coefficient`.
    """
    return SecretKey(
        ristretto.scalar_multiply(share.secret.scalar, coefficient(share.holder, holders))
    )


def weighted_public_key(public: PublicKey, holder: int, holders: Collection[int]) -> PublicKey:
    """A holder's public share times its coefficient. Raises KeyInvalid as :func:`coefficient`."""
    return PublicKey(ristretto.scalar_multiply_each(coefficient(holder, holders), public.element))


def public_key_of(public_shares: Sequence[tuple[int, PublicKey]]) -> PublicKey:
    """The whole key's public half, from ``threshold`` holders' public shares.

    Raises:
        KeyInvalid: no shares, two of one holder, or they sum to no key.
    """
    holders = [holder for holder, _ in public_shares]
    parts = [bytes(weighted_public_key(key, holder, holders)) for holder, key in public_shares]
    return PublicKey(sum_of(parts))


def coefficient(holder: int, holders: Collection[int]) -> bytes:
    """Lagrange's coefficient at 0: the product of ``j / (j - holder)`` over the other holders.

    Raises:
        KeyInvalid: the holder is not among the holders, they repeat, or a number is not 1 to 16.
    """
    if (
        holder not in holders
        or len(set(holders)) != len(holders)
        or not all(1 <= number <= MAX_HOLDERS for number in holders)
    ):
        raise KeyInvalid(f"holder {holder} cannot answer together with {sorted(holders)}")
    value = 1
    for other in holders:
        if other != holder:
            value = value * other * pow(other - holder, -1, _ORDER) % _ORDER
    return value.to_bytes(ristretto.SCALAR_BYTES, "little")


def sum_of(parts: Sequence[bytes]) -> bytes:
    """The element-wise sum of packed elements.

    Raises:
        BatchInvalid: there are no parts. ElementInvalid, LengthInvalid: as in
            :func:`.ristretto.add_packed`.
    """
    if not parts:
        raise BatchInvalid("no key-holder has answered")
    total = parts[0]
    for part in parts[1:]:
        total = ristretto.add_packed(total, part)
    return total


def _value_at(coefficients: Sequence[bytes], number: int) -> bytes:
    """The polynomial at a small public number, by Horner's rule."""
    at = number.to_bytes(ristretto.SCALAR_BYTES, "little")
    value = coefficients[-1]
    for coefficient_ in reversed(coefficients[:-1]):
        value = ristretto.scalar_add(ristretto.scalar_multiply(value, at), coefficient_)
    return value
