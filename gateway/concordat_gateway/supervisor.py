"""`concordat serve`: one supervisor, embedded key-holders, several workers on one port.

The supervisor serves no calls. It checks what can be checked before anything starts, brings the
stores up to date, starts the children, replaces those that die, and takes all of them down with
it: on SIGTERM by asking, after a crash because the pipes that the children watch are closed.
"""

from __future__ import annotations

import logging
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from concordat_gateway.children import Child, stop_all
from concordat_gateway.config import GatewayConfig, PrivacyBudgets
from concordat_gateway.cosigning import cosigning
from concordat_gateway.embedded import running_keyholders
from concordat_gateway.jobs import Job, running_jobs
from concordat_gateway.keyfiles import load_authority
from concordat_gateway.keylog import KeyLogFile
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.resumption import resuming
from concordat_gateway.rules.anchors import check_anchors
from concordat_gateway.rules.budgets import POOL, differing
from concordat_gateway.rules.contributions import resume
from concordat_gateway.rules.dispute_deadlines import mark_overdue as disputes_overdue
from concordat_gateway.rules.erased_stores import erase_again
from concordat_gateway.rules.notices import mark_overdue
from concordat_gateway.rules.retention import enforce
from concordat_gateway.rules.stores_epoch import adopt_epoch
from concordat_gateway.rules.upload_ages import expire
from concordat_gateway.rules.witnesses import adopt as adopt_witnesses
from concordat_gateway.server import (
    caps_of,
    check_epoch,
    check_holders,
    opened_stores,
    opened_subject_keys,
)
from concordat_gateway.store.migrate import upgrade_stores
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subject_keys import SubjectKeys
from concordat_gateway.timestamping import timestamping
from concordat_gateway.watching import AlarmGauge, watching
from concordat_privacy.dp.rho import spent_epsilon
from concordat_privacy.jurisdictions import policies
from concordat_rpc.address import Address
from concordat_rpc.peer import read_certificate
from concordat_rpc.server import PortTaken
from concordat_rpc.tls import load_identity
from concordat_store.clock import system_clock

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_START_SECONDS = 60.0
# Beyond the drain time: closing stores, leaving the interpreter.
_STOP_SECONDS = 5.0


