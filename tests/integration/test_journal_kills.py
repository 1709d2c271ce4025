"""Everything that writes is killed at random moments, again and again: what was acknowledged stays.

One sequence without a gap, one history: every receipt's checkpoint is a beginning of the ledger
that is found afterwards, and every receipt's entry can be proven in it.
"""

import base64
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import psycopg
import pytest

from concordat import Client, PhoneNumber, Purpose, Receipt, TechnicalFault
from concordat_gateway.store.migrate import upgrade_stores
from concordat_privacy.log.checkpoint import SigningKey
from tests.gateways import Gateway, MakeGateway, eventually, export_verified
from tests.ledgers import Acknowledged, appending, check_acknowledged
from tests.postgresql import Server, running_server
from tests.stores import ManualClock, StoreUrls, open_journal, postgresql_urls

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOREVER = 1_000_000
WORKER = "gateway.worker"
PATIENCE_SECONDS = 60


class Appender:
    """A process that appends until it is killed, and writes down what was acknowledged."""

    def __init__(self, url: str, folder: Path, name: str, threads: int) -> None:
        self._file = folder / name
        program = [sys.executable, "-m", "tests.programs.append", url, name]
        with self._file.open("wb") as output:
            self._process = subprocess.Popen(
                [*program, str(threads), str(FOREVER)], cwd=ROOT, stdout=output
            )

    def acknowledged(self) -> list[Acknowledged]:
        """What it has written down completely."""
        # What follows the last newline was being written when it was killed.
        *lines, _torn = self._file.read_text().split("\n")
        return [
            Acknowledged(int(index), bytes.fromhex(leaf), base64.b64decode(note).decode())
            for index, leaf, note in map(str.split, lines)
        ]

    def wait_for(self, entries: int) -> None:
        """Wait until that many more entries were acknowledged."""
        wanted = self._file.read_bytes().count(b"\n") + entries
        end = time.monotonic() + PATIENCE_SECONDS
        while self._file.read_bytes().count(b"\n") < wanted:
            assert self._process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, f"{entries} entries were not acknowledged"
            time.sleep(0.002)

    def kill(self) -> None:
        """kill -9, and wait for its end."""
        self._process.kill()
        self._process.wait()


@contextmanager
def appenders(url: str, folder: Path, threads: tuple[int, ...]) -> Iterator[list[Appender]]:
    """Processes of so many threads each. The block may replace any; all are killed at its end."""
    running = [
        Appender(url, folder, f"first-{number}", count) for number, count in enumerate(threads)
    ]
    try:
        yield running
    finally:
        for one in running:
            one.kill()


def test_killed_processes_lose_nothing_and_fork_nothing(
    store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey, tmp_path: Path
) -> None:
    draw = random.Random(store_urls.kind)
    dead: list[Appender] = []
    # One thread alone writes by itself; several have the journal's own thread write for them.
    threads = (1, 1, 6)
    with appenders(store_urls.control_url, tmp_path, threads) as running:
        for one in running:
            one.wait_for(1)
        for number in range(6):
            at = draw.randrange(len(running))
            running[at].wait_for(draw.randrange(1, 60))
            running[at].kill()
            dead.append(running[at])
            running[at] = Appender(store_urls.control_url, tmp_path, f"{number}", threads[at])
        for one in running:
            one.wait_for(5)
    acknowledged = [entry for one in (*dead, *running) for entry in one.acknowledged()]

    assert len(acknowledged) > 20
    with open_journal(store_urls, clock, ledger_key) as journal:
        check_acknowledged(journal, ledger_key.verifier, acknowledged)
        journal.write(appending(0))
        check_acknowledged(journal, ledger_key.verifier, acknowledged)


def kill_postmaster(server: Server) -> None:
    """The whole server dies, as in a power cut, and is started again."""
    server.kill()
    server.start()


def kill_backend(server: Server) -> None:
    """One connection's process dies. The server ends all others and recovers by itself."""
    with psycopg.connect(server.cluster.admin_url) as connection:
        [(pid,)] = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'concordat'"
            " ORDER BY random() LIMIT 1"
        ).fetchall()
    os.kill(pid, signal.SIGKILL)


