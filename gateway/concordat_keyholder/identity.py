"""The key-holder's own TLS key, and the request to certify it. The key never leaves the folder."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from concordat_keyholder.files import PUBLIC, replace_file
from concordat_rpc.secret_files import read_secret, write_secret
from concordat_rpc.settings import SettingsError


def make_key(file: Path) -> None:
    """Make an ECDSA P-256 key, unless there is one. PEM, for this account alone."""
    if file.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_secret(file, pem)


def write_request(key_file: Path, request: Path) -> None:
    """Write a certificate request for a key: it proves possession and asks for no name.

    The authority decides on the names. Raises SettingsError for a key that is none of ECDSA.
    """
    try:
        key = serialization.load_pem_private_key(read_secret(key_file), password=None)
    except (ValueError, TypeError):
        raise SettingsError(f"{key_file}: not an unencrypted PEM key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{key_file}: not an ECDSA key")
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.sign(key, hashes.SHA256())
    replace_file(request, signed.public_bytes(serialization.Encoding.PEM), PUBLIC)
