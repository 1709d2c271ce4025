"""Jobs and gateways that are killed in the middle of a file: it arrives whole, each batch once."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from concordat import Client, Options, RetryPolicy, TechnicalFault
from concordat.bulk import Progress, Report, upload
from tests.bulkfiles import (
    Account,
    accounts,
    csv_bytes,
    expected,
    furnisher,
    mapping_text,
    pool,
)
from tests.gateways import CONCORDAT, Gateway, MakeGateway, concordat, eventually
from tests.splits import keyholder
from tests.wiretap import tapping

pytestmark = pytest.mark.slow

ROWS = 3_000
BATCH_ROWS = 100


def batches_in_ledger(gateway: Gateway, profile: Path) -> list[int]:
    """The ledger's entries of a member's batches."""
    with Client.open(gateway.auditor) as auditor:
        entries = [(entry.index, json.loads(entry.entry)) for entry in auditor.export_entries()]
    return [
        index
        for index, entry in entries
        if entry["type"] == "contribution.batch" and entry["actor"].endswith(f"/{profile.name}")
    ]


def check(gateway: Gateway, profile: Path, journal: Path, held: list[Account]) -> None:
    """The pool holds exactly these accounts."""
    key = bytes.fromhex((journal.parent / "account-ref.key").read_text())
    assert pool(gateway, profile) == expected(key, held)


def test_a_job_that_is_killed_again_and_again_sends_each_batch_once(
    gateway: Gateway, tmp_path: Path
) -> None:
    profile = furnisher(gateway, "bulk-killed")
    held = accounts(ROWS, seed=31)
    file = tmp_path / "file.csv"
    file.write_bytes(csv_bytes(one.line() for one in held))
    (tmp_path / "map.toml").write_text(mapping_text())
    command = [
        *(str(CONCORDAT), "contribute", str(file), "--mapping", str(tmp_path / "map.toml")),
        *("--profile", str(profile), "--job", "killed", "--batch-rows", str(BATCH_ROWS)),
    ]
    chance = random.Random(31)
    journal = profile / "bulk" / "killed.journal"
    kills = 0
    for _ in range(8):
        job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before = journal.stat().st_mtime_ns if journal.exists() else 0
        # Past its start, else it would be killed before it has done anything.
        while job.poll() is None and (not journal.exists() or journal.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(chance.random() * 0.6)
        if job.poll() is None:
            os.kill(job.pid, signal.SIGKILL)
            kills += 1
        job.communicate()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert kills >= 3
    assert ended.returncode == 0, ended.stderr
    assert f"{ROWS:,} rows read, {ROWS:,} taken, 0 refused; 30 batches." in ended.stdout
    assert len(batches_in_ledger(gateway, profile)) == ROWS // BATCH_ROWS
    check(gateway, profile, journal, held)


def test_a_job_outlives_its_gateway(make_gateway: MakeGateway, tmp_path: Path) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    profile = furnisher(gateway, "furnisher")
    held = accounts(ROWS // 3, seed=32)
    file = tmp_path / "file.csv"
    file.write_bytes(csv_bytes(one.line() for one in held))
    (tmp_path / "map.toml").write_text(mapping_text())
    journal = tmp_path / "jobs" / "a.journal"

    def run(client: Client, tell: object = None) -> Report:
        return upload(
            client,
            file,
            tmp_path / "map.toml",
            journal=journal,
            batch_rows=BATCH_ROWS,
            progress=tell,  # type: ignore[arg-type]
        )

    deaths = iter([200, 500])
    for at in deaths:

        def kill(progress: Progress, at: int = at) -> None:
            if progress.rows_accepted >= at and gateway._process is not None:
                gateway.kill()

        with (
            Client.open(profile, Options(timeout_seconds=2, stream_timeout_seconds=2)) as client,
            pytest.raises(TechnicalFault),
        ):
            run(client, kill)
        gateway.start()
    with Client.open(profile) as client:
        report = run(client)

    assert (report.rows_accepted, report.rows_refused) == (len(held), 0)
    assert list(report.entries) == batches_in_ledger(gateway, profile)
    assert len(report.entries) == len(held) // BATCH_ROWS
    check(gateway, profile, journal, held)


@pytest.mark.parametrize("second", ["was taken, its answer lost", "never arrived"])
def test_a_job_goes_on_after_its_key_epoch_has_ended(
    make_gateway: MakeGateway, tmp_path: Path, second: str
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    profile = furnisher(gateway, "furnisher")
    # Few enough people that the first batch has them all: the second needs no token.
    held = accounts(300, people=10, seed=33)
    file = tmp_path / "file.csv"
    file.write_bytes(csv_bytes(one.line() for one in held))
    (tmp_path / "map.toml").write_text(mapping_text())
    journal = tmp_path / "jobs" / "a.journal"
    one_try = Options(channels=1, retry=RetryPolicy(max_attempts=1))

    with (
        tapping(gateway, profile, tmp_path) as (tap, tapped),
        Client.open(tapped, one_try) as client,
    ):

        def break_second(progress: Progress) -> None:
            if progress.rows_accepted != BATCH_ROWS:
                return
            if second == "never arrived":
                gateway.stop()
            else:
                tap.mute()

        with pytest.raises(TechnicalFault):
            upload(
                *(client, file, tmp_path / "map.toml"),
                journal=journal,
                batch_rows=BATCH_ROWS,
                progress=break_second,
                timeout=4,
            )
    if second == "never arrived":
        gateway.start()
    with sqlite3.connect(journal) as opened:
        prepared = opened.execute("SELECT sequence FROM batch WHERE NOT is_answered").fetchall()
    assert prepared == [(2,)]
    assert len(batches_in_ledger(gateway, profile)) == (1 if second == "never arrived" else 2)
    keyholder(gateway, "new-epoch")
    assert concordat("keys", "rotate", "--config", gateway.config).returncode == 0
    ends = datetime.now(UTC) + timedelta(seconds=1)
    keyholder(gateway, "end-epoch", "--epoch", "1", "--valid-to", ends.isoformat(), "--yes")
    eventually(lambda: datetime.now(UTC) > ends, "the epoch ends")

    with Client.open(profile) as client:
        report = upload(client, file, tmp_path / "map.toml", journal=journal, batch_rows=BATCH_ROWS)

    assert (report.rows_read, report.rows_accepted, report.rows_refused) == (300, 300, 0)
    assert report.identifiers_blinded == 10
    assert list(report.entries) == batches_in_ledger(gateway, profile)
    assert len(report.entries) == 3
    check(gateway, profile, journal, held)
