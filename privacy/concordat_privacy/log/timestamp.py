"""Time-stamps of checkpoints: RFC 3161 tokens over a checkpoint's text.

The ledger's own clock is the operator's. A token says, signed by a time-stamping authority that
neither the operator nor a member runs, that the tree of so many entries existed at its time. What
is signed is the note's text with its final newline, hashed with SHA-256, without signatures.

Needs the library rfc3161-client (the extra `timestamps`).
"""

from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509

from concordat_privacy.log.errors import LogError

if TYPE_CHECKING:
    from rfc3161_client import TimeStampRequest

MAX_RESPONSE_BYTES = 64 * 1024


class TimestampError(LogError):
    """A token cannot be checked, or does not show what it should."""


def new_request(body: str) -> "TimeStampRequest":
    """What to ask an authority for a checkpoint's text; its nonce ties the answer to it.

    Raises TimestampError where the library is missing.
    """
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ModuleNotFoundError:
        raise _missing() from None
    builder = TimestampRequestBuilder().data(body.encode())
    return builder.hash_algorithm(HashAlgorithm.SHA256).build()


def authorities(pem: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM file. Raises TimestampError."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise TimestampError(f"no certificates in PEM: {error}") from None
    return list(dict.fromkeys(found))


def verify_timestamp(
    response: bytes,
    body: str,
    trusted: list[x509.Certificate],
    request: "TimeStampRequest | None" = None,
) -> datetime:
    """When an authority saw a checkpoint's text, by its DER response.

    `trusted` are the authority's root and, where it does not send them, intermediates. With
    `request` the answer must be to that one. Raises TimestampError.
    """
    try:
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response
    except ModuleNotFoundError:
        raise _missing() from None
    if len(response) > MAX_RESPONSE_BYTES:
        raise TimestampError(f"longer than {MAX_RESPONSE_BYTES} bytes")
    if not trusted:
        raise TimestampError("no authority is trusted")
    builder = VerifierBuilder() if request is None else VerifierBuilder.from_request(request)
    for certificate in trusted:
        builder = builder.add_root_certificate(certificate)
    try:
        decoded = decode_timestamp_response(response)
        builder.build().verify_message(decoded, body.encode())
        return decoded.tst_info.gen_time
    except (VerificationError, ValueError, TypeError) as error:
        # The decoder raises ValueError for what is no response, or one without a token.
        raise TimestampError(str(error) or "not a time-stamp response") from None


def _missing() -> TimestampError:
    return TimestampError("rfc3161-client is missing: this needs the extra `timestamps`")
