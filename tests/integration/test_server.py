"""A serving gateway, from outside: who gets in, what bad input meets, how it starts."""

import json
import os
import re
import shutil
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pysqlite3 import dbapi2

import concordat
from concordat_gateway.config import load_config
from concordat_gateway.server import POLICY
from concordat_privacy.log.checkpoint import SigningKey
from concordat_rpc.peer import Role
from tests.callers import (
    CALL_SECONDS,
    CHECKPOINT,
    Credentials,
    authority_of,
    call,
    call_refused,
    certified,
    connected,
    refused,
)
from tests.gateways import Gateway, MakeGateway, closing_all, eventually, free_port
from tests.gateways import concordat as concordat_command

LOOKUP = "/concordat.v1.SignalService/Lookup"
CONTRIBUTE = "/concordat.v1.ContributionService/Contribute"
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"


@contextmanager
def channel_of(gateway: Gateway, profile: Path) -> Iterator[grpc.Channel]:
    with connected(gateway.address, Credentials.of_profile(profile)) as channel:
        yield channel


def handshake(gateway: Gateway, version: ssl.TLSVersion) -> str | None:
    """The TLS version that the gateway agrees to with a client that knows only `version`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(gateway.operator / "ca.pem")
    context.load_cert_chain(gateway.operator / "cert.pem", gateway.operator / "key.pem")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        return wrapped.version()


def test_tls_1_3_and_nothing_older(gateway: Gateway) -> None:
    assert handshake(gateway, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        handshake(gateway, ssl.TLSVersion.TLSv1_2)


def test_no_certificate_no_connection(gateway: Gateway) -> None:
    tls = grpc.ssl_channel_credentials((gateway.operator / "ca.pem").read_bytes())
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(gateway.address, tls, options) as channel:
        assert call_refused(channel, HEALTH).code is grpc.StatusCode.UNAVAILABLE


def test_plain_text_gets_nowhere(gateway: Gateway) -> None:
    with grpc.insecure_channel(gateway.address) as channel:
        assert call_refused(channel, HEALTH).code is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_of_another_installation_gets_nowhere(
    gateway: Gateway, make_gateway: MakeGateway
) -> None:
    theirs = Credentials.of_profile(make_gateway().operator)
    ours = Credentials.of_profile(gateway.operator)
    mixed = Credentials(theirs.certificate_pem, theirs.private_key_pem, ours.ca_pem)
    with connected(gateway.address, mixed) as channel:
        assert call_refused(channel, HEALTH).code is grpc.StatusCode.UNAVAILABLE


def test_a_member_cannot_pose_as_the_gateway(gateway: Gateway) -> None:
    """Its certificate is of the same authority; what it is good for is in it."""
    member = Credentials.of_profile(gateway.join("poser"))
    server = grpc.server(ThreadPoolExecutor(1))
    pair = (member.private_key_pem, member.certificate_pem)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        operator = Credentials.of_profile(gateway.operator)
        with connected(f"127.0.0.1:{port}", operator) as channel:
            refusal = call_refused(channel, HEALTH)
    finally:
        server.stop(None).wait()

    assert refusal.code is grpc.StatusCode.UNAVAILABLE
    assert "certificate" in refusal.message.lower()


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        ([], "NO_SPIFFE_ID"),
        (
            ["spiffe://concordat.test/member/a1", "spiffe://concordat.test/member/b2"],
            "NO_SPIFFE_ID",
        ),
        (["spiffe://other.test/member/alpha"], "BAD_SPIFFE_ID"),
    ],
)
def test_a_certificate_that_names_nobody_is_nobody(
    gateway: Gateway, uris: list[str], reason: str
) -> None:
    with connected(gateway.address, certified(authority_of(gateway.folder), *uris)) as channel:
        refusal = call_refused(channel, HEALTH)

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)


ROLES = [role for role in Role if role is not Role.INVITATION]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.value)
def test_each_role_may_call_what_the_policy_says_and_nothing_else(
    gateway: Gateway, role: Role
) -> None:
    if role is Role.MEMBER:
        credentials = Credentials.of_profile(gateway.join("policy-bank"))
    else:
        identity = f"spiffe://concordat.test/{role.value}/main"
        credentials = certified(authority_of(gateway.folder), identity)
    with connected(gateway.address, credentials) as channel:
        for method, roles in POLICY.items():
            outcome = ask(channel, method)
            assert (outcome == "ROLE_NOT_ALLOWED") is (role not in roles), (method, outcome)


def ask(channel: grpc.Channel, method: str) -> str:
    """The reason for which an empty request is refused, "" if it is not."""
    # Empty is wrong for every method that changes anything. An export streams: one reply will do.
    replies = channel.unary_stream(method, None, None)(b"", timeout=CALL_SECONDS)
    try:
        next(replies)
    except grpc.RpcError as error:
        return refused(error).reason
    finally:
        replies.cancel()
    return ""


def test_the_policy_names_every_method_of_the_contract() -> None:
    proto = Path(__file__).resolve().parents[2] / "proto" / "concordat" / "v1"
    methods = {
        f"/concordat.v1.{service}/{method}"
        for file in proto.glob("*.proto")
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", file.read_text(), re.S | re.M)
        for method in re.findall(r"^  rpc (\w+)\(", body, re.M)
        if service != "KeyholderService"
    }

    assert methods == POLICY.keys()


@pytest.mark.parametrize("message", [b"\xff\xff\xff", b"\x0a\x7fshort"])
def test_bytes_that_are_no_message_are_refused_in_plain_words(
    gateway: Gateway, message: bytes
) -> None:
    with channel_of(gateway, gateway.join("garbage-bank")) as channel:
        refusal = call_refused(channel, LOOKUP, message)

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "MALFORMED_MESSAGE",
    )


def test_an_oversized_message_is_refused_and_the_connection_lives(gateway: Gateway) -> None:
    with channel_of(gateway, gateway.join("big-bank")) as channel:
        refusal = call_refused(channel, LOOKUP, b"\x0a" + b"\x00" * (5 * 1024 * 1024))
        assert call(channel, CHECKPOINT)

    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in refusal.message


def test_an_unknown_method_is_unimplemented(gateway: Gateway) -> None:
    with channel_of(gateway, gateway.operator) as channel:
        refusal = call_refused(channel, "/concordat.v1.LedgerService/DropEntries")

    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with figures, a short deadline of streams, and a short time between resumptions."""
    with closing_all(tmp_path_factory.mktemp("tuned")) as make:
        gateway = make(workers=2, limits="stream_deadline_seconds = 1")
        gateway.edit('metrics = ""', f'metrics = "127.0.0.1:{free_port()}"\nresume_seconds = 0.5')
        gateway.start()
        yield gateway


