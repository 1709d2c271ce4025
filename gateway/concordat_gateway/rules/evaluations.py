"""What the gateway itself asks of a batch before it passes it on to a key-holder: its shape.

The signature, its freshness and the meter are the key-holder's to check, who trusts no gateway.
"""

from cryptography import x509

from concordat_rpc.call import Call
from concordat_rpc.errors import Refusal, permission_denied
from concordat_rpc.peer import NOT_X509, certificate_serial, uris_of


def check_certificate(certificate: bytes, caller: Call) -> None:
    """Refuse a batch that somebody else signed.

    That the certificate is one of the authority's is the key-holder's to check.
    Raises Refusal PERMISSION_DENIED (SIGNATURE_INVALID).
    """
    try:
        read = x509.load_der_x509_certificate(certificate)
        uris = uris_of(read)
    except NOT_X509:
        raise _not_the_callers() from None
    if certificate_serial(read) != caller.certificate_serial or uris != [caller.peer.spiffe_id]:
        raise _not_the_callers()


def _not_the_callers() -> Refusal:
    return permission_denied(
        "SIGNATURE_INVALID", "certificate: not the one that the caller connects with"
    )
