"""The three steps by which a batch of inputs becomes tokens.

    member: state, blinded = blind_batch(inputs)
    server: evaluated, proof = evaluate_batch(secret, blinded)
    member: elements = finalize_batch(state, evaluated, proof, pinned_public_key)

What comes out are the elements that tokens are made of: RFC 9497's Finalize before its last hash
(docs/adr/0010-tokens-as-elements.md says why; :func:`.protocol.finalize` is the whole of it).

Elements travel packed: ``n`` times 32 bytes in one field. The functions ending in ``_unproven``
run the protocol's mode OPRF, in which the member trusts the server to use one key for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from . import dleq, protocol
from .errors import BatchInvalid, ElementInvalid, LengthInvalid, ProofInvalid, ShareInvalid
from .keys import PublicKey, SecretKey
from .ristretto import ELEMENT_BYTES
from .sharing import ShareReply, sum_of
from .suite import Mode


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BlindedBatch:
    """What a member keeps between blinding and finalising. It never leaves the process."""

    mode: Mode
    inputs: tuple[bytes, ...]
    blinds: bytes
    blinded: bytes

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"BlindedBatch({len(self)} items, {self.mode.name})"


def blind_batch(
    inputs: Sequence[bytes], *, mode: Mode = Mode.VOPRF, blinds: bytes | None = None
) -> tuple[BlindedBatch, bytes]:
    """Blind 1 to 4,096 inputs; returns the state to keep and the packed elements to send.

    Raises: as :func:`.protocol.blind`.
    """
    used, blinded = protocol.blind(inputs, mode, blinds=blinds)
    return BlindedBatch(mode, tuple(inputs), used, blinded), blinded


def evaluate_batch(
    secret: SecretKey, packed_blinded: bytes, *, proof_scalar: bytes | None = None
) -> tuple[bytes, bytes]:
    """Evaluate a batch and prove it; returns packed elements and the proof of 64 bytes.

    Args:
        proof_scalar: for test vectors only, see :func:`.dleq.generate_proof`.

    Raises:
        ElementInvalid: names the element that is short, not canonical or the identity.
        BatchInvalid: more than 4,096 elements. LengthInvalid: none.
    """
    evaluated = protocol.blind_evaluate(secret.scalar, packed_blinded)
    proof = dleq.generate_proof(
        secret.scalar,
        protocol.GENERATOR,
        secret.public_key().element,
        packed_blinded,
        evaluated,
        Mode.VOPRF,
        r=proof_scalar,
    )
    return evaluated, proof


def evaluate_batch_unproven(secret: SecretKey, packed_blinded: bytes) -> bytes:
    """Evaluate a batch for a member in mode OPRF. Raises: as :func:`evaluate_batch`."""
    return protocol.blind_evaluate(secret.scalar, packed_blinded)


def update_batch(ratio: SecretKey, old: PublicKey, packed_blinded: bytes) -> tuple[bytes, bytes]:
    """Multiply elements of one epoch by the ratio of the next epoch's key to theirs, and prove it.

    The proof has the old key as its base and ``ratio * old``, which is the new key, as its result.
    Raises: as :func:`evaluate_batch`.
    """
    updated = protocol.blind_evaluate(ratio.scalar, packed_blinded)
    new = protocol.blind_evaluate(ratio.scalar, old.element)
    proof = dleq.generate_proof(ratio.scalar, old.element, new, packed_blinded, updated, Mode.VOPRF)
    return updated, proof


def verify_update(
    packed_blinded: bytes, packed_updated: bytes, proof: bytes, old: PublicKey, new: PublicKey
) -> None:
    """Returns only if elements under ``old`` became the same ones under ``new``.

    Raises: as :func:`finalize_batch`.
    """
    dleq.verify_proof(old.element, new.element, packed_blinded, packed_updated, proof, Mode.VOPRF)


def finalize_batch(
    state: BlindedBatch, packed_evaluated: bytes, proof: bytes, public_key: PublicKey
) -> list[bytes]:
    """Verify the server's proof, then unblind; returns an element of 32 bytes an input, in order.

    Args:
        public_key: the key that the member pinned, never one that came with the reply.

    Raises:
        ProofInvalid: the proof does not show that this key evaluated this batch.
        ElementInvalid: names the evaluated element that is no element.
        BatchInvalid: the reply has another number of elements, or the state is of mode OPRF.
    """
    _check_mode(state, Mode.VOPRF)
    dleq.verify_proof(
        protocol.GENERATOR, public_key.element, state.blinded, packed_evaluated, proof, Mode.VOPRF
    )
    return _elements(state, packed_evaluated)


def finalize_shares(state: BlindedBatch, replies: Sequence[ShareReply]) -> list[bytes]:
    """As :func:`finalize_batch`, from the answers of the holders of a split key.

    Args:
        replies: one of each holder that answered; their ``public_key`` from the pinned key log,
            times the holder's coefficient (see :func:`.sharing.weighted_public_key`).

    Raises:
        ShareInvalid: names the holder whose proof does not hold.
        BatchInvalid: as :func:`finalize_batch`, or no replies.
    """
    _check_mode(state, Mode.VOPRF)
    for reply in replies:
        try:
            dleq.verify_proof(
                protocol.GENERATOR,
                reply.public_key.element,
                state.blinded,
                reply.elements,
                reply.proof,
                Mode.VOPRF,
            )
        except (ProofInvalid, ElementInvalid, LengthInvalid, BatchInvalid) as error:
            raise ShareInvalid(reply.holder, str(error)) from None
    return _elements(state, sum_of([reply.elements for reply in replies]))


def finalize_batch_unproven(state: BlindedBatch, packed_evaluated: bytes) -> list[bytes]:
    """Unblind in mode OPRF. Refuses a state of mode VOPRF: its proof may not be skipped.

    Raises: as :func:`finalize_batch`, without ProofInvalid.
    """
    _check_mode(state, Mode.OPRF)
    return _elements(state, packed_evaluated)


def _check_mode(state: BlindedBatch, mode: Mode) -> None:
    if state.mode is not mode:
        raise BatchInvalid(f"batch was blinded in mode {state.mode.name}, not {mode.name}")


def _elements(state: BlindedBatch, packed_evaluated: bytes) -> list[bytes]:
    packed = protocol.unblind(state.blinds, packed_evaluated)
    return [packed[at : at + ELEMENT_BYTES] for at in range(0, len(packed), ELEMENT_BYTES)]
