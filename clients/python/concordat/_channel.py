"""What both kinds of client need to connect."""

import ipaddress
import os
from collections.abc import Sequence
from datetime import datetime

import grpc
from cryptography import x509

from concordat.errors import ClientClosed, ProfileError
from concordat.profile import Profile

USER_AGENT = "concordat-python"

# What the gateway sends at most; all signals of a batch of 10,000 subjects have some 20 MB.
MAX_RECEIVE_BYTES = 32 * 1024 * 1024
# gRPC's own defaults (1 s growing to 2 minutes) would outlast a call's timeout: a gateway that
# restarts in a second would look unavailable for two minutes.
_FIRST_RECONNECT_MILLISECONDS = 100
_LONGEST_RECONNECT_MILLISECONDS = 2_000


def credentials(profile: Profile) -> grpc.ChannelCredentials:
    """Mutual TLS with the profile's certificate and authorities."""
    return grpc.ssl_channel_credentials(
        root_certificates=profile.ca_pem,
        private_key=profile.private_key_pem,
        certificate_chain=profile.certificate_pem,
    )


def options(profile: Profile) -> Sequence[tuple[str, str | int]]:
    """Channel arguments."""
    arguments: list[tuple[str, str | int]] = [
        # The name to verify, whatever the address is.
        ("grpc.ssl_target_name_override", profile.server_name),
        # Channels with equal arguments would share one connection, and so one worker.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MILLISECONDS),
        ("grpc.min_reconnect_backoff_ms", _FIRST_RECONNECT_MILLISECONDS),
        ("grpc.max_reconnect_backoff_ms", _LONGEST_RECONNECT_MILLISECONDS),
        ("grpc.primary_user_agent", USER_AGENT),
    ]
    if _is_loopback(profile.gateway):
        # An http_proxy in the environment could not reach this machine's own loopback.
        arguments.append(("grpc.enable_http_proxy", 0))
    return arguments


def check_certificate(profile: Profile, now: datetime) -> None:
    """Raise ProfileError unless the client's certificate is valid now.

    The gateway would refuse the handshake, and the caller would see no more than that.
    """
    certificate = x509.load_pem_x509_certificate(profile.certificate_pem)
    if now > certificate.not_valid_after_utc:
        raise ProfileError(
            f"the certificate of {profile.spiffe_id} expired at "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; it must be renewed",
            reason="CERTIFICATE_EXPIRED",
        )
    if now < certificate.not_valid_before_utc:
        raise ProfileError(
            f"the certificate of {profile.spiffe_id} is valid only from "
            f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is the clock right?",
            reason="CERTIFICATE_NOT_YET_VALID",
        )


class Lifetime:
    """Whether a client may still be used, and by this process."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._closed = False

    def close(self) -> bool:
        """Mark as closed; False if it was before."""
        was_open = not self._closed
        self._closed = True
        return was_open

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def forked(self) -> bool:
        """Whether this process was forked from the one that opened the client."""
        return os.getpid() != self._process

    def check(self) -> None:
        """Raise ClientClosed."""
        if self.forked:
            raise ClientClosed(
                f"this client belongs to process {self._process}, from which this one was forked; "
                "connections do not survive that: open a client in each process, after forking "
                "(and start processes by spawn where you can)",
                reason="USED_AFTER_FORK",
            )
        if self._closed:
            raise ClientClosed("the client is closed")


def _is_loopback(gateway: str) -> bool:
    host = gateway.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
