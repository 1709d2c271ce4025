"""Brings checkpoints to a time-stamping authority (RFC 3161) while the gateway serves.

The supervisor does, now and then. Nothing waits for it: time-stamps only make the ledger's times
believable to who does not believe its operator's clock.
"""

from __future__ import annotations

import http.client
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from prometheus_client import CollectorRegistry, Gauge

from concordat_gateway.config import Timestamps
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import timestamps as rules
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.timestamp import (
    MAX_RESPONSE_BYTES,
    TimestampError,
    authorities,
    new_request,
    verify_timestamp,
)
from concordat_rpc.background import in_background
from concordat_rpc.settings import SettingsError

_log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 60.0


class Stamper:
    """Brings one ledger's checkpoints to one authority."""

    def __init__(self, journal: Journal, url: str, trusted: list[x509.Certificate]) -> None:
        self._journal = journal
        self._url = url
        self._trusted = trusted

    def stamp(self) -> int:
        """Have the newest checkpoint stamped, unless it is; returns the size that is stamped.

        An answer that does not verify is not kept. Raises TimestampError, Refusal UNAVAILABLE.
        """
        size = self._journal.size
        if size == rules.newest_size(self._journal):
            return size
        body = parse_note(self._journal.checkpoint_of(size)).text
        request = new_request(body)
        response = self._post(request.as_bytes())
        verify_timestamp(response, body, self._trusted, request)
        rules.keep(self._journal, size, response)
        return size

    def _post(self, query: bytes) -> bytes:
        asked = urllib.request.Request(  # noqa: S310  http and https only, see config
            self._url, query, {"Content-Type": "application/timestamp-query"}, method="POST"
        )
        try:
            with urllib.request.urlopen(asked, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                return bytes(answer.read(MAX_RESPONSE_BYTES + 1))
        except urllib.error.HTTPError as error:
            error.close()
            raise TimestampError(f"HTTP {error.code}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise TimestampError(str(error) or type(error).__name__) from None


def _trusted(config: Timestamps) -> list[x509.Certificate]:
    """The authority's certificates. Raises SettingsError."""
    try:
        found = authorities(config.ca.read_bytes())
        # Here, and not an hour later: whether the library is there.
        new_request("\n")
    except OSError as error:
        raise SettingsError(f"{config.ca}: {error.strerror}") from None
    except TimestampError as error:
        raise SettingsError(f"{config.ca}: {error}") from None
    return found


@contextmanager
def timestamping(
    journal: Journal, config: Timestamps | None, registry: CollectorRegistry
) -> Iterator[None]:
    """Stamp at once and then every so often, for the length of the block. Raises SettingsError."""
    if config is None:
        yield
        return
    stamper = Stamper(journal, config.url, _trusted(config))
    every = config.every.total_seconds()
    gauge = Gauge(
        "concordat_ledger_timestamped_entries",
        "Entries of the largest ledger tree that a time-stamping authority has stamped.",
        registry=registry,
    )

    def run(stopping: threading.Event) -> None:
        while True:
            seconds = every
            try:
                gauge.set(stamper.stamp())
            except TimestampError as error:
                _log.warning("no time-stamp: %s", error)
                seconds = min(every, _RETRY_SECONDS)
            except Exception:  # noqa: BLE001  logged; the next time may do
                _log.exception("no time-stamp could be asked for")
                seconds = min(every, _RETRY_SECONDS)
            if stopping.wait(seconds):
                return

    with in_background("timestamping", run, 2 * _TIMEOUT_SECONDS):
        yield
