"""Checked ristretto255 arithmetic over packed elements and scalars, by libsodium.

A packed value is ``n`` items one after another, 32 bytes each (64 for uniform bytes). Each
function checks all lengths, copies its arguments into buffers of its own and walks them by
address: libsodium sees bare pointers, so nothing may reach it unchecked, and slicing a ``bytes``
object for each item would cost more than the call.

All arithmetic on scalars stays in libsodium's constant-time functions; a scalar is never made a
Python integer. Copies of secrets in Python's memory cannot be wiped: a process that holds a key
must be one whose memory nobody else reads.

References: RFC 9496 (ristretto255), RFC 9497 section 4.1.
"""

import ctypes
import hmac
from typing import Final

from . import sodium
from .errors import ElementInvalid, LengthInvalid, OprfError, ScalarInvalid

ELEMENT_BYTES: Final = 32
SCALAR_BYTES: Final = 32
UNIFORM_BYTES: Final = 64

IDENTITY: Final = bytes(ELEMENT_BYTES)
GENERATOR: Final = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
_BAD_ELEMENT: Final = "not a canonical ristretto255 element other than the identity"


def count(packed: bytes, item_bytes: int = ELEMENT_BYTES) -> int:
    """Number of items in a packed value.

    Raises:
        ElementInvalid: the last item is short. LengthInvalid: there is no item.
    """
    items, rest = divmod(len(packed), item_bytes)
    if rest:
        raise ElementInvalid(items, f"has {rest} bytes instead of {item_bytes}")
    if not items:
        raise LengthInvalid("packed value is empty")
    return items


def scalar_multiply_base(scalar: bytes) -> bytes:
    """``scalar * G``. Raises ScalarInvalid if the scalar is zero."""
    _check_length("scalar", scalar, SCALAR_BYTES)
    out = ctypes.create_string_buffer(ELEMENT_BYTES)
    source = ctypes.create_string_buffer(scalar, SCALAR_BYTES)
    multiply = sodium.load().calls.crypto_scalarmult_ristretto255_base
    if multiply(ctypes.addressof(out), ctypes.addressof(source)) != 0:
        raise ScalarInvalid(0, "is zero")
    return out.raw


def scalar_multiply_one(scalar: bytes, element: bytes) -> bytes:
    """``scalar * P`` for a non-zero scalar; the generator costs a third of any other element.

    Raises:
        ElementInvalid: as in :func:`scalar_multiply_each`. ScalarInvalid, LengthInvalid.
    """
    if element == GENERATOR:
        return scalar_multiply_base(scalar)
    _check_length("element", element, ELEMENT_BYTES)
    return scalar_multiply_each(scalar, element)