def serve(config: GatewayConfig, workers: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises SettingsError, StoreError, PortTaken, Refusal (a store cannot be reached) or ChildFailed
    where serving cannot start.
    """
    stopping = _stop_signals()
    _check_files(config)
    registry = CollectorRegistry()
    with (
        _reserved_port(config.listen) as port,
        _prepared_stores(config) as (journal, signals, keys),
        resuming(journal, signals, keys, config.resume_seconds) as resumption,
        _metrics(config, registry) as metrics_folder,
        watching(journal, config.alarm_seconds, AlarmGauge(registry)),
        cosigning(journal, config.witnesses, registry),
        timestamping(journal, config.timestamps, registry),
        running_jobs(scheduled_jobs(config, journal, signals)),
        running_keyholders(config, stopping) as keyholders,
        _workers(config, workers, port, keyholders.addresses, metrics_folder) as serving,
    ):
        if not all(worker.await_ready(_START_SECONDS, stopping) for worker in serving):
            return
        # The one line on stdout: whoever started the gateway waits for it.
        print(  # noqa: T201
            f"concordat gateway ready on {config.listen.with_port(port)} ({workers} workers)",
            flush=True,
        )
        while not stopping.is_set():
            keyholders.replace_if_dead()
            for worker in serving:
                ended = worker.replace_if_dead()
                if ended is None:
                    continue
                # It may have accepted a batch that it did not live to publish.
                resumption.soon()
                if metrics_folder is not None:
                    mark_process_dead(ended, str(metrics_folder))  # type: ignore[no-untyped-call]
            # Not stopping.wait(): it holds a lock that the signal's handler, in this thread, takes.
            time.sleep(_POLL_SECONDS)
        _log.info("stopping")


def scheduled_jobs(config: GatewayConfig, journal: Journal, signals: SignalStore) -> list[Job]:
    """What the gateway does by itself at intervals. Raises SettingsError (the own certificate)."""
    own = read_certificate(config.identity.certificate.read_bytes(), config.trust_domain).peer
    return [
        Job(
            "notices",
            config.job_seconds,
            lambda: mark_overdue(journal, own.spiffe_id, system_clock()),
        ),
        Job(
            "disputes",
            config.job_seconds,
            lambda: disputes_overdue(journal, own.spiffe_id, system_clock()),
        ),
        Job(
            "retention",
            config.job_seconds,
            lambda: enforce(
                journal, signals, policies()[config.retention], own.spiffe_id, system_clock()
            ),
        ),
        Job(
            "uploads",
            config.job_seconds,
            lambda: expire(
                journal, config.upload_ages, policies()[config.retention], system_clock()
            ),
        ),
    ]


def _stop_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping


def _check_files(config: GatewayConfig) -> None:
    """Fail here, once, and not in every worker. Raises SettingsError."""
    load_identity(config.identity.certificate, config.identity.private_key, config.identity.ca)
    load_authority(config.identity.ca, config.membership.ca_key)
    key_log = KeyLogFile(config.key_log, config.key_log_vkey).current()
    check_holders(config, key_log, system_clock())


@contextmanager
def _reserved_port(listen: Address) -> Iterator[int]:
    """Hold the port for the workers, which share it; raises PortTaken.

    SO_REUSEPORT would let a second gateway share the port without a word, so it is first bound
    without. What stays bound does not listen, so it takes no connections from the workers.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            # Connections that were closed a moment ago do not make a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        holder = socket.socket(family, kind)
    except OSError as error:
        raise PortTaken(f"cannot listen on {listen}: {error.strerror}") from None
    with holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holder.bind(address)
        except OSError as error:
            raise PortTaken(f"cannot listen on {listen}: {error.strerror}") from None
        yield holder.getsockname()[1]


@contextmanager
def _prepared_stores(
    config: GatewayConfig,
) -> Iterator[tuple[Journal, SignalStore, SubjectKeys]]:
    """Migrate the stores, check that control is the newest, finish what a crash interrupted."""
    upgrade_stores(*config.stores.all)
    with opened_stores(config) as (journal, signals), opened_subject_keys(config) as keys:
        check_anchors(journal, keys)
        key_log = KeyLogFile(config.key_log, config.key_log_vkey).current()
        peppers = {epoch for epoch, file in config.peppers.items() if file.exists()}
        adopt_epoch(journal, signals, key_log, peppers, system_clock())
        check_epoch(config, journal, key_log)
        # Before anything is published: a restored store would publish what was erased.
        erase_again(journal, signals, keys)
        resume(journal, signals, system_clock)
        adopt_witnesses(journal, config.witnesses.quorum)
        _warn_of_other_caps(journal, config.budgets)
        yield journal, signals, keys


def _warn_of_other_caps(journal: Journal, budgets: PrivacyBudgets) -> None:
    """Tell the operator of configured caps that do not count, because others were fixed before."""
    with journal.read() as connection:
        accounts = differing(connection, caps_of(budgets))
    for (is_pool, cap), count in Counter((one.scope == POOL, one.cap) for one in accounts).items():
        entry, configured = (
            ("pool_epsilon", budgets.pool_epsilon)
            if is_pool
            else ("member_epsilon", budgets.member_epsilon)
        )
        _log.warning(
            "budgets.%s is %g, but was fixed at %g by the first charge; that counts (accounts: %d)",
            entry,
            configured,
            spent_epsilon(cap) / 1_000_000,
            count,
        )


@contextmanager
def _metrics(config: GatewayConfig, registry: CollectorRegistry) -> Iterator[Path | None]:
    """The endpoint with the registry's figures and the sums over all workers.

    Gives the folder in which the workers keep theirs.
    """
    if config.metrics is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="concordat-metrics-") as folder:
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        try:
            server, thread = start_http_server(
                config.metrics.port, config.metrics.host, registry=registry
            )
        except OSError as error:
            raise PortTaken(f"cannot listen on {config.metrics}: {error.strerror}") from None
        try:
            yield Path(folder)
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _workers(
    config: GatewayConfig,
    count: int,
    port: int,
    keyholders: Sequence[Address],
    metrics_folder: Path | None,
) -> Iterator[list[Child]]:
    arguments = [
        *("--config", str(config.file)),
        *("--port", str(port)),
        *(part for address in keyholders for part in ("--keyholder", str(address))),
    ]
    environment: dict[str, str] = {}
    if metrics_folder is not None:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(metrics_folder)
    workers: list[Child] = []
    try:
        for number in range(1, count + 1):
            name = f"worker {number}"
            workers.append(Child(name, "concordat_gateway.worker", arguments, environment))
        yield workers
    finally:
        stop_all(workers, config.limits.drain_seconds + _STOP_SECONDS)
