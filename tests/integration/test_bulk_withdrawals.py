"""Rows that a job contributed, by name: listed, and taken out of the pool again."""

import csv
import random
import sqlite3
from pathlib import Path

import pytest

from concordat import Client, InvalidInput, Options, RetryPolicy, RowRef, TechnicalFault
from concordat.bulk import JobChanged, Progress, Report, SourceError, upload, withdraw
from tests.bulkfiles import (
    PEOPLE,
    Account,
    account_ref,
    accounts,
    csv_bytes,
    furnisher,
    mapping_text,
    pool,
)
from tests.gateways import Gateway, concordat
from tests.wiretap import tapping

ONE_TRY = Options(channels=1, retry=RetryPolicy(max_attempts=1))


@pytest.fixture(scope="module")
def profile(gateway: Gateway) -> Path:
    return furnisher(gateway, "bulk-leaving")


class Files:
    """A file of accounts, its mapping and its jobs."""

    def __init__(self, folder: Path, held: list[Account]) -> None:
        self.held = held
        self.csv, self.map = folder / "file.csv", folder / "map.toml"
        self.rows, self.rejects = folder / "rows.csv", folder / "rejects.csv"
        self.jobs = folder / "jobs"
        self.csv.write_bytes(csv_bytes(one.line() for one in held))
        self.map.write_text(mapping_text())

    def contribute(self, client: Client, batch_rows: int = 100) -> Report:
        journal = self.jobs / "in.journal"
        return upload(
            *(client, self.csv, self.map),
            journal=journal,
            rows=self.rows,
            rejects=self.rejects,
            batch_rows=batch_rows,
        )

    def withdraw(self, client: Client, rows: Path, job: str = "out", **options: object) -> Report:
        journal = self.jobs / f"{job}.journal"
        return withdraw(
            *(client, self.csv, self.map, rows),
            journal=journal,
            rejects=self.rejects,
            **options,  # type: ignore[arg-type]
        )

    def some(self, *numbers: int) -> Path:
        """A file of the names of some rows, by their numbers in the source."""
        chosen = self.rows.with_name("some.csv")
        with self.rows.open(newline="") as whole, chosen.open("w", newline="") as out:
            heading, *lines = csv.reader(whole)
            writer = csv.writer(out)
            writer.writerow(heading)
            writer.writerows(line for line in lines if int(line[0]) in numbers)
        return chosen

    def refs(self) -> dict[bytes, int]:
        """The number of each account's row, by its pseudonym."""
        key = bytes.fromhex((self.jobs / "account-ref.key").read_text())
        return {account_ref(key, one.account): 2 + at for at, one in enumerate(self.held)}


