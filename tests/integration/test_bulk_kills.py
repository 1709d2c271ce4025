"""Jobs and gateways that are killed in the middle of a file: it arrives whole, each batch once."""

import csv
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from concordat import Client, Options, RetryPolicy, TechnicalFault
from concordat.bulk import Progress, Report, upload
from tests.bulkfiles import (
    Account,
    accounts,
    consent_all,
    csv_bytes,
    expected,
    furnisher,
    mapping_text,
    pool,
)
from tests.gateways import CONCORDAT, Gateway, MakeGateway, concordat, eventually
from tests.splits import keyholder
from tests.stores import StoreUrls
from tests.wiretap import Wiretap, tapping

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


def check(
    gateway: Gateway,
    profile: Path,
    journal: Path,
    held: list[Account],
    urls: StoreUrls | None = None,
) -> None:
    """The pool holds exactly these accounts."""
    key = bytes.fromhex((journal.parent / "account-ref.key").read_text())
    assert pool(gateway, profile, urls) == expected(key, held)


def heed_interrupts() -> None:
    """As in a terminal; what runs in the background may have been told to ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def on(urls: StoreUrls) -> dict[str, Any]:
    """Options of a gateway that keeps its data there."""
    return {"control_url": urls.control_url, "signals_url": urls.signals_url, "workers": 1}


def test_a_job_that_is_killed_again_and_again_sends_each_batch_once(
    make_gateway: MakeGateway, store_urls: StoreUrls, tmp_path: Path
) -> None:
    gateway = make_gateway(**on(store_urls))
    gateway.start()
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
    broken = 0
    for number in range(8):
        job = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts
        )
        before = journal.stat().st_mtime_ns if journal.exists() else 0
        # Past its start, else it would be killed before it has done anything.
        while job.poll() is None and (not journal.exists() or journal.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(chance.random() * 0.6)
        if job.poll() is None:
            # Ctrl-C, too.
            os.kill(job.pid, signal.SIGINT if number % 4 == 3 else signal.SIGKILL)
            broken += 1
        job.communicate()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert broken >= 3
    assert ended.returncode == 0, ended.stderr
    assert f"{ROWS:,} rows read, {ROWS:,} taken, 0 refused; 30 batches." in ended.stdout
    assert len(batches_in_ledger(gateway, profile)) == ROWS // BATCH_ROWS
    check(gateway, profile, journal, held, store_urls)


def test_a_job_outlives_its_gateway(
    make_gateway: MakeGateway, store_urls: StoreUrls, tmp_path: Path
) -> None:
    gateway = make_gateway(**on(store_urls))
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

    for at in (200, 500):

        def kill(progress: Progress, at: int = at) -> None:
            if progress.rows_accepted >= at and gateway._process is not None:
                gateway.kill()

        with (
            Client.open(profile, Options(timeout_seconds=2, stream_timeout_seconds=2)) as client,
            pytest.raises(TechnicalFault),
        ):
            run(client, kill)
        gateway.start()

    def kill_and_start(progress: Progress) -> None:
        if progress.rows_accepted >= 700 and gateway.pid in survived:
            survived.remove(gateway.pid)
            gateway.kill()
            gateway.start()

    survived = [gateway.pid]
    with Client.open(profile) as client:
        report = run(client, kill_and_start)

    assert survived == [], "one death was lived through"
    assert (report.rows_accepted, report.rows_refused) == (len(held), 0)
    assert list(report.entries) == batches_in_ledger(gateway, profile)
    assert len(report.entries) == len(held) // BATCH_ROWS
    check(gateway, profile, journal, held, store_urls)


class Breaking:
    """A job in parts of BATCH_ROWS, which breaks once the gateway has taken some of them."""

    def __init__(self, gateway: Gateway, folder: Path, rows: int) -> None:
        self.gateway, self.folder = gateway, folder
        gateway.start()
        self.profile = gateway.join("furnisher")
        with Client.open(self.profile) as client:
            consent_all(client, 9)
        # Few enough people that the first part has them all: the others need no token. The last
        # one has not consented.
        self.sent = accounts(rows, people=10, seed=33)
        self.held = [one for one in self.sent if one.person < 9]
        self.file, self.map = folder / "file.csv", folder / "map.toml"
        self.journal = folder / "jobs" / "a.journal"
        self.rejects, self.rows = folder / "rejects.csv", folder / "rows.csv"
        self.file.write_bytes(csv_bytes(one.line() for one in self.sent))
        self.map.write_text(mapping_text())

    def upload(self, client: Client, **options: Any) -> Report:
        """Contribute, or go on."""
        return upload(
            *(client, self.file, self.map),
            journal=self.journal,
            batch_rows=BATCH_ROWS,
            rejects=self.rejects,
            rows=self.rows,
            **options,
        )

    def break_off(self, breaks: Callable[[Wiretap], None]) -> list[int]:
        """Run until it is broken, once the first part was answered. What was not answered."""
        one_try = Options(channels=1, retry=RetryPolicy(max_attempts=1))
        broken: list[bool] = []
        with (
            tapping(self.gateway, self.profile, self.folder) as (tap, tapped),
            Client.open(tapped, one_try) as client,
        ):

            def tell(progress: Progress) -> None:
                if progress.rows_accepted and not broken:
                    broken.append(True)
                    breaks(tap)

            with pytest.raises(TechnicalFault):
                self.upload(client, progress=tell, timeout=4)
        return self.unanswered()

    def unanswered(self) -> list[int]:
        with sqlite3.connect(self.journal) as opened:
            rows = opened.execute("SELECT sequence FROM batch WHERE NOT is_answered ORDER BY 1")
            return [sequence for (sequence,) in rows]

    def uploads(self) -> list[bytes]:
        """The uploads of the parts, in order."""
        with sqlite3.connect(self.journal) as opened:
            rows = opened.execute("SELECT request_id FROM batch GROUP BY 1 ORDER BY min(sequence)")
            return [upload_id for (upload_id,) in rows]

    def end_epoch(self) -> None:
        """The key epoch ends, and its successor is there."""
        keyholder(self.gateway, "new-epoch")
        assert concordat("keys", "rotate", "--config", self.gateway.config).returncode == 0
        ends = datetime.now(UTC) + timedelta(seconds=1)
        keyholder(
            *(self.gateway, "end-epoch", "--epoch", "1"), "--valid-to", ends.isoformat(), "--yes"
        )
        eventually(lambda: datetime.now(UTC) > ends, "the epoch ends")

    def check(self, client: Client, report: Report) -> None:
        """Everything arrived, in parts that the ledger has once, of uploads that were ended."""
        rows, taken = len(self.sent), len(self.held)
        assert (report.rows_read, report.rows_accepted) == (rows, taken)
        assert list(report.entries) == batches_in_ledger(self.gateway, self.profile)
        assert len(report.entries) == rows // BATCH_ROWS
        ended = [client.get_upload(upload_id) for upload_id in self.uploads()]
        assert all(one.complete for one in ended)
        assert sum(one.rows_accepted for one in ended) == taken
        assert sum(one.acknowledged_sequence for one in ended) == len(report.entries)
        check(self.gateway, self.profile, self.journal, self.held)

    def check_lists(self, entries: Sequence[int]) -> None:
        """Each row is in one of the lists, as if nothing had broken."""
        numbered = list(enumerate(self.sent, start=2))
        with self.rejects.open(newline="") as opened:
            refused = [(row["row"], row["field"], row["reason"]) for row in csv.DictReader(opened)]
        assert refused == [
            (str(number), "token", "NO_CONSENT") for number, one in numbered if one.person == 9
        ]
        with self.rows.open(newline="") as opened:
            named = [tuple(map(int, row.values())) for row in csv.DictReader(opened)]
        assert named == [
            (number, entries[(number - 2) // BATCH_ROWS], (number - 2) % BATCH_ROWS)
            for number, one in numbered
            if one.person < 9
        ]


@pytest.mark.parametrize("parts", ["were taken, their answers lost", "never arrived"])
def test_a_job_goes_on_after_its_key_epoch_has_ended(
    make_gateway: MakeGateway, tmp_path: Path, parts: str
) -> None:
    job = Breaking(make_gateway(workers=1), tmp_path, 1_200)
    if parts == "never arrived":
        left = job.break_off(lambda _tap: job.gateway.stop())
        job.gateway.start()
    else:
        left = job.break_off(Wiretap.mute)
    taken = len(batches_in_ledger(job.gateway, job.profile))
    assert (taken >= left[0]) is (parts != "never arrived")
    job.end_epoch()

    with Client.open(job.profile) as client:
        report = job.upload(client)
        job.check(client, report)
        job.check_lists(report.entries)
        assert report.identifiers_blinded == 10
        # What was taken stays as it is, in the upload of the epoch before.
        [before, now] = [client.get_upload(upload_id) for upload_id in job.uploads()]
    assert before.acknowledged_sequence == taken
    assert before.end_entry_index is not None
    assert before.end_entry_index < now.first_entry_index
