"""What happens around every call, in one fixed order.

:func:`around` is the order: measured and error-mapped outermost, so that refusals of the other
interceptors are mapped and counted too; then identity, deadline, limits.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import grpc

from concordat_rpc.call import Call, serving
from concordat_rpc.errors import (
    Kind,
    Refusal,
    deadline_exceeded,
    exhausted,
    permission_denied,
    unauthenticated,
)
from concordat_rpc.limits import Limits
from concordat_rpc.peer import Peer, Role, Serial, read_certificate
from concordat_rpc.status import to_grpc_status
from concordat_rpc.watchdog import Watchdog

_log = logging.getLogger(__name__)

IdentityCheck = Callable[[Peer, Serial, str], None]
"""Called on every call, with the method's full name; raises Refusal for a caller that may not call
it at this moment."""

# Kept back from a deadline so that an answer, or a clear refusal, still reaches the caller.
_KEPT_BACK_FRACTION = 0.05
_KEPT_BACK_MAX_SECONDS = 0.25
# How long after its deadline a call that hangs inside gRPC is cut off.
_CUT_OFF_SECONDS = 1.0
_STREAM_RETRY_SECONDS = 1.0


class CallObserver(Protocol):
    """Takes the figures of finished calls."""

    def observe(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        """Note one finished call."""


@dataclass(frozen=True, slots=True)
class Method:
    """What the interceptors know of a method before any call."""

    name: str
    """Full name, e.g. ``/concordat.v1.SignalService/Lookup``."""
    roles: frozenset[Role]
    streaming: bool


@dataclass(slots=True)
class Exchange:
    """One call on its way through the interceptors."""

    method: Method
    context: grpc.ServicerContext
    code: grpc.StatusCode = grpc.StatusCode.OK
    call: Call | None = None


@dataclass(slots=True)
class SilentCalls:
    """Unary calls whose message has not come; each holds a thread."""

    limits: Limits
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def count(self, caller: str) -> Iterator[float]:
        """Count one for the length of the block; gives the seconds it may wait."""
        with self._lock:
            crowded = self._waiting[caller] >= self.limits.silent_calls_per_caller
            self._waiting[caller] += 1
        try:
            if crowded:
                yield self.limits.crowded_message_seconds
            else:
                yield self.limits.first_message_seconds
        finally:
            with self._lock:
                self._waiting[caller] -= 1
                if not self._waiting[caller]:
                    del self._waiting[caller]


@dataclass(slots=True)
class StreamSlots:
    """Streaming calls being served; each holds a thread."""

    limits: Limits
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _held: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Hold one slot; raises Refusal TOO_MANY_STREAMS where none is free."""
        with self._lock:
            if self._held[caller] >= self.limits.concurrent_streams_per_caller:
                raise _too_many_streams(caller)
            if self._held.total() >= self.limits.concurrent_streams:
                raise _too_many_streams("server")
            self._held[caller] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[caller] -= 1
                if not self._held[caller]:
                    del self._held[caller]


