"""The gateway's side of the key-holders: who is asked, who stands in, what a refusal means.

A whole key is evaluated by any one key-holder that holds it. A split key is evaluated by as many
holders as its threshold, asked at the same time and told each other's numbers, because each
multiplies by its own Lagrange coefficient. If one of them is dead or says no, the others' answers
are of no use: a new set is asked. Those that answered were charged, and repeat only so often; so a
holder that is not known to be up is greeted first, which costs nobody anything, and who answered
before is asked again. The gateway checks no proof of an evaluation; the member does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc

from concordat.v1 import keyholder_pb2, keyholder_pb2_grpc
from concordat_privacy.keylog import EpochKey
from concordat_privacy.oprf import OprfError, PublicKey, ShareReply
from concordat_privacy.oprf.sharing import weighted_public_key
from concordat_rpc.errors import Refusal, deadline_exceeded, unavailable
from concordat_rpc.refusals import refusal_of
from concordat_rpc.tls import Identity, channel_credentials

WHOLE: Final = 0
"""Number of a key-holder that holds whole keys."""
UPDATES_EXHAUSTED: Final = "UPDATES_EXHAUSTED"
"""Reason of a refusal where a key-holder makes no more updates today."""

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 1.0
_AVOIDED_SECONDS: Final = 5.0
_GREETING_SECONDS: Final = 2.0
# Clear answers of a key-holder that is up. What else it says is its trouble, and nobody's business.
_REFUSALS: Final = frozenset(
    {
        "EPOCH_NOT_ACTIVE",
        "INVALID_FIELD",
        "SIGNATURE_INVALID",
        "NOT_ADMITTED",
        "KEY_NOT_ADMITTED",
        "REQUEST_STALE",
        "NONCE_REUSED",
        "EVALUATIONS_EXHAUSTED",
        "PORTFOLIO_EXHAUSTED",
        UPDATES_EXHAUSTED,
    }
)
_CHANNEL_OPTIONS: Final = [
    # A key-holder that was replaced is found again within a second, not in two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 60_000),
]

_Reply = TypeVar("_Reply")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one key-holder is reached."""

    holder: int
    """Its number; WHOLE where it holds whole keys."""
    address: str
    """host:port."""
    server_name: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one key-holder answered; unverified."""

    holder: int
    elements: bytes
    proof: bytes


class KeyholderClient:
    """The gateway's channels to all key-holders. Thread-safe; make one a process."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        identity: Identity,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._holders = [_Holder(endpoint, identity) for endpoint in endpoints]
        self._monotonic = monotonic

    def evaluate(
        self,
        key: EpochKey,
        request: keyholder_pb2.EvaluateBlindedRequest,
        avoid: Collection[int],
        timeout_seconds: float,
    ) -> list[Evaluation]:
        """Have blinded elements evaluated under the key: one answer, or one of each holder asked.

        Args:
            request: the member's, as it signed it; who answers together is added here.
            avoid: numbers of holders that are asked only if there are too few others.

        Raises:
            Refusal: what a key-holder says to the member, where too many say no for the others to
                do; UNAVAILABLE (KEYHOLDER_UNAVAILABLE) where too few of them answer;
                DEADLINE_EXCEEDED.
        """

        def asked(
            holder: _Holder, together: Sequence[int], seconds: float
        ) -> grpc.Future[keyholder_pb2.EvaluateBlindedResponse]:
            message = keyholder_pb2.EvaluateBlindedRequest()
            message.CopyFrom(request)
            message.holders[:] = together
            return holder.stub.EvaluateBlinded.future(message, timeout=seconds)

        return [
            Evaluation(holder, reply.evaluated_elements, reply.proof)
            for holder, reply in self._asked(key, asked, avoid, timeout_seconds)
        ]

    def update(
        self,
        key: EpochKey,
        blinded_elements: bytes,
        avoid: Collection[int],
        timeout_seconds: float,
    ) -> list[ShareReply]:
        """Have masked elements of the epoch before `key` turned into those of `key`.

        Each reply comes with the key that its proof must hold for, from the key log: verify it.
        Raises Refusal as `evaluate`; also RESOURCE_EXHAUSTED (UPDATES_EXHAUSTED).
        """

        def asked(
            holder: _Holder, together: Sequence[int], seconds: float
        ) -> grpc.Future[keyholder_pb2.UpdateBlindedResponse]:
            message = keyholder_pb2.UpdateBlindedRequest(
                from_epoch=key.epoch - 1,
                to_epoch=key.epoch,
                blinded_elements=blinded_elements,
                holders=together,
            )
            return holder.stub.UpdateBlinded.future(message, timeout=seconds)

        found = self._asked(key, asked, avoid, timeout_seconds)
        together = [holder for holder, _ in found]
        return [
            ShareReply(
                holder, update_key(key, holder, together), reply.updated_elements, reply.proof
            )
            for holder, reply in found
        ]

    def _asked(
        self,
        key: EpochKey,
        ask: Callable[[_Holder, Sequence[int], float], grpc.Future[_Reply]],
        avoid: Collection[int],
        timeout_seconds: float,
    ) -> list[tuple[int, _Reply]]:
        """The answers of enough holders that answered together, by number."""
        end = self._monotonic() + timeout_seconds
        needed = key.threshold
        left = self._candidates(key, avoid)
        # How many may say no and the others still be enough, were they all up.
        spare = len(left) - needed
        refusals: list[Refusal] = []
        while len(left) >= needed:
            remaining = end - self._monotonic()
            if remaining <= 0:
                raise deadline_exceeded()
            if key.holders and not all(one.is_up for one in left[:needed]):
                left = self._greeted(left, min(_GREETING_SECONDS, remaining / 2))
                continue
            chosen = sorted(left[:needed], key=lambda one: one.holder)
            together = [one.holder for one in chosen] if key.holders else []
            # Where somebody can stand in, a holder that hangs may not take all the time there is.
            seconds = remaining / 2 if len(left) > needed else remaining
            answers, failed = _collected([(one, ask(one, together, seconds)) for one in chosen])
            if not failed:
                return [(one.holder, reply) for one, reply in answers]
            for one, refusal in failed:
                left.remove(one)
                self._note(one, refusal)
                if refusal.reason in _REFUSALS:
                    refusals.append(refusal)
                    # Those that hold the whole key have one roster, and one meter.
                    if not key.holders and refusal.reason != "EPOCH_NOT_ACTIVE":
                        raise refusal
            charged = [one for one, _ in answers]
            left.sort(key=lambda one: one not in charged)
        if len(refusals) > spare:
            raise refusals[-1]
        if end - self._monotonic() <= 0:
            raise deadline_exceeded()
        raise _unreachable()

    def _candidates(self, key: EpochKey, avoid: Collection[int]) -> list[_Holder]:
        """Who can be asked, the best first."""
        known = {one.holder for one in key.holders} or {WHOLE}
        now = self._monotonic()
        return sorted(
            (one for one in self._holders if one.holder in known),
            key=lambda one: (one.holder in avoid, one.avoided_until > now),
        )

    def _greeted(self, holders: Sequence[_Holder], seconds: float) -> list[_Holder]:
        """Those that are up, in their order; whoever is not known to be is asked, all at once."""
        asked = keyholder_pb2.ListHeldKeysRequest()
        calls = [
            (one, one.stub.ListHeldKeys.future(asked, timeout=seconds))
            for one in holders
            if not one.is_up
        ]
        answers, failed = _collected(calls)
        for one, _ in answers:
            one.is_up = True
        for one, refusal in failed:
            self._note(one, refusal)
        dead = [one for one, _ in failed]
        return [one for one in holders if one not in dead]

    def _note(self, holder: _Holder, refusal: Refusal) -> None:
        """Tell the operator who failed, and remember it where that is the holder's own trouble."""
        did = "refused"
        if refusal.reason not in _REFUSALS:
            did = "did not answer"
            holder.is_up = False
            holder.avoided_until = self._monotonic() + _AVOIDED_SECONDS
        _log.warning(
            "key-holder %d %s: %s",
            holder.holder,
            did,
            refusal.reason,
            extra={"holder": holder.holder, "address": holder.address, "reason": refusal.reason},
        )


