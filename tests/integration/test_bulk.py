"""Files and frames through a real gateway: what arrives is what was meant, once."""

import asyncio
import csv
import dataclasses
import json
import sqlite3
import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concordat import Client, InvalidInput, ResidentId
from concordat.bulk import CsvFile, JobBusy, JobChanged, Progress, Report, SourceError, upload
from tests.bulkfiles import (
    Account,
    accounts,
    consent_all,
    csv_bytes,
    expected,
    mapping_text,
    pool,
)
from tests.fabricate import resident_id
from tests.gateways import Gateway

PEOPLE = 40


class Lender:
    """A member whose customers 0 to PEOPLE - 1 have agreed to contributions."""

    def __init__(self, gateway: Gateway, client: Client, folder: Path) -> None:
        self.gateway = gateway
        self.client = client
        self.folder = folder

    def upload(self, source: object, job: str = "a", **options: Any) -> Report:
        """Contribute with the tests' mapping."""
        mapping = self.folder / "map.toml"
        mapping.write_text(mapping_text(options.pop("encoding", "utf-8")))
        journal = self.folder / "jobs" / f"{job}.journal"
        return upload(self.client, source, mapping, journal=journal, **options)

    def file(self, held: list[Account], name: str = "file.csv", encoding: str = "utf-8") -> Path:
        """A file of accounts."""
        file = self.folder / name
        file.write_bytes(csv_bytes((one.line() for one in held), encoding))
        return file

    def holds(self, held: list[Account]) -> bool:
        """Whether the pool has these accounts of this member, as they should be."""
        key = bytes.fromhex((self.folder / "jobs" / "account-ref.key").read_text())
        wanted = expected(key, held)
        found = pool(self.gateway, self.client.profile_folder)  # type: ignore[attr-defined]
        return all(found.get(ref) == row for ref, row in wanted.items())


@pytest.fixture(scope="module")
def agreed(gateway: Gateway) -> Iterator[Client]:
    with Client.open(gateway.join("bulk-alpha")) as client:
        client.profile_folder = gateway.join("bulk-alpha")  # type: ignore[attr-defined]
        consent_all(client, PEOPLE)
        yield client


@pytest.fixture
def lender(gateway: Gateway, agreed: Client, tmp_path: Path) -> Lender:
    return Lender(gateway, agreed, tmp_path)