def scalar_multiply_each(scalar: bytes, elements: bytes) -> bytes:
    """``scalar * P[i]`` for one non-zero scalar and ``n`` packed elements.

    Raises:
        ElementInvalid: an element is short, not canonical or the identity. libsodium refuses all
            three by itself, so no second decoding is spent on the check.
    """
    _check_length("scalar", scalar, SCALAR_BYTES)
    size = count(elements) * ELEMENT_BYTES
    out = ctypes.create_string_buffer(size)
    factor = ctypes.create_string_buffer(scalar, SCALAR_BYTES)
    source = ctypes.create_string_buffer(elements, size)
    multiply = sodium.load().calls.crypto_scalarmult_ristretto255
    to, by, at = ctypes.addressof(out), ctypes.addressof(factor), ctypes.addressof(source)
    for offset in range(0, size, ELEMENT_BYTES):
        if multiply(to + offset, by, at + offset) != 0:
            raise ElementInvalid(offset // ELEMENT_BYTES, _BAD_ELEMENT)
    return out.raw


def scalar_multiply_pairs(scalars: bytes, elements: bytes) -> bytes:
    """``k[i] * P[i]`` for ``n`` packed non-zero scalars and ``n`` packed elements.

    Raises:
        ElementInvalid: as in :func:`scalar_multiply_each`.
    """
    size = count(elements) * ELEMENT_BYTES
    _check_length("packed scalars", scalars, size)
    out = ctypes.create_string_buffer(size)
    factors = ctypes.create_string_buffer(scalars, size)
    source = ctypes.create_string_buffer(elements, size)
    multiply = sodium.load().calls.crypto_scalarmult_ristretto255
    to, by, at = ctypes.addressof(out), ctypes.addressof(factors), ctypes.addressof(source)
    for offset in range(0, size, ELEMENT_BYTES):
        if multiply(to + offset, by + offset, at + offset) != 0:
            raise ElementInvalid(offset // ELEMENT_BYTES, _BAD_ELEMENT)
    return out.raw


def linear_combination(scalars: bytes, elements: bytes) -> bytes:
    """``sum of k[i] * P[i]`` for ``n`` packed non-zero scalars and ``n`` packed elements.

    libsodium has no multi-scalar multiplication: an item costs a whole multiplication and an
    addition, which decodes and encodes again.

    Raises:
        ElementInvalid: as in :func:`scalar_multiply_each`.
    """
    size = count(elements) * ELEMENT_BYTES
    _check_length("packed scalars", scalars, size)
    total = ctypes.create_string_buffer(ELEMENT_BYTES)
    product = ctypes.create_string_buffer(ELEMENT_BYTES)
    factors = ctypes.create_string_buffer(scalars, size)
    source = ctypes.create_string_buffer(elements, size)
    calls = sodium.load().calls
    multiply, add = calls.crypto_scalarmult_ristretto255, calls.crypto_core_ristretto255_add
    to, term = ctypes.addressof(total), ctypes.addressof(product)
    by, at = ctypes.addressof(factors), ctypes.addressof(source)
    # Nothing to add the first product to: a batch of one, which most are, is a fifth cheaper.
    if multiply(to, by, at) != 0:
        raise ElementInvalid(0, _BAD_ELEMENT)
    for offset in range(ELEMENT_BYTES, size, ELEMENT_BYTES):
        if multiply(term, by + offset, at + offset) != 0 or add(to, to, term) != 0:
            raise ElementInvalid(offset // ELEMENT_BYTES, _BAD_ELEMENT)
    return total.raw


def is_element(encoded: bytes) -> bool:
    """Whether these bytes are a canonical element other than the identity."""
    if len(encoded) != ELEMENT_BYTES or encoded == IDENTITY:
        return False
    source = ctypes.create_string_buffer(encoded, ELEMENT_BYTES)
    valid = sodium.load().calls.crypto_core_ristretto255_is_valid_point
    return bool(valid(ctypes.addressof(source)) == 1)


def elements_from_uniform(uniform: bytes) -> bytes:
    """Map each 64 uniform bytes to an element (RFC 9496 section 4.3.4)."""
    items = count(uniform, UNIFORM_BYTES)
    out = ctypes.create_string_buffer(items * ELEMENT_BYTES)
    source = ctypes.create_string_buffer(uniform, len(uniform))
    from_hash = sodium.load().calls.crypto_core_ristretto255_from_hash
    to, at = ctypes.addressof(out), ctypes.addressof(source)
    for index in range(items):
        if from_hash(to + index * ELEMENT_BYTES, at + index * UNIFORM_BYTES) != 0:
            raise OprfError("libsodium could not map uniform bytes to an element")
    return out.raw


def scalars_from_uniform(uniform: bytes) -> bytes:
    """Reduce each 64 uniform little-endian bytes modulo the group order."""
    items = count(uniform, UNIFORM_BYTES)
    out = ctypes.create_string_buffer(items * SCALAR_BYTES)
    source = ctypes.create_string_buffer(uniform, len(uniform))
    reduce = sodium.load().quick_calls.crypto_core_ristretto255_scalar_reduce
    to, at = ctypes.addressof(out), ctypes.addressof(source)
    for index in range(items):
        reduce(to + index * SCALAR_BYTES, at + index * UNIFORM_BYTES)
    return out.raw


def random_scalars(items: int) -> bytes:
    """``items`` packed non-zero scalars from libsodium's generator."""
    size = items * SCALAR_BYTES
    out = ctypes.create_string_buffer(size)
    fill = sodium.load().quick_calls.crypto_core_ristretto255_scalar_random
    to = ctypes.addressof(out)
    for offset in range(0, size, SCALAR_BYTES):
        fill(to + offset)
    return out.raw


def check_scalars(scalars: bytes) -> None:
    """Refuse a scalar that is zero or not reduced, in time that does not depend on its value.

    Raises:
        ScalarInvalid: names the first such scalar.
    """
    for index in range(count(scalars, SCALAR_BYTES)):
        scalar = scalars[index * SCALAR_BYTES : (index + 1) * SCALAR_BYTES]
        reduced = scalars_from_uniform(scalar + bytes(UNIFORM_BYTES - SCALAR_BYTES))
        if not hmac.compare_digest(reduced, scalar):
            raise ScalarInvalid(index, "is not reduced modulo the group order")
        if hmac.compare_digest(scalar, bytes(SCALAR_BYTES)):
            raise ScalarInvalid(index, "is zero")


def invert_scalars(scalars: bytes) -> bytes:
    """``1 / k[i]`` for ``n`` packed scalars: one inversion and 3n multiplications.

    Montgomery's simultaneous inversion: with the running products p[i] = k[0] ... k[i], invert
    only p[n-1] and walk back.

    Raises:
        ScalarInvalid: some scalar is zero (which one is not said: only the product is seen).
    """
    size = count(scalars, SCALAR_BYTES) * SCALAR_BYTES
    source = ctypes.create_string_buffer(scalars, size)
    products = ctypes.create_string_buffer(scalars, size)
    out = ctypes.create_string_buffer(size)
    running = ctypes.create_string_buffer(SCALAR_BYTES)
    library = sodium.load()
    invert = library.calls.crypto_core_ristretto255_scalar_invert
    multiply = library.quick_calls.crypto_core_ristretto255_scalar_mul
    at, prefix = ctypes.addressof(source), ctypes.addressof(products)
    to, inverse = ctypes.addressof(out), ctypes.addressof(running)
    for offset in range(SCALAR_BYTES, size, SCALAR_BYTES):
        multiply(prefix + offset, prefix + offset - SCALAR_BYTES, at + offset)
    last = size - SCALAR_BYTES
    if invert(inverse, prefix + last) != 0:
        raise ScalarInvalid(0, "or a later one is zero")
    for offset in range(last, 0, -SCALAR_BYTES):
        multiply(to + offset, inverse, prefix + offset - SCALAR_BYTES)
        multiply(inverse, inverse, at + offset)
    ctypes.memmove(to, inverse, SCALAR_BYTES)
    return out.raw


def multiply_subtract(minuend: bytes, left: bytes, right: bytes) -> bytes:
    """``minuend - left * right`` modulo the group order."""
    for scalar in (minuend, left, right):
        _check_length("scalar", scalar, SCALAR_BYTES)
    out = ctypes.create_string_buffer(left, SCALAR_BYTES)
    factor = ctypes.create_string_buffer(right, SCALAR_BYTES)
    start = ctypes.create_string_buffer(minuend, SCALAR_BYTES)
    calls = sodium.load().quick_calls
    to = ctypes.addressof(out)
    calls.crypto_core_ristretto255_scalar_mul(to, to, ctypes.addressof(factor))
    calls.crypto_core_ristretto255_scalar_sub(to, ctypes.addressof(start), to)
    return out.raw


def scalar_add(left: bytes, right: bytes) -> bytes:
    """``left + right`` modulo the group order."""
    return _combine("crypto_core_ristretto255_scalar_add", left, right)


def scalar_multiply(left: bytes, right: bytes) -> bytes:
    """``left * right`` modulo the group order."""
    return _combine("crypto_core_ristretto255_scalar_mul", left, right)


def add_packed(left: bytes, right: bytes) -> bytes:
    """``P[i] + Q[i]`` for two packed values of ``n`` elements.

    Raises:
        ElementInvalid: an element is short or not canonical. (The identity is one here: a sum may
            pass through it.)
    """
    size = count(left) * ELEMENT_BYTES
    _check_length("packed elements", right, size)
    out = ctypes.create_string_buffer(size)
    first = ctypes.create_string_buffer(left, size)
    second = ctypes.create_string_buffer(right, size)
    add = sodium.load().calls.crypto_core_ristretto255_add
    to, by, at = (ctypes.addressof(buffer) for buffer in (out, first, second))
    for offset in range(0, size, ELEMENT_BYTES):
        if add(to + offset, by + offset, at + offset) != 0:
            raise ElementInvalid(offset // ELEMENT_BYTES, _BAD_ELEMENT)
    return out.raw


def _combine(name: str, left: bytes, right: bytes) -> bytes:
    for scalar in (left, right):
        _check_length("scalar", scalar, SCALAR_BYTES)
    out = ctypes.create_string_buffer(left, SCALAR_BYTES)
    other = ctypes.create_string_buffer(right, SCALAR_BYTES)
    to = ctypes.addressof(out)
    getattr(sodium.load().quick_calls, name)(to, to, ctypes.addressof(other))
    return out.raw


def _check_length(what: str, value: bytes, expected: int) -> None:
    if len(value) != expected:
        raise LengthInvalid(f"{what}: {len(value)} bytes instead of {expected}")
