"""Runs the endpoint with waitress, within limits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from concordat_privacy.log.witnessing import MAX_REQUEST_BYTES
from concordat_rpc.address import Address
from concordat_witness.http import WitnessApp
from concordat_witness.state import WitnessError, WitnessFolder

_CONNECTIONS = 100
_IDLE_SECONDS = 10
_POLL_SECONDS = 0.2


def serve_until(
    folder: WitnessFolder,
    address: Address,
    stopping: threading.Event,
    ready: Callable[[int], None],
) -> None:
    """Serve until `stopping`; `ready` is called with the port. Raises WitnessError, OSError."""
    try:
        import waitress.server
    except ModuleNotFoundError:
        raise WitnessError("waitress is missing: this needs the extra `witness`") from None
    listener = socket.create_server((address.host, address.port))
    server = waitress.server.create_server(
        WitnessApp(folder),
        sockets=[listener],
        threads=2,
        connection_limit=_CONNECTIONS,
        channel_timeout=_IDLE_SECONDS,
        max_request_body_size=MAX_REQUEST_BYTES,
        max_request_header_size=8_192,
        ident="concordat-witness",
        clear_untrusted_proxy_headers=True,
    )
    ready(listener.getsockname()[1])
    thread = threading.Thread(target=server.run, name="witness-http", daemon=True)
    thread.start()
    while not stopping.wait(_POLL_SECONDS) and thread.is_alive():
        pass
    server.close()
    thread.join(_IDLE_SECONDS)