def read_rejects(file: Path) -> list[tuple[str, str, str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return [
            (row["row"], row["field"], row["reason"], row["refused_by"])
            for row in csv.DictReader(opened)
        ]


def test_a_file_arrives_as_the_bands_of_what_it_holds(lender: Lender) -> None:
    held = accounts(250)
    file = lender.file(held)
    seen: list[Progress] = []

    report = lender.upload(file, batch_rows=100, progress=seen.append)

    assert (report.rows_read, report.rows_accepted, report.rows_refused) == (250, 250, 0)
    assert report.batches == len(report.entries) == 3
    assert lender.holds(held)
    assert not lender.holds(accounts(1, seed=99)), "the comparison sees what is missing"
    assert seen[-1].rows_accepted == 250
    assert seen[-1].offset == seen[-1].size == file.stat().st_size
    assert [one.offset for one in seen] == sorted(one.offset for one in seen)


def test_a_file_is_an_upload_which_is_ended_with_it(lender: Lender) -> None:
    held = accounts(250, seed=20)
    lines = [one.line() for one in held]
    lines[120]["证件号码"] = resident_id(PEOPLE + 5)  # has not consented
    lines[130]["state"] = "?"  # is not sent
    file = lender.folder / "file.csv"
    file.write_bytes(csv_bytes(lines))

    report = lender.upload(file, batch_rows=100)

    with Client.open(lender.gateway.auditor) as auditor:
        entries = [(one.index, json.loads(one.entry)) for one in auditor.export_entries()]
    parts = [one for index, one in entries if index in report.entries]
    assert [(one["type"], one["sequence"]) for one in parts] == [
        ("contribution.batch", number) for number in (1, 2, 3)
    ]
    [upload_id] = {one["upload"] for one in parts}
    status = lender.client.get_upload(bytes.fromhex(upload_id))
    assert status.complete
    assert (status.acknowledged_sequence, status.rows_accepted, status.rows_refused) == (3, 248, 1)
    assert report.rows_refused == 2
    [(index, end)] = [
        (index, one) for index, one in entries if one.get("upload") == upload_id and "parts" in one
    ]
    assert (end["type"], index) == ("contribution.ended", status.end_entry_index)
    assert (end["parts"], end["rows"], end["refused"]) == (3, 248, 1)
    # Another run of the job ends nothing else, also of one that died before it noted its end.
    for died in (False, True):
        if died:
            with sqlite3.connect(lender.folder / "jobs" / "a.journal") as journal:
                journal.execute("DELETE FROM fact WHERE name = 'done'")
        again = lender.upload(file, batch_rows=100)
        assert (again.entries, again.was_done) == (report.entries, not died)
        assert lender.client.get_upload(bytes.fromhex(upload_id)) == status


def test_a_file_without_a_row_that_can_be_sent_is_no_upload(lender: Lender) -> None:
    lines = [one.line() | {"state": "?"} for one in accounts(3, seed=21)]
    file = lender.folder / "file.csv"
    file.write_bytes(csv_bytes(lines))
    for _ in range(2):
        report = lender.upload(file)
        assert (report.rows_read, report.rows_refused) == (3, 3)
        assert (report.batches, report.entries) == (0, ())


def test_a_batch_of_more_rows_than_a_part_has_goes_as_parts(lender: Lender) -> None:
    report = lender.upload(lender.file(accounts(4_001, seed=23)), batch_rows=20_000)
    assert (report.rows_accepted, report.batches) == (4_001, 2)
    with pytest.raises(InvalidInput, match="batch_rows"):
        lender.upload(lender.folder / "file.csv", batch_rows=20_001)


def test_a_finished_job_is_not_sent_again(lender: Lender) -> None:
    file = lender.file(accounts(20, seed=2))
    first = lender.upload(file)
    again = lender.upload(file)
    assert again.entries == first.entries
    assert again.job_id == first.job_id
    assert again.identifiers_blinded == 0


def test_a_customer_is_blinded_once_whatever_the_job(lender: Lender) -> None:
    held = accounts(30, seed=3)
    first = lender.upload(lender.file(held, "one.csv"), job="one")
    assert first.identifiers_blinded == len({one.person for one in held})
    more = accounts(30, seed=3, first=1000)
    second = lender.upload(lender.file(more, "two.csv"), job="two")
    assert second.identifiers_blinded == len(
        {one.person for one in more} - {one.person for one in held}
    )
    assert lender.holds(held + more)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_file_in_another_encoding_arrives_alike(lender: Lender, encoding: str) -> None:
    held = accounts(20, seed=4)
    report = lender.upload(lender.file(held, encoding=encoding), encoding=encoding)
    assert report.rows_accepted == 20
    assert lender.holds(held)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "pandas", "polars"])
