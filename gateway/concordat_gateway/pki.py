"""Certificates: the consortium's own authority, identities, requests.

Identity is one SPIFFE URI and nothing else. What a certificate is good for is in its extended key
usage: members and invitations get clientAuth only, so that none of them can pose as the gateway.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from concordat_rpc.errors import invalid

MAX_CSR_BYTES = 8 * 1024
AUTHORITY_LIFETIME = timedelta(days=10 * 365)

_CURVES = ("secp256r1", "secp384r1")
# A member's clock may be behind the gateway's.
_BACKDATED = timedelta(minutes=5)


class PkiError(Exception):
    """An authority that cannot sign; the text is for the operator."""


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as unencrypted PKCS 8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def new_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PEM certificate request that proves possession of `key` and asks for nothing."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_request(csr_pem: bytes, field: str = "csr_pem") -> CertificatePublicKeyTypes:
    """The public key of a certificate request; its subject and extensions are ignored.

    Raises Refusal INVALID_ARGUMENT: too long, malformed, wrongly signed, or a key that is not
    ECDSA P-256 or P-384.
    """
    if not csr_pem:
        raise invalid(field, "a PEM certificate request is required")
    if len(csr_pem) > MAX_CSR_BYTES:
        raise invalid(field, f"longer than {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        genuine = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise invalid(field, "not a PEM certificate request") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise invalid(field, "the key must be ECDSA P-256 or P-384")
    if not genuine:
        raise invalid(field, "the request is not signed by its own key")
    return key


@dataclass(frozen=True, slots=True)
class Names:
    """What a certificate says of its holder."""

    spiffe_id: str
    hosts: Sequence[str] = ()
    """DNS names and addresses it serves under; empty for a party that only calls."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The consortium's certificate authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, trust_domain: str, now: datetime) -> Authority:
        """A new, self-signed authority for one trust domain."""
        key = new_key()
        name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"Concordat {trust_domain}"[:64])]
        )
        builder = (
            _builder(name, name, key.public_key(), now, AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: bytes, private_key: bytes) -> Authority:
        """Read an authority from PEM; raises PkiError."""
        try:
            parsed = x509.load_pem_x509_certificate(certificate)
            key = serialization.load_pem_private_key(private_key, password=None)
        except (ValueError, TypeError):
            raise PkiError("not a PEM certificate and an unencrypted PEM key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PkiError("the key is not an ECDSA key")
        if parsed.public_key() != key.public_key():
            raise PkiError("the key does not belong to the certificate")
        return cls(parsed, key)

    def issue(
        self,
        public_key: CertificatePublicKeyTypes,
        names: Names,
        now: datetime,
        lifetime: timedelta,
    ) -> x509.Certificate:
        """Sign a certificate. Holders with `names.hosts` may serve and call, others only call.

        It never outlives the authority.
        """
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if names.hosts:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        lifetime = min(lifetime, self.certificate.not_valid_after_utc - now)
        builder = (
            # RFC 5280 4.2.1.6: with an empty subject the alternative name is critical.
            _builder(self.certificate.subject, x509.Name([]), public_key, now, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        x509.UniformResourceIdentifier(names.spiffe_id),
                        *(_host_name(host) for host in names.hosts),
                    ]
                ),
                critical=True,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        return builder.sign(self.key, hashes.SHA256())


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    public_key: CertificatePublicKeyTypes,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
