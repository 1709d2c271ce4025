"""One batch of blinded elements: signed, sent, its proofs verified, unblinded.

| what happens                          | what follows                                            |
|---------------------------------------|---------------------------------------------------------|
| the request is sent again             | nonce and signature stay the same: charged once         |
| shares come of a key that was whole   | the gateway's key log is read: it may be split now      |
| it grew stale while it was repeated,  | it is signed anew, with a new nonce, once for each of   |
| or was repeated too often             | the two reasons; it may be charged again                |
| a key-holder's answer does not verify | the same request again, asking for others where there   |
|                                       | are enough; it is named in a warning and in the error   |
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from concordat import errors
from concordat._context import Context
from concordat._key_log import weighted_public_keys
from concordat._methods import EVALUATE
from concordat._operations.token_keys import refreshed_key_log
from concordat._steps import Operation, compute
from concordat.errors import ConcordatError, NotPermitted, ProtocolViolation
from concordat.v1 import token_pb2
from concordat_privacy.keylog import EpochKey
from concordat_privacy.oprf import (
    BlindedBatch,
    OprfError,
    ProofInvalid,
    ShareInvalid,
    ShareReply,
    SodiumUnavailable,
    Token,
    blind_batch,
    finalize_batch,
    finalize_shares,
)
from concordat_privacy.signing import NONCE_BYTES

_LOG = logging.getLogger("concordat")
_STALE = "REQUEST_STALE"
# A key-holder answers a batch again a few times only, and repeats come from the gateway too.
_OUTWORN = frozenset({_STALE, "NONCE_REUSED"})
# A signature that is refused as stale sooner was made by a clock that is wrong.
_STALE_AFTER = timedelta(minutes=1)


@dataclass(slots=True)
class Evaluations:
    """What the batches of one call share."""

    context: Context
    key: EpochKey
    quota: token_pb2.EvaluationQuota.ValueType
    timeout: float | None
    avoided: frozenset[int] = frozenset()
    """Key-holders whose answer to some batch did not verify."""


@dataclass(slots=True)
class _Batch:
    """One batch, on its way."""

    state: BlindedBatch
    request: token_pb2.EvaluateRequest
    outworn: set[str] = field(default_factory=set)
    """Why it was signed anew."""


def evaluate(call: Evaluations, inputs: list[bytes]) -> Operation[list[Token]]:
    """The tokens of one batch of inputs, in order."""
    signed_at = call.context.environment.utc_now()
    batch = yield from compute(lambda: _blinded(call, inputs, signed_at))
    while True:
        avoided = call.avoided
        batch.request.avoid_holders[:] = sorted(avoided)
        reply = yield from _send(call, batch)
        if reply.shares and not call.key.holders:
            yield from _learn_split(call)
        try:
            return (yield from compute(partial(_finalise, batch.state, reply, call.key)))
        except errors.ProofInvalid as error:
            if error.holder is None:
                raise
            others = len(call.key.holders) - len(call.avoided | {error.holder})
            again = error.holder not in avoided and others >= call.key.threshold
            _LOG.warning(
                "key-holder %d of token epoch %d: its answer does not verify; %s",
                error.holder,
                call.key.epoch,
                "asking others" if again else "no others are left to ask",
            )
            if not again:
                raise
            call.avoided |= {error.holder}


def _learn_split(call: Evaluations) -> Operation[None]:
    """Read the gateway's key log: the key may have been split since the known one was signed.

    A log that extends the known one gives the same key, now with the holders of its shares.
    """
    log = yield from refreshed_key_log(call.context, call.timeout)
    call.key = log.key(call.key.epoch) or call.key


def _blinded(call: Evaluations, inputs: list[bytes], signed_at: datetime) -> _Batch:
    try:
        state, blinded = blind_batch(inputs)
    except SodiumUnavailable as error:
        raise ConcordatError(str(error), reason="SODIUM_UNAVAILABLE") from None
    return _Batch(state, _signed(call, blinded, signed_at))


def _signed(call: Evaluations, blinded: bytes, signed_at: datetime) -> token_pb2.EvaluateRequest:
    context = call.context
    nonce = context.environment.random_bytes(NONCE_BYTES)
    return context.signer.request(call.key.epoch, call.quota, blinded, nonce, signed_at)


def _send(call: Evaluations, batch: _Batch) -> Operation[token_pb2.EvaluateResponse]:
    """Send a batch; if its signature has worn out while it was repeated, sign it anew."""
    context = call.context
    while True:
        try:
            return (yield from context.send(EVALUATE, batch.request, call.timeout))
        except NotPermitted as error:
            now = context.environment.utc_now()
            if error.reason not in _OUTWORN or error.reason in batch.outworn:
                raise
            signed_at = batch.request.signed_at.ToDatetime(now.tzinfo)
            if error.reason == _STALE and now - signed_at < _STALE_AFTER:
                error.add_note("the key-holder compares the signature's time with its own clock")
                raise
            batch.outworn.add(error.reason)
        blinded, avoided = batch.request.blinded_elements, batch.request.avoid_holders[:]
        batch.request = yield from compute(partial(_signed, call, blinded, now))
        batch.request.avoid_holders[:] = avoided


def _finalise(state: BlindedBatch, reply: token_pb2.EvaluateResponse, key: EpochKey) -> list[Token]:
    try:
        if key.holders:
            elements = finalize_shares(state, _shares(reply, key))
        elif reply.shares:
            raise ProtocolViolation(f"shares came for epoch {key.epoch}, whose key is whole")
        else:
            elements = finalize_batch(state, reply.evaluated_elements, reply.proof, key.public_key)
    except ShareInvalid as error:
        raise errors.ProofInvalid(
            f"the answer of key-holder {error.holder} of epoch {key.epoch}, as the gateway passed "
            f"it on, was not made with its share of the key: {error.reason}",
            holder=error.holder,
        ) from None
    except ProofInvalid as error:
        raise errors.ProofInvalid(
            f"the evaluated elements were not made with the pinned token key: {error}"
        ) from None
    except OprfError as error:
        raise ProtocolViolation(f"the token service's reply is malformed: {error}") from None
    return [Token(element, key.epoch) for element in elements]


def _shares(reply: token_pb2.EvaluateResponse, key: EpochKey) -> list[ShareReply]:
    """The shares, each with the key that its proof must hold for. Raises ProtocolViolation."""
    if reply.evaluated_elements or reply.proof or not reply.shares:
        raise ProtocolViolation(f"no shares came for epoch {key.epoch}, whose key is split")
    shares = sorted(reply.shares, key=lambda share: share.holder)
    holders = tuple(share.holder for share in shares)
    known = {one.holder for one in key.holders}
    if len(holders) != key.threshold or len(set(holders)) != len(holders) or set(holders) - known:
        raise ProtocolViolation(
            f"key-holders {', '.join(map(str, holders))} answered; {key.threshold} different ones "
            f"of 1 to {len(key.holders)} must"
        )
    return [
        ShareReply(share.holder, public_key, share.evaluated_elements, share.proof)
        for share, public_key in zip(shares, weighted_public_keys(key, holders), strict=True)
    ]
