"""The key-holder behind a gateway: what a member's batch meets on its whole way.

In production the two are two parties on two hosts: the gateway reaches the key-holder by address,
and the key-holder admits members itself.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import concordat
from concordat.v1 import token_pb2
from concordat_keyholder.config import load_config
from concordat_privacy import oprf
from tests.callers import Credentials, Refused, authority_of, call, connected, refused
from tests.gateways import Gateway, MakeGateway, free_port
from tests.keyholders import Host, Member, stopped_at_end

# Processes are started and stopped for nearly every test.
pytestmark = pytest.mark.slow

EVALUATE = "/concordat.v1.TokenService/Evaluate"
PHONE = concordat.PhoneNumber("+8613800138000")
_, BLINDED = oprf.blind_batch([b"first", b"second", b"third"])


def asked_for(member: Member, blinded: bytes, epoch: int = 1) -> token_pb2.EvaluateRequest:
    """A batch as a member sends it to the gateway."""
    signed = member.signed(blinded, epoch=epoch)
    return token_pb2.EvaluateRequest(
        epoch=epoch,
        blinded_elements=blinded,
        nonce=signed.nonce,
        signed_at=signed.signed_at,
        quota=signed.quota,
        certificate=signed.certificate,
        signature=signed.signature,
    )


def evaluated(profile: Path, blinded: bytes, epoch: int = 1) -> Refused | None:
    """Send a batch with a member's own credentials; how it was refused, if it was."""
    credentials = Credentials.of_profile(profile)
    request = asked_for(Member.of(profile.name, credentials), blinded, epoch)
    gateway = re.search(r'^gateway = "(.*)"$', (profile / "profile.toml").read_text(), re.MULTILINE)
    assert gateway is not None
    with connected(gateway[1], credentials) as channel:
        try:
            call(channel, EVALUATE, request.SerializeToString())
        except grpc.RpcError as error:
            return refused(error)
    return None


@pytest.mark.parametrize("bad", [bytes(32), b"\xff" * 32], ids=["identity", "not canonical"])
def test_a_member_is_told_which_element_is_wrong(gateway: Gateway, bad: bytes) -> None:
    profile = gateway.join("token-bank")
    assert evaluated(profile, BLINDED) is None
    refusal = evaluated(profile, BLINDED[:64] + bad)

    assert refusal is not None
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    [(field, _)] = refusal.violations
    assert field == "blinded_elements[2]"


@pytest.mark.parametrize("length", [0, 31, 33, 32 * 4096 + 32])
def test_a_batch_of_wrong_length_is_refused(gateway: Gateway, length: int) -> None:
    refusal = evaluated(gateway.join("token-bank"), bytes(length))

    assert refusal is not None
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    [(field, description)] = refusal.violations
    assert field == "blinded_elements"
    assert str(length) in description


def test_an_epoch_that_is_not_in_use_is_refused(gateway: Gateway) -> None:
    refusal = evaluated(gateway.join("token-bank"), BLINDED, epoch=2)

    assert refusal is not None
    assert refusal.reason == "EPOCH_NOT_ACTIVE"


@pytest.fixture
def apart(make_gateway: MakeGateway) -> Iterator[tuple[Gateway, Host]]:
    """A serving gateway, and its key-holder on a host of its own with its own roster."""
    gateway = make_gateway(workers=1)
    host = Host(gateway.folder / "keyholder", authority_of(gateway.folder))
    host.edit('admission = "authority"', 'admission = "roster"')
    port = free_port()
    gateway.edit('config = "keyholder/keyholder.toml"', f'address = "127.0.0.1:{port}"')
    gateway.start()
    with stopped_at_end([host]):
        host.start("--port", str(port))
        yield gateway, host


def test_members_are_the_key_holder_s_to_admit(apart: tuple[Gateway, Host]) -> None:
    gateway, host = apart
    assert gateway.children("keyholder") == []
    profile = gateway.join("alpha")
    refusal = evaluated(profile, BLINDED)
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "NOT_ADMITTED",
    )

    host.does("admit", "alpha", "--certificate", profile / "cert.pem")
    with concordat.Client.open(profile) as client:
        [token] = client.tokenise([PHONE])
    assert token.epoch == 1
    assert "alpha" in host.does("usage")


def test_a_key_holder_that_is_gone_is_missed_and_found_again(
    apart: tuple[Gateway, Host],
) -> None:
    gateway, host = apart
    profile = gateway.join("alpha")
    host.does("admit", "alpha", "--certificate", profile / "cert.pem")
    assert evaluated(profile, BLINDED) is None
    port = host.port
    assert host.stop() == 0
    refusal = evaluated(profile, BLINDED)
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "KEYHOLDER_UNAVAILABLE",
    )
    host.start("--port", str(port))
    with concordat.Client.open(profile) as client:
        assert len(client.tokenise([PHONE])) == 1


def test_the_key_holder_s_quota_ends_what_the_gateway_passes_on(
    apart: tuple[Gateway, Host],
) -> None:
    gateway, host = apart
    profile = gateway.join("alpha")
    host.does("admit", "alpha", "--certificate", profile / "cert.pem")
    host.does("quota", "alpha", "--daily", "3", "--monthly", "3")
    assert evaluated(profile, BLINDED) is None
    refusal = evaluated(profile, BLINDED)
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "EVALUATIONS_EXHAUSTED",
    )
    # Nothing of the key-holder's is in the gateway's hands.
    assert load_config(host.config).store_url.startswith(f"sqlite:///{host.folder}")
