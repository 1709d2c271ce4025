"""The key-holder as a process of its own: who may call it, what it answers, what it gives away."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import pytest

import concordat
from concordat.v1 import keyholder_pb2, token_pb2
from concordat_privacy import oprf
from concordat_rpc.peer import Role
from tests.callers import (
    Credentials,
    Refused,
    authority_of,
    call,
    call_refused,
    certified,
    connected,
    refused,
)
from tests.gateways import Gateway, MakeGateway, free_port

EVALUATE_BLINDED = "/concordat.v1.KeyholderService/EvaluateBlinded"
LIST_HELD_KEYS = "/concordat.v1.KeyholderService/ListHeldKeys"
EVALUATE = "/concordat.v1.TokenService/Evaluate"
IDENTITY = bytes(32)
INPUTS = [b"first", b"second", b"third"]


def command(folder: Path, *options: str) -> list[str]:
    """Starts the key-holder whose configuration is in `folder`."""
    config = str(folder / "keyholder.toml")
    return [sys.executable, "-m", "concordat_keyholder", "--config", config, *options]


class Keyholder:
    """An installation's key-holder, started on its own."""

    def __init__(self, installation: Gateway) -> None:
        self.installation = installation
        self.folder = installation.folder / "keyholder"
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self, *options: str) -> None:
        with (self.folder / "stderr.log").open("ab") as log:
            self._process = subprocess.Popen(
                command(self.folder, *options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        ready, port = self._process.stdout.readline().split()
        assert ready == "ready"
        self.port = int(port)

    def stop(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        code = process.wait(30)
        if process.stdout is not None:
            process.stdout.close()
        return code

    @property
    def secret_hex(self) -> str:
        return (self.folder / "token.keys").read_text().split('secret = "')[1][:64]

    @property
    def public_key(self) -> oprf.PublicKey:
        return oprf.SecretKey(bytes.fromhex(self.secret_hex)).public_key()

    def channel_as(self, role: Role) -> AbstractContextManager[grpc.Channel]:
        identity = f"spiffe://concordat.test/{role.value}/main"
        credentials = certified(authority_of(self.installation.folder), identity)
        return connected(
            f"127.0.0.1:{self.port}", credentials, server_name="keyholder.concordat.test"
        )


@pytest.fixture(scope="module")
def keyholder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyholder]:
    running = Keyholder(Gateway(tmp_path_factory.mktemp("keyholder") / "installation"))
    running.start()
    yield running
    running.stop()


def test_it_evaluates_for_gateways_and_proves_it(keyholder: Keyholder) -> None:
    state, blinded = oprf.blind_batch(INPUTS)
    request = keyholder_pb2.EvaluateBlindedRequest(
        epoch=1, blinded_elements=blinded, member_id="alpha"
    )
    with keyholder.channel_as(Role.GATEWAY) as channel:
        reply = keyholder_pb2.EvaluateBlindedResponse.FromString(
            call(channel, EVALUATE_BLINDED, request.SerializeToString())
        )
    tokens = oprf.finalize_batch(state, reply.evaluated_elements, reply.proof, keyholder.public_key)

    assert len(set(tokens)) == len(INPUTS)


def test_it_lists_public_keys_that_the_gateway_publishes(keyholder: Keyholder) -> None:
    with keyholder.channel_as(Role.GATEWAY) as channel:
        reply = keyholder_pb2.ListHeldKeysResponse.FromString(call(channel, LIST_HELD_KEYS))

    assert [(key.epoch, key.public_key) for key in reply.keys] == [(1, bytes(keyholder.public_key))]
    assert bytes(keyholder.public_key).hex() in keyholder.installation.config.read_text()


@pytest.mark.parametrize(
    "role", [role for role in Role if role is not Role.GATEWAY], ids=lambda role: role.value
)
def test_nobody_but_a_gateway_may_call(keyholder: Keyholder, role: Role) -> None:
    with keyholder.channel_as(role) as channel:
        for method in (EVALUATE_BLINDED, LIST_HELD_KEYS):
            refusal = call_refused(channel, method)
            assert (refusal.code, refusal.reason) == (
                grpc.StatusCode.PERMISSION_DENIED,
                "ROLE_NOT_ALLOWED",
            )


def test_a_gateway_of_another_consortium_is_refused(keyholder: Keyholder) -> None:
    foreign = certified(
        authority_of(keyholder.installation.folder), "spiffe://other.test/gateway/main"
    )
    address = f"127.0.0.1:{keyholder.port}"
    with connected(address, foreign, server_name="keyholder.concordat.test") as channel:
        assert call_refused(channel, LIST_HELD_KEYS).reason == "BAD_SPIFFE_ID"


def test_an_epoch_it_does_not_hold_is_refused(keyholder: Keyholder) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    request = keyholder_pb2.EvaluateBlindedRequest(epoch=2, blinded_elements=blinded)
    with keyholder.channel_as(Role.GATEWAY) as channel:
        refusal = call_refused(channel, EVALUATE_BLINDED, request.SerializeToString())

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "EPOCH_NOT_ACTIVE",
    )


def evaluate(channel: grpc.Channel, elements: bytes, epoch: int = 1) -> Refused | None:
    request = token_pb2.EvaluateRequest(epoch=epoch, blinded_elements=elements)
    try:
        call(channel, EVALUATE, request.SerializeToString())
    except grpc.RpcError as error:
        return refused(error)
    return None


@pytest.mark.parametrize("bad", [IDENTITY, b"\xff" * 32], ids=["identity", "not canonical"])
def test_a_member_is_told_which_element_is_wrong(gateway: Gateway, bad: bytes) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    member = Credentials.of_profile(gateway.join("token-bank"))
    with connected(gateway.address, member) as channel:
        assert evaluate(channel, blinded) is None
        refusal = evaluate(channel, blinded[:64] + bad)

    assert refusal is not None
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    [(field, _)] = refusal.violations
    assert field == "blinded_elements[2]"


@pytest.mark.parametrize("length", [0, 31, 33, 32 * 4096 + 32])
def test_a_batch_of_wrong_length_is_refused(gateway: Gateway, length: int) -> None:
    member = Credentials.of_profile(gateway.join("token-bank"))
    with connected(gateway.address, member) as channel:
        refusal = evaluate(channel, bytes(length))

    assert refusal is not None
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    [(field, description)] = refusal.violations
    assert field == "blinded_elements"
    assert str(length) in description


def test_an_epoch_that_is_not_in_use_is_refused(gateway: Gateway) -> None:
    _, blinded = oprf.blind_batch(INPUTS)
    member = Credentials.of_profile(gateway.join("token-bank"))
    with connected(gateway.address, member) as channel:
        refusal = evaluate(channel, blinded, epoch=2)

    assert refusal is not None
    assert refusal.reason == "EPOCH_NOT_ACTIVE"


def test_it_can_live_on_a_host_of_its_own(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(workers=1)
    keyholder = Keyholder(gateway)
    port = free_port()
    gateway.edit('config = "keyholder/keyholder.toml"', f'address = "127.0.0.1:{port}"')
    gateway.start()
    assert gateway.children("keyholder") == []
    profile = gateway.join("alpha")
    _, blinded = oprf.blind_batch(INPUTS)
    with connected(gateway.address, Credentials.of_profile(profile)) as channel:
        refusal = evaluate(channel, blinded)
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "KEYHOLDER_UNAVAILABLE",
    )

    keyholder.start("--port", str(port))
    try:
        with concordat.Client.open(profile) as client:
            [token] = client.tokenise([concordat.PhoneNumber("+8613800138000")])
        assert len(token.value) == 32
    finally:
        assert keyholder.stop() == 0


def test_its_secret_is_in_its_file_and_nowhere_else(keyholder: Keyholder) -> None:
    secret = keyholder.secret_hex
    key_file = keyholder.folder / "token.keys"
    for file in keyholder.installation.folder.rglob("*"):
        if file.is_file() and file != key_file:
            content = file.read_bytes()
            assert secret.encode() not in content, file
            assert bytes.fromhex(secret) not in content, file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "keys: at least one key is needed"),
        ('[[keys]]\nepoch = 1\nsecret = "zz"', r"keys\[0\].secret: 32 bytes in hexadecimal wanted"),
        ('[[keys]]\nepoch = 1\nsecret = "00"', r"keys\[0\].secret: secret key has 1 bytes"),
        (f'[[keys]]\nepoch = 1\nsecret = "{"ff" * 32}"', r"keys\[0\].secret: secret key"),
        (f'[[keys]]\nepoch = 1\nsecret = "{"00" * 32}"', r"keys\[0\].secret: secret key"),
        (
            f'[[keys]]\nepoch = 1\nsecret = "{"01" * 32}"\n' * 2,
            r"keys\[1\].epoch: 1 is there twice",
        ),
    ],
)
def test_keys_that_are_none_keep_it_from_serving(
    keyholder: Keyholder, tmp_path: Path, content: str, message: str
) -> None:
    folder = shutil.copytree(keyholder.folder, tmp_path / "keyholder")
    (folder / "token.keys").write_text(content)
    ended = subprocess.run(command(folder), capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert re.search(message, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "ff" * 32 not in ended.stderr


def test_it_knows_nothing_of_the_gateway() -> None:
    """Its own trust domain is also its own code: no store, no rules, no configuration."""
    shown = subprocess.run(
        [sys.executable, "-c", "import sys, concordat_keyholder.__main__; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()

    assert "concordat_keyholder.service" in shown
    foreign = ("concordat_gateway", "sqlalchemy", "sqlmodel", "alembic", "psycopg")
    assert not [name for name in shown if name.split(".")[0] in foreign]


def test_without_the_server_s_packages_it_says_what_is_missing() -> None:
    code = (
        "import runpy, sys;"
        "sys.modules.update(dict.fromkeys(['grpc_health', 'prometheus_client']));"
        "sys.argv[1:] = ['--config', 'absent.toml'];"
        "runpy.run_module('concordat_keyholder', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert re.fullmatch(
        r"concordat key-holder: \w+ is missing: serving needs the extra `server` .*\n",
        ended.stderr,
    ), ended.stderr