@pytest.mark.postgresql
def test_killed_server_and_killed_backends_lose_nothing_and_fork_nothing(
    postgresql_programs: Path, clock: ManualClock, ledger_key: SigningKey, tmp_path: Path
) -> None:
    draw = random.Random(2)
    with running_server(postgresql_programs) as server:
        urls = postgresql_urls(server.cluster, server.cluster.create_database())
        upgrade_stores(*urls.all)
        with appenders(urls.control_url, tmp_path, (1, 5)) as running:
            for kill in (kill_postmaster, kill_backend, kill_postmaster, kill_backend):
                for one in running:
                    one.wait_for(draw.randrange(1, 40))
                kill(server)
            # Each goes on by itself: a caller that repeats its call is all it takes.
            for one in running:
                one.wait_for(5)
        acknowledged = [entry for one in running for entry in one.acknowledged()]
        with open_journal(urls, clock, ledger_key) as journal:
            check_acknowledged(journal, ledger_key.verifier, acknowledged)


class Caller:
    """A member's service in a thread: asks, keeps the receipts, and survives the gateway."""

    def __init__(self, profile: Path, stop: threading.Event) -> None:
        self._profile = profile
        self._stop = stop
        self.receipts: list[Receipt] = []
        self.faults = 0
        with Client.open(profile) as client:
            self._tokens = client.tokenise(PhoneNumber(f"+8613800{n:06d}") for n in range(5))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        for token in cycle(self._tokens):
            if self._stop.is_set():
                return
            try:
                # A client of its own each time: either worker may be the one that answers.
                with Client.open(self._profile) as client:
                    found = client.lookup(token, Purpose.UNDERWRITING, timeout=5)
                    self.receipts.append(found.receipt)
                    # Not some time later: the receipt is an inclusion proof at once.
                    client.verify_receipt(found.receipt, timeout=5)
            except TechnicalFault:
                self.faults += 1
                self._stop.wait(0.05)


def kill_worker(gateway: Gateway, draw: random.Random) -> None:
    """One of the workers dies; the supervisor replaces it."""
    os.kill(draw.choice(gateway.children(WORKER)), signal.SIGKILL)


def kill_gateway(gateway: Gateway, _: random.Random) -> None:
    """All its processes die, and it is started again."""
    gateway.kill()
    gateway.start()


def test_receipts_of_a_gateway_that_is_killed_again_and_again_all_verify(
    make_gateway: MakeGateway, store_urls: StoreUrls, tmp_path: Path
) -> None:
    gateway = make_gateway(
        control_url=store_urls.control_url, signals_url=store_urls.signals_url, workers=2
    )
    gateway.start()
    draw = random.Random(store_urls.kind)
    stop = threading.Event()
    callers = [Caller(gateway.join(name), stop) for name in ("alpha", "beta", "gamma")]
    try:
        for kill in (kill_worker, kill_gateway, kill_worker):
            before = [len(caller.receipts) for caller in callers]
            more = draw.randrange(1, 6)
            eventually(
                lambda before=before, more=more: all(
                    len(caller.receipts) >= had + more
                    for caller, had in zip(callers, before, strict=True)
                ),
                "the members were served",
                PATIENCE_SECONDS,
            )
            kill(gateway, draw)
    finally:
        stop.set()
        for caller in callers:
            caller.join()

    for name, caller in zip(("alpha", "beta", "gamma"), callers, strict=True):
        with Client.open(gateway.join(name)) as client:
            for receipt in caller.receipts:
                client.verify_receipt(receipt)
    receipts = [receipt for caller in callers for receipt in caller.receipts]
    assert len({receipt.entry_index for receipt in receipts}) == len(receipts)
    export_verified(gateway, tmp_path / "export")
    with Client.open(gateway.auditor) as auditor:
        entries = [(entry.index, entry.entry) for entry in auditor.export_entries()]
    assert [index for index, _ in entries] == list(range(len(entries)))
    assert {(receipt.entry_index, receipt.entry) for receipt in receipts} <= set(entries)