def in_pool(gateway: Gateway, profile: Path, files: Files) -> set[int]:
    """Numbers of the rows whose accounts the pool has."""
    found = pool(gateway, profile)
    return {number for ref, number in files.refs().items() if ref in found}


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_each_row_that_was_taken_is_named_and_no_other(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    held = accounts(250, seed=61)
    files = Files(tmp_path, held)
    lines = files.csv.read_bytes().splitlines(keepends=True)
    strange = next(
        at for at, one in enumerate(accounts(80, people=80, seed=62)) if one.person >= PEOPLE
    )
    stranger = accounts(80, people=80, seed=62)[strange]
    # Row 3 cannot be read, row 120 is of somebody who has not consented.
    lines[2] = b"not a row\n"
    lines[119] = csv_bytes([stranger.line()]).splitlines(keepends=True)[1]
    files.csv.write_bytes(b"".join(lines))
    with Client.open(profile) as client:
        report = files.contribute(client)
        assert report.rows == files.rows
        named = read(files.rows)
        refused = {int(one["row"]) for one in read(files.rejects)}
        assert refused == {3, 120}
        assert [int(one["row"]) for one in named] == [
            number for number in range(2, 252) if number not in refused
        ]
        assert {int(one["entry"]) for one in named} == set(report.entries)
        # The name is the one that the ledger knows: a correction of each is taken.
        for one in random.Random(61).sample(named, 8):
            row = RowRef(int(one["entry"]), int(one["item"]))
            number = int(one["row"])
            assert files.withdraw(client, files.some(number), f"of-{number}").rows_accepted == 1
            assert number not in in_pool(gateway, profile, files)
            assert row.item <= 100


def test_named_rows_leave_the_pool_and_the_others_stay(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    files = Files(tmp_path, accounts(60, seed=63))
    with Client.open(profile) as client:
        files.contribute(client)
        report = files.withdraw(client, files.some(2, 17, 61))
        assert (report.rows_read, report.rows_accepted, report.rows_refused) == (3, 3, 0)
        assert report.batches == len(report.entries) == 1
        assert in_pool(gateway, profile, files) == set(range(2, 62)) - {2, 17, 61}
        # The same job again sends nothing; another finds that they have left.
        again = files.withdraw(client, files.some(2, 17, 61))
        assert (again.rows_accepted, again.entries) == (3, report.entries)
        other = files.withdraw(client, files.some(17, 18), "other")
    assert (other.rows_accepted, other.rows_refused) == (1, 1)
    [refused] = read(files.rejects)
    assert (refused["row"], refused["field"], refused["reason"]) == (
        "17",
        "row",
        "ALREADY_REPLACED",
    )


@pytest.mark.slow
@pytest.mark.parametrize("sent_bytes", [1, 30_000])
def test_a_withdrawal_whose_answer_is_lost_is_gone_on_with(
    gateway: Gateway, profile: Path, tmp_path: Path, sent_bytes: int
) -> None:
    files = Files(tmp_path, accounts(1_400, seed=64 + sent_bytes))
    with Client.open(profile) as client:
        files.contribute(client, 2_000)
    with tapping(gateway, profile, tmp_path) as (tap, tapped):
        with Client.open(tapped, ONE_TRY) as client:
            tap.cut_answer_after(sent_bytes)
            with pytest.raises(TechnicalFault):
                files.withdraw(client, files.rows)
        with Client.open(tapped) as client:
            report = files.withdraw(client, files.rows)
    assert (report.rows_read, report.rows_accepted, report.rows_refused) == (1_400, 1_400, 0)
    assert report.batches == len(set(report.entries)) == 2
    assert in_pool(gateway, profile, files) == set()


def test_other_names_are_another_job(profile: Path, tmp_path: Path) -> None:
    files = Files(tmp_path, accounts(10, seed=66))
    with Client.open(profile) as client:
        files.contribute(client)
        files.withdraw(client, files.some(2))
        with pytest.raises(JobChanged, match=r"list of rows to withdraw.*--job"):
            files.withdraw(client, files.some(3))
        # A journal of contributions is none of withdrawals.
        with pytest.raises(JobChanged):
            files.withdraw(client, files.some(3), "in")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "heading row,entry,item"),
        ("row,field,reason\n", "heading row,entry,item"),
        ("row,entry,item\n", "names no row"),
        ("row,entry,item\n2,3\n", "line 2: three numbers"),
        ("row,entry,item\n2,3,-1\n", "line 2: three numbers"),
        ("row,entry,item\n2,3,１\n", "line 2: three numbers"),
        ("row,entry,item\n2,9223372036854775808,1\n", "line 2: three numbers"),
        ("row,entry,item\n2,3,4294967296\n", "line 2: no such item"),
        ("row,entry,item\n3,3,1\n2,3,0\n", "line 3: rows must be in order"),
        ("row,entry,item\n2,3,1\n2,3,2\n", "line 3: rows must be in order"),
        ("row,entry,item\n2,3,1" + "0" * 200 + "\n", "line 2: too long"),
    ],
)
def test_a_wrong_list_of_names_is_said_by_its_line(
    profile: Path, tmp_path: Path, content: str, said: str
) -> None:
    files = Files(tmp_path, accounts(5, seed=67))
    names = tmp_path / "names.csv"
    names.write_text(content, encoding="utf-8")
    with Client.open(profile) as client, pytest.raises(SourceError, match=said):
        files.withdraw(client, names)


