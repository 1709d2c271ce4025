"""Raw gRPC callers with certificates of a test's choice, right and wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concordat_gateway.pki import Authority, certificate_pem, key_pem, new_key

CHECKPOINT = "/concordat.v1.LedgerService/GetCheckpoint"
CALL_SECONDS = 30


@dataclass(frozen=True)
class Credentials:
    """A client certificate with its key, and the authority the server must be of."""

    certificate_pem: bytes
    private_key_pem: bytes
    ca_pem: bytes

    @classmethod
    def of_profile(cls, folder: Path) -> "Credentials":
        return cls(*((folder / name).read_bytes() for name in ("cert.pem", "key.pem", "ca.pem")))


def authority_of(installation: Path) -> Authority:
    """The authority of an installation: who holds it can make any certificate."""
    folder = installation / "ca"
    return Authority.load((folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes())


def certified(
    authority: Authority,
    *uris: str,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    trusted: Authority | None = None,
) -> Credentials:
    """Credentials signed by `authority` with any URIs at all, made without the gateway's code."""
    key, now = new_key(), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(authority.certificate.subject)
        .subject_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    ca_pem = certificate_pem((trusted or authority).certificate)
    return Credentials(certificate_pem(certificate), key_pem(key), ca_pem)


@contextmanager
def connected(
    address: str, credentials: Credentials, server_name: str = "localhost"
) -> Iterator[grpc.Channel]:
    """A connection of its own, shared with no other channel."""
    tls = grpc.ssl_channel_credentials(
        credentials.ca_pem, credentials.private_key_pem, credentials.certificate_pem
    )
    options = [
        ("grpc.ssl_target_name_override", server_name),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
    ]
    with grpc.secure_channel(address, tls, options) as channel:
        yield channel


@dataclass(frozen=True)
class Refused:
    """How a call was refused."""

    code: grpc.StatusCode
    message: str
    reason: str
    """ErrorInfo.reason; empty for a status without details."""
    violations: tuple[tuple[str, str], ...]
    """Field and description of each."""
    error_id: str = ""
    """ErrorInfo's error_id, under which the log has more; mostly empty."""


def refused(error: grpc.RpcError) -> Refused:
    """Read a refusal, with its details."""
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    reason, error_id, violations = "", "", []
    for detail in status.details if status else ():
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            assert info.domain == "concordat"
            reason, error_id = info.reason, info.metadata.get("error_id", "")
        if detail.Unpack(bad_request):
            violations += [(v.field, v.description) for v in bad_request.field_violations]
    return Refused(error.code(), error.details() or "", reason, tuple(violations), error_id)


def call(
    channel: grpc.Channel, method: str, message: bytes = b"", timeout: float | None = CALL_SECONDS
) -> bytes:
    """One unary call of raw bytes."""
    reply: bytes = channel.unary_unary(method, None, None)(message, timeout=timeout)
    return reply


def call_refused(
    channel: grpc.Channel, method: str, message: bytes = b"", timeout: float | None = CALL_SECONDS
) -> Refused:
    """How one unary call of raw bytes is refused; fails the test if it is not."""
    try:
        call(channel, method, message, timeout)
    except grpc.RpcError as error:
        return refused(error)
    raise AssertionError(f"{method} was not refused")
