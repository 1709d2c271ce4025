"""What the one builder does around every call, seen from a real client over mutual TLS.

The service behind it is the test's own, so that it can be slow, silent or broken on purpose.
"""

import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from concordat_gateway.pki import Authority, Names, certificate_pem, key_pem, new_key
from concordat_rpc import call
from concordat_rpc.errors import invalid, permission_denied
from concordat_rpc.limits import Limits
from concordat_rpc.logs import JsonFormatter
from concordat_rpc.peer import Peer, Role, Serial
from concordat_rpc.server import PolicyGap, PortTaken, RpcServer, build_server
from concordat_rpc.tls import Identity
from tests.callers import Refused, call_refused, certified, connected, refused

DOMAIN = "concordat.test"
ALPHA = f"spiffe://{DOMAIN}/member/alpha"
BETA = f"spiffe://{DOMAIN}/member/beta"
SAY, COLLECT, TELL = "/test.Echo/Say", "/test.Echo/Collect", "/test.Echo/Tell"
TALK = "/test.Echo/Talk"
POLICY = dict.fromkeys((SAY, COLLECT, TELL, TALK), frozenset({Role.MEMBER}))
LIMITS = Limits(
    unary_threads=2,
    concurrent_streams=2,
    concurrent_streams_per_caller=2,
    unary_deadline_seconds=1.0,
    stream_deadline_seconds=1.0,
    max_receive_bytes=1000,
    drain_seconds=5.0,
)
SECRET = "11010019000101000X"


@dataclass
class Echo:
    """Four methods whose behaviour a test replaces."""

    say: Callable[[str], str] = lambda text: text
    collect: Callable[[Iterator[StringValue]], str] = lambda parts: "".join(
        part.value for part in parts
    )
    tell: Callable[[str], Iterator[str]] = lambda text: iter(text)
    talk: Callable[[str], str] = lambda text: text

    def register(self, server: Any) -> None:
        def say(request: StringValue, _context: object) -> StringValue:
            return StringValue(value=self.say(request.value))

        def collect(requests: Iterator[StringValue], _context: object) -> StringValue:
            return StringValue(value=self.collect(requests))

        def tell(request: StringValue, _context: object) -> Iterator[StringValue]:
            for part in self.tell(request.value):
                yield StringValue(value=part)

        def talk(requests: Iterator[StringValue], _context: object) -> Iterator[StringValue]:
            for part in requests:
                yield StringValue(value=self.talk(part.value))

        codec = (StringValue.FromString, StringValue.SerializeToString)
        server.add_registered_method_handlers(
            "test.Echo",
            {
                "Say": grpc.unary_unary_rpc_method_handler(say, *codec),
                "Collect": grpc.stream_unary_rpc_method_handler(collect, *codec),
                "Tell": grpc.unary_stream_rpc_method_handler(tell, *codec),
                "Talk": grpc.stream_stream_rpc_method_handler(talk, *codec),
            },
        )


