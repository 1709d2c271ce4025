"""Blind, BlindEvaluate and Finalize of RFC 9497 section 3.3, over packed batches.

A single item is a batch of one. :mod:`.batch` builds the calls that members and servers use from
these; use them directly only to check vectors.

What is constant-time: every operation on blinds and on the secret key (libsodium's scalar and
point functions). What is not: hashing (its time tells the length of an input), and the number of
items. Both are known to the only party that runs them.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from . import ristretto
from .dleq import check_batch
from .errors import BatchInvalid, ElementInvalid, InputInvalid
from .ristretto import ELEMENT_BYTES, UNIFORM_BYTES
from .suite import DOMAINS, Mode, expand_message_xmd, i2osp, length_prefixed

MAX_INPUT_BYTES: Final = 0xFFFF

GENERATOR: Final = ristretto.GENERATOR


def blind(
    inputs: Sequence[bytes], mode: Mode, *, blinds: bytes | None = None
) -> tuple[bytes, bytes]:
    """Blind: ``(blinds, blinded elements)``, both packed.

    Args:
        inputs: 1 to 4,096 private inputs of at most 65,535 bytes.
        blinds: packed scalars, for test vectors only; fresh ones unless given.

    Raises:
        InputInvalid: an input is too long, or maps to the identity.
        ScalarInvalid: a given blind is zero or not reduced.
        BatchInvalid: no inputs, too many, or another number of blinds.
    """
    items = len(inputs)
    check_batch(items)
    if blinds is None:
        blinds = ristretto.random_scalars(items)
    else:
        if ristretto.count(blinds) != items:
            raise BatchInvalid(f"{ristretto.count(blinds)} blinds for {items} inputs")
        ristretto.check_scalars(blinds)
    dst = DOMAINS[mode].group_dst
    uniform = bytearray(items * UNIFORM_BYTES)
    for index, value in enumerate(inputs):
        if len(value) > MAX_INPUT_BYTES:
            raise InputInvalid(index, f"has {len(value)} bytes, more than {MAX_INPUT_BYTES}")
        uniform[index * UNIFORM_BYTES : (index + 1) * UNIFORM_BYTES] = expand_message_xmd(
            value, dst, UNIFORM_BYTES
        )
    points = ristretto.elements_from_uniform(bytes(uniform))
    try:
        return blinds, ristretto.scalar_multiply_pairs(blinds, points)
    except ElementInvalid as error:
        raise InputInvalid(error.index, "maps to the identity") from None


def blind_evaluate(secret: bytes, blinded: bytes) -> bytes:
    """BlindEvaluate without its proof: ``k * blinded[i]``, packed.

    Raises:
        ElementInvalid: an element is short, not canonical or the identity.
        BatchInvalid: too many elements. LengthInvalid: none.
    """
    check_batch(ristretto.count(blinded))
    return ristretto.scalar_multiply_each(secret, blinded)


def unblind(blinds: bytes, evaluated: bytes) -> bytes:
    """The part of Finalize before its hash: ``1 / blind[i] * evaluated[i]``, packed.

    Raises:
        ElementInvalid: an evaluated element is short, not canonical or the identity.
        BatchInvalid: the arguments have different numbers of items.
    """
    if ristretto.count(evaluated) != ristretto.count(blinds):
        raise BatchInvalid(
            f"{ristretto.count(evaluated)} evaluated elements for {ristretto.count(blinds)} inputs"
        )
    return ristretto.scalar_multiply_pairs(ristretto.invert_scalars(blinds), evaluated)


def finalize(inputs: Sequence[bytes], blinds: bytes, evaluated: bytes) -> list[bytes]:
    """Finalize after the proof was verified: one output of 64 bytes an input.

    Raises:
        ElementInvalid: an evaluated element is short, not canonical or the identity.
        BatchInvalid: the three arguments have different numbers of items.
    """
    items = len(inputs)
    if ristretto.count(blinds) != items:
        raise BatchInvalid(f"{ristretto.count(blinds)} blinds for {items} inputs")
    unblinded = unblind(blinds, evaluated)
    element_length = i2osp(ELEMENT_BYTES, 2)
    outputs = []
    for index, value in enumerate(inputs):
        start = index * ELEMENT_BYTES
        element = unblinded[start : start + ELEMENT_BYTES]
        message = length_prefixed(value) + element_length + element + b"Finalize"
        outputs.append(hashlib.sha512(message).digest())
    return outputs
