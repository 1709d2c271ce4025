"""The three steps by which a batch of inputs becomes tokens.

    member: state, blinded = blind_batch(inputs)
    server: evaluated, proof = evaluate_batch(secret, blinded)
    member: tokens = finalize_batch(state, evaluated, proof, pinned_public_key)

Elements travel packed: ``n`` times 32 bytes in one field. The functions ending in ``_unproven``
run the protocol's mode OPRF, in which the member trusts the server to use one key for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from . import dleq, protocol
from .errors import BatchInvalid
from .keys import PublicKey, SecretKey
from .suite import Mode
from .token import TOKEN_BYTES, Token


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


def finalize_batch(
    state: BlindedBatch, packed_evaluated: bytes, proof: bytes, public_key: PublicKey
) -> list[Token]:
    """Verify the server's proof, then unblind; returns one token an input, in their order.

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
    return _tokens(state, packed_evaluated)


def finalize_batch_unproven(state: BlindedBatch, packed_evaluated: bytes) -> list[Token]:
    """Unblind in mode OPRF. Refuses a state of mode VOPRF: its proof may not be skipped.

    Raises: as :func:`finalize_batch`, without ProofInvalid.
    """
    _check_mode(state, Mode.OPRF)
    return _tokens(state, packed_evaluated)


def _check_mode(state: BlindedBatch, mode: Mode) -> None:
    if state.mode is not mode:
        raise BatchInvalid(f"batch was blinded in mode {state.mode.name}, not {mode.name}")


def _tokens(state: BlindedBatch, packed_evaluated: bytes) -> list[Token]:
    outputs = protocol.finalize(state.inputs, state.blinds, packed_evaluated)
    return [Token(output[:TOKEN_BYTES]) for output in outputs]
