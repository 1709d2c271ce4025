"""The C2SP tlog-witness endpoint: POST /add-checkpoint.

For logs that bring their checkpoints: this consortium's gateway, if it is configured with this
witness's URL, or anybody's. Requests are authenticated by the log's signature on the checkpoint
and nothing else; put a reverse proxy with TLS before it where it leaves the host.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from concordat_privacy.log.checkpoint import parse_checkpoint
from concordat_privacy.log.errors import LogError
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.witnessing import (
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    Status,
    WitnessRefusal,
)
from concordat_witness.state import WitnessError, WitnessFolder

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

_log = logging.getLogger(__name__)

_PHRASES: Mapping[int, str] = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    422: "Unprocessable Entity",
    500: "Internal Server Error",
}


class WitnessApp:
    """A WSGI application. Cosigns one request at a time."""

    def __init__(self, folder: WitnessFolder, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()

    def __call__(
        self, environment: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        status, kind, body = self._answer(environment)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(f"{status} {_PHRASES[status]}", headers)
        return [body]

    def _answer(self, environment: Mapping[str, Any]) -> tuple[int, str, bytes]:
        if environment["PATH_INFO"] != "/add-checkpoint":
            return _text(404, "POST /add-checkpoint is all there is")
        if environment["REQUEST_METHOD"] != "POST":
            return _text(405, "POST wanted")
        body = environment["wsgi.input"].read(MAX_REQUEST_BYTES + 1)
        if len(body) > MAX_REQUEST_BYTES:
            return _text(413, f"at most {MAX_REQUEST_BYTES} bytes")
        try:
            request = AddCheckpoint.decode(body)
            with self._lock:
                line = self._folder.cosign(request, int(self._clock()))
        except WitnessRefusal as refusal:
            self._keep_fork(body, refusal)
            if refusal.status is Status.CONFLICT:
                return 409, "text/x.tlog.size", f"{refusal.size}\n".encode()
            return _text(refusal.status, str(refusal))
        except (OSError, WitnessError):
            _log.exception("a checkpoint was not cosigned")
            return _text(500, "the witness cannot keep what it would cosign")
        return 200, "text/plain; charset=utf-8", line.encode()

    def _keep_fork(self, body: bytes, refusal: WitnessRefusal) -> None:
        """Two signed trees of one size need no proof to be a fork: keep them."""
        if refusal.status is not Status.CONFLICT:
            return
        try:
            note = AddCheckpoint.decode(body).note
            checkpoint = parse_checkpoint(parse_note(note).text)
            last = self._folder.seen(checkpoint.origin)
            if last is None or checkpoint.size != last.size or checkpoint.root == last.root:
                return
            evidence = self._folder.keep_fork(last.note, note, str(refusal))
            _log.error("%s has forked; evidence: %s", checkpoint.origin, evidence)
        except (LogError, OSError, WitnessError):
            _log.exception("the evidence of a fork could not be kept")


def _text(status: int, message: str) -> tuple[int, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{message}\n".encode()
