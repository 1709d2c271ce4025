"""The one builder of gRPC servers.

Every server process is built here, so every method of every process has the same interceptors in
the same order, a policy that names who may call it, and no way around either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from concordat_rpc import health
from concordat_rpc.counting import Counter
from concordat_rpc.draining import Draining
from concordat_rpc.errors import Kind, Refusal
from concordat_rpc.interceptors import (
    CallObserver,
    Exchange,
    IdentityCheck,
    Interceptors,
    Method,
    SilentCalls,
    StreamSlots,
)
from concordat_rpc.limits import Limits
from concordat_rpc.peer import Role
from concordat_rpc.reading import Messages, StreamReader
from concordat_rpc.tls import Identity, server_credentials
from concordat_rpc.watchdog import Watchdog

Policy = Mapping[str, frozenset[Role]]
"""Full method name -> roles that may call it. A method that is not in it cannot be served."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

Registration = Callable[[Any], None]
"""Adds a servicer to the server it is given, as ``add_<Service>Servicer_to_server`` does."""


class PortTaken(Exception):
    """The address cannot be listened on."""


class PolicyGap(Exception):
    """A service offers methods for which the policy says nothing."""


class RpcServer:
    """A built server: bound, not yet serving."""

    def __init__(
        self,
        server: grpc.Server,
        port: int,
        state: health.ServingState,
        limits: Limits,
        draining: Draining,
    ) -> None:
        self._draining = draining
        self._server = server
        self._state = state
        self._limits = limits
        self.port = port
        """Port listened on; tells which where port 0 was asked for."""

    def start(self) -> None:
        """Serve, and answer health checks with SERVING."""
        self._server.start()
        self._state.serving = True

    def drain(self) -> threading.Event:
        """Take no new calls, let running ones finish; the event says that all is over.

        Calls with a stream each way, which their callers can go on with, end after the message in
        hand, with UNAVAILABLE (SHUTTING_DOWN).
        """
        self._state.serving = False
        self._draining.begin()
        return self._server.stop(self._limits.drain_seconds)

    def stop(self) -> None:
        """Stop at once."""
        self._state.serving = False
        self._server.stop(None).wait()


def build_server(
    registrations: Sequence[Registration],
    *,
    address: str,
    tls: Identity,
    trust_domain: str,
    policy: Policy,
    limits: Limits,
    identity_check: IdentityCheck,
    observer: CallObserver,
    share_port: bool = False,
) -> RpcServer:
    """Build a server with the fixed interceptors and the health service.

    Args:
        registrations: one a service, e.g.
            ``lambda server: add_TokenServiceServicer_to_server(servicer, server)``.
        address: ``host:port``; port 0 takes a free one.
        tls: the server's identity and the CA whose clients it admits.
        trust_domain: SPIFFE trust domain of acceptable callers.
        policy: who may call what.
        limits: see :class:`Limits`.
        identity_check: asked on every call whether this caller may make it now.
        observer: gets the figures of every call.
        share_port: let other processes listen on the same port (SO_REUSEPORT).

    Raises:
        PolicyGap: a registered method is missing from the policy.
        PortTaken: the address cannot be bound.
    """
    interceptors = Interceptors(
        trust_domain,
        limits,
        identity_check,
        observer,
        StreamSlots(limits),
        SilentCalls(limits),
        Watchdog(),
    )
    draining = Draining()
    server = grpc.server(
        ThreadPoolExecutor(limits.threads, thread_name_prefix="rpc"),
        options=_options(limits, share_port),
        maximum_concurrent_rpcs=limits.concurrent_calls,
    )
    state = health.ServingState()
    recorder = _Recorder()
    for register in [*registrations, health.registration(state)]:
        register(recorder)
    full_policy = {**policy, **health.POLICY}
    missing = sorted(recorder.method_names() - full_policy.keys())
    if missing:
        raise PolicyGap(f"the policy names no role for {', '.join(missing)}")
    for service, handlers in recorder.services.items():
        guarded = {
            name: _guard(
                handler, _method(service, name, handler, full_policy), interceptors, draining
            )
            for name, handler in handlers.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))
    try:
        port = server.add_secure_port(address, server_credentials(tls))
    except RuntimeError:
        raise PortTaken(f"cannot listen on {address}: the port is taken or not ours") from None
    return RpcServer(server, port, state, limits, draining)


