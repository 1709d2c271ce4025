"""Carrying elements from one epoch's key to the next without showing them.

Whoever keeps elements masks them with fresh random scalars, has the key-holders multiply them by
the ratio of the two keys, checks each key-holder's proof and takes the mask off again: the
key-holders learn nothing of the elements, and cannot answer with anything else unnoticed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import ristretto
from .batch import verify_update
from .errors import BatchInvalid, ElementInvalid, LengthInvalid, ProofInvalid, ShareInvalid
from .keys import PublicKey
from .sharing import ShareReply, sum_of


@dataclass(frozen=True, slots=True)
class MaskedElements:
    """Elements, each multiplied by a random scalar of its own."""

    packed: bytes
    """For the key-holders."""
    scalars: bytes = field(repr=False)
    """Packed; whoever has them can take the mask off."""


def mask_elements(packed: bytes) -> MaskedElements:
    """Mask packed elements.

    Raises:
        ElementInvalid: names the element that is short, not canonical or the identity.
        LengthInvalid: there are none.
    """
    scalars = ristretto.random_scalars(ristretto.count(packed))
    return MaskedElements(ristretto.scalar_multiply_pairs(scalars, packed), scalars)


def finish_update(masked: MaskedElements, old: PublicKey, replies: Sequence[ShareReply]) -> bytes:
    """The elements under the next key, packed, in order.

    Args:
        old: the key that the elements are under.
        replies: one of a key-holder with the whole ratio, its ``public_key`` the next key; or one
            of each holder that answered together, its ``public_key`` the holder's update key in
            the key log times its coefficient.

    Raises:
        ShareInvalid: names the key-holder whose proof does not hold.
        BatchInvalid: no replies.
    """
    for reply in replies:
        try:
            verify_update(masked.packed, reply.elements, reply.proof, old, reply.public_key)
        except (ProofInvalid, ElementInvalid, LengthInvalid, BatchInvalid) as error:
            raise ShareInvalid(reply.holder, str(error)) from None
    updated = sum_of([reply.elements for reply in replies])
    return ristretto.scalar_multiply_pairs(ristretto.invert_scalars(masked.scalars), updated)
