"""Brings the ledger's checkpoints to the witnesses that have an address (C2SP tlog-witness).

The supervisor does, about every second. Witnesses without an address follow the gateway by
themselves. A witness that is away, or wrong, holds up no other: each has a thread of its own.
"""

from __future__ import annotations

import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Gauge

from concordat_gateway.config import Witness, Witnesses
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import witnesses as rules
from concordat_privacy.log.witnessing import MAX_REQUEST_BYTES, AddCheckpoint
from concordat_rpc.errors import Refusal
from concordat_store.clock import Clock, system_clock

_log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
_MOST_SECONDS = 60.0
_TIMEOUT_SECONDS = 5.0
_CHANGE_SECONDS = 30.0
_CONFLICT = 409


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
        """Bring the newest checkpoint, if it has not been; returns the size that is cosigned.

        Raises WitnessAway, Refusal (the cosignature is not this ledger's, or the store fails).
        """
        size = self._journal.size
        if size == self._cosigned:
            return size
        answer = self._post(self._cosigned, size)
        if isinstance(answer, int):
            # It remembers more, or less, than this process does.
            if not 0 <= answer <= size:
                raise WitnessAway(f"it has cosigned {answer} entries, the ledger has {size}")
            self._cosigned = answer
            answer = self._post(answer, size)
        if isinstance(answer, int):
            raise WitnessAway(f"it has cosigned another tree of {answer} entries")
        known = [line for line in answer.splitlines(keepends=True) if self._is_own(line)]
        if not known:
            raise WitnessAway("no cosignature of its configured key in the answer")
        rules.add(self._journal, self._quorum, size, known[0], _CHANGE_SECONDS)
        self._cosigned = size
        return size

    def _is_own(self, line: str) -> bool:
        return line.startswith(f"— {self._witness.key.name} ")

    def _post(self, old: int, size: int) -> str | int:
        """Signature lines, or the size that the witness wants a proof from."""
        proof = self._journal.consistency_proof(old, size) if 0 < old < size else []
        request = AddCheckpoint(old, tuple(proof), self._journal.checkpoint_of(size))
        url = f"{self._witness.url}/add-checkpoint"
        try:
            with urllib.request.urlopen(  # noqa: S310  http and https only, see config
                urllib.request.Request(url, request.encode(), method="POST"),  # noqa: S310
                timeout=_TIMEOUT_SECONDS,
            ) as response:
                return str(response.read(MAX_REQUEST_BYTES).decode())
        except urllib.error.HTTPError as error:
            body = error.read(1_000).decode(errors="replace").strip()
            if error.code == _CONFLICT and body.isdecimal() and len(body) < 20:
                return int(body)
            raise WitnessAway(f"HTTP {error.code}: {body[:200]}") from None
        except (OSError, ValueError) as error:
            raise WitnessAway(str(error)) from None


class LagGauge:
    """How long the oldest entry that is not witnessed has waited."""

    def __init__(self, journal: Journal, registry: CollectorRegistry, clock: Clock) -> None:
        gauge = Gauge(
            "concordat_ledger_unwitnessed_seconds",
            "Age of the oldest ledger entry that too few witnesses have cosigned.",
            registry=registry,
        )
        gauge.set_function(lambda: rules.unwitnessed_seconds(journal, clock()))


@contextmanager
def cosigning(journal: Journal, listed: Witnesses, registry: CollectorRegistry) -> Iterator[None]:
    """Bring checkpoints to every witness with an address, for the length of the block."""
    stopping = threading.Event()
    if listed.quorum.needed:
        LagGauge(journal, registry, system_clock)
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
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


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
