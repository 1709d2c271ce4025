"""Mutual TLS 1.3 with client certificates, always. See the package's text for why only 1.3."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from concordat_rpc.secret_files import read_secret
from concordat_rpc.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Identity:
    """A process's own certificate and key, and the CA it trusts. All PEM."""

    certificate_pem: bytes
    private_key_pem: bytes
    ca_pem: bytes


def load_identity(certificate: Path, private_key: Path, ca: Path) -> Identity:
    """Read and check the files; raises SettingsError."""
    identity = Identity(_read(certificate), read_secret(private_key), _read(ca))
    try:
        own = x509.load_pem_x509_certificate(identity.certificate_pem)
    except ValueError:
        raise SettingsError(f"{certificate}: not a PEM certificate") from None
    try:
        x509.load_pem_x509_certificate(identity.ca_pem)
    except ValueError:
        raise SettingsError(f"{ca}: not a PEM certificate") from None
    try:
        key = serialization.load_pem_private_key(identity.private_key_pem, password=None)
    except (ValueError, TypeError):
        raise SettingsError(f"{private_key}: not an unencrypted PEM private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        # With an RSA key TLS 1.2 would work again.
        raise SettingsError(f"{private_key}: not an ECDSA key")
    if own.public_key() != key.public_key():
        raise SettingsError(f"{private_key}: does not belong to the certificate {certificate}")
    return identity


def server_credentials(identity: Identity) -> grpc.ServerCredentials:
    """Credentials of a server that demands a client certificate of the CA."""
    return grpc.ssl_server_credentials(
        [(identity.private_key_pem, identity.certificate_pem)],
        root_certificates=identity.ca_pem,
        require_client_auth=True,
    )


def channel_credentials(identity: Identity) -> grpc.ChannelCredentials:
    """Credentials of a client that shows the same identity."""
    return grpc.ssl_channel_credentials(
        root_certificates=identity.ca_pem,
        private_key=identity.private_key_pem,
        certificate_chain=identity.certificate_pem,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
