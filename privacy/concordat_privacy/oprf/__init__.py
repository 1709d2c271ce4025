"""Tokens by RFC 9497: OPRF and VOPRF with ristretto255-SHA512 over libsodium.

:func:`blind_batch`, :func:`evaluate_batch` and :func:`finalize_batch` are the whole protocol;
see :mod:`.batch`.
"""

from .batch import (
    BlindedBatch,
    blind_batch,
    evaluate_batch,
    evaluate_batch_unproven,
    finalize_batch,
    finalize_batch_unproven,
    finalize_shares,
    update_batch,
    verify_update,
)
from .dleq import MAX_BATCH, PROOF_BYTES
from .errors import (
    BatchInvalid,
    ElementInvalid,
    InputInvalid,
    ItemInvalid,
    KeyInvalid,
    LengthInvalid,
    OprfError,
    ProofInvalid,
    ScalarInvalid,
    ShareInvalid,
    SodiumUnavailable,
)
from .keys import (
    KEY_BYTES,
    SEED_BYTES,
    KeyPair,
    PublicKey,
    SecretKey,
    derive_key_pair,
    generate_key,
    key_ratio,
)
from .ristretto import ELEMENT_BYTES, is_element
from .sharing import MAX_HOLDERS, Share, ShareReply
from .suite import SUITE, Mode
from .token import TOKEN_BYTES, Token
from .updating import MaskedElements, finish_update, mask_elements

__all__ = [
    "ELEMENT_BYTES",
    "KEY_BYTES",
    "MAX_BATCH",
    "MAX_HOLDERS",
    "PROOF_BYTES",
    "SEED_BYTES",
    "SUITE",
    "TOKEN_BYTES",
    "BatchInvalid",
    "BlindedBatch",
    "ElementInvalid",
    "InputInvalid",
    "ItemInvalid",
    "KeyInvalid",
    "KeyPair",
    "LengthInvalid",
    "MaskedElements",
    "Mode",
    "OprfError",
    "ProofInvalid",
    "PublicKey",
    "ScalarInvalid",
    "SecretKey",
    "Share",
    "ShareInvalid",
    "ShareReply",
    "SodiumUnavailable",
    "Token",
    "blind_batch",
    "derive_key_pair",
    "evaluate_batch",
    "evaluate_batch_unproven",
    "finalize_batch",
    "finalize_batch_unproven",
    "finalize_shares",
    "finish_update",
    "generate_key",
    "is_element",
    "key_ratio",
    "mask_elements",
    "update_batch",
    "verify_update",
]