def test_a_call_without_a_deadline_gets_one(tuned: Gateway) -> None:
    def never() -> Iterator[bytes]:
        threading.Event().wait(60)
        yield b""

    with channel_of(tuned, tuned.join("slow-bank")) as channel:
        contribute = channel.stream_unary(CONTRIBUTE, None, None)
        with pytest.raises(grpc.RpcError) as raised:
            contribute(never())
        assert call(channel, CHECKPOINT)

    assert refused(raised.value).code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_what_was_accepted_and_not_published_is_published_before_long(tuned: Gateway) -> None:
    profile = tuned.join("unlucky-bank")
    request_id = tuned.accept_unpublished("unlucky-bank", os.urandom(32))
    with concordat.Client.open(profile) as client:
        eventually(
            lambda: client.get_batch(request_id).state is concordat.BatchState.PUBLISHED,
            "the batch is published",
        )


def test_an_internal_error_is_known_by_its_id(tuned: Gateway) -> None:
    tuned.join("odd-bank")
    database = str(tuned.folder / "data" / "control.db")
    # A state that no build writes: nothing but a fault of ours could.
    run_sql(database, "UPDATE member SET state = state + 90")
    try:
        with (
            concordat.Client.open(tuned.auditor) as auditor,
            pytest.raises(concordat.ServerFault) as raised,
        ):
            list(auditor.list_members())
    finally:
        run_sql(database, "UPDATE member SET state = state - 90")

    logged = [json.loads(line) for line in tuned.log.splitlines()]
    [line] = [line for line in logged if "error_id" in line]
    assert raised.value.error_id == line["error_id"]
    assert line["method"] == "/concordat.v1.MembershipService/ListMembers"


def run_sql(database: str, statement: str) -> None:
    """Change a SQLite store behind the gateway's back."""
    with closing(dbapi2.connect(database, timeout=30)) as connection, connection:
        connection.execute(statement)


def test_health_is_served(gateway: Gateway) -> None:
    with channel_of(gateway, gateway.auditor) as channel:
        assert call(channel, HEALTH) == SERVING


def test_the_ready_line_is_all_it_says_on_stdout(gateway: Gateway) -> None:
    assert (gateway.folder / "stdout.log").read_text() == (
        f"concordat gateway ready on {gateway.address} (2 workers)\n"
    )