def _options(limits: Limits, share_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(share_port)),
        ("grpc.max_receive_message_length", limits.max_receive_bytes),
        ("grpc.max_send_message_length", limits.max_send_bytes),
        ("grpc.max_connection_age_ms", round(limits.connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(limits.connection_age_grace_seconds * 1000)),
        ("grpc.keepalive_time_ms", round(limits.keepalive_seconds * 1000)),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


class _Recorder:
    """Stands where a grpc.Server is expected and notes the handlers that are added."""

    def __init__(self) -> None:
        self.services: dict[str, Mapping[str, Handler]] = {}

    def method_names(self) -> set[str]:
        """Full names of all methods."""
        return {
            f"/{service}/{name}" for service, handlers in self.services.items() for name in handlers
        }

    def add_generic_rpc_handlers(self, handlers: Sequence[object]) -> None:
        """Nothing: generated code also names every method, see below."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Note a service's methods."""
        self.services[service] = handlers


def _method(service: str, name: str, handler: Handler, policy: Policy) -> Method:
    full_name = f"/{service}/{name}"
    streaming = handler.request_streaming or handler.response_streaming
    return Method(full_name, policy[full_name], streaming)


def _guard(
    handler: Handler, method: Method, interceptors: Interceptors, draining: Draining
) -> Handler:
    """The handler within the interceptors.

    Messages are parsed here and not by gRPC, which would tell the caller the parser's own words.
    Every method is registered as one with a request stream: for a plain unary method gRPC waits
    for the message before any code of ours runs, with a thread that no deadline could free.
    """
    behaviour = _behaviour(handler)
    parse = _parser(handler.request_deserializer, interceptors.limits)
    serialise = handler.response_serializer
    assert serialise is not None  # generated code always names one
    resumable = handler.request_streaming and handler.response_streaming

    @contextmanager
    def served(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        with interceptors.around(Exchange(method, context)) as call:
            if not handler.request_streaming:
                with interceptors.awaiting_message(context, call):
                    message = _only(messages)
                yield behaviour(parse(message), context)
                return
            reader = StreamReader(
                messages, call.deadline_monotonic_seconds, interceptors.limits.stream_idle_seconds
            )
            telling = draining.telling(reader.end) if resumable else nullcontext()
            with closing(reader), telling:
                yield behaviour(Messages(reader, parse), context)

    def respond_once(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with served(messages, context) as response:
            reply: bytes = serialise(response)
            return reply

    def respond_often(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with served(messages, context) as responses:
            yield from map(serialise, responses)

    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(respond_often)
    return grpc.stream_unary_rpc_method_handler(respond_once)


def _behaviour(handler: Handler) -> Callable[..., Any]:
    # Exactly one of the four is set, according to the method's kind.
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    return next(behaviour for behaviour in kinds if behaviour is not None)


def _parser(deserialise: Callable[[bytes], Any] | None, limits: Limits) -> Callable[[bytes], Any]:
    assert deserialise is not None  # generated code always names one
    counter = Counter(deserialise(b"").DESCRIPTOR)
    most, uncounted = limits.max_fields, limits.uncounted_bytes

    def parse(message: bytes) -> Any:
        if len(message) > uncounted and counter.has_more_than(most, message):
            raise Refusal(
                Kind.INVALID_ARGUMENT,
                "TOO_MANY_FIELDS",
                f"the message has more than {most} rows, consents, names and other fields",
            )
        try:
            return deserialise(message)
        except DecodeError:
            raise Refusal(
                Kind.INVALID_ARGUMENT,
                "MALFORMED_MESSAGE",
                "the message is not valid protobuf of the method's request type",
            ) from None

    return parse


def _only(messages: Iterator[bytes]) -> bytes:
    for message in messages:
        return message
    raise Refusal(Kind.INVALID_ARGUMENT, "NO_MESSAGE", "the call carries no request message")