def _collected(
    calls: Sequence[tuple[_Holder, grpc.Future[_Reply]]],
) -> tuple[list[tuple[_Holder, _Reply]], list[tuple[_Holder, Refusal]]]:
    """The answers to calls under way, and who gave none."""
    answers: list[tuple[_Holder, _Reply]] = []
    failed: list[tuple[_Holder, Refusal]] = []
    for one, call in calls:
        try:
            answers.append((one, call.result()))
        except grpc.RpcError as error:
            failed.append((one, _said(one, error)))
    return answers, failed


def _said(holder: _Holder, error: grpc.RpcError) -> Refusal:
    """What a holder's error is to who asked."""
    refusal = refusal_of(error)
    if refusal is None:
        return _unreachable()
    if any(violation.field == "holders" for violation in refusal.violations):
        # Whom to ask together is this gateway's choice, so it is no fault of the member's.
        _log.error(
            "key-holder %d is another one: are the numbers in [[keyholders]] right?",
            holder.holder,
            extra={"holder": holder.holder, "address": holder.address},
        )
        return _unreachable()
    return refusal


def update_key(key: EpochKey, holder: int, together: Collection[int]) -> PublicKey:
    """The key that a holder's update to `key` must be proven for.

    Raises OprfError where the key log says that nobody holds a ratio to the key's epoch.
    """
    if not key.holders:
        return key.public_key
    share = next((one.update_key for one in key.holders if one.holder == holder), None)
    if share is None:
        raise OprfError(f"the key log has no ratio of holder {holder} to epoch {key.epoch}")
    return weighted_public_key(share, holder, together)


class _Holder:
    """One key-holder: its channel, made at first use, and what is known of its state."""

    def __init__(self, endpoint: Endpoint, identity: Identity) -> None:
        self.holder = endpoint.holder
        self.address = endpoint.address
        self.is_up = False
        """Whether it answered when it was last asked or greeted."""
        self.avoided_until = 0.0
        self._endpoint = endpoint
        self._identity = identity
        self._lock = threading.Lock()
        self._stub: keyholder_pb2_grpc.KeyholderServiceStub | None = None

    @property
    def stub(self) -> keyholder_pb2_grpc.KeyholderServiceStub:
        with self._lock:
            if self._stub is None:
                name = self._endpoint.server_name
                channel = grpc.secure_channel(
                    self._endpoint.address,
                    channel_credentials(self._identity),
                    [*_CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", name)],
                )
                self._stub = keyholder_pb2_grpc.KeyholderServiceStub(channel)
            return self._stub


def _unreachable() -> Refusal:
    return unavailable(
        "KEYHOLDER_UNAVAILABLE", "too few key-holders can be reached", _RETRY_SECONDS
    )
