"""The key-holder as a process of its own: who may call it, what it answers, what it gives away."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
import pytest
from grpc_health.v1 import health_pb2

from concordat_keyholder.config import load_config
from concordat_keyholder.keys import read_keys
from concordat_privacy import oprf
from concordat_rpc.peer import Role
from tests.callers import call, call_refused, certified
from tests.gateways import Gateway, is_running
from tests.keyholders import (
    EVALUATE,
    HEALTH,
    LIST,
    UPDATE,
    Host,
    Member,
    evaluate,
    evaluate_refused,
    held_keys,
    new_authority,
    stopped_at_end,
)

INPUTS = [b"first", b"second", b"third"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A serving key-holder of a development installation: the authority admits members."""
    folder = tmp_path_factory.mktemp("keyholder") / "host"
    running = Host.made(folder, new_authority(), "--development")
    with stopped_at_end([running]):
        running.start()
        yield running


@pytest.fixture(scope="module")
def alpha(host: Host) -> Member:
    return Member.certified_by(host.authority, "alpha")


def test_it_evaluates_what_a_member_signed_and_proves_it(host: Host, alpha: Member) -> None:
    state, blinded = oprf.blind_batch(INPUTS)
    with host.channel() as channel:
        reply = evaluate(channel, alpha.signed(blinded))
    elements = oprf.finalize_batch(state, reply.evaluated_elements, reply.proof, host.public_key())

    config = load_config(host.config)
    [held] = read_keys(config.keys, config.seal)[0]
    assert held.public_key == host.public_key()
    # The element of an input does not depend on its blind.
    again, once_more = oprf.blind_batch(INPUTS)
    evaluated, proof = oprf.evaluate_batch(held.secret, once_more)
    assert oprf.finalize_batch(again, evaluated, proof, host.public_key()) == elements


def test_it_lists_the_key_that_its_log_has(host: Host) -> None:
    with host.channel() as channel:
        assert held_keys(channel) == [(1, bytes(host.public_key()), 0)]


@pytest.mark.parametrize(
    "role", [role for role in Role if role is not Role.GATEWAY], ids=lambda role: role.value
)
def test_nobody_but_a_gateway_may_call(host: Host, role: Role) -> None:
    with host.channel(role) as channel:
        for method in (EVALUATE, UPDATE, LIST):
            refusal = call_refused(channel, method)
            assert (refusal.code, refusal.reason) == (
                grpc.StatusCode.PERMISSION_DENIED,
                "ROLE_NOT_ALLOWED",
            )


def test_a_gateway_of_another_consortium_is_refused(host: Host) -> None:
    foreign = certified(host.authority, "spiffe://other.test/gateway/main")
    with host.channel_with(foreign) as channel:
        assert call_refused(channel, LIST).reason == "BAD_SPIFFE_ID"


def test_health_says_that_it_serves(host: Host) -> None:
    with host.channel() as channel:
        reply = health_pb2.HealthCheckResponse.FromString(call(channel, HEALTH))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("epoch", [0, 2, 2**32 - 1])
def test_an_epoch_it_does_not_hold_is_refused(host: Host, alpha: Member, epoch: int) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    with host.channel() as channel:
        refusal = evaluate_refused(channel, alpha.signed(blinded, epoch=epoch))

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "EPOCH_NOT_ACTIVE",
    )


@pytest.mark.parametrize("bad", [bytes(32), b"\xff" * 32], ids=["identity", "not canonical"])
def test_an_element_that_is_none_is_named(host: Host, alpha: Member, bad: bytes) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    with host.channel() as channel:
        refusal = evaluate_refused(channel, alpha.signed(blinded[:64] + bad))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    [(field, _)] = refusal.violations
    assert field == "blinded_elements[2]"


@pytest.mark.parametrize("length", [0, 31, 33, 32 * 4096 + 32])
def test_a_batch_of_wrong_length_is_refused(host: Host, alpha: Member, length: int) -> None:
    with host.channel() as channel:
        refusal = evaluate_refused(channel, alpha.signed(bytes(length)))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    [(field, description)] = refusal.violations
    assert field == "blinded_elements"
    assert str(length) in description


def test_the_largest_batch_is_evaluated(host: Host, alpha: Member) -> None:
    _, blinded = oprf.blind_batch([str(number).encode() for number in range(4096)])
    with host.channel() as channel:
        reply = evaluate(channel, alpha.signed(blinded))
    assert len(reply.evaluated_elements) == 32 * 4096


