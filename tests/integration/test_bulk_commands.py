"""`concordat contribute`: files from a shell."""

import csv
import hashlib
import resource
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from concordat import Client
from tests.bulkfiles import (
    TODAY,
    accounts,
    csv_bytes,
    expected,
    furnisher,
    mapping_text,
    pool,
)
from tests.fabricate import resident_id
from tests.gateways import CONCORDAT, Gateway, concordat


@pytest.fixture(scope="module")
def profile(gateway: Gateway) -> Path:
    return furnisher(gateway, "bulk-shell")


def contribute(
    profile: Path, file: Path, mapping: str | Path, *more: str | Path
) -> tuple[int, str]:
    ran = concordat("contribute", file, "--mapping", mapping, "--profile", profile, *more)
    return ran.returncode, ran.stdout + ran.stderr


def test_a_file_is_contributed_from_a_shell(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    held = accounts(60, seed=41)
    (tmp_path / "october.csv").write_bytes(csv_bytes((one.line() for one in held), "gb18030"))
    (tmp_path / "map.toml").write_text(mapping_text())

    code, said = contribute(
        *(profile, tmp_path / "october.csv", tmp_path / "map.toml"), "--encoding", "gb18030"
    )

    assert code == 0, said
    assert "60 rows read, 60 taken, 0 refused; 1 batch." in said
    assert "100%" in said
    # The key of the pseudonyms is new with the first job alone.
    made = f"Made {profile / 'bulk' / 'account-ref.key'}, the key"
    assert said.count(made) == 1
    assert made not in contribute(profile, tmp_path / "october.csv", tmp_path / "map.toml")[1]
    key = bytes.fromhex((profile / "bulk" / "account-ref.key").read_text())
    found = pool(gateway, profile)
    assert all(found[ref] == row for ref, row in expected(key, held).items())


def test_refused_rows_end_it_with_1_and_are_listed(profile: Path, tmp_path: Path) -> None:
    lines = [one.line() for one in accounts(5, seed=42)]
    lines[3]["days"] = "many"
    (tmp_path / "file.csv").write_bytes(csv_bytes(lines))
    (tmp_path / "map.toml").write_text(mapping_text())
    rejects = tmp_path / "rejects.csv"

    code, said = contribute(
        *(profile, tmp_path / "file.csv", tmp_path / "map.toml"),
        *("--job", "listed", "--rejects", rejects),
    )

    assert code == 1, said
    assert "4 taken, 1 refused" in said
    assert rejects.read_text() == (
        "row,field,reason,description,refused_by\n"
        "5,account.days_past_due,MALFORMED,days: no number,file\n"
    )


def test_consents_of_a_file_are_granted_from_a_shell_and_its_rows_then_taken(
    gateway: Gateway, tmp_path: Path
) -> None:
    profile = gateway.join("bulk-agreed")
    held = accounts(30, people=8, seed=47)
    lines = [one.line() for one in held]
    lines[4]["证件号码"] = "nobody"
    (tmp_path / "file.csv").write_bytes(csv_bytes(lines))
    (tmp_path / "map.toml").write_text(mapping_text())
    (tmp_path / "form.pdf").write_bytes(b"the form")
    file = (tmp_path / "file.csv", "--mapping", tmp_path / "map.toml", "--profile", profile)
    terms = ("--purpose", "contribution", "--category", "credit_accounts", "--notice-version", "1")
    until = ("--expires", f"{TODAY + timedelta(days=60)}")
    rejects = ("--rejects", tmp_path / "rejects.csv")
    evidence = ("--evidence", tmp_path / "form.pdf")
    granting = ("consent", "grant-file", *file, *terms, *until, *rejects)

    assert concordat(*granting).returncode == 2
    agreed = concordat(*granting, *evidence)

    people = {one.person for at, one in enumerate(held) if at != 4}
    assert agreed.returncode == 1, agreed.stderr
    assert f"30 rows read, {len(people)} consents recorded, 1 refused" in agreed.stdout
    assert "100%" in agreed.stderr
    assert "6,subject,MALFORMED" in (tmp_path / "rejects.csv").read_text()
    with Client.open(profile) as client:
        consents = list(client.list_consents())
    assert len(consents) == len(people)
    assert {one.evidence_sha256 for one in consents} == {hashlib.sha256(b"the form").digest()}
    # Once more is the same job; other terms under its name are not.
    assert "nothing was sent now" in concordat(*granting, *evidence).stderr
    other = concordat(*granting, *evidence, "--language", "zh-Hans-CN")
    assert other.returncode == 2
    assert "another consent" in other.stderr
    code, said = contribute(profile, tmp_path / "file.csv", tmp_path / "map.toml")
    assert code == 1
    assert "29 taken, 1 refused" in said


def test_a_job_that_had_ended_says_that_nothing_was_sent(profile: Path, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(csv_bytes(one.line() for one in accounts(5, seed=46)))
    (tmp_path / "map.toml").write_text(mapping_text())
    sent = (profile, tmp_path / "file.csv", tmp_path / "map.toml", "--job", "ended")
    code, said = contribute(*sent)
    assert code == 0
    assert "nothing was sent" not in said
    code, said = contribute(*sent)
    assert code == 0
    assert "nothing was sent" in said
    assert "those alone into a file, with another --job NAME" in said


@pytest.mark.parametrize("job", ["", "a/b", "..", "x" * 101])
def test_a_name_that_no_job_can_have_is_refused_and_not_passed_over(
    tmp_path: Path, job: str
) -> None:
    code, said = contribute(tmp_path, tmp_path / "october.csv", "metro2", "--job", job)
    assert code == 2
    assert "--job: 100 characters at most wanted: A-Z" in said


@pytest.mark.parametrize("name", ["十月.csv", "october (1).csv"])
def test_a_file_whose_name_can_name_no_job_says_that_one_is_needed(
    tmp_path: Path, name: str
) -> None:
    code, said = contribute(tmp_path, tmp_path / name, "metro2")
    assert code == 2
    assert f"{name!r} cannot name the job; give it a name with --job" in said


@pytest.mark.parametrize(
    ("mapping", "file", "said"),
    [
        ("no-such-mapping", b"a\n1\n", "included are metro2, pboc2"),
        ("metro2", b"a\n1\n", "'Telephone Number'"),
        ("metro2", b"", "file.csv: is empty"),
        ("/dev/null", b"a\n1\n", "/dev/null: is empty"),
        ("metro2", b"\xd5\xcb\xba\xc5\n1\n", "--encoding"),
    ],
)
def test_what_cannot_be_done_ends_it_with_2(
    profile: Path, tmp_path: Path, mapping: str, file: bytes, said: str
) -> None:
    (tmp_path / "file.csv").write_bytes(file)
    code, output = contribute(profile, tmp_path / "file.csv", mapping, "--job", "undone")
    assert code == 2
    assert said in output
    assert "Traceback" not in output


def test_a_gateway_that_does_not_answer_is_2(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    lonely = tmp_path / "lonely"
    shutil.copytree(profile, lonely)
    settings = lonely / "profile.toml"
    settings.write_text(settings.read_text().replace(str(gateway.port), "9"))
    (tmp_path / "file.csv").write_bytes(csv_bytes(one.line() for one in accounts(5, seed=43)))
    (tmp_path / "map.toml").write_text(mapping_text())
    code, output = contribute(
        *(lonely, tmp_path / "file.csv", tmp_path / "map.toml"), "--timeout", "1"
    )
    assert code == 2
    assert "UNAVAILABLE" in output
    assert "run the same command again, and it goes on where it stopped" in output
    assert "Traceback" not in output


def test_a_full_disk_ends_it_with_2_and_room_lets_it_go_on(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    held = accounts(1_200, seed=44)
    (tmp_path / "file.csv").write_bytes(csv_bytes(one.line() for one in held))
    (tmp_path / "map.toml").write_text(mapping_text())
    arguments = [
        *("contribute", str(tmp_path / "file.csv"), "--mapping", str(tmp_path / "map.toml")),
        *("--profile", str(profile), "--job", "full", "--batch-rows", "400"),
    ]

    def no_room() -> None:
        # Beyond it a write fails, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (48 * 1024, resource.RLIM_INFINITY))

    full = subprocess.run(
        [str(CONCORDAT), *arguments],
        preexec_fn=no_room,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert full.returncode == 2, full.stdout
    assert "JOURNAL_UNUSABLE" in full.stderr
    assert "with room on the disk the same job goes on where it stopped" in full.stderr
    assert "Traceback" not in full.stderr

    ended = concordat(*arguments)
    assert ended.returncode == 0, ended.stderr
    assert "1,200 taken" in ended.stdout
    key = bytes.fromhex((profile / "bulk" / "account-ref.key").read_text())
    found = pool(gateway, profile)
    assert all(found[ref] == row for ref, row in expected(key, held).items())


def test_the_included_metro2_mapping_takes_a_base_segment(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    month = TODAY.replace(day=1) - timedelta(days=1)
    opened = month.replace(day=1) - timedelta(days=1200)
    row = {
        "Identification Number": "BANK01",
        "Consumer Account Number": "4000123412341234",
        "Portfolio Type": "R",
        "Date Opened": f"{opened:%m%d%Y}",
        "Credit Limit": "000005000",
        "Account Status": "78",
        "Payment History Profile": "1000BBBBBBBBBBBBBBBBBBBB",
        "Current Balance": "000004750",
        "Amount Past Due": "000000410",
        "Scheduled Monthly Payment Amount": "000000150",
        "FCRA Compliance/Date of First Delinquency": "00000000",
        "Date of Account Information": f"{month:%m%d%Y}",
        "Social": resident_id(3),
    }
    other = row | {"Consumer Account Number": "4000123412349999", "Account Status": "96"}
    file = tmp_path / "metro2.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, [*row, "Telephone Number"])
        writer.writeheader()
        writer.writerows([row, other])

    code, said = contribute(
        *(profile, file, "metro2", "--identifier", "cn-resident-id/1:Social"),
        *("--rejects", tmp_path / "rejects.csv"),
    )

    assert code == 1, said
    assert "3,account.status,UNKNOWN_VALUE" in (tmp_path / "rejects.csv").read_text()
    quarter = (opened.year - 1970) * 4 + (opened.month - 1) // 3
    months = (month.year - 1970) * 12 + month.month - 1
    profile_bytes = bytes([5, 4, 1, 1, 1]).ljust(24, b"\0")
    # Limit, balance, past due, days; five-tier class unknown; scheduled payment.
    bands = bytes([5, 4, 2, 5, 0, 0, 0, 2])
    wanted = (months, 1, 3, quarter, 0, bands, profile_bytes)
    assert wanted in pool(gateway, profile).values()


def test_the_included_pboc2_mapping_takes_a_report(
    gateway: Gateway, profile: Path, tmp_path: Path
) -> None:
    month = TODAY.replace(day=1) - timedelta(days=1)
    opened = month.replace(day=1) - timedelta(days=1500)
    row = {
        "证件号码": resident_id(4),
        "账户标识": "KA-20260001",
        "信息报告日期": month.isoformat(),
        "开立日期": opened.isoformat(),
        "授信额度": "80,000",
        "余额": "61,250",
        "当前逾期总额": "3,105",
        "账户状态": "逾期",
        "业务种类": "个人汽车消费贷款",
        "本月应还款": "1,035",
        "剩余还款期数": "14",
        "还款状态": "4",
        "近24个月还款状态": "*NNNNNNNNNNNNNNNNNNM1234",
        "五级分类": "次级",
    }
    file = tmp_path / "pboc2.csv"
    with file.open("w", newline="", encoding="gb18030") as out:
        writer = csv.DictWriter(out, list(row))
        writer.writeheader()
        writer.writerow(row)

    code, said = contribute(profile, file, "pboc2", "--encoding", "gb18030")

    assert code == 0, said
    quarter = (opened.year - 1970) * 4 + (opened.month - 1) // 3
    months = (month.year - 1970) * 12 + month.month - 1
    before = [5, 4, 3, 1] + [1] * 18
    profile_bytes = bytes([6, *before]).ljust(24, b"\0")
    # Limit, balance, past due, days; substandard, scheduled payment, and 13 to 24 terms left.
    bands = bytes([8, 8, 4, 6, 0, 0, 3, 3, 0, 0, 5])
    wanted = (months, 1, 2, quarter, 0, bands, profile_bytes)
    found = [
        one for one in pool(gateway, profile).values() if one[:2] == wanted[:2] and one[2] == 2
    ]
    assert found == [wanted]
