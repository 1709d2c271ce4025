"""A key-holder of its own takes the embedded one's place, by the commands of docs/keyholder.md."""

import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from concordat import Client, ResidentId
from concordat_gateway.commands._invitation import Invitation
from concordat_gateway.pki import Authority
from tests.fabricate import resident_id
from tests.gateways import Gateway, MakeGateway, concordat
from tests.keyholders import Host, stopped_at_end

# Processes are started and stopped for nearly every test.
pytestmark = pytest.mark.slow

HOST_NAME = "keys.concordat.test"


def does(*arguments: str | Path) -> str:
    """A command that must succeed; what it printed."""
    ended = concordat(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def issued(gateway: Gateway, request: Path, out: Path) -> None:
    """The operator certifies a key-holder's request."""
    does(
        *("pki", "issue-keyholder", "own", "--host", HOST_NAME, "--csr", request),
        *("--config", gateway.config, "--out", out),
    )


@pytest.fixture
def own(make_gateway: MakeGateway, tmp_path: Path) -> tuple[Gateway, Host]:
    """An installation, and a key-holder's folder with an identity of its authority."""
    gateway, folder = make_gateway(workers=1), tmp_path / "own"
    does(
        *("keyholder", "init", folder, "--trust-domain", "concordat.test"),
        *("--listen", "127.0.0.1:0"),
    )
    issued(gateway, folder / "request.csr", tmp_path / "issued")
    for name in ("cert.pem", "ca.pem"):
        shutil.copy(tmp_path / "issued" / name, folder)
    authority = Authority.load(
        *((gateway.folder / "ca" / name).read_bytes() for name in ("ca.pem", "ca.key"))
    )
    return gateway, Host(folder, authority)


def use(gateway: Gateway, host: Host) -> None:
    """What the guide says of gateway.toml."""
    embedded = 'config = "keyholder/keyholder.toml"\nserver_name = "keyholder.concordat.test"'
    gateway.edit(embedded, f'address = "127.0.0.1:{host.port}"\nserver_name = "{HOST_NAME}"')
    shutil.copy(host.folder / "keys.log", gateway.folder / "keys.log")
    gateway.edit('key_log = "keyholder/keys.log"', 'key_log = "keys.log"')
    old = (gateway.folder / "keyholder" / "log.vkey").read_text().strip()
    new = (host.folder / "log.vkey").read_text().strip()
    gateway.edit(old, new)


def pin(profile: Path, gateway: Gateway, host: Host) -> None:
    """What the guide says of the profiles of operator and auditor."""
    shutil.copy(host.folder / "keys.log", profile / "keys.log")
    old = (gateway.folder / "keyholder" / "log.vkey").read_text().strip()
    new = (host.folder / "log.vkey").read_text().strip()
    settings = (profile / "profile.toml").read_text()
    assert old in settings
    (profile / "profile.toml").write_text(settings.replace(old, new))


def test_a_member_pins_and_uses_the_new_key_holder_s_keys(
    own: tuple[Gateway, Host], tmp_path: Path
) -> None:
    gateway, host = own
    with stopped_at_end([host]):
        host.start()
        use(gateway, host)
        gateway.start()
        refused = concordat(
            *("member", "invite", "alpha", "--name", "Alpha"),
            *("--profile", gateway.operator, "--out", tmp_path / "alpha.json"),
        )
        assert refused.returncode == 1
        assert "nobody was invited: the gateway's key log" in refused.stderr

        pin(gateway.operator, gateway, host)
        profile = gateway.join("alpha")
        invitation = Invitation.load(gateway.folder / "members" / "alpha.json")
        assert invitation.gateway.key_log == (host.folder / "keys.log").read_text()
        host.does("admit", "alpha", "--certificate", profile / "cert.pem")
        with Client.open(profile) as client:
            [token] = client.tokenise([ResidentId(resident_id(1))])
        assert token.epoch == 1


def test_the_key_never_leaves_the_key_holder(own: tuple[Gateway, Host], tmp_path: Path) -> None:
    _, host = own
    assert (host.folder / "key.pem").stat().st_mode & 0o777 == 0o600
    assert {file.name for file in (tmp_path / "issued").iterdir()} == {"cert.pem", "ca.pem"}
    certificate = x509.load_pem_x509_certificate((host.folder / "cert.pem").read_bytes())
    key = serialization.load_pem_private_key((host.folder / "key.pem").read_bytes(), None)
    assert certificate.public_key() == key.public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://concordat.test/keyholder/own"
    ]
    assert names.get_values_for_type(x509.DNSName) == [HOST_NAME]


def test_a_request_is_made_again_with_the_same_key(
    own: tuple[Gateway, Host], tmp_path: Path
) -> None:
    gateway, host = own
    key = (host.folder / "key.pem").read_bytes()
    (host.folder / "request.csr").unlink()
    host.does("request")
    assert (host.folder / "key.pem").read_bytes() == key
    issued(gateway, host.folder / "request.csr", tmp_path / "renewed")


@pytest.mark.parametrize(
    ("name", "host_name", "csr", "message"),
    [
        ("no name", HOST_NAME, None, "not a name for a SPIFFE id"),
        ("own", "no höst", None, "not a host name"),
        ("own", HOST_NAME, "keys.log", "not a PEM certificate request"),
        ("own", HOST_NAME, None, "cert.pem: File exists"),
    ],
)
def test_what_cannot_be_certified_is_named(
    own: tuple[Gateway, Host],
    tmp_path: Path,
    name: str,
    host_name: str,
    csr: str | None,
    message: str,
) -> None:
    gateway, host = own
    before = (tmp_path / "issued" / "cert.pem").read_bytes()
    refused = concordat(
        *("pki", "issue-keyholder", name, "--host", host_name),
        *("--csr", host.folder / (csr or "request.csr")),
        *("--config", gateway.config, "--out", tmp_path / "issued"),
    )
    assert refused.returncode != 0
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (tmp_path / "issued" / "cert.pem").read_bytes() == before