@dataclass
class Observed:
    """Figures of finished calls."""

    calls: list[tuple[str, grpc.StatusCode]] = field(default_factory=list)
    finished: threading.Condition = field(default_factory=threading.Condition)

    def observe(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        assert seconds >= 0
        with self.finished:
            self.calls.append((method, code))
            self.finished.notify_all()

    def wait_for(self, entry: tuple[str, grpc.StatusCode]) -> None:
        with self.finished:
            assert self.finished.wait_for(lambda: entry in self.calls, timeout=30), self.calls


@dataclass
class Running:
    """A serving server and what belongs to it."""

    server: RpcServer
    authority: Authority
    echo: Echo
    observed: Observed
    suspended: set[str]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @contextmanager
    def as_member(self, *uris: str) -> Iterator[grpc.Channel]:
        credentials = certified(self.authority, *(uris or (ALPHA,)))
        with connected(self.address, credentials) as channel:
            yield channel


AUTHORITY = Authority.create(DOMAIN, datetime.now(UTC))


def server_identity() -> Identity:
    key = new_key()
    names = Names(f"spiffe://{DOMAIN}/gateway/main", ["localhost"])
    certificate = AUTHORITY.issue(key.public_key(), names, datetime.now(UTC), timedelta(days=1))
    return Identity(
        certificate_pem(certificate), key_pem(key), certificate_pem(AUTHORITY.certificate)
    )


def build(echo: Echo, observed: Observed, suspended: set[str], **changes: Any) -> RpcServer:
    def check(peer: Peer, serial: Serial, method: str) -> None:
        assert int(serial, 16) > 0
        assert method in POLICY or method.startswith("/grpc.health.")
        if peer.name in suspended:
            raise permission_denied("MEMBER_SUSPENDED", f"{peer.name} is suspended")

    options: dict[str, Any] = {
        "address": "127.0.0.1:0",
        "tls": server_identity(),
        "trust_domain": DOMAIN,
        "policy": POLICY,
        "limits": LIMITS,
        "identity_check": check,
        "observer": observed,
    }
    return build_server([echo.register], **{**options, **changes})


@pytest.fixture
def running() -> Iterator[Running]:
    echo, observed, suspended = Echo(), Observed(), set[str]()
    server = build(echo, observed, suspended)
    server.start()
    yield Running(server, AUTHORITY, echo, observed, suspended)
    server.stop()


def say(channel: grpc.Channel, text: str, timeout: float | None = 30) -> str:
    method = channel.unary_unary(SAY, StringValue.SerializeToString, StringValue.FromString)
    reply: StringValue = method(StringValue(value=text), timeout=timeout)
    return reply.value


def collect(channel: grpc.Channel, parts: Iterator[StringValue]) -> str:
    method = channel.stream_unary(COLLECT, StringValue.SerializeToString, StringValue.FromString)
    reply: StringValue = method(parts)
    return reply.value


def refusal_of(action: Callable[[], object]) -> Refused:
    with pytest.raises(grpc.RpcError) as raised:
        action()
    return refused(raised.value)


def test_calls_of_every_shape_are_served_and_counted(running: Running) -> None:
    with running.as_member() as channel:
        assert say(channel, "hello") == "hello"
        assert collect(channel, (StringValue(value=part) for part in "abc")) == "abc"
        tell = channel.unary_stream(TELL, StringValue.SerializeToString, StringValue.FromString)
        assert [part.value for part in tell(StringValue(value="xyz"))] == ["x", "y", "z"]

    for method in (SAY, COLLECT, TELL):
        running.observed.wait_for((method, grpc.StatusCode.OK))


def test_a_service_knows_its_caller_and_its_deadline(running: Running) -> None:
    seen: list[call.Call] = []

    def note(text: str) -> str:
        seen.append(call.current())
        assert 0 < call.current().deadline_seconds_left < LIMITS.unary_deadline_seconds
        return text

    running.echo.say = note
    with running.as_member(ALPHA) as channel:
        say(channel, "with a longer deadline", timeout=3600)
        say(channel, "without any", timeout=None)

    assert [current.peer for current in seen] == [Peer(Role.MEMBER, "alpha", ALPHA)] * 2
    with pytest.raises(LookupError):
        call.current()


def test_refusals_carry_reason_and_field(running: Running) -> None:
    def refuse(text: str) -> str:
        raise invalid("value", f"{len(text)} characters are too many")

    running.echo.say = refuse
    with running.as_member() as channel:
        refusal = refusal_of(lambda: say(channel, "hello"))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (("value", "5 characters are too many"),)
    assert refusal.error_id == ""
    running.observed.wait_for((SAY, grpc.StatusCode.INVALID_ARGUMENT))


@pytest.mark.parametrize("fault", [ValueError(SECRET), KeyError(SECRET), grpc.RpcError(SECRET)])
def test_no_exception_text_leaves_the_process(
    running: Running, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    def break_down(text: str) -> str:
        raise fault

    running.echo.say = break_down
    with running.as_member() as channel:
        refusal = refusal_of(lambda: say(channel, SECRET))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert SECRET not in refusal.message
    [record] = [record for record in caplog.records if hasattr(record, "error_id")]
    line = JsonFormatter("test").format(record)
    assert SECRET not in line
    assert json.loads(line)["exception"]["types"][0] == type(fault).__name__
    # Whoever is told the id can be helped.
    assert json.loads(line)["error_id"] == refusal.error_id
    assert refusal.error_id in refusal.message


def test_no_exception_text_leaves_in_the_middle_of_a_reply(running: Running) -> None:
    def break_down(text: str) -> Iterator[str]:
        yield "first"
        raise ValueError(SECRET)

    running.echo.tell = break_down
    with running.as_member() as channel:
        replies = channel.unary_stream(TELL, None, None)(b"", timeout=30)
        next(replies)
        refusal = refusal_of(lambda: next(replies))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert SECRET not in refusal.message


@pytest.mark.parametrize("method", [SAY, TELL])
def test_bytes_that_are_no_message_are_refused_in_our_words(running: Running, method: str) -> None:
    with running.as_member() as channel:
        refusal = call_refused(channel, method, b"\xff\xff\xff")

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "MALFORMED_MESSAGE",
    )


def test_bytes_that_are_no_message_are_refused_within_a_stream(running: Running) -> None:
    with running.as_member() as channel:
        send = channel.stream_unary(COLLECT, None, None)
        refusal = refusal_of(lambda: send(iter([b"", b"\xff\xff\xff"]), timeout=30))

    assert refusal.reason == "MALFORMED_MESSAGE"


def test_a_message_beyond_the_limit_is_refused_with_both_sizes(running: Running) -> None:
    with running.as_member() as channel:
        refusal = refusal_of(lambda: say(channel, "x" * 2000))
        assert say(channel, "still served") == "still served"

    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(LIMITS.max_receive_bytes) in refusal.message


def test_a_unary_call_without_a_message_is_refused(running: Running) -> None:
    with running.as_member() as channel:
        refusal = refusal_of(lambda: channel.stream_unary(SAY, None, None)(iter([]), timeout=30))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NO_MESSAGE")


def test_a_method_nobody_knows_is_unimplemented(running: Running) -> None:
    with running.as_member() as channel:
        assert call_refused(channel, "/test.Echo/Shout").code is grpc.StatusCode.UNIMPLEMENTED
        assert call_refused(channel, "/none.Such/Say").code is grpc.StatusCode.UNIMPLEMENTED


def test_who_is_refused_is_refused_on_the_next_call_of_an_open_connection(
    running: Running,
) -> None:
    with running.as_member(ALPHA) as channel:
        assert say(channel, "before") == "before"
        running.suspended.add("alpha")
        refusal = refusal_of(lambda: say(channel, "after"))
        running.suspended.clear()
        assert say(channel, "again") == "again"

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "MEMBER_SUSPENDED",
    )


