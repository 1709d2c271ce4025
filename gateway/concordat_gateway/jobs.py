"""Jobs that the supervisor runs at intervals while the gateway serves.

Every job is safe to run at any time, by several gateways of one store at once, and again after it
was killed: what it changes it changes in transactions of the journal, one after another. So no job
needs an owner, and no lock outlives the process that holds it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from concordat_rpc.background import in_background
from concordat_rpc.errors import Refusal

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done now and then."""

    name: str
    every_seconds: float
    run: Callable[[], int]
    """Returns how much it did."""


def run_job(job: Job) -> int | None:
    """Run a job once; how much it did, None where it failed. Failures are logged, not raised."""
    started = time.monotonic()
    try:
        done = job.run()
    except Refusal as refusal:
        _log.error("job %s failed: %s", job.name, refusal)
        return None
    except Exception:  # noqa: BLE001  logged; the next time may do
        _log.exception("job %s failed", job.name)
        return None
    if done:
        seconds = time.monotonic() - started
        _log.info("job %s did %d in %.1f s", job.name, done, seconds)
    return done


@contextmanager
def running_jobs(jobs: Sequence[Job]) -> Iterator[None]:
    """Run each job at once and then at its interval, for the length of the block, one at a time."""

    def run(stopping: threading.Event) -> None:
        due = dict.fromkeys((job.name for job in jobs), time.monotonic())
        while True:
            for job in jobs:
                if stopping.is_set():
                    return
                if time.monotonic() >= due[job.name]:
                    run_job(job)
                    due[job.name] = time.monotonic() + job.every_seconds
            if stopping.wait(_POLL_SECONDS):
                return

    with in_background("jobs", run):
        yield
