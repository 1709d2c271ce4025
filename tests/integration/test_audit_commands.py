"""`concordat audit` against a real gateway's export, and against ledgers that break the rules."""

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from concordat import (
    AccountSnapshot,
    AccountStatus,
    Client,
    PhoneNumber,
    ProductClass,
    Purpose,
    Row,
    Token,
    month_number,
    quarter_number,
)
from concordat_gateway.cli import main as command_line
from tests.contributing import agreed
from tests.gateways import Gateway, MakeGateway, closing_all, concordat
from tests.logbook import ACCOUNTS, KEY, STRANGER, Logbook
from tests.unit.test_audit_person import Someone

NOW = datetime.now(UTC)
VKEY = KEY.verifier.encode()


def row(token: Token, number: int) -> Row:
    return Row(
        token,
        AccountSnapshot(
            account_ref=number.to_bytes(16, "big"),
            as_of_month=month_number(NOW.date()),
            status=AccountStatus.OPEN,
            product=ProductClass.CASH_INSTALMENT,
            opened_quarter=quarter_number(NOW.date()) - 4,
        ),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """A gateway that two members used in every way, and the export of its ledger."""
    folder = tmp_path_factory.mktemp("audited")
    with closing_all(folder) as make:
        gateway = used(make)
        export = folder / "export"
        written = concordat("ledger", "export", export, "--profile", gateway.auditor)
        assert written.returncode == 0, written.stderr
        return [export, gateway.ledger_vkey]


def used(make: MakeGateway) -> Gateway:
    gateway = make(workers=1)
    gateway.start()
    with Client.open(gateway.join("lender")) as lender:
        people = lender.tokenise(PhoneNumber(f"+8613900{n:06d}") for n in range(12))
        granted = lender.grant_consents(
            [agreed(token, Purpose.UNDERWRITING) for token in people[:8]]
        )
        # Eight permitted, four refused; then one is withdrawn, and its lookup is refused.
        lender.lookup_batch(people, Purpose.UNDERWRITING)
        lender.withdraw_consent(granted.granted[0].consent_id)
        lender.lookup(people[0], Purpose.UNDERWRITING)
        lender.lookup(people[1], Purpose.UNDERWRITING)
        lender.lookup(people[1], Purpose.PORTFOLIO_REVIEW)
    with Client.open(gateway.join("furnisher")) as furnisher:
        furnisher.grant_consents(
            [
                agreed(token, Purpose.CONTRIBUTION, Purpose.AGGREGATE_STATISTICS)
                for token in people[:5]
            ]
        )
        # Five people with two rows each are taken, a sixth has given no consent.
        taken = furnisher.contribute(
            row(token, number) for token in people[:6] for number in (1, 2)
        )
        assert taken.rows_accepted == 10
        furnisher.count(epsilon=0.1)
    return gateway


def audit(run: list[Any], command: str, *options: str) -> tuple[int, dict[str, Any]]:
    export, key = run
    ended = concordat(
        "audit", command, str(export), "--key", str(key), "--format", "json", *options
    )
    assert not ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_a_real_run_has_no_exception_and_the_figures_are_those_of_the_run(
    run: list[Any],
) -> None:
    code, answer = audit(run, "exceptions")
    assert (code, answer["findings"]) == (0, 0)
    facts = answer["facts"]
    # Eight of the batch, one after the withdrawal; four of the batch, the withdrawn, the purpose.
    assert (facts["lookups_permitted"], facts["lookups_refused"]) == (9, 6)
    assert facts["rows_contributed"] + facts["uses_not_recheckable"] == 10
    assert facts["uses_checked"] == 9 + facts["rows_contributed"]
    assert facts["uses_without_valid_consent"] == 0
    assert (facts["consents"], facts["members"]) == (13, 2)
    assert facts["aggregates_charged"] == 1


def test_members_of_a_real_run_are_summed_up(run: list[Any]) -> None:
    code, answer = audit(run, "member")
    assert code == 0
    tables = answer["tables"]
    sums = {one["member"]: one for one in tables["members"]}
    assert (sums["lender"]["permitted"], sums["lender"]["refused"]) == (9, 6)
    assert (sums["lender"]["consents"], sums["lender"]["live"]) == (8, 7)
    assert sums["furnisher"]["rows"] + sums["furnisher"]["unchecked"] == 10
    # A row without a consent is refused, and counted.
    assert sums["furnisher"]["rows_refused"] == 2


def test_consents_of_a_real_run_are_listed_with_their_uses(run: list[Any]) -> None:
    code, answer = audit(run, "consents", "--member", "lender")
    assert code == 0
    tables = answer["tables"]
    assert sorted(one["uses"] for one in tables["consents"]) == [1] * 7 + [2]
    assert [one["state"] for one in tables["consents"]].count("withdrawn") == 1


def test_verifying_with_a_replay_says_both(run: list[Any]) -> None:
    export, key = run
    ended = concordat("ledger", "verify", str(export), "--key", str(key), "--replay")
    assert ended.returncode == 0
    assert "verifies" in ended.stdout
    assert "0 without a valid one" in ended.stdout


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A ledger with one use that no consent allows."""
    log = Logbook()
    log.lookup([log.grant(), STRANGER])
    return log.export(tmp_path / "broken")


@pytest.mark.parametrize("command", ["exceptions", "consents", "member"])
def test_findings_end_a_command_with_one(broken: Path, command: str) -> None:
    ended = concordat("audit", command, broken, "--key", VKEY)
    assert ended.returncode == 1
    assert "use_without_consent" in ended.stdout
    assert "entry" in ended.stdout
    assert "What no export can show" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 100


def test_verifying_with_a_replay_fails_where_a_use_was_not_allowed(broken: Path) -> None:
    whole = concordat("ledger", "verify", broken, "--key", VKEY)
    replayed = concordat("ledger", "verify", broken, "--key", VKEY, "--replay")
    assert (whole.returncode, replayed.returncode) == (0, 1)
    assert "2 uses held against their consents, 1 without" in replayed.stdout


def test_a_csv_has_a_heading_and_one_table(broken: Path) -> None:
    command = ("audit", "exceptions", broken, "--key", VKEY, "--format", "csv")
    findings, kinds = concordat(*command), concordat(*command, "--table", "kinds")
    [heading, only] = csv.reader(io.StringIO(findings.stdout))
    assert dict(zip(heading, only, strict=True))["consent"] == STRANGER
    assert kinds.stdout.splitlines() == [
        "kind,severity,findings",
        "use_without_consent,violation,1",
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--format", "csv", "--table", "no-such-table"),
        ("--table", "kinds"),
        ("--as-of", "yesterday"),
        ("--as-of", "2026-01-05T09:00:00"),
        ("--format", "xml"),
    ],
)
def test_wrong_usage_ends_with_two(broken: Path, options: tuple[str, ...]) -> None:
    ended = concordat("audit", "exceptions", broken, "--key", VKEY, *options)
    assert ended.returncode == 2
    assert not ended.stdout


def test_a_moment_that_is_none_is_answered_with_an_example(broken: Path) -> None:
    ended = concordat("audit", "exceptions", broken, "--key", VKEY, "--as-of", "yesterday")
    assert ended.returncode == 2
    assert "such as 2026-11-05" in " ".join(ended.stderr.split())


def test_a_member_that_the_ledger_does_not_know_is_wrong_usage(broken: Path) -> None:
    ended = concordat("audit", "member", broken, "--key", VKEY, "--member", "nobody")
    assert ended.returncode == 2
    assert "nobody" in ended.stderr


def test_an_export_that_does_not_verify_ends_with_two_and_answers_nothing(broken: Path) -> None:
    items = next((broken / "items").glob("*.jsonl"))
    items.write_bytes(items.read_bytes().replace(b"permit", b"refuse"))
    ended = concordat("audit", "exceptions", broken, "--key", VKEY, "--format", "json")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "does NOT verify" in ended.stderr


def test_a_moment_decides_what_is_due(tmp_path: Path) -> None:
    log = Logbook()
    log.withdraw(log.grant())
    export = log.export(tmp_path / "export")

    def code(*options: str) -> int:
        return concordat("audit", "exceptions", export, "--key", VKEY, *options).returncode

    # Three days from 5 January 2026, 09:00 UTC, and fifteen.
    assert code() == 0
    assert code("--as-of", "2026-01-07") == 0
    assert code("--as-of", "2026-01-08T08:59:00Z") == 0
    assert code("--as-of", "2026-01-08T18:01:00+09:00") == 1
    assert code("--as-of", "2026-01-09") == 1


def test_a_person_is_followed_by_its_keys(tmp_path: Path) -> None:
    log = Logbook()
    someone = Someone(log)
    granted = someone.grant()
    someone.lookup([granted], refused=1)
    keys = tmp_path / "keys.json"
    keys.write_text(someone.keys())
    export = log.export(tmp_path / "export")
    command = ("audit", "person", export, "--key", VKEY, "--subject", keys)
    text, table = concordat(*command), concordat(*command, "--format", "csv")
    assert text.returncode == 0, text.stderr
    assert "Consents of the person: 1 by its keys, 1 of them in the log" in text.stdout
    assert "1 permitted, 1 refused" in text.stdout
    assert [line["what"] for line in csv.DictReader(io.StringIO(table.stdout))] == [
        "consent.granted",
        "lookup: permit",
        "lookup: refuse",
    ]

    someone.consents[-1] = 2
    keys.write_text(someone.keys())
    missing = concordat(*command)
    assert missing.returncode == 1
    assert "person_consent_missing" in missing.stdout

    keys.write_text(someone.keys(ledger="another.example/ledger"))
    foreign = concordat(*command)
    assert foreign.returncode == 2
    assert "another.example/ledger" in foreign.stderr


def test_an_erased_persons_keys_are_audited_without_a_violation(tmp_path: Path) -> None:
    log = Logbook()
    someone = Someone(log)
    someone.lookup([someone.grant()], refused=1)
    keys = tmp_path / "keys.json"
    keys.write_text(someone.keys(asking_keys=[]))
    export = log.export(tmp_path / "export")
    command = ("audit", "person", export, "--key", VKEY, "--subject", keys)
    ended = concordat(*command)
    assert ended.returncode == 0, ended.stdout
    told = " ".join(ended.stdout.split())
    assert told.count("No asking keys given: uses cannot be compared") == 2  # verdict, and checked
    assert "person_use_unlinked" not in told
    table = concordat(*command, "--format", "csv")
    assert "No asking keys given" in table.stderr
    assert concordat(*command, "--strict").returncode == 1


def test_auditors_need_no_server_packages(broken: Path) -> None:
    program = (
        "import sys\n"
        "from concordat_gateway.commands.audit import audit\n"
        "try:\n"
        "    audit()\n"
        "finally:\n"
        "    loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "    print('loaded', sorted(loaded & {'sqlalchemy', 'sqlmodel', 'alembic', 'opendp',"
        " 'psycopg', 'grpc', 'rfc8785'}))\n"
    )
    command = [sys.executable, "-c", program, "exceptions", str(broken), "--key", VKEY]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.splitlines()[-1] == "loaded []"


def test_uses_that_cannot_be_rechecked_fail_a_strict_audit_only(tmp_path: Path) -> None:
    log = Logbook(("alpha", "beta"))
    consent = log.grant("beta", purposes=["contribution"])
    index = log.contribute([{ACCOUNTS: consent}] * 7, "beta")
    clean = log.export(tmp_path / "clean")
    del log.items[index], log.entries[index]["adverse"]
    folder = log.export(tmp_path / "older")
    runner = CliRunner()
    key = ("--key", KEY.verifier.encode())

    for command in ("exceptions", "consents"):
        whole = runner.invoke(command_line, ["audit", command, str(clean), *key, "--strict"])
        plain = runner.invoke(command_line, ["audit", command, str(folder), *key])
        strict = runner.invoke(command_line, ["audit", command, str(folder), *key, "--strict"])
        table = runner.invoke(
            command_line, ["audit", command, str(folder), *key, "--format", "csv"]
        )
        assert (whole.exit_code, plain.exit_code, strict.exit_code) == (0, 0, 1)
        told = f"7 rows of 1 batch were contributed is NOT shown (entry {index})"
        assert told in " ".join(plain.stdout.split())
        assert strict.stdout == plain.stdout
        assert told in table.stderr
        assert told not in table.stdout
    replayed = runner.invoke(command_line, ["ledger", "verify", str(folder), *key, "--replay"])
    assert told in replayed.stdout
