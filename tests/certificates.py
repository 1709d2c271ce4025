"""Certificates in DER that a reader of certificates stumbles over."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

_VERSION_3 = bytes.fromhex("a003020102")
# SEQUENCE { [3] x400Address }: a kind of name that nobody uses.
_X400_NAME = bytes.fromhex("3002a300")


def self_signed(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, names: x509.ExtensionType | None
) -> bytes:
    """A certificate with some subject alternative names, or none."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(x509.Name([]))
        .subject_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if names is not None:
        builder = builder.add_extension(names, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def with_strange_name(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate whose only name is of a kind that is not read."""
    oid = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
    return self_signed(key, x509.UnrecognizedExtension(oid, _X400_NAME))


def of_version_2(der: bytes) -> bytes:
    """The same certificate of a version that there is none of."""
    assert _VERSION_3 in der
    return der.replace(_VERSION_3, bytes.fromhex("a003020101"), 1)
