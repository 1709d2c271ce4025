"""The command line as its users meet it: what it prints, how it ends."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from concordat_gateway.store.control_tables import ledger_entry
from concordat_store.database import Database
from tests.fabricate import resident_id
from tests.gateways import Gateway, MakeGateway, concordat

APPLICANT = resident_id(4711)
SERVER_PACKAGES = (
    *("alembic", "grpc_health", "jwt", "opendp", "prometheus_client"),
    *("psycopg", "pysqlite3", "sqlalchemy", "sqlmodel"),
)


def exported(gateway: Gateway, folder: Path) -> Path:
    made = concordat("ledger", "export", folder, "--profile", gateway.auditor)
    assert made.returncode == 0, made.stderr
    return folder


def test_an_export_verifies_and_a_changed_one_does_not(gateway: Gateway, tmp_path: Path) -> None:
    gateway.join("export-bank")
    folder = exported(gateway, tmp_path / "export")
    vkey_file = gateway.folder / "gateway" / "ledger.vkey"
    with_text = concordat("ledger", "verify", folder, "--key", gateway.ledger_vkey)
    with_file = concordat("ledger", "verify", folder, "--key", vkey_file)
    bundle = min(file for file in (folder / "tile" / "entries").rglob("*") if file.is_file())
    changed = bundle.read_bytes().replace(b"member.invited", b"member.invitee", 1)
    bundle.write_bytes(changed)
    after = concordat("ledger", "verify", folder, "--key", gateway.ledger_vkey)

    assert (with_text.returncode, with_file.returncode) == (0, 0)
    assert "verifies" in with_text.stdout
    assert after.returncode == 1
    # The first is about the token key that the gateway serves.
    assert "First wrong entry: 1" in after.stdout


def test_an_export_says_who_exported_before_and_what_for(gateway: Gateway, tmp_path: Path) -> None:
    options = ("--profile", gateway.auditor, "--case", "2026/17")
    first = concordat("ledger", "export", tmp_path / "first", *options)
    assert first.returncode == 0, first.stderr
    folder = exported(gateway, tmp_path / "second")
    verified = concordat("ledger", "verify", folder, "--key", gateway.ledger_vkey)
    assert verified.returncode == 0, verified.stdout
    assert "staff.viewed" in verified.stdout
    bundles = (file for file in (folder / "tile" / "entries").rglob("*") if file.is_file())
    assert any(b'"case":"2026/17"' in bundle.read_bytes() for bundle in bundles)


@pytest.mark.slow
def test_a_ledger_with_a_hole_is_not_exported_and_not_appended_to(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    gateway.join("hole-bank")
    database = Database.open(f"sqlite:///{gateway.folder}/data/control.db")

    def delete(where: sa.ColumnElement[bool]) -> int:
        with database.write() as connection:
            [entry] = connection.execute(
                sa.delete(ledger_entry).where(where).returning(ledger_entry.c.entry_index)
            ).scalars()
        return int(entry)

    delete(ledger_entry.c.entry_index == 1)
    refused = concordat("ledger", "export", tmp_path / "export", "--profile", gateway.auditor)
    assert refused.returncode == 1
    assert "the ledger's store lacks entry 1" in refused.stderr
    assert not (tmp_path / "export").exists()

    gateway.stop()
    newest = sa.select(sa.func.max(ledger_entry.c.entry_index)).scalar_subquery()
    last = delete(ledger_entry.c.entry_index == newest)
    database.close()
    gateway.launch()
    assert gateway.wait() != 0
    assert f"entry {last} is missing" in gateway.log


@pytest.mark.parametrize("key", ["concordat.test/ledger+00000000+AAAA", "no/such/file"])
def test_a_wrong_key_is_wrong_usage(gateway: Gateway, tmp_path: Path, key: str) -> None:
    ended = concordat("ledger", "verify", exported(gateway, tmp_path / "export"), "--key", key)

    assert ended.returncode == 2
    assert "--key" in ended.stderr


def test_an_export_is_not_for_members(gateway: Gateway, tmp_path: Path) -> None:
    profile = gateway.join("export-bank")
    ended = concordat("ledger", "export", tmp_path / "export", "--profile", profile)

    assert ended.returncode == 1
    assert "ROLE_NOT_ALLOWED" in ended.stderr
    assert not (tmp_path / "export").exists()


def test_a_lookup_without_consent_says_nothing_of_the_applicant(gateway: Gateway) -> None:
    profile = gateway.join("lookup-bank")
    options = ("--profile", profile, "--resident-id", "-", "--purpose", "underwriting")
    ended = concordat("lookup", *options, "--max-age", "3", stdin=f"{APPLICANT}\n")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("No live consent for this purpose.")
    assert re.search(r"Ledger entry \d+\.", ended.stdout)


def test_identifiers_stay_off_the_command_line_and_out_of_messages(gateway: Gateway) -> None:
    profile = gateway.join("lookup-bank")
    options = ("--profile", profile, "--purpose", "underwriting", "--resident-id")
    on_line = concordat("lookup", *options, APPLICANT)
    wrong_digit = "X" if APPLICANT[-1] != "X" else "0"
    mistyped = concordat("lookup", *options, "-", stdin=f"{APPLICANT[:-1]}{wrong_digit}\n")

    assert on_line.returncode == 2
    assert mistyped.returncode == 1
    for ended in (on_line, mistyped):
        assert "Traceback" not in ended.stderr
        assert "19900101" not in ended.stderr + ended.stdout


def test_a_count_is_answered_with_its_error_and_its_price(gateway: Gateway) -> None:
    options = ("--profile", gateway.join("asking-bank"), "--epsilon", "0.1")
    counted = concordat("ask", "count", "--where", "status=1", *options)
    grouped = concordat("ask", "count", "--group-by", "product", *options)
    left = concordat("budget", *options[:2])

    assert re.match(r"-?\d+ persons\n", counted.stdout), counted.stderr
    assert "charged rho 0.005000" in counted.stdout
    assert "mortgage" in grouped.stdout, grouped.stderr
    assert "Each person counts in at most 1 of these cells." in grouped.stdout
    assert "at most" not in counted.stdout
    assert re.search(r"^pool +\d\.\d+ +\d\.\d+ ", left.stdout, re.M), left.stderr
    assert re.search(r"^member:asking-bank +0\.0\d+ ", left.stdout, re.M)


@pytest.mark.parametrize("condition", ["colour=1", "status", "status=x"])
def test_a_condition_that_is_none_is_wrong_usage(gateway: Gateway, condition: str) -> None:
    ended = concordat(
        "ask", "count", "--profile", gateway.join("asking-bank"), "--where", condition
    )

    assert ended.returncode == 2
    assert "--where" in ended.stderr


def test_errors_are_one_line_without_a_traceback(gateway: Gateway, tmp_path: Path) -> None:
    ended = concordat("budget", "--profile", tmp_path / "absent")

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "profile.toml" in ended.stderr


def test_members_need_no_server_packages(gateway: Gateway, tmp_path: Path) -> None:
    """What a member runs works with the base install; the server says what is missing."""
    invitation = gateway.invite("slim-bank")
    accepted = slim("member", "accept", str(invitation), str(tmp_path / "profile"))
    budget = slim("budget", "--profile", str(tmp_path / "profile"))
    serving = slim("serve", "--config", str(gateway.config))

    assert accepted.returncode == 0, accepted.stderr
    assert budget.returncode == 0, budget.stderr
    assert serving.returncode == 1
    assert re.fullmatch(
        r"Error: \w+ is missing: serving needs the extra `server` .*\n", serving.stderr
    ), serving.stderr


def slim(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as if the server's packages were not installed."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({SERVER_PACKAGES!r}));"
        f"sys.argv[1:] = {json.dumps(arguments)};"
        "from concordat_gateway.cli import main; main()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)


@pytest.mark.slow
def test_a_ledger_that_was_rolled_back_is_not_used(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    gateway = make_gateway(workers=1)
    gateway.start()
    profile = gateway.join("watchful-bank")
    gateway.stop()
    shutil.copytree(gateway.folder / "data", tmp_path / "backup")
    gateway.start()
    looked = concordat(
        *("lookup", "--resident-id", "-", "--purpose", "underwriting", "--profile", profile),
        stdin=resident_id(7),
    )
    assert looked.returncode == 0, looked.stderr
    assert concordat("budget", "--profile", profile).returncode == 0
    gateway.stop()

    shutil.rmtree(gateway.folder / "data")
    shutil.copytree(tmp_path / "backup", gateway.folder / "data")
    gateway.start()
    refused = concordat("budget", "--profile", profile)

    assert refused.returncode == 1
    assert "LEDGER_FORKED" in refused.stderr


def test_a_gateway_whose_key_holders_cannot_answer_does_not_start(
    make_gateway: MakeGateway,
) -> None:
    """The key is whole, and only a holder of its first share is configured."""
    gateway = make_gateway(workers=1)
    gateway.edit("holder = 0", "holder = 1")
    ended = concordat("serve", "--config", gateway.config)
    assert ended.returncode == 1
    assert "epoch 1 needs a holder of the whole key (holder = 0)" in ended.stderr
