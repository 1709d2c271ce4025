"""The gateway's side of the key-holders: who is asked, who stands in, what a refusal means.

A whole key is evaluated by any one key-holder that holds it. A split key is evaluated by as many
holders as its threshold, asked at the same time and told each other's numbers, because each
multiplies by its own Lagrange coefficient. If one of them is dead, the others' answers are of no
use: a new set is asked. The gateway checks no proof of an evaluation; the member does.
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

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 1.0
_AVOIDED_SECONDS: Final = 5.0
# What a key-holder says to the member, and not to the gateway.
_FOR_THE_MEMBER: Final = frozenset(
    {
        "INVALID_FIELD",
        "SIGNATURE_INVALID",
        "NOT_ADMITTED",
        "KEY_NOT_ADMITTED",
        "REQUEST_STALE",
        "NONCE_REUSED",
        "EVALUATIONS_EXHAUSTED",
        "PORTFOLIO_EXHAUSTED",
    }
)
_NO_SUCH_KEY: Final = "EPOCH_NOT_ACTIVE"
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
            Refusal: what the key-holder says to the member; UNAVAILABLE (KEYHOLDER_UNAVAILABLE)
                where too few of them answer; DEADLINE_EXCEEDED.
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
        Raises Refusal as `evaluate`.
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
        lacking: Refusal | None = None
        while len(left) >= needed:
            chosen = sorted(left[:needed], key=lambda one: one.holder)
            together = [one.holder for one in chosen] if key.holders else []
            remaining = end - self._monotonic()
            if remaining <= 0:
                raise deadline_exceeded()
            # Where somebody can stand in, a holder that hangs may not take all the time there is.
            seconds = remaining / 2 if len(left) > needed else remaining
            calls = [(one, ask(one, together, seconds)) for one in chosen]
            answers: list[tuple[int, _Reply]] = []
            failed: list[tuple[_Holder, Refusal]] = []
            for one, call in calls:
                try:
                    answers.append((one.holder, call.result()))
                except grpc.RpcError as error:
                    refusal = refusal_of(error) or _unreachable()
                    if refusal.reason in _FOR_THE_MEMBER:
                        raise refusal from None
                    failed.append((one, refusal))
            if not failed:
                return answers
            for one, refusal in failed:
                left.remove(one)
                if refusal.reason == _NO_SUCH_KEY:
                    lacking = refusal
                else:
                    one.avoided_until = self._monotonic() + _AVOIDED_SECONDS
                _log.warning(
                    "a key-holder did not answer",
                    extra={"holder": one.holder, "reason": refusal.reason},
                )
        if lacking is not None:
            raise lacking
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
    """One key-holder: its channel, made at first use, and since when it is left alone."""

    def __init__(self, endpoint: Endpoint, identity: Identity) -> None:
        self.holder = endpoint.holder
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
