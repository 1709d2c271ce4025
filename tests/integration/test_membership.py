"""Joining and leaving the consortium, as operator, member and stranger see it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import concordat
from concordat.v1 import member_pb2
from concordat_gateway.commands._invitation import Invitation
from concordat_gateway.pki import new_key, new_request
from concordat_keyholder.config import load_config
from concordat_privacy.keylog import KeyLog, key_entry
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.oprf import derive_key_pair, generate_key
from tests.callers import (
    CHECKPOINT,
    Credentials,
    authority_of,
    call,
    call_refused,
    certified,
    connected,
)
from tests.gateways import CONCORDAT, Gateway, MakeGateway, eventually
from tests.gateways import concordat as command

INVITE = "/concordat.v1.MembershipService/InviteMember"


def test_a_member_joins_and_may_call(gateway: Gateway) -> None:
    profile = gateway.join("joining-bank")
    with (
        concordat.Client.open(profile) as member,
        concordat.Client.open(gateway.auditor) as auditor,
    ):
        assert member.checkpoint().checkpoint.size > 0
        [found] = [one for one in auditor.list_members() if one.member_id == "joining-bank"]
        entries = [json.loads(exported.entry) for exported in auditor.export_entries()]

    assert found.state is concordat.MemberState.ACTIVE
    assert found.display_name == "Bank joining-bank"
    assert found.joined_at is not None
    assert found.invited_at <= found.joined_at <= datetime.now(UTC)
    told = [one for one in entries if one.get("member") == "joining-bank"]
    assert [one["type"] for one in told] == ["member.invited", "member.joined"]
    # Each change of a member's certificate is told: that of the invitation, then its own.
    certificate = x509.load_pem_x509_certificate((profile / "cert.pem").read_bytes())
    assert told[1]["certificate"] == certificate.fingerprint(hashes.SHA256()).hex()
    assert told[0]["certificate"] != told[1]["certificate"]


def test_a_member_certificate_says_who_it_is_and_nothing_else(gateway: Gateway) -> None:
    profile = gateway.join("certified-bank")
    certificate = x509.load_pem_x509_certificate((profile / "cert.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value

    assert list(names) == [
        x509.UniformResourceIdentifier("spiffe://concordat.test/member/certified-bank")
    ]
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not constraints.ca
    assert not list(certificate.subject)
    lifetime = certificate.not_valid_after_utc - datetime.now(UTC)
    assert 364 <= lifetime.days <= 365


def test_the_profile_and_the_invitation_are_for_their_owner_alone(gateway: Gateway) -> None:
    invitation = gateway.invite("private-bank")
    profile = gateway.folder / "members" / "private-bank"
    accepted = command("member", "accept", invitation, profile)
    assert accepted.returncode == 0

    certificate = x509.load_pem_x509_certificate((profile / "cert.pem").read_bytes())
    public_key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert hashlib.sha256(public_key).hexdigest() in accepted.stdout
    assert invitation.stat().st_mode & 0o777 == 0o600
    assert (profile / "key.pem").stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in profile.iterdir()) == [
        *("ca.pem", "cert.pem", "key.pem", "keys.log", "profile.toml")
    ]


def test_who_joins_is_told_what_to_compare_with_the_key_holders_people(
    gateway: Gateway, tmp_path: Path
) -> None:
    accepted = command("member", "accept", gateway.invite("careful-bank"), tmp_path / "profile")
    vkey = (gateway.folder / "keyholder" / "log.vkey").read_text().strip()
    digest = hashlib.sha256(vkey.encode()).hexdigest()[:32]

    assert accepted.returncode == 0, accepted.stderr
    assert vkey in accepted.stdout
    assert digest in accepted.stdout.replace(" ", "")
    assert "Compare both with the key-holder's own people" in accepted.stdout


def test_an_invitation_with_another_key_log_is_refused_by_who_knows_the_right_key(
    gateway: Gateway, tmp_path: Path
) -> None:
    honest = gateway.invite("wary-bank")
    right = gateway.folder / "keyholder" / "log.vkey"
    # What a gateway's operator can write: a key-holder and a key log of its own.
    own = SigningKey.generate("concordat.test/token-keys")
    log = KeyLog.signed([key_entry(1, derive_key_pair(bytes(32), b"own").public, 1)], own)
    content = json.loads(honest.read_bytes())
    content |= {"key_log_vkey": own.verifier.encode(), "key_log": log.text}
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(content))
    profile = tmp_path / "profile"

    for told in (f"@{right}", right.read_text().strip()):
        refused = command("member", "accept", forged, profile, "--key-log-vkey", told)
        assert refused.returncode == 1
        assert own.verifier.encode() in refused.stderr
        assert not profile.exists()
    accepted = command("member", "accept", honest, profile, "--key-log-vkey", f"@{right}")
    assert accepted.returncode == 0, accepted.stderr


@pytest.mark.parametrize("told", ["nonsense", "@missing.vkey"])
def test_what_is_no_key_is_not_compared(gateway: Gateway, tmp_path: Path, told: str) -> None:
    file = gateway.folder / "members" / "hasty-bank.json"
    invitation = file if file.exists() else gateway.invite("hasty-bank")
    profile = tmp_path / "profile"
    refused = command("member", "accept", invitation, profile, "--key-log-vkey", told)
    assert refused.returncode == 2
    assert "--key-log-vkey" in refused.stderr
    assert not profile.exists()


def test_an_invitation_is_good_once(gateway: Gateway, tmp_path: Path) -> None:
    invitation = gateway.invite("once-bank")
    first = command("member", "accept", invitation, tmp_path / "first")
    second = command("member", "accept", invitation, tmp_path / "second")

    assert first.returncode == 0, first.stderr
    assert second.returncode == 1
    assert "INVITATION_USED" in second.stderr
    with concordat.Client.open(tmp_path / "first") as client:
        assert client.checkpoint()


def test_an_invitation_opens_nothing_but_its_acceptance(gateway: Gateway) -> None:
    invitation = Invitation.load(gateway.invite("curious-bank"))
    with (
        concordat.Client(invitation.profile()) as client,
        pytest.raises(concordat.NotPermitted) as raised,
    ):
        client.checkpoint()
    assert raised.value.reason == "ROLE_NOT_ALLOWED"


def test_a_repeated_acceptance_is_answered_as_the_first(gateway: Gateway) -> None:
    """The reply may have been lost; the invitation must not be lost with it."""
    invitation = Invitation.load(gateway.invite("repeating-bank"))
    request, request_id = new_request(new_key()), os.urandom(16)
    with concordat.Client(invitation.profile()) as client:
        first = client.accept_invitation(request, request_id=request_id)
        again = client.accept_invitation(request, request_id=request_id)
        with pytest.raises(concordat.Conflict) as reused:
            client.accept_invitation(new_request(new_key()), request_id=request_id)
        with pytest.raises(concordat.NotPermitted) as used:
            client.accept_invitation(request, request_id=os.urandom(16))

    assert again.certificate_pem == first.certificate_pem
    assert again.receipt.entry_index == first.receipt.entry_index
    assert reused.value.reason == "REQUEST_ID_REUSED"
    assert used.value.reason == "INVITATION_USED"


def interrupt(gateway: Gateway, arguments: Sequence[str | Path], on_disk: Path) -> None:
    """Run a command that meets silence, and kill it as soon as it has written a file."""
    workers = gateway.children("gateway.worker")
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        started = subprocess.Popen([str(CONCORDAT), *map(str, arguments)])
        eventually(on_disk.exists, "the attempt is on disk")
        started.kill()
        started.wait()
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def invitation_to(gateway: Gateway, member_id: str, out: Path) -> Sequence[str | Path]:
    """The command that invites."""
    options = ("--name", "Bank", "--profile", gateway.operator, "--out", out)
    return ("member", "invite", member_id, *options)


def test_interrupted_joining_is_taken_up_again(gateway: Gateway, tmp_path: Path) -> None:
    invitation, profile = tmp_path / "invitation.json", tmp_path / "profile"
    pending = tmp_path / "invitation.json.pending"
    inviting = invitation_to(gateway, "cut-off-bank", invitation)
    interrupt(gateway, inviting, pending)
    assert not invitation.exists()
    assert pending.stat().st_mode & 0o777 == 0o600
    invited = command(*inviting)
    assert invited.returncode == 0, invited.stderr
    assert not pending.exists()

    accepting = ("member", "accept", invitation, profile)
    interrupt(gateway, accepting, profile / "joining.request-id")
    accepted = command(*accepting)
    assert accepted.returncode == 0, accepted.stderr
    with concordat.Client.open(profile) as client:
        assert client.checkpoint()


def test_an_invitation_that_was_recorded_but_not_written_is_not_lost(
    gateway: Gateway, tmp_path: Path
) -> None:
    out = tmp_path / "invitation.json"
    inviting = invitation_to(gateway, "unwritten-bank", out)
    # Nothing can be written there, and that shows only at the end.
    out.symlink_to(tmp_path / "missing" / "invitation.json")
    failed = command(*inviting)
    other = command(*invitation_to(gateway, "another-bank", out))
    out.unlink()
    repeated = command(*inviting)
    accepted = command("member", "accept", out, tmp_path / "profile")
    again = command(*inviting)

    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert other.returncode == 1
    assert "interrupted invitation of unwritten-bank" in other.stderr
    assert repeated.returncode == 0, repeated.stderr
    assert accepted.returncode == 0, accepted.stderr
    assert again.returncode == 1
    assert f"{out} exists already" in again.stderr
    with concordat.Client.open(gateway.auditor) as auditor:
        entries = [json.loads(exported.entry) for exported in auditor.export_entries()]
    kinds = [one["type"] for one in entries if one.get("member") == "unwritten-bank"]
    assert kinds == ["member.invited", "member.joined"]


def test_a_refused_invitation_leaves_nothing(gateway: Gateway, tmp_path: Path) -> None:
    gateway.join("known-bank")
    refused = command(*invitation_to(gateway, "known-bank", tmp_path / "invitation.json"))

    assert refused.returncode == 1
    assert "MEMBER_EXISTS" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_an_invitation_carries_the_longer_key_log(make_gateway: MakeGateway) -> None:
    """The operator's profile pins the log of the first day; the gateway's has grown since."""
    gateway = make_gateway(workers=1)
    log = gateway.folder / "keyholder" / "keys.log"
    ended = command(
        *("keyholder", "end-epoch", "--epoch", "1", "--valid-to", "2099-01-01T00:00:00Z"),
        *("--config", gateway.folder / "keyholder" / "keyholder.toml"),
        *("--yes", "--leave-gap"),
    )
    assert ended.returncode == 0, ended.stderr
    gateway.start()
    assert (gateway.operator / "keys.log").read_text() != log.read_text()
    invitation = Invitation.load(gateway.invite("late-bank"))
    assert invitation.gateway.key_log == log.read_text()


@pytest.mark.parametrize("same_key", [False, True], ids=["another key", "forked"])
def test_keys_that_the_gateway_does_not_use_are_not_handed_on(
    gateway: Gateway, tmp_path: Path, same_key: bool
) -> None:
    """Another key-holder took over, and the operator's profile still pins the first one's log."""
    profile, name = tmp_path / "operator", f"misled-{same_key}".lower()
    shutil.copytree(gateway.operator, profile)
    genuine = load_config(gateway.folder / "keyholder" / "keyholder.toml")
    key = (
        SigningKey.decode((gateway.folder / "keyholder" / "log.key").read_text())
        if same_key
        else SigningKey.generate(genuine.key_log_vkey.name)
    )
    other = KeyLog.signed([key_entry(1, generate_key().public, 0)], key)
    (profile / "keys.log").write_text(other.text)
    settings = (profile / "profile.toml").read_text()
    (profile / "profile.toml").write_text(
        settings.replace(genuine.key_log_vkey.encode(), key.verifier.encode())
    )
    out = tmp_path / "invitation.json"
    refused = command(
        *("member", "invite", name, "--name", "Bank"), *("--profile", profile, "--out", out)
    )
    assert refused.returncode == 1
    assert "nobody was invited: the gateway's key log is not the one" in refused.stderr
    assert not list(tmp_path.glob("invitation*"))
    with concordat.Client.open(gateway.operator) as operator:
        assert name not in [member.member_id for member in operator.list_members()]


def test_a_known_member_is_not_invited_again(gateway: Gateway) -> None:
    gateway.join("known-bank")
    with (
        concordat.Client.open(gateway.operator) as operator,
        pytest.raises(concordat.Conflict) as raised,
    ):
        operator.invite_member("known-bank", "Known Bank", new_request(new_key()))
    assert raised.value.reason == "MEMBER_EXISTS"


def test_suspension_works_on_the_next_call_of_an_open_connection(gateway: Gateway) -> None:
    member = Credentials.of_profile(gateway.join("suspended-bank"))
    with (
        concordat.Client.open(gateway.operator) as operator,
        connected(gateway.address, member) as channel,
    ):
        assert call(channel, CHECKPOINT)
        change = operator.suspend_member("suspended-bank", "overdue fees")
        refusal = call_refused(channel, CHECKPOINT)
        repeated = operator.suspend_member("suspended-bank", "overdue fees")
        lifted = operator.reinstate_member("suspended-bank", "paid")
        assert call(channel, CHECKPOINT)

    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "MEMBER_SUSPENDED",
    )
    assert change.member.state is concordat.MemberState.SUSPENDED
    assert change.receipt is not None
    assert change.receipt.fields["reason"] == "overdue fees"
    assert change.receipt.fields["actor"] == "spiffe://concordat.test/operator/main"
    assert repeated.receipt is None
    assert lifted.member.state is concordat.MemberState.ACTIVE


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("spiffe://concordat.test/member/never-invited", "NOT_A_MEMBER"),
        ("spiffe://concordat.test/member/twice-bank", "CERTIFICATE_REPLACED"),
        ("spiffe://concordat.test/member/waiting-bank", "NOT_A_MEMBER"),
    ],
)
def test_the_authority_s_signature_alone_makes_nobody_a_member(
    gateway: Gateway, identity: str, reason: str
) -> None:
    gateway.join("twice-bank")
    if not (gateway.folder / "members" / "waiting-bank.json").exists():
        gateway.invite("waiting-bank")
    with connected(gateway.address, certified(authority_of(gateway.folder), identity)) as channel:
        refusal = call_refused(channel, CHECKPOINT)

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, reason)


def test_an_invitation_that_was_not_issued_is_none(gateway: Gateway) -> None:
    forged = certified(authority_of(gateway.folder), "spiffe://concordat.test/invitation/some-bank")
    with connected(gateway.address, forged) as channel:
        refusal = call_refused(channel, "/concordat.v1.MembershipService/AcceptInvitation")

    assert refusal.reason == "NOT_INVITED"


Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def request_of(key: Key) -> bytes:
    """A request that asks for a name it must not get."""
    names = [x509.UniformResourceIdentifier("spiffe://concordat.test/operator/main")]
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "operator")]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=3), critical=True)
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def wrongly_signed() -> bytes:
    """A request whose signature is another request's."""
    der = x509.load_pem_x509_csr(request_of(new_key())).public_bytes(serialization.Encoding.DER)
    changed = der.replace(b"operator", b"operatoR", 1)
    assert changed != der
    return x509.load_der_x509_csr(changed).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("make", "description"),
    [
        (lambda: b"", "a PEM certificate request is required"),
        (lambda: b"not PEM at all", "not a PEM certificate request"),
        (lambda: new_request(new_key())[:200], "not a PEM certificate request"),
        (lambda: b"x" * 8193, "longer than 8192 bytes"),
        (wrongly_signed, "the request is not signed by its own key"),
        (lambda: request_of(rsa.generate_private_key(65537, 2048)), "must be ECDSA P-256 or P-384"),
        (lambda: request_of(ec.generate_private_key(ec.SECP256K1())), "must be ECDSA P-256"),
        (lambda: request_of(ed25519.Ed25519PrivateKey.generate()), "must be ECDSA P-256"),
    ],
)
def test_a_request_that_is_none_is_refused_with_the_reason(
    gateway: Gateway, make: Callable[[], bytes], description: str
) -> None:
    message = member_pb2.InviteMemberRequest(
        request_id=os.urandom(16), member_id="csr-bank", display_name="x", csr_pem=make()
    )
    operator = Credentials.of_profile(gateway.operator)
    with connected(gateway.address, operator) as channel:
        refusal = call_refused(channel, INVITE, message.SerializeToString())

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    [(field, said)] = refusal.violations
    assert field == "csr_pem"
    assert description in said


