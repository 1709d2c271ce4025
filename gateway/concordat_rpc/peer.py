"""Who is calling: the one SPIFFE URI in the certificate that TLS has verified.

Source: SPIFFE X.509-SVID 2 and 5.2: exactly one URI SAN, scheme spiffe, which is the identity.
The subject's common name and the call's metadata count for nothing.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass
from typing import NewType

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from concordat_rpc.errors import unauthenticated

Serial = NewType("Serial", str)
"""Serial number of a certificate in lower-case hex, without leading zeros."""


class Role(enum.Enum):
    """First path segment of a SPIFFE id: what kind of party it is."""

    MEMBER = "member"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    GATEWAY = "gateway"
    KEYHOLDER = "keyholder"
    INVITATION = "invitation"


ANY_ROLE: frozenset[Role] = frozenset(Role)

NOT_X509 = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for bytes that are no certificate, or none that it can read. For
certificates that arrive inside a message: those of a connection were read by TLS before."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An authenticated caller."""

    role: Role
    name: str
    """Name within the role; for members and invitations the member id."""
    spiffe_id: str


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What a verified certificate says."""

    peer: Peer
    serial: Serial


_NAME = r"[a-z][a-z0-9-]{1,39}"
_TRUST_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?")
_SPIFFE_ID = re.compile(
    rf"spiffe://(?P<domain>[a-z0-9._-]{{1,255}})/(?P<role>[a-z]+)/(?P<name>{_NAME})"
)


def is_trust_domain(text: str) -> bool:
    """Whether `text` is a SPIFFE trust domain name."""
    return _TRUST_DOMAIN.fullmatch(text) is not None


def spiffe_id(trust_domain: str, role: Role, name: str) -> str:
    """``spiffe://<trust domain>/<role>/<name>``; ValueError if it would not parse back."""
    text = f"spiffe://{trust_domain}/{role.value}/{name}"
    parse_spiffe_id(text, trust_domain)
    return text


def parse_spiffe_id(text: str, trust_domain: str) -> Peer:
    """Parse an identity of `trust_domain`; ValueError says what is wrong with it."""
    match = _SPIFFE_ID.fullmatch(text)
    if match is None:
        raise ValueError("not of the form spiffe://<trust domain>/<role>/<name>")
    if match["domain"] != trust_domain:
        raise ValueError(f"trust domain is not {trust_domain}")
    try:
        role = Role(match["role"])
    except ValueError:
        raise ValueError("no such role") from None
    return Peer(role, match["name"], text)


def certificate_serial(certificate: x509.Certificate) -> Serial:
    """The certificate's serial number as stores and checks write it."""
    return Serial(f"{certificate.serial_number:x}")


def uris_of(certificate: x509.Certificate) -> list[str]:
    """The URIs among a certificate's subject alternative names. Raises as `cryptography` does."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


# Parsing costs more than a whole small call, and a connection shows the same certificate on each.
@functools.lru_cache(maxsize=1024)
def read_certificate(pem: bytes, trust_domain: str) -> PeerCertificate:
    """Read the identity out of a certificate that TLS has verified; raises Refusal."""
    certificate = x509.load_pem_x509_certificate(pem)
    uris = uris_of(certificate)
    if len(uris) != 1:
        raise unauthenticated(
            "NO_SPIFFE_ID",
            f"the client certificate carries {len(uris)} URIs; exactly one SPIFFE URI is required",
        )
    try:
        peer = parse_spiffe_id(uris[0], trust_domain)
    except ValueError as error:
        raise unauthenticated(
            "BAD_SPIFFE_ID", f"the client certificate's SPIFFE URI is not accepted: {error}"
        ) from None
    return PeerCertificate(peer, certificate_serial(certificate))
