"""Publishes, while the gateway serves, what a worker accepted and then could not publish.

A worker that is killed between the two, or whose signals store fails there, leaves a batch that
stays out of the pool until somebody asks for it again. The supervisor does. Erasures that a worker
executed and did not live to complete are completed here too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.anchors import set_anchors
from concordat_gateway.rules.contributions import resume
from concordat_gateway.rules.erased_stores import destroy_orphans, finish_erasures
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subject_keys import SubjectKeys
from concordat_store.clock import system_clock

_log = logging.getLogger(__name__)


class Resumption:
    """One thread that resumes now and then, and when it is told to."""

    def __init__(
        self, journal: Journal, signals: SignalStore, keys: SubjectKeys, every_seconds: float
    ) -> None:
        self._journal = journal
        self._signals = signals
        self._keys = keys
        self._every_seconds = every_seconds
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="resumption", daemon=True)
        self._thread.start()

    def soon(self) -> None:
        """Resume at once: something may have been left unpublished."""
        self._due.set()

    def stop(self) -> None:
        """End the thread, after what it is doing."""
        self._stopping = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        has_tidied = False
        while True:
            self._due.wait(self._every_seconds)
            self._due.clear()
            if self._stopping:
                return
            try:
                finish_erasures(self._journal, self._signals, self._keys)
                set_anchors(self._journal, self._keys)
            except Exception:  # noqa: BLE001  logged; the workers serve on, the next time may do
                _log.exception("executed erasures were left open")
            try:
                resume(self._journal, self._signals, system_clock)
            except Exception:  # noqa: BLE001  logged; the workers serve on, the next time may do
                _log.exception("accepted batches were left unpublished")
            if not has_tidied:
                try:
                    destroy_orphans(self._journal, self._keys, system_clock)
                    has_tidied = True
                except Exception:  # noqa: BLE001  as above
                    _log.exception("keys of calls that came to nothing were left")


@contextmanager
def resuming(
    journal: Journal, signals: SignalStore, keys: SubjectKeys, every_seconds: float
) -> Iterator[Resumption]:
    """Resume every so many seconds for the length of the block."""
    resumption = Resumption(journal, signals, keys, every_seconds)
    try:
        yield resumption
    finally:
        resumption.stop()