@dataclass(frozen=True, slots=True)
class Interceptors:
    """The interceptors of one server."""

    trust_domain: str
    limits: Limits
    identity_check: IdentityCheck
    observer: CallObserver
    streams: StreamSlots
    silent: SilentCalls
    watchdog: Watchdog

    @contextmanager
    def around(self, exchange: Exchange) -> Iterator[Call]:
        """Everything around a call; the block is the call's own work."""
        with (
            self._measured(exchange),
            self._errors_mapped(exchange),
            self._identified(exchange) as (peer, serial),
            self._deadline_imposed(exchange, peer, serial) as call,
            self._limited(exchange, call),
            serving(call),
        ):
            yield call

    @contextmanager
    def awaiting_message(self, context: grpc.ServicerContext, call: Call) -> Iterator[None]:
        """Around the wait for a unary call's one message."""
        with self.silent.count(call.peer.spiffe_id) as seconds:
            overdue = time.monotonic() + seconds
            with self.watchdog.guard(overdue, context.cancel):
                yield

    @contextmanager
    def _measured(self, exchange: Exchange) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.observer.observe(
                exchange.method.name, exchange.code, time.perf_counter() - started
            )

    @contextmanager
    def _errors_mapped(self, exchange: Exchange) -> Iterator[None]:
        try:
            yield
        except GeneratorExit:
            exchange.code = grpc.StatusCode.CANCELLED
            raise
        except Refusal as refusal:
            self._abort(exchange, refusal)
        except Exception as error:
            if not exchange.context.is_active():
                # The caller has gone, or the call was cut off: there is nobody to answer.
                exchange.code = grpc.StatusCode.CANCELLED
                if not isinstance(error, grpc.RpcError):
                    _internal(exchange, error)
                raise
            self._abort(exchange, _internal(exchange, error))

    @staticmethod
    def _abort(exchange: Exchange, refusal: Refusal) -> None:
        exchange.code = refusal.kind.value
        exchange.context.abort_with_status(to_grpc_status(refusal))

    @contextmanager
    def _identified(self, exchange: Exchange) -> Iterator[tuple[Peer, Serial]]:
        certificate = read_certificate(
            _leaf_certificate(exchange.context.auth_context()), self.trust_domain
        )
        if certificate.peer.role not in exchange.method.roles:
            raise permission_denied(
                "ROLE_NOT_ALLOWED",
                f"role {certificate.peer.role.value} may not call {exchange.method.name}: it takes "
                f"the profile of {_any_of(exchange.method.roles)}",
            )
        self.identity_check(certificate.peer, certificate.serial, exchange.method.name)
        yield certificate.peer, certificate.serial

    @contextmanager
    def _deadline_imposed(self, exchange: Exchange, peer: Peer, serial: Serial) -> Iterator[Call]:
        longest = (
            self.limits.stream_deadline_seconds
            if exchange.method.streaming
            else self.limits.unary_deadline_seconds
        )
        seconds = min(longest, exchange.context.time_remaining())
        if seconds <= 0:
            raise deadline_exceeded()
        kept_back = min(_KEPT_BACK_MAX_SECONDS, seconds * _KEPT_BACK_FRACTION)
        now = time.monotonic()
        with self.watchdog.guard(now + seconds + _CUT_OFF_SECONDS, exchange.context.cancel):
            yield Call(peer, serial, exchange.method.name, now + seconds - kept_back)

    @contextmanager
    def _limited(self, exchange: Exchange, call: Call) -> Iterator[None]:
        if not exchange.method.streaming:
            yield
            return
        with self.streams.hold(call.peer.spiffe_id):
            yield


def _leaf_certificate(auth_context: Mapping[str, object]) -> bytes:
    pems = auth_context.get("x509_pem_cert")
    if not isinstance(pems, (list, tuple)) or len(pems) != 1 or not isinstance(pems[0], bytes):
        raise unauthenticated("NO_CLIENT_CERTIFICATE", "the call carries no client certificate")
    return pems[0]


def _internal(exchange: Exchange, error: Exception) -> Refusal:
    error_id = secrets.token_hex(8)
    _log.error(
        "call failed unexpectedly",
        exc_info=error,
        extra={"method": exchange.method.name, "error_id": error_id},
    )
    return Refusal(
        Kind.INTERNAL,
        "INTERNAL",
        f"internal error {error_id}; the operator's log has the details",
        error_id=error_id,
    )


def _too_many_streams(subject: str) -> Refusal:
    return exhausted(
        "TOO_MANY_STREAMS",
        "too many streaming calls are being served at once",
        quota_subject=subject,
        retry_after_seconds=_STREAM_RETRY_SECONDS,
    )


def _any_of(roles: Collection[Role]) -> str:
    """As a sentence has them: "member, operator or auditor"."""
    names = [role.value for role in Role if role in roles]
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