def test_a_role_that_the_policy_does_not_name_is_refused(running: Running) -> None:
    with running.as_member(f"spiffe://{DOMAIN}/auditor/main") as channel:
        refusal = refusal_of(lambda: say(channel, "hello"))

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "ROLE_NOT_ALLOWED",
    )


def test_a_caller_that_goes_quiet_in_a_stream_meets_the_deadline(running: Running) -> None:
    over = threading.Event()

    def first_and_then_nothing() -> Iterator[StringValue]:
        yield StringValue(value="a")
        over.wait(30)

    with running.as_member() as channel:
        refusal = refusal_of(lambda: collect(channel, first_and_then_nothing()))
        over.set()

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "DEADLINE_EXCEEDED",
    )


def test_callers_that_never_send_their_message_do_not_hold_the_threads(running: Running) -> None:
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait(30)
        yield b""

    with running.as_member(BETA) as quiet, running.as_member(ALPHA) as channel:
        # More of them than the server has threads.
        hanging = [
            quiet.stream_unary(SAY, None, None).future(nothing()) for _ in range(2 * LIMITS.threads)
        ]
        assert say(channel, "served all the same") == "served all the same"
        over.set()
        for future in hanging:
            future.cancel()


def test_a_caller_that_does_not_read_its_replies_is_cut_off(running: Running) -> None:
    def endless(text: str) -> Iterator[str]:
        while True:
            yield "x" * 900

    running.echo.tell = endless
    with running.as_member() as channel:
        replies = channel.unary_stream(TELL, None, None)(b"")
        next(replies)
        running.observed.wait_for((TELL, grpc.StatusCode.CANCELLED))
        replies.cancel()


def test_streams_cannot_take_the_threads_of_short_calls(running: Running) -> None:
    over = threading.Event()
    started = threading.Semaphore(0)

    def open_ended() -> Iterator[StringValue]:
        yield StringValue(value="a")
        over.wait(30)

    def slow(parts: Iterator[StringValue]) -> str:
        started.release()
        return "".join(part.value for part in parts)

    running.echo.collect = slow
    with running.as_member(BETA) as busy, running.as_member(ALPHA) as channel:
        open_stream = busy.stream_unary(
            COLLECT, StringValue.SerializeToString, StringValue.FromString
        )
        held = [open_stream.future(open_ended()) for _ in range(LIMITS.concurrent_streams)]
        for _ in held:
            assert started.acquire(timeout=30)
        refusal = refusal_of(lambda: collect(channel, iter([])))
        assert say(channel, "short") == "short"
        over.set()
        assert [future.result(30).value for future in held] == ["a", "a"]
        assert collect(channel, iter([])) == ""

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS",
    )