def test_what_a_request_asks_for_is_ignored(gateway: Gateway) -> None:
    invitation = Invitation.load(gateway.invite("modest-bank"))
    with concordat.Client(invitation.profile()) as client:
        joined = client.accept_invitation(request_of(ec.generate_private_key(ec.SECP384R1())))
    certificate = x509.load_pem_x509_certificate(joined.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert not list(certificate.subject)
    assert [name.value for name in names] == ["spiffe://concordat.test/member/modest-bank"]
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca


@pytest.mark.parametrize(
    ("member_id", "name", "field"),
    [
        ("A-bank", "x", "member_id"),
        ("a", "x", "member_id"),
        ("1bank", "x", "member_id"),
        ("bank/../operator", "x", "member_id"),
        ("b" * 41, "x", "member_id"),
        ("fine-bank", "", "display_name"),
        ("fine-bank", "x" * 201, "display_name"),
        ("fine-bank", "two\nlines", "display_name"),
        ("fine-bank", "  ", "display_name"),
        ("fine-bank", "e\u0301", "display_name"),
    ],
)
def test_names_are_checked_before_they_reach_the_ledger(
    gateway: Gateway, member_id: str, name: str, field: str
) -> None:
    message = member_pb2.InviteMemberRequest(
        request_id=os.urandom(16),
        member_id=member_id,
        display_name=name,
        csr_pem=new_request(new_key()),
    )
    operator = Credentials.of_profile(gateway.operator)
    with connected(gateway.address, operator) as channel:
        refusal = call_refused(channel, INVITE, message.SerializeToString())

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations[0][0] == field


def test_a_file_that_is_no_invitation_is_refused_clearly(tmp_path: Path) -> None:
    for content in ("", "{}", "[]", '{"member_id": 1}'):
        (tmp_path / "wrong.json").write_text(content)
        refused = command("member", "accept", tmp_path / "wrong.json", tmp_path / "profile")

        assert refused.returncode == 1
        assert "wrong.json" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert not (tmp_path / "profile").exists()


def test_a_folder_in_use_is_not_joined_into(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    refused = command("member", "accept", gateway.invite("tidy-bank"), tmp_path)

    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
