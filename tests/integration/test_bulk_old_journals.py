"""Journals of earlier versions are gone on with: of calls, of another catalogue."""

import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from concordat import Client
from concordat._operations.contributions import PreparedBatch, row_message, send_batch
from concordat.bulk import JournalError, Progress, Report, upload
from concordat.requests import RequestId
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.packing import unpack_row
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from tests.bulkfiles import accounts, csv_bytes, expected, furnisher, mapping_text, pool
from tests.gateways import Gateway

ROWS = 500
BATCH_ROWS = 100
TOKEN_BYTES = 32


class Stopped(Exception):
    """The job was stopped before it had sent anything."""


class StoppedJob:
    """A job whose first batch is prepared, and which was stopped then."""

    def __init__(self, folder: Path, client: Client) -> None:
        self.client = client
        self.held = accounts(ROWS, seed=81)
        self.file, self.map = folder / "file.csv", folder / "map.toml"
        self.journal = folder / "jobs" / "a.journal"
        self.file.write_bytes(csv_bytes(one.line() for one in self.held))
        self.map.write_text(mapping_text())

        def stop(_: Progress) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            self.upload(progress=stop)

    def upload(self, **options: object) -> Report:
        """As this version does it."""
        return upload(
            *(self.client, self.file, self.map),
            journal=self.journal,
            batch_rows=BATCH_ROWS,
            **options,  # type: ignore[arg-type]
        )

    def change(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read or change the journal."""
        with closing(sqlite3.connect(self.journal)) as opened, opened:
            return opened.execute(statement, values).fetchall()


class OldJob(StoppedJob):
    """A job of the version before: its first batch is prepared, and perhaps sent."""

    def __init__(self, folder: Path, client: Client) -> None:
        super().__init__(folder, client)
        self.request_id = RequestId(os.urandom(16))
        [(part, self.epoch, self.catalogue_version)] = self.change(
            "SELECT rows, epoch, catalogue_version FROM batch"
        )
        packed = contribution_pb2.UploadPart.FromString(part).packed_rows
        self.rows = contribution_pb2.RowChunk(
            rows=[row_message(row[:TOKEN_BYTES], unpack_row(row[TOKEN_BYTES:])) for row in packed]
        )
        self.change(
            "UPDATE batch SET request_id = ?, rows = ?",
            *(self.request_id, self.rows.SerializeToString()),
        )
        self.make_old()

    def make_old(self) -> None:
        """Give the journal the form that the version before knew."""
        self.change("ALTER TABLE batch DROP COLUMN part")
        self.change("ALTER TABLE batch ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0")
        self.change("UPDATE fact SET value = ? WHERE name = 'format'", _OLD)

    def send_first(self) -> None:
        """Send its first batch as the version before did, and let the answer be lost."""
        batch = PreparedBatch(
            self.request_id, self.epoch, self.rows.rows, b"", self.catalogue_version
        )
        numbers = range(len(self.rows.rows))
        operation = send_batch(self.client._context, batch, numbers, 0, None)
        assert self.client._runner.run("contribute", operation).rows_accepted == BATCH_ROWS


_OLD = b"concordat/bulk-journal/v1"


@pytest.fixture
def profile(gateway: Gateway) -> Path:
    return furnisher(gateway, "bulk-upgraded")


@pytest.fixture
def client(profile: Path) -> Iterator[Client]:
    with Client.open(profile) as opened:
        yield opened


@pytest.mark.parametrize("first", ["was taken", "never arrived"])
def test_a_job_of_the_version_before_is_gone_on_with(
    gateway: Gateway, profile: Path, client: Client, tmp_path: Path, first: str
) -> None:
    job = OldJob(tmp_path, client)
    if first == "was taken":
        job.send_first()

    report = job.upload()

    assert (report.rows_read, report.rows_accepted, report.rows_refused) == (ROWS, ROWS, 0)
    with Client.open(gateway.auditor) as auditor:
        entries = [(one.index, json.loads(one.entry)) for one in auditor.export_entries()]
    mine = [one for index, one in entries if index in report.entries]
    # Its batch is the call that it was, the others are an upload.
    assert mine[0]["request"] == job.request_id.hex()
    assert [one["sequence"] for one in mine[1:]] == [1, 2, 3, 4]
    assert sum(one.get("request") == job.request_id.hex() for _, one in entries) == 1
    assert client.get_upload(bytes.fromhex(mine[1]["upload"])).complete
    key = bytes.fromhex((job.journal.parent / "account-ref.key").read_text())
    found = pool(gateway, profile)
    assert all(found[ref] == row for ref, row in expected(key, job.held).items())

    # One that had ended then has ended now.
    job.make_old()
    again = job.upload()
    assert again == dataclasses.replace(report, was_done=True, identifiers_blinded=0)


def test_a_batch_that_an_earlier_catalogue_packed_is_sent_as_it_is(
    gateway: Gateway, client: Client, tmp_path: Path
) -> None:
    job = StoppedJob(tmp_path, client)
    earlier = CATALOGUE_VERSION - 1
    job.change("UPDATE batch SET catalogue_version = ?", earlier)

    report = job.upload()

    assert (report.rows_accepted, report.rows_refused) == (ROWS, 0)
    with Client.open(gateway.auditor) as auditor:
        entries = [(one.index, json.loads(one.entry)) for one in auditor.export_entries()]
    mine = [one for index, one in entries if index in report.entries]
    # The bands of the other rows are those of the catalogue now, so they are another upload.
    assert [(one["catalogue"], one["sequence"]) for one in mine] == [
        (earlier, 1),
        *((CATALOGUE_VERSION, number) for number in (1, 2, 3, 4)),
    ]
    for upload_id in {one["upload"] for one in mine}:
        assert client.get_upload(bytes.fromhex(upload_id)).complete


def test_a_journal_of_a_later_version_is_refused_by_name(client: Client, tmp_path: Path) -> None:
    job = StoppedJob(tmp_path, client)
    job.change("UPDATE fact SET value = x'00' WHERE name = 'format'")
    with pytest.raises(JournalError, match=r"a\.journal: is a journal of another version"):
        job.upload()