def test_figures_are_summed_over_the_workers(tuned: Gateway) -> None:
    served = {"code": "OK", "method": CHECKPOINT}
    denied = {"code": "PERMISSION_DENIED", "method": LOOKUP}
    before = figure(tuned, served), figure(tuned, denied)
    calls = 8
    # Each connection stays with one worker; among many, both serve.
    for _ in range(calls):
        with channel_of(tuned, tuned.operator) as channel:
            assert call(channel, CHECKPOINT)
            assert call_refused(channel, LOOKUP).reason == "ROLE_NOT_ALLOWED"

    assert (figure(tuned, served), figure(tuned, denied)) == (before[0] + calls, before[1] + calls)


def figure(gateway: Gateway, labels: dict[str, str]) -> float:
    """How many calls the metrics endpoint has counted."""
    address = load_config(gateway.config).metrics
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as reply:
        families = list(text_string_to_metric_families(reply.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return sum(
        sample.value
        for sample in samples
        if sample.name == "concordat_rpc_calls_total" and sample.labels == labels
    )


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """An installation that has served and does not now. Leave it as it was."""
    with closing_all(tmp_path_factory.mktemp("stopped")) as make:
        gateway = make(workers=1)
        gateway.start()
        assert gateway.stop() == 0
        yield gateway


BREAKAGES: dict[str, tuple[Callable[[Gateway], object], str]] = {
    "no configuration": (lambda g: g.config.unlink(), r"gateway\.toml: No such file"),
    "broken configuration": (
        lambda g: g.config.write_text("listen ="),
        r"gateway\.toml: Invalid value",
    ),
    "mistyped entry": (lambda g: g.edit("workers", "wrokers"), "wrokers: no such entry"),
    "open private key": (
        lambda g: (g.folder / "gateway" / "key.pem").chmod(0o644),
        r"gateway/key\.pem: others may read or change it \(mode 0644\); run: chmod 600",
    ),
    "open pepper": (
        lambda g: (g.folder / "gateway" / "pepper-1.key").chmod(0o604),
        r"pepper-1\.key: others may read",
    ),
    "open token keys": (
        lambda g: (g.folder / "keyholder" / "token.keys").chmod(0o640),
        r"token\.keys: others may read",
    ),
    "no ledger key": (
        lambda g: (g.folder / "gateway" / "ledger.key").unlink(),
        r"ledger\.key: No such file",
    ),
    "another's private key": (
        lambda g: (g.folder / "gateway" / "key.pem").write_bytes(
            (g.folder / "keyholder" / "key.pem").read_bytes()
        ),
        r"gateway/key\.pem: does not belong to the certificate",
    ),
    "unreachable store": (
        lambda g: g.edit("sqlite:///", "postgresql://nobody@127.0.0.1:1/"),
        "cannot open",
    ),
    "a store of no known kind": (
        lambda g: g.edit("sqlite:///", "mysql://"),
        "neither sqlite nor postgresql",
    ),
    "a ledger of another key": (
        lambda g: (g.folder / "gateway" / "ledger.key").write_text(
            SigningKey.generate("concordat.test/ledger").encode()
        ),
        "the ledger is not signed with this gateway's key",
    ),
    "a store of a newer build": (
        lambda g: run_sql(
            str(g.folder / "data" / "control.db"),
            "UPDATE alembic_version_control SET version_num = 'control_9999'",
        ),
        "a newer build made it",
    ),
}


@pytest.mark.parametrize("what", BREAKAGES)
def test_what_keeps_it_from_serving_is_said_clearly(
    stopped: Gateway, tmp_path: Path, what: str
) -> None:
    whole = shutil.copytree(stopped.folder, tmp_path / "whole")
    damage, message = BREAKAGES[what]
    try:
        damage(stopped)
        ended = concordat_command("serve", "--config", stopped.config)
    finally:
        shutil.rmtree(stopped.folder)
        shutil.copytree(whole, stopped.folder)

    assert ended.returncode == 1
    assert re.search(message, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_taken_port_is_not_shared_with_another_gateway(
    gateway: Gateway, make_gateway: MakeGateway
) -> None:
    second = make_gateway()
    second.edit(second.address, gateway.address)
    ended = concordat_command("serve", "--config", second.config)

    assert ended.returncode == 1
    assert f"cannot listen on {gateway.address}: Address already in use" in ended.stderr
    assert not (second.folder / "data" / "control.db").exists()


def test_every_line_of_the_log_is_a_json_object(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as scanner:
        scanner.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while scanner.recv(4096):
            pass
    with channel_of(gateway, gateway.join("noisy-bank")) as channel:
        call_refused(channel, LOOKUP, b"\xff")

    for line in gateway.log.splitlines():
        assert isinstance(json.loads(line), dict), line