def test_tables_arrive_as_files_do(lender: Lender, kind: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    held = accounts(150, seed=5)
    table = pyarrow.Table.from_pylist([one.values() for one in held])
    source: object = table
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        source = lender.folder / "file.parquet"
        parquet.write_table(table, source, row_group_size=40)
    elif kind == "pandas":
        pytest.importorskip("pandas", "2.2")
        source = table.to_pandas()
    elif kind == "polars":
        source = pytest.importorskip("polars", "1.30").from_arrow(table)

    report = lender.upload(source, batch_rows=64)

    assert (report.rows_accepted, report.rows_refused) == (150, 0)
    assert report.batches == 3
    assert lender.holds(held)


def test_bad_rows_are_listed_and_the_others_taken(lender: Lender) -> None:
    held = accounts(12, seed=6)
    lines = [one.line() for one in held]
    lines[1]["as_of"] = "0000-00-00"
    lines[2]["as_of"] = "2999-01-01"
    lines[3]["opened"] = "17530101"
    lines[4]["证件号码"] = lines[4]["证件号码"][:-1] + "?"
    lines[5]["balance"] = "-7"
    lines[6]["state"] = "9"
    lines[7]["证件号码"] = resident_id(PEOPLE + 5)
    lines[8] = lines[0]
    lines[9]["history"] = "NNX"
    data = csv_bytes(lines).splitlines(keepends=True)
    data[11] = data[11][:4] + b"\xff\xfe" + data[11][4:]
    file = lender.folder / "file.csv"
    file.write_bytes(b"".join(data))
    rejects = lender.folder / "rejects.csv"

    report = lender.upload(file, rejects=rejects)

    assert (report.rows_read, report.rows_accepted, report.rows_refused) == (12, 2, 10)
    assert read_rejects(rejects) == [
        ("3", "account.as_of_month", "MALFORMED", "file"),
        ("4", "account.as_of_month", "OUT_OF_RANGE", "file"),
        ("5", "account.opened_quarter", "REQUIRED", "file"),
        ("6", "subject", "MALFORMED", "file"),
        ("7", "account.balance", "OUT_OF_RANGE", "file"),
        ("8", "account.status", "UNKNOWN_VALUE", "file"),
        ("9", "token", "NO_CONSENT", "gateway"),
        ("10", "", "DUPLICATE", "file"),
        ("11", "account.payment_profile", "UNKNOWN_VALUE", "file"),
        ("12", "", "MALFORMED", "file"),
    ]
    text = rejects.read_text()
    for line in lines:
        assert line["account"] not in text
        assert line["证件号码"] not in text
    assert lender.holds([held[0], held[11]])


def test_corrected_rows_are_a_job_of_their_own(lender: Lender) -> None:
    held = accounts(4, seed=7)
    lines = [one.line() for one in held]
    lines[2]["state"] = "?"
    file = lender.folder / "file.csv"
    file.write_bytes(csv_bytes(lines))
    assert lender.upload(file, job="october").rows_refused == 1

    file.write_bytes(csv_bytes(one.line() for one in held))
    with pytest.raises(JobChanged) as raised:
        lender.upload(file, job="october")
    assert raised.value.what == "source"

    assert lender.upload(file, job="october-2").rows_accepted == 4
    assert lender.holds(held)


def test_a_later_batch_replaces_an_account_and_a_batch_has_it_once(lender: Lender) -> None:
    held = accounts(3, seed=16)
    later = dataclasses.replace(held[0], limit_wan=held[0].limit_wan + 11)
    report = lender.upload(lender.file([*held, later, later]), batch_rows=3)
    assert (report.rows_accepted, report.rows_refused) == (4, 1)
    assert lender.holds([later, *held[1:]])


def test_refused_rows_of_an_earlier_run_are_not_left_for_this_ones(lender: Lender) -> None:
    file = lender.file(accounts(3, seed=21))
    heading = "row,field,reason,description,refused_by\n"
    rejects = lender.folder / "rejects.csv"
    rejects.write_text(heading + "7,account.status,UNKNOWN_VALUE,of another file,file\n")
    lender.upload(file, rejects=rejects)
    assert rejects.read_text() == heading
    # Nor where this run does not come to its rows.
    rejects.write_text(heading + "7,account.status,UNKNOWN_VALUE,of another file,file\n")
    with pytest.raises(JobChanged):
        lender.upload(lender.file(accounts(4, seed=22)), rejects=rejects)
    assert not rejects.exists()


@pytest.mark.parametrize("content", [b"", csv_bytes([]), csv_bytes([]) + b"\r\n\r\n"])
def test_a_file_without_rows_is_no_finished_job(lender: Lender, content: bytes) -> None:
    file = lender.folder / "file.csv"
    file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"file\.csv: (is empty|has no rows)"):
            lender.upload(file)
    assert lender.upload(lender.file(accounts(3, seed=23))).rows_accepted == 3


def test_progress_ends_at_the_end_of_the_file(lender: Lender) -> None:
    file = lender.file(accounts(3, seed=24))
    file.write_bytes(file.read_bytes() + b"\r\n" * 50)
    seen: list[Progress] = []
    lender.upload(file, progress=seen.append)
    assert [one.offset for one in seen].count(seen[-1].size) == 1
    assert seen[-1].offset == seen[-1].size == file.stat().st_size


def test_the_list_of_refused_rows_is_not_written_over_the_file(lender: Lender) -> None:
    file = lender.file(accounts(3, seed=17))
    with pytest.raises(InvalidInput, match="rejects"):
        lender.upload(file, rejects=file)


@pytest.mark.parametrize("what", ["file.csv", "map.toml", "jobs/a.journal", "jobs/cache.key"])
def test_no_file_of_a_job_is_written_over(lender: Lender, what: str) -> None:
    source = CsvFile(lender.file(accounts(3, seed=18)))
    before = lender.upload(source)
    content = (lender.folder / what).read_bytes()
    for name in ("rejects", "rows"):
        written: dict[str, Any] = {name: lender.folder / what}
        with pytest.raises(InvalidInput, match=name):
            lender.upload(source, **written)
    both = lender.folder / "both.csv"
    with pytest.raises(InvalidInput, match="rows"):
        lender.upload(source, rejects=both, rows=both)
    assert (lender.folder / what).read_bytes() == content
    again = lender.upload(source)
    assert again == dataclasses.replace(before, identifiers_blinded=0, was_done=True)


@pytest.mark.parametrize("name", ["rejects", "rows"])
@pytest.mark.parametrize("place", [".", "missing/list.csv"])
def test_a_list_that_cannot_be_written_is_said_before_a_row_is_sent(
    lender: Lender, name: str, place: str
) -> None:
    seen: list[Progress] = []
    unwritable: dict[str, Any] = {name: lender.folder / place}
    with pytest.raises(InvalidInput, match=name):
        lender.upload(lender.file(accounts(3, seed=19)), progress=seen.append, **unwritable)
    assert seen == []