def test_a_whole_key_has_no_holders(host: Host, alpha: Member) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    with host.channel() as channel:
        refusal = evaluate_refused(channel, alpha.signed(blinded, holders=[1, 2]))
    assert [field for field, _ in refusal.violations] == ["holders"]


def test_its_secret_is_nowhere_in_the_open(host: Host) -> None:
    config = load_config(host.config)
    [held] = read_keys(config.keys, config.seal)[0]
    secret = bytes(held.secret)
    for file in host.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert secret not in content, file
            assert secret.hex().encode() not in content, file


def test_its_log_has_no_element_and_no_key(host: Host, alpha: Member) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    with host.channel() as channel:
        reply = evaluate(channel, alpha.signed(blinded))
        evaluate_refused(channel, alpha.signed(blinded, now=0))
    log = host.log

    refusals = [json.loads(line)["message"] for line in log.splitlines()]
    assert "refused 3 evaluations of alpha: REQUEST_STALE" in refusals
    for secret in (blinded, reply.evaluated_elements):
        for at in range(0, len(secret), 32):
            assert secret[at : at + 32].hex() not in log


def test_it_stops_when_it_is_told_to(host: Host, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Host.made(tmp_path_factory.mktemp("stopped") / "host", host.authority)
    other.start()
    assert other.stop() == 0


def test_an_embedded_one_ends_with_its_gateway(
    host: Host, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the gateway starts it: without a command's name, the parent's pipe on stdin."""
    other = Host.made(tmp_path_factory.mktemp("embedded") / "host", host.authority)
    line = [sys.executable, "-m", "concordat_keyholder", "--config", str(other.config)]
    child = subprocess.Popen(
        [*line, "--with-parent", "--port", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline().startswith(b"ready ")
    # A terminal's interrupt reaches the whole group; the parent tells it when to stop.
    child.send_signal(signal.SIGINT)
    child.stdin.close()
    assert child.wait(30) == 1
    child.stdout.close()
    assert not is_running(child.pid)


def test_an_installation_has_a_key_holder_of_its_own(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    installation = Gateway(tmp_path_factory.mktemp("installation") / "gateway")
    folder = installation.folder / "keyholder"
    config = load_config(folder / "keyholder.toml")
    keys, _ = read_keys(config.keys, config.seal)
    settings = installation.config.read_text()

    assert f'key_log_vkey = "{config.key_log_vkey.encode()}"' in settings
    assert 'key_log = "keyholder/keys.log"' in settings
    assert '1 = "gateway/pepper-1.key"' in settings
    assert config.admission.value == "authority"
    [held] = keys
    secret = bytes(held.secret)
    for file in installation.folder.rglob("*"):
        if file.is_file():
            assert secret not in file.read_bytes(), file
            assert secret.hex().encode() not in file.read_bytes(), file
    for name in ("token.keys", "seal.key", "log.key", "key.pem", "keyholder.toml"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name
    profile = installation.operator
    assert (profile / "keys.log").read_text() == (folder / "keys.log").read_text()


def test_it_knows_nothing_of_the_gateway() -> None:
    """Its own trust domain is also its own code: no signals, no rules, no configuration."""
    shown = subprocess.run(
        [sys.executable, "-c", "import sys, concordat_keyholder.server; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()

    assert "concordat_keyholder.service" in shown
    assert not [name for name in shown if name.split(".")[0] in {"concordat_gateway", "opendp"}]


def test_help_needs_no_server_s_packages_and_serving_says_what_is_missing() -> None:
    code = (
        "import runpy, sys;"
        "sys.modules.update(dict.fromkeys(['grpc_health', 'sqlalchemy', 'alembic']));"
        "sys.argv[1:] = {arguments!r};"
        "runpy.run_module('concordat_keyholder', run_name='__main__')"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code.format(arguments=list(arguments))],
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert run("split", "--help").returncode == 0
    ended = run("serve", "--config", __file__)
    assert ended.returncode == 1
    assert re.search(r"is missing: the key-holder needs the extra `server`", ended.stderr)
    assert "Traceback" not in ended.stderr


def test_the_first_epoch_begins_when_the_folder_is_made(host: Host) -> None:
    [first] = host.key_log.keys
    assert first.valid_to is None
    made = datetime.fromtimestamp(first.valid_from / 1_000_000, UTC)
    assert abs((datetime.now(UTC) - made).total_seconds()) < 3600