def test_running_calls_finish_while_the_server_drains(running: Running) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(text: str) -> str:
        started.set()
        assert go_on.wait(30)
        return text

    running.echo.say = slow
    with running.as_member() as channel:
        method = channel.unary_unary(SAY, StringValue.SerializeToString, StringValue.FromString)
        future = method.future(StringValue(value="in flight"), timeout=30)
        assert started.wait(30)
        drained = running.server.drain()
        go_on.set()
        assert future.result(30).value == "in flight"
        assert drained.wait(30)


def test_a_conversation_ends_after_what_it_has_in_hand_when_the_server_drains(
    running: Running,
) -> None:
    started, go_on, said = threading.Event(), threading.Event(), queue.Queue[StringValue | None]()

    def slow(text: str) -> str:
        started.set()
        assert go_on.wait(30)
        return text

    running.echo.talk = slow
    with running.as_member() as channel:
        talk = channel.stream_stream(TALK, StringValue.SerializeToString, StringValue.FromString)
        replies = talk(iter(said.get, None), timeout=30)
        for text in ("in hand", "behind it"):
            said.put(StringValue(value=text))
        assert started.wait(30)
        drained = running.server.drain()
        go_on.set()
        assert next(replies).value == "in hand"
        refused = refusal_of(lambda: next(replies))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert drained.wait(30)
        said.put(None)


def test_health_is_told_to_every_authenticated_party(running: Running) -> None:
    serving = b"\x08\x01"
    for role in Role:
        with running.as_member(f"spiffe://{DOMAIN}/{role.value}/main") as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
            assert check(b"", timeout=30) == serving


def test_a_service_that_the_policy_forgot_is_not_built() -> None:
    policy = {SAY: frozenset({Role.MEMBER}), TELL: frozenset({Role.MEMBER})}

    with pytest.raises(PolicyGap, match=r"/test\.Echo/Collect"):
        build(Echo(), Observed(), set(), policy=policy)


def test_a_taken_port_is_not_shared_by_accident() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            build(Echo(), Observed(), set(), address=f"127.0.0.1:{port}")


def test_no_certificate_no_call(running: Running) -> None:
    ca_pem = certificate_pem(AUTHORITY.certificate)
    tls = grpc.ssl_channel_credentials(ca_pem)
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(running.address, tls, options) as channel:
        assert call_refused(channel, SAY).code is grpc.StatusCode.UNAVAILABLE
    assert running.observed.calls == []


def test_a_certificate_of_another_authority_is_refused_in_the_handshake(running: Running) -> None:
    other = Authority.create(DOMAIN, datetime.now(UTC))
    credentials = certified(other, ALPHA, trusted=AUTHORITY)
    with connected(running.address, credentials) as channel:
        assert call_refused(channel, SAY).code is grpc.StatusCode.UNAVAILABLE
    assert running.observed.calls == []


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        ((), "NO_SPIFFE_ID"),
        ((ALPHA, BETA), "NO_SPIFFE_ID"),
        ((ALPHA, "https://concordat.test/"), "NO_SPIFFE_ID"),
        (("spiffe://other.test/member/alpha",), "BAD_SPIFFE_ID"),
        (("spiffe://concordat.test/root/alpha",), "BAD_SPIFFE_ID"),
        (("https://concordat.test/member/alpha",), "BAD_SPIFFE_ID"),
    ],
)
def test_a_certificate_names_exactly_one_party(
    running: Running, uris: tuple[str, ...], reason: str
) -> None:
    credentials = certified(AUTHORITY, *uris)
    with connected(running.address, credentials) as channel:
        refusal = call_refused(channel, SAY)

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)


def test_metadata_and_names_of_the_subject_count_for_nothing(running: Running) -> None:
    with running.as_member(ALPHA) as channel:
        running.echo.say = lambda text: call.current().peer.name
        method = channel.unary_unary(SAY, StringValue.SerializeToString, StringValue.FromString)
        spoofed = (("x-member-id", "beta"), ("spiffe-id", BETA), ("authorization", "beta"))
        reply = method(StringValue(), timeout=30, metadata=spoofed)

    assert reply.value == "alpha"