def test_a_named_row_that_the_file_does_not_have_leaves_the_job_undone(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    files = Files(tmp_path, accounts(5, seed=70))
    with Client.open(profile) as client:
        files.contribute(client)
        names = files.some(2, 3)
        with names.open("a") as out:
            out.write("7000,3,1\n")
        for _ in range(2):
            with pytest.raises(SourceError, match="1 of the 3 named rows"):
                files.withdraw(client, names)
    assert in_pool(gateway, profile, files) == {4, 5, 6}


def test_the_names_are_not_written_over_the_file(profile: Path, tmp_path: Path) -> None:
    files = Files(tmp_path, accounts(5, seed=68))
    files.rows = files.csv
    with Client.open(profile) as client, pytest.raises(InvalidInput, match="rows"):
        files.contribute(client)


def test_a_list_without_a_folder_is_refused_before_anything_is_sent(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    files = Files(tmp_path, accounts(5, seed=71))
    files.rejects = tmp_path / "none" / "rejects.csv"
    with Client.open(profile) as client:
        with pytest.raises(InvalidInput, match="none is no folder"):
            files.contribute(client)
        files.rejects.parent.mkdir()
        report = files.contribute(client)
    assert (report.rows_accepted, report.was_done) == (5, False)


def test_the_refused_rows_are_not_written_over_the_names(profile: Path, tmp_path: Path) -> None:
    files = Files(tmp_path, accounts(5, seed=71))
    with Client.open(profile) as client:
        files.contribute(client)
        files.rejects = files.rows
        with pytest.raises(InvalidInput, match="rejects"):
            files.withdraw(client, files.rows)
    assert len(read(files.rows)) == len(files.held)


def test_rows_are_withdrawn_from_a_shell(gateway: Gateway, profile: Path, tmp_path: Path) -> None:
    files = Files(tmp_path, accounts(30, seed=69))
    files.jobs = profile / "bulk"
    common = [files.csv, "--mapping", files.map, "--profile", profile]
    ran = concordat("contribute", *common, "--job", "in-69", "--rows-out", files.rows)
    assert ran.returncode == 0, ran.stderr
    named = files.some(2, 3)
    ran = concordat("withdraw-rows", *common, "--job", "out-69", "--rows-in", named)
    assert ran.returncode == 0, ran.stderr
    *_, last = ran.stderr.splitlines()
    assert last.startswith("100%  2 read, 2 withdrawn, 0 refused")
    assert "taken" not in ran.stderr
    assert "2 rows read, 2 withdrawn, 0 refused; 1 batch." in ran.stdout
    assert in_pool(gateway, profile, files) == set(range(4, 32))
    ran = concordat("withdraw-rows", *common, "--job", "again-69", "--rows-in", files.some(3))
    assert ran.returncode == 1
    ran = concordat("withdraw-rows", *common, "--job", "none-69", "--rows-in", tmp_path / "none")
    assert ran.returncode == 2
    # Under a key that was made just now no row would be known.
    (profile / "bulk" / "account-ref.key").rename(tmp_path / "kept.key")
    ran = concordat("withdraw-rows", *common, "--job", "lost-69", "--rows-in", named)
    (tmp_path / "kept.key").rename(profile / "bulk" / "account-ref.key")
    assert ran.returncode == 2
    assert "account-ref.key: is not there" in ran.stderr


def test_a_long_list_of_names_is_kept_in_few_bytes(profile: Path, tmp_path: Path) -> None:
    files = Files(tmp_path, accounts(2_000, seed=70))
    seen: list[Progress] = []
    with Client.open(profile) as client:
        files.contribute(client, 2_000)
        assert len(read(files.rows)) == 2_000
        files.withdraw(client, files.some(2), progress=seen.append)
    with sqlite3.connect(files.jobs / "in.journal") as journal:
        [[size]] = journal.execute("SELECT sum(length(runs)) FROM taken").fetchall()
    assert size < 100
    assert seen[-1].rows_accepted == 1
    assert seen[-1].offset == seen[-1].size == files.csv.stat().st_size
