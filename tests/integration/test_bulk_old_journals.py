"""Journals of the version before, which sent each batch by a call, are gone on with."""

import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from concordat import Client
from concordat._operations.contributions import PreparedBatch, row_message, send_batch
from concordat.bulk import JournalError, Progress, Report, upload
from concordat.requests import RequestId
from concordat.v1 import contribution_pb2
from concordat_privacy.catalogue.packing import unpack_row
from tests.bulkfiles import accounts, consent_all, csv_bytes, expected, mapping_text, pool
from tests.gateways import Gateway

PEOPLE = 40
ROWS = 500
BATCH_ROWS = 100
TOKEN_BYTES = 32


class Stopped(Exception):
    """The job was stopped before it had sent anything."""


class OldJob:
    """A job of the version before: its first batch is prepared, and perhaps sent."""

    def __init__(self, folder: Path, client: Client) -> None:
        self.client = client
        self.held = accounts(ROWS, seed=81)
        self.file, self.map = folder / "file.csv", folder / "map.toml"
        self.journal = folder / "jobs" / "a.journal"
        self.file.write_bytes(csv_bytes(one.line() for one in self.held))
        self.map.write_text(mapping_text())
        self.request_id = RequestId(os.urandom(16))

        def stop(_: Progress) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            self.upload(progress=stop)
        self.rows, self.epoch, self.catalogue_version = self._first_batch()
        with closing(sqlite3.connect(self.journal)) as opened, opened:
            opened.execute(
                "UPDATE batch SET request_id = ?, rows = ?",
                (self.request_id, self.rows.SerializeToString()),
            )
        self.make_old()

    def upload(self, **options: object) -> Report:
        """As this version does it."""
        return upload(
            *(self.client, self.file, self.map),
            journal=self.journal,
            batch_rows=BATCH_ROWS,
            **options,  # type: ignore[arg-type]
        )

    def make_old(self) -> None:
        """Give the journal the form that the version before knew."""
        with closing(sqlite3.connect(self.journal)) as opened, opened:
            opened.execute("ALTER TABLE batch DROP COLUMN part")
            opened.execute("ALTER TABLE batch ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0")
            opened.execute("UPDATE fact SET value = ? WHERE name = 'format'", (_OLD,))

    def send_first(self) -> None:
        """Send its first batch as the version before did, and let the answer be lost."""
        batch = PreparedBatch(
            self.request_id, self.epoch, self.rows.rows, b"", self.catalogue_version
        )
        numbers = range(len(self.rows.rows))
        operation = send_batch(self.client._context, batch, numbers, 0, None)
        assert self.client._runner.run("contribute", operation).rows_accepted == BATCH_ROWS

    def _first_batch(self) -> tuple[contribution_pb2.RowChunk, int, int]:
        with closing(sqlite3.connect(self.journal)) as opened:
            [(part, epoch, version)] = opened.execute(
                "SELECT rows, epoch, catalogue_version FROM batch"
            ).fetchall()
        packed = contribution_pb2.UploadPart.FromString(part).packed_rows
        messages = [row_message(row[:TOKEN_BYTES], unpack_row(row[TOKEN_BYTES:])) for row in packed]
        return contribution_pb2.RowChunk(rows=messages), epoch, version


_OLD = b"concordat/bulk-journal/v1"


@pytest.fixture
def profile(gateway: Gateway) -> Path:
    return gateway.join("bulk-upgraded")


@pytest.fixture
def client(profile: Path) -> Iterator[Client]:
    with Client.open(profile) as opened:
        consent_all(opened, PEOPLE)
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


def test_a_journal_of_a_later_version_is_refused_by_name(client: Client, tmp_path: Path) -> None:
    job = OldJob(tmp_path, client)
    with closing(sqlite3.connect(job.journal)) as opened, opened:
        opened.execute("UPDATE fact SET value = x'00' WHERE name = 'format'")
    with pytest.raises(JournalError, match=r"a\.journal: is a journal of another version"):
        job.upload()