def test_a_changed_mapping_key_or_notice_is_not_the_same_job(lender: Lender) -> None:
    file = lender.file(accounts(3, seed=8))
    lender.upload(file)
    mapping = lender.folder / "other.toml"
    mapping.write_text(mapping_text() + "\n# a remark\n")
    journal = lender.folder / "jobs" / "a.journal"
    with pytest.raises(JobChanged) as raised:
        upload(lender.client, file, mapping, journal=journal)
    assert raised.value.what == "mapping"
    with pytest.raises(JobChanged) as raised:
        lender.upload(file, adverse_notice_sha256=b"\1" * 32)
    assert raised.value.what == "notice"
    (lender.folder / "jobs" / "account-ref.key").unlink()
    with pytest.raises(JobChanged) as raised:
        lender.upload(file)
    assert raised.value.what == "pseudonym_key"


def test_one_process_at_a_time_works_on_a_job(lender: Lender) -> None:
    file = lender.file(accounts(20, seed=9))
    busy: list[Exception] = []

    def meanwhile(_: Progress) -> None:
        try:
            lender.upload(file)
        except JobBusy as error:
            busy.append(error)

    assert lender.upload(file, progress=meanwhile).rows_accepted == 20
    assert busy


def test_what_a_job_leaves_is_for_its_owner_and_names_nobody(lender: Lender) -> None:
    held = accounts(50, seed=10)
    lender.upload(lender.file(held), batch_rows=20)
    left = sorted((lender.folder / "jobs").iterdir())
    assert [file.name for file in left] == [
        "a.journal",
        "account-ref.key",
        "cache.key",
        "tokens.cache",
    ]
    tokens = lender.client.tokenise(ResidentId(resident_id(one.person)) for one in held)
    for file in left:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
        content = file.read_bytes()
        for one, token in zip(held, tokens, strict=True):
            assert resident_id(one.person).encode() not in content
            assert one.account.encode() not in content
            assert token.value not in content, f"{file.name}: nothing is left to be sent"


def test_a_file_that_is_written_to_meanwhile_is_not_done(lender: Lender) -> None:
    file = lender.file(accounts(60, seed=11))

    def write_more(_: Progress) -> None:
        with file.open("ab") as opened:
            opened.write(b"one,line,more\r\n")

    with pytest.raises(SourceError, match="written to"):
        lender.upload(file, batch_rows=20, progress=write_more)
    # The rows that were read after it was written to are not sent.
    with sqlite3.connect(lender.folder / "jobs" / "a.journal") as opened:
        assert opened.execute("SELECT count(*) FROM batch").fetchone() == (1,)


def test_the_mapping_is_checked_before_a_row_is_read(lender: Lender) -> None:
    file = lender.folder / "file.csv"
    file.write_text("证件号码,account\n1,2\n")
    with pytest.raises(SourceError, match="'as_of'"):
        lender.upload(file)
    held = accounts(3, seed=15)
    lender.file(held)
    assert lender.upload(file).rows_accepted == 3, "what was mended is the same job still"
    with pytest.raises(InvalidInput, match="source"):
        lender.upload(lender.folder / "file.xlsx")
    with pytest.raises(InvalidInput, match="client"):
        upload(None, file, "metro2", journal=lender.folder / "b.journal")  # type: ignore[arg-type]


def test_a_job_runs_beside_an_event_loop(lender: Lender) -> None:
    held = accounts(20, seed=12)
    file = lender.file(held)

    async def main() -> Report:
        return await asyncio.to_thread(lender.upload, file)

    assert asyncio.run(main()).rows_accepted == 20
    assert lender.holds(held)


def test_memory_does_not_grow_with_the_file(lender: Lender) -> None:
    def peak(rows: int, job: str) -> int:
        file = lender.file(accounts(rows, seed=13), f"{job}.csv")
        tracemalloc.start()
        try:
            assert lender.upload(file, job=job, batch_rows=50).rows_accepted == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(50, "warm-up")
    small = peak(100, "small")
    assert peak(2_000, "large") < 2 * small


def test_the_journal_does_not_grow_with_what_was_sent(lender: Lender) -> None:
    lender.upload(lender.file(accounts(600, seed=14)), batch_rows=50)
    journal = lender.folder / "jobs" / "a.journal"
    with sqlite3.connect(journal) as opened:
        kept = opened.execute("SELECT count(*) FROM batch WHERE rows IS NOT NULL").fetchone()
    assert kept == (0,)
    assert journal.stat().st_size < 100_000
