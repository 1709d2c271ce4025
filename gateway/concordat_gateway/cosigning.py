"""Brings the ledger's checkpoints to the witnesses that have an address (C2SP tlog-witness).

The supervisor does, about every second. Witnesses without an address follow the gateway by
themselves. A witness that is away, or wrong, holds up no other: each has a thread of its own.
"""

from __future__ import annotations

import http.client
import logging
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prometheus_client import CollectorRegistry, Gauge

from concordat_gateway.config import Witness, Witnesses
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import witnesses as rules
from concordat_privacy.log.checkpoint import parse_checkpoint
from concordat_privacy.log.cosignature import parse_line
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.log.witnessing import MAX_REQUEST_BYTES, AddCheckpoint
from concordat_rpc.errors import Refusal
from concordat_store.clock import Clock, system_clock

_log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
_MOST_SECONDS = 60.0
_TIMEOUT_SECONDS = 5.0
_CHANGE_SECONDS = 30.0
_CONFLICT = 409
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LAG_SECONDS = 5.0


class WitnessAway(Exception):
    """A witness gave no usable answer."""


class Submission:
    """What one witness has cosigned, and how it is brought more."""

    def __init__(self, journal: Journal, listed: Witnesses, witness: Witness) -> None:
        self._journal = journal
        self._quorum = listed.quorum
        self._witness = witness
        self._cosigned = 0

    def submit(self) -> int:
        """Bring the checkpoint to cosign, if it has not been; returns the size that is cosigned.

        Raises WitnessAway, Refusal (the cosignature is not this ledger's, or the store fails).
        """
        size = parse_checkpoint(parse_note(rules.to_cosign(self._journal, self._quorum)).text).size
        if size in (0, self._cosigned):
            return size
        answer = self._post(min(self._cosigned, size), size)
        if isinstance(answer, int):
            # It remembers more, or less, than this process does.
            size = max(size, answer)
            if size > self._journal.size:
                raise WitnessAway(
                    f"it has cosigned {answer} entries, the ledger has {self._journal.size}: "
                    "either was set back"
                )
            answer = self._post(answer, size)
        if isinstance(answer, int):
            raise WitnessAway(f"it has cosigned another tree of {answer} entries: a fork")
        rules.add(self._journal, self._quorum, size, self._own_line(answer), _CHANGE_SECONDS)
        self._cosigned = size
        return size

    def _own_line(self, answer: str) -> str:
        """The configured key's line: a witness may answer with those of others, of any kind."""
        key = self._witness.key
        for line in answer.splitlines(keepends=True):
            with suppress(CheckpointError):
                signature = parse_line(line)
                if (signature.name, signature.key_id) == (key.name, key.key_id):
                    return line
        raise WitnessAway("no cosignature of its configured key in the answer")

    def _post(self, old: int, size: int) -> str | int:
        """Signature lines, or the size that the witness wants a proof from."""
        proof = self._journal.consistency_proof(old, size) if 0 < old < size else []
        request = AddCheckpoint(old, tuple(proof), self._journal.checkpoint_of(size))
        url = f"{self._witness.url}/add-checkpoint"
        try:
            with _OPENER.open(
                urllib.request.Request(url, request.encode(), method="POST"),  # noqa: S310
                timeout=_TIMEOUT_SECONDS,
            ) as response:
                return str(response.read(MAX_REQUEST_BYTES).decode())
        except urllib.error.HTTPError as error:
            with error:
                body = error.read(1_000).decode(errors="replace").strip()
            if error.code == _CONFLICT and _SIZE.fullmatch(body):
                return int(body)
            raise WitnessAway(f"HTTP {error.code}: {body[:200]!r}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise WitnessAway(str(error) or type(error).__name__) from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A witness is where it is configured to be, and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        return None


# http and https only, see config.
_OPENER = urllib.request.build_opener(_NoRedirects)


class Lag:
    """Tells how long the oldest entry that is not witnessed has waited: as a metric, and in the log
    when half the grace is used up, when the gateway stops serving uses, and when it serves again.
    """

    def __init__(
        self, journal: Journal, listed: Witnesses, registry: CollectorRegistry, clock: Clock
    ) -> None:
        self._journal = journal
        self._grace = listed.grace.total_seconds()
        self._clock = clock
        self._told = 0
        self._gauge = Gauge(
            "concordat_ledger_unwitnessed_seconds",
            "Age of the oldest ledger entry that too few witnesses have seen.",
            registry=registry,
        )

    def look(self) -> float:
        """The age in seconds, after it was told. Raises Refusal UNAVAILABLE."""
        seconds = rules.unwitnessed_seconds(self._journal, self._clock())
        self._gauge.set(seconds)
        stage = 0 if seconds == 0.0 else 1 + (2 * seconds >= self._grace) + (seconds >= self._grace)
        if stage == 3 and self._told < 3:
            _log.error(
                "too few witnesses have seen the ledger for %.0f s: no data is used until they do",
                seconds,
            )
        elif stage == 2 and self._told < 2:
            _log.warning(
                "too few witnesses have seen the ledger for %.0f s; at %.0f s uses of data stop",
                seconds,
                self._grace,
            )
        elif stage < 2 <= self._told:
            _log.info("enough witnesses have seen the ledger again")
        self._told = stage
        return seconds


@contextmanager
def cosigning(journal: Journal, listed: Witnesses, registry: CollectorRegistry) -> Iterator[None]:
    """Bring checkpoints to every witness with an address, for the length of the block."""
    stopping = threading.Event()
    threads = [
        threading.Thread(
            target=_run,
            args=(Submission(journal, listed, one), one.key.name, stopping.wait),
            name=f"cosigning {one.key.name}",
            daemon=True,
        )
        for one in listed.listed
        if one.url
    ]
    if listed.quorum.needed:
        lag = Lag(journal, listed, registry, system_clock)
        threads.append(
            threading.Thread(
                target=_watch, args=(lag, stopping.wait), name="cosigning lag", daemon=True
            )
        )
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            # A witness that answers a byte at a time does not hold up the end.
            thread.join(2 * _TIMEOUT_SECONDS)


def _watch(lag: Lag, stopped: Callable[[float], bool]) -> None:
    while True:
        try:
            lag.look()
        except Exception:  # noqa: BLE001  logged; the next time may do
            _log.exception("the ledger could not be asked how far it is witnessed")
        if stopped(_LAG_SECONDS):
            return


def _run(submission: Submission, name: str, stopped: Callable[[float], bool]) -> None:
    seconds = EVERY_SECONDS
    while not stopped(seconds):
        try:
            submission.submit()
            seconds = EVERY_SECONDS
        except (WitnessAway, Refusal) as error:
            _log.warning("witness %s did not cosign: %s", name, error)
            seconds = min(2 * seconds, _MOST_SECONDS)
        except Exception:  # noqa: BLE001  logged; the witness is asked again
            _log.exception("witness %s could not be asked", name)
            seconds = _MOST_SECONDS
