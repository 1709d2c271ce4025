"""A member's certificate as the key-holder reads it: an identity and the key that signs for it.

TLS has not verified it: it comes inside the request. On its own it proves nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from concordat_rpc.peer import NOT_X509, Role, parse_spiffe_id, uris_of

MAX_BYTES = 8192
_CURVES = frozenset({"secp256r1", "secp384r1"})


class CertificateInvalid(Exception):
    """Not a member's certificate; the text says why."""


@dataclass(frozen=True, slots=True)
class MemberCertificate:
    """What a certificate says of a member, not yet believed."""

    member_id: str
    spiffe_id: str
    key: ec.EllipticCurvePublicKey
    key_der: bytes
    """SubjectPublicKeyInfo; what admission goes by."""
    certificate: x509.Certificate

    def is_issued_by(self, authority: x509.Certificate, now: datetime) -> bool:
        """Whether the authority has signed it for clients, and it is valid at `now`."""
        found = self.certificate
        try:
            found.verify_directly_issued_by(authority)
            usages = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (*NOT_X509, InvalidSignature, x509.ExtensionNotFound):
            return False
        is_valid = found.not_valid_before_utc <= now <= found.not_valid_after_utc
        return is_valid and ExtendedKeyUsageOID.CLIENT_AUTH in usages


# Parsing costs more than the signature's check, and a member shows the same one with each batch.
@functools.lru_cache(maxsize=256)
def read_der(der: bytes, trust_domain: str) -> MemberCertificate:
    """Read a member's certificate in DER. Raises CertificateInvalid."""
    return _read(x509.load_der_x509_certificate, der, trust_domain)


def read_pem(pem: bytes, trust_domain: str) -> MemberCertificate:
    """Read a member's certificate in PEM. Raises CertificateInvalid."""
    return _read(x509.load_pem_x509_certificate, pem, trust_domain)


def _read(
    load: Callable[[bytes], x509.Certificate], content: bytes, trust_domain: str
) -> MemberCertificate:
    if len(content) > MAX_BYTES:
        raise CertificateInvalid(f"longer than {MAX_BYTES} bytes")
    try:
        certificate = load(content)
        key = certificate.public_key()
        uris = uris_of(certificate)
    except NOT_X509:
        raise CertificateInvalid("not an X.509 certificate") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise CertificateInvalid("its key is not ECDSA P-256 or P-384")
    if len(uris) != 1:
        raise CertificateInvalid(f"carries {len(uris)} URIs; exactly one SPIFFE URI is required")
    try:
        peer = parse_spiffe_id(uris[0], trust_domain)
    except ValueError as error:
        raise CertificateInvalid(f"its SPIFFE URI is not accepted: {error}") from None
    if peer.role is not Role.MEMBER:
        raise CertificateInvalid("its SPIFFE URI is not a member's")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return MemberCertificate(peer.name, peer.spiffe_id, key, der, certificate)
