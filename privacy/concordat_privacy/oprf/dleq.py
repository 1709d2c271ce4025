"""Proofs that two lists of elements have one discrete logarithm (RFC 9497 section 2.2).

The server shows that every ``D[i] = k * C[i]`` has the ``k`` of its public key ``B = k * A``
without showing ``k``. One proof of 64 bytes covers a batch. The server's secrets (``k``, ``r``)
stay in libsodium's constant-time functions; all else here is public to both sides.
"""

import hashlib
import hmac
from typing import Final

from . import ristretto
from .errors import BatchInvalid, ElementInvalid, LengthInvalid, ProofInvalid, ScalarInvalid
from .ristretto import ELEMENT_BYTES, SCALAR_BYTES, UNIFORM_BYTES
from .suite import DOMAINS, Mode, expand_message_xmd, hash_to_scalar, i2osp, length_prefixed

PROOF_BYTES: Final = 2 * SCALAR_BYTES

# The transcript numbers items with I2OSP(i, 2), so RFC 9497 allows 65,535 of them. A batch is kept
# far below: 4,096 items are 128 KiB each way and about 0.5 s of one core with a proof, which fits
# a call's deadline and a fair share of a worker; and larger batches save nothing per item.
MAX_BATCH: Final = 4096

_ELEMENT_LENGTH: Final = i2osp(ELEMENT_BYTES, 2)


def check_batch(items: int) -> None:
    """Raises BatchInvalid unless ``1 <= items <= MAX_BATCH``."""
    if not 1 <= items <= MAX_BATCH:
        raise BatchInvalid(f"a batch has 1 to {MAX_BATCH} items, not {items}")


def generate_proof(
    secret: bytes, a: bytes, b: bytes, c: bytes, d: bytes, mode: Mode, *, r: bytes | None = None
) -> bytes:
    """GenerateProof: the challenge and the response, two scalars.

    Args:
        secret: the scalar ``k``.
        a, b: elements with ``b = k * a``.
        c, d: ``n`` packed elements each, with ``d[i] = k * c[i]``.
        r: the commitment's scalar, for test vectors only; a fresh one unless given. Using one
            twice gives the key away.

    Raises:
        ElementInvalid, BatchInvalid, LengthInvalid: malformed arguments.
    """
    commitment = ristretto.random_scalars(1) if r is None else r
    m, z = compute_composites_fast(secret, b, c, d, mode)
    t2 = ristretto.scalar_multiply_one(commitment, a)
    t3 = ristretto.scalar_multiply_one(commitment, m)
    challenge = _challenge(b, m, z, t2, t3, mode)
    return challenge + ristretto.multiply_subtract(commitment, challenge, secret)


def verify_proof(a: bytes, b: bytes, c: bytes, d: bytes, proof: bytes, mode: Mode) -> None:
    """VerifyProof; returns only if the proof holds.

    Args:
        a, b, c, d: as in :func:`generate_proof`.
        proof: 64 bytes.

    Raises:
        ProofInvalid: the proof is malformed or does not hold.
        ElementInvalid: an element of ``c`` or ``d`` is short, not canonical or the identity.
        BatchInvalid: ``c`` and ``d`` have different sizes, or none or too many items.
    """
    if len(proof) != PROOF_BYTES:
        raise ProofInvalid(f"proof has {len(proof)} bytes instead of {PROOF_BYTES}")
    try:
        ristretto.check_scalars(proof)
    except ScalarInvalid as error:
        raise ProofInvalid(f"proof's {error}") from None
    challenge, response = proof[:SCALAR_BYTES], proof[SCALAR_BYTES:]
    m, z = compute_composites(b, c, d, mode)
    try:
        t2 = ristretto.add_packed(
            ristretto.scalar_multiply_one(response, a), ristretto.scalar_multiply_one(challenge, b)
        )
        t3 = ristretto.linear_combination(response + challenge, m + z)
    except ElementInvalid:
        raise ProofInvalid("proof is for elements outside the group") from None
    if not hmac.compare_digest(_challenge(b, m, z, t2, t3, mode), challenge):
        raise ProofInvalid("proof does not hold for this key and batch")


def compute_composites(b: bytes, c: bytes, d: bytes, mode: Mode) -> tuple[bytes, bytes]:
    """ComputeComposites: ``M = sum of w[i] * C[i]`` and ``Z = sum of w[i] * D[i]``.

    Raises: as :func:`verify_proof`, without ProofInvalid.
    """
    weights = _weights(b, c, d, mode)
    return ristretto.linear_combination(weights, c), ristretto.linear_combination(weights, d)


def compute_composites_fast(
    secret: bytes, b: bytes, c: bytes, d: bytes, mode: Mode
) -> tuple[bytes, bytes]:
    """ComputeCompositesFast: who knows ``k`` gets ``Z = k * M`` in one multiplication."""
    m = ristretto.linear_combination(_weights(b, c, d, mode), c)
    return m, ristretto.scalar_multiply_each(secret, m)


def _weights(b: bytes, c: bytes, d: bytes, mode: Mode) -> bytes:
    """One packed scalar an item, which depends on the key, the item and its place."""
    if len(b) != ELEMENT_BYTES:
        raise LengthInvalid(f"element: {len(b)} bytes instead of {ELEMENT_BYTES}")
    items = ristretto.count(c)
    check_batch(items)
    if ristretto.count(d) != items:
        raise BatchInvalid(f"{items} elements on one side, {ristretto.count(d)} on the other")
    domain = DOMAINS[mode]
    seed = hashlib.sha512(length_prefixed(b) + length_prefixed(domain.seed_dst)).digest()
    prefix = length_prefixed(seed)
    uniform = bytearray(items * UNIFORM_BYTES)
    for index in range(items):
        start = index * ELEMENT_BYTES
        transcript = b"".join(
            (
                prefix,
                i2osp(index, 2),
                _ELEMENT_LENGTH,
                c[start : start + ELEMENT_BYTES],
                _ELEMENT_LENGTH,
                d[start : start + ELEMENT_BYTES],
                b"Composite",
            )
        )
        uniform[index * UNIFORM_BYTES : (index + 1) * UNIFORM_BYTES] = expand_message_xmd(
            transcript, domain.scalar_dst, UNIFORM_BYTES
        )
    return ristretto.scalars_from_uniform(bytes(uniform))


def _challenge(b: bytes, m: bytes, z: bytes, t2: bytes, t3: bytes, mode: Mode) -> bytes:
    transcript = b"".join(length_prefixed(element) for element in (b, m, z, t2, t3))
    return hash_to_scalar(transcript + b"Challenge", DOMAINS[mode].scalar_dst)
