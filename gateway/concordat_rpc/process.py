"""How a serving process lives: start, say so, serve, drain, end; and end with its parent."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from concordat_rpc import tls_1_2_is_shut_out
from concordat_rpc.server import RpcServer

_STDIN = 0
_POLL_SECONDS = 0.1

READY = "ready"
"""First word of the line a child prints when it serves; the port follows."""


def serve_until_stopped(server: RpcServer, *, with_parent: bool) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        server: a built server, not yet started.
        with_parent: stdin is a pipe whose other end the parent holds and never writes to; when the
            parent ends, however it ends, so does this process.
    """
    if not tls_1_2_is_shut_out():
        raise RuntimeError("gRPC was imported before concordat_rpc: TLS 1.2 would be accepted")
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    # A terminal sends SIGINT to the whole group; a child waits for its parent's SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN if with_parent else stop)
    if with_parent:
        threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    server.start()
    if sys.stdout.isatty():
        ready = f"Serving on port {server.port}. Ctrl-C or SIGTERM finishes calls and stops."
    else:
        ready = f"{READY} {server.port}"
    print(ready, flush=True)  # noqa: T201  whoever started it reads it
    # Never stopping.wait(): the handler runs in this very thread, between any two of its steps, and
    # would wait for ever for the lock that wait() was just holding.
    while not stopping.is_set():
        time.sleep(_POLL_SECONDS)
    server.drain().wait()


def _end_with_parent() -> None:
    while os.read(_STDIN, 1):
        pass
    # The parent is gone without a word, so nobody will collect or replace this process.
    os._exit(1)
