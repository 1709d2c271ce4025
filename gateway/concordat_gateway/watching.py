"""Looks at all members' counters while the gateway serves, and raises alarms.

The supervisor does, so that an alarm does not wait for somebody who reads the usage.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Gauge

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.alarms import AlarmKind
from concordat_gateway.rules.usage import watch
from concordat_rpc.background import in_background
from concordat_store.clock import system_clock

_log = logging.getLogger(__name__)


class AlarmGauge:
    """How many members have an alarm today, by kind. Names no member."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauge = Gauge(
            "concordat_alarms_today",
            "Members with an alarm of this kind since midnight UTC.",
            ("kind",),
            registry=registry,
        )

    def show(self, kind: AlarmKind, members: int) -> None:
        """Set one kind's figure."""
        self._gauge.labels(kind.name).set(members)


@contextmanager
def watching(journal: Journal, every_seconds: float, gauge: AlarmGauge) -> Iterator[None]:
    """Look at once and then every so many seconds, for the length of the block."""

    def run(stopping: threading.Event) -> None:
        while True:
            try:
                for kind, members in watch(journal, system_clock()).items():
                    gauge.show(kind, members)
            except Exception:  # noqa: BLE001  logged; the next time may do
                _log.exception("the members' counters could not be looked at for alarms")
            if stopping.wait(every_seconds):
                return

    with in_background("alarms", run):
        yield
