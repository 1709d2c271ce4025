"""Prometheus figures of calls, by method and status code and by nothing else.

Labels never name a member or say whether a lookup found somebody.
"""

from __future__ import annotations

import grpc
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class CallMetrics:
    """Counts and times calls; a :class:`concordat_rpc.interceptors.CallObserver`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._calls = Counter(
            "concordat_rpc_calls", "Finished calls.", ("method", "code"), registry=registry
        )
        self._seconds = Histogram(
            "concordat_rpc_seconds",
            "Time from a call's start to its end.",
            ("method",),
            registry=registry,
            buckets=_SECONDS,
        )

    def observe(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        """Note one finished call."""
        self._calls.labels(method, code.name).inc()
        self._seconds.labels(method).observe(seconds)
