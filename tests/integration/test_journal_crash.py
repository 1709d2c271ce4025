"""Several processes, killed processes, killed servers, full disks: nothing acknowledged is lost."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from concordat_gateway.store.migrate import upgrade_stores
from concordat_privacy.log.checkpoint import SigningKey
from concordat_rpc.errors import Kind, Refusal
from tests.ledgers import appending, check_ledger
from tests.postgresql import running_server
from tests.stores import ManualClock, StoreUrls, open_journal, postgresql_urls

ROOT = Path(__file__).parents[2]


@contextmanager
def appender(
    urls: StoreUrls, name: str, threads: int, entries: int
) -> Iterator[subprocess.Popen[str]]:
    """A process that appends and prints what was acknowledged."""
    command = [sys.executable, "-m", "tests.programs.append", urls.control_url, name]
    process = subprocess.Popen(
        [*command, str(threads), str(entries)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def acknowledgements(lines: list[str]) -> dict[int, bytes]:
    """Index to leaf of the complete lines that an appender printed."""
    acknowledged: dict[int, bytes] = {}
    for line in lines:
        if line.endswith("\n"):
            index, leaf, _note = line.split()
            assert int(index) not in acknowledged
            acknowledged[int(index)] = bytes.fromhex(leaf)
    return acknowledged


def test_two_processes_write_one_ledger(
    store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey
) -> None:
    with appender(store_urls, "left", 4, 25) as left, appender(store_urls, "right", 4, 25) as right:
        lines = left.communicate()[0].splitlines(True) + right.communicate()[0].splitlines(True)
        assert (left.returncode, right.returncode) == (0, 0)

    acknowledged = acknowledgements(lines)
    assert sorted(acknowledged) == list(range(200))
    with open_journal(store_urls, clock, ledger_key) as journal:
        leaves = check_ledger(journal, ledger_key.verifier)
    assert leaves == [acknowledged[index] for index in range(200)]
    times = [json.loads(leaf)["time"] for leaf in leaves]
    assert times == sorted(times)


@pytest.mark.parametrize("survived", [1, 40, 300])
def test_killed_writer_loses_nothing_acknowledged(
    store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey, survived: int
) -> None:
    with appender(store_urls, "victim", 12, 100_000) as victim:
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(survived)]
        victim.kill()
        lines += victim.stdout.readlines()
        victim.wait()

    acknowledged = acknowledgements(lines)
    with open_journal(store_urls, clock, ledger_key) as journal:
        leaves = check_ledger(journal, ledger_key.verifier)
        for index, leaf in acknowledged.items():
            assert leaves[index] == leaf
        assert journal.write(appending(0)).value.index == len(leaves)
        check_ledger(journal, ledger_key.verifier)


@pytest.mark.postgresql
def test_killed_server_is_refused_and_comes_back(
    postgresql_programs: Path, clock: ManualClock, ledger_key: SigningKey
) -> None:
    with running_server(postgresql_programs) as server:
        urls = postgresql_urls(server.cluster, server.cluster.create_database())
        upgrade_stores(*urls.all)
        with open_journal(urls, clock, ledger_key) as journal:
            leaves = [journal.write(appending(number)).value.leaf for number in range(5)]
            for _ in range(2):
                server.kill()
                for ask in (lambda: journal.write(appending(99)), journal.checkpoint):
                    with pytest.raises(Refusal) as refused:
                        ask()
                    assert refused.value.kind is Kind.UNAVAILABLE
                    assert refused.value.reason == "STORE_UNAVAILABLE"
                    assert refused.value.retry_after_seconds
                server.start()
                leaves.append(journal.write(appending(len(leaves))).value.leaf)
            assert check_ledger(journal, ledger_key.verifier) == leaves


@pytest.mark.postgresql
def test_server_that_was_restarted_meanwhile_costs_no_change(
    postgresql_programs: Path, clock: ManualClock, ledger_key: SigningKey
) -> None:
    with running_server(postgresql_programs) as server:
        urls = postgresql_urls(server.cluster, server.cluster.create_database())
        upgrade_stores(*urls.all)
        with open_journal(urls, clock, ledger_key) as journal:
            for number in range(3):
                assert journal.write(appending(number)).value.index == number
                server.kill()
                server.start()
            assert len(check_ledger(journal, ledger_key.verifier)) == 3


def test_full_disk_is_refused_and_loses_nothing(
    sqlite_stores: StoreUrls, clock: ManualClock, ledger_key: SigningKey
) -> None:
    path = sqlite_stores.control_url.removeprefix("sqlite:///")
    done = subprocess.run(
        [sys.executable, "-m", "tests.programs.fill_disk", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    report = json.loads(done.stdout)
    assert report["refusals"] == [["UNAVAILABLE", "STORE_UNAVAILABLE"]] * 3
    assert len(report["acknowledged"]) > 6
    assert report["acknowledged"] == list(range(report["size"]))
    with open_journal(sqlite_stores, clock, ledger_key) as journal:
        assert len(check_ledger(journal, ledger_key.verifier)) == report["size"]
