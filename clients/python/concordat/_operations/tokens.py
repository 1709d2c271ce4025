"""Identifiers to tokens (RFC 9497 VOPRF), and the token keys."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from concordat import errors
from concordat._context import Context
from concordat._convert import batches_of, time_of
from concordat._methods import EVALUATE, LIST_TOKEN_KEYS
from concordat._steps import Operation, Together, compute
from concordat.errors import ConcordatError, InvalidInput, ProtocolViolation
from concordat.requests import checked_items
from concordat.results import TokenKeyInfo
from concordat.v1 import token_pb2
from concordat_privacy.identifiers import Epoch, Identifier, oprf_input
from concordat_privacy.oprf import (
    BlindedBatch,
    OprfError,
    ProofInvalid,
    PublicKey,
    SodiumUnavailable,
    Token,
    blind_batch,
    finalize_batch,
)

# Half of what one request may carry: two batches in flight keep network and cores both busy.
BATCH_SIZE = 2_000

Progress: TypeAlias = Callable[[int, int], None]
"""(identifiers done, identifiers in all), called in the caller's own thread."""


def tokenise(
    context: Context,
    identifiers: Iterable[Identifier],
    epoch: int | None,
    progress: Progress | None,
    timeout: float | None,
) -> Operation[list[Token]]:
    """One token for each identifier, in order."""
    wanted = context.profile.newest_epoch if epoch is None else Epoch(epoch)
    public_key = context.profile.token_key(wanted)
    if progress is not None and not callable(progress):
        raise InvalidInput.field("progress", f"{type(progress).__name__} given, no function")
    given = checked_items(identifiers, "identifiers", "Identifier")
    inputs = [_input(at, identifier) for at, identifier in enumerate(given)]
    tokens = {value: token for value in set(inputs) if (token := context.tokens.get(wanted, value))}
    # dict.fromkeys keeps the order: equal identifiers are blinded once, and runs are repeatable.
    missing = [value for value in dict.fromkeys(inputs) if value not in tokens]
    tell = _progress_teller(progress, len(tokens), len(tokens) + len(missing))

    batches = list(batches_of(missing, BATCH_SIZE))
    found = yield Together(
        [_batch(context, batch, wanted, public_key, timeout) for batch in batches],
        context.options.parallelism,
        lambda made: tell(len(made)),
    )
    for batch, made in zip(batches, found, strict=True):
        for value, token in zip(batch, made, strict=True):
            tokens[value] = token
            context.tokens.put(value, token)
    return [tokens[value] for value in inputs]


def list_token_keys(context: Context, timeout: float | None) -> Operation[tuple[TokenKeyInfo, ...]]:
    """The gateway's key epochs, compared with the pinned ones."""
    reply = yield from context.send(LIST_TOKEN_KEYS, token_pb2.ListTokenKeysRequest(), timeout)
    return tuple(_key_info(context, key) for key in reply.keys)


def _batch(
    context: Context,
    inputs: list[bytes],
    epoch: Epoch,
    public_key: PublicKey,
    timeout: float | None,
) -> Operation[list[Token]]:
    state, blinded = yield from compute(lambda: _blind(inputs))
    request = token_pb2.EvaluateRequest(epoch=epoch, blinded_elements=blinded)
    reply = yield from context.send(EVALUATE, request, timeout)
    return (yield from compute(lambda: _finalise(state, reply, public_key, epoch)))


def _blind(inputs: list[bytes]) -> tuple[BlindedBatch, bytes]:
    try:
        return blind_batch(inputs)
    except SodiumUnavailable as error:
        raise ConcordatError(str(error), reason="SODIUM_UNAVAILABLE") from None


def _finalise(
    state: BlindedBatch, reply: token_pb2.EvaluateResponse, public_key: PublicKey, epoch: Epoch
) -> list[Token]:
    try:
        elements = finalize_batch(state, reply.evaluated_elements, reply.proof, public_key)
        return [Token(element, epoch) for element in elements]
    except ProofInvalid as error:
        raise errors.ProofInvalid(
            f"the evaluated elements were not made with the pinned token key: {error}"
        ) from None
    except OprfError as error:
        raise ProtocolViolation(f"the token service's reply is malformed: {error}") from None


def _input(position: int, identifier: Identifier) -> bytes:
    if not isinstance(identifier, Identifier):
        # The value may be an identifier in the clear: it is not repeated.
        raise InvalidInput.field(
            f"identifiers[{position}]",
            f"{type(identifier).__name__} given; wrap it in its kind, e.g. ResidentId(...)",
        )
    return oprf_input(identifier)


def _progress_teller(progress: Progress | None, done: int, total: int) -> Callable[[int], None]:
    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    if done:
        tell(0)
    return tell


def _key_info(context: Context, key: token_pb2.TokenKey) -> TokenKeyInfo:
    pinned = {own.epoch: bytes(own.public_key) for own in context.profile.token_keys}
    expected = pinned.get(Epoch(key.epoch))
    if expected is not None and expected != key.public_key:
        raise errors.ProofInvalid(
            f"the gateway lists another key for epoch {key.epoch} than the profile pins",
            reason="TOKEN_KEY_CHANGED",
        )
    return TokenKeyInfo(
        epoch=key.epoch,
        public_key=key.public_key,
        valid_from=time_of(key.valid_from, "valid_from"),
        valid_to=time_of(key.valid_to, "valid_to") if key.HasField("valid_to") else None,
        pinned=expected is not None,
    )
