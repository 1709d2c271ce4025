"""`concordat consent` and `concordat manager` as their users meet them."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fabricate import resident_id
from tests.gateways import Gateway, concordat
from tests.signers import Signer

TERMS = (
    *("consent", "--resident-id", "-", "--category", "credit_accounts"),
    *("--notice-version", "2026-1", "--jurisdiction", "CN", "--language", "zh-Hans-CN"),
    *("--withdrawal-method", "https://bank.example/withdraw"),
    *("--data-life", "6", "month", "--frequency", "3", "day"),
)


class Bank:
    """A member's own profile, documents and applicants."""

    def __init__(self, gateway: Gateway, folder: Path, name: str) -> None:
        self.profile = gateway.join(name)
        self.form, self.notice = folder / "form.pdf", folder / "notice.html"
        self.form.write_bytes(b"signed")
        self.notice.write_bytes(b"what we do with your data")

    def run(self, *arguments: object, stdin: str = "") -> str:
        ended = concordat(*arguments, "--profile", self.profile, stdin=stdin)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def record(self, command: str, person: int, *more: object, starts: str = "") -> Any:
        expires = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"
        start = ("--starts", starts) if starts else ()
        name, *terms = TERMS
        options = (*terms, "--purpose", "underwriting", "--notice", self.notice)
        printed = self.run(
            *(name, command, *options, "--expires", expires, *start, *more, "--json"),
            stdin=resident_id(person),
        )
        return json.loads(printed)

    def shown(self, consent_id: str) -> Any:
        return json.loads(self.run("consent", "show", consent_id, "--json"))


@pytest.fixture
def bank(gateway: Gateway, tmp_path: Path) -> Bank:
    return Bank(gateway, tmp_path, "consent-bank")


def test_a_consent_is_granted_shown_paused_resumed_and_withdrawn(bank: Bank) -> None:
    consent_id = bank.record("grant", 1, "--evidence", bank.form)["consent_id"]
    found = bank.shown(consent_id)
    assert found["state"] == "active"
    assert found["evidence_sha256"] == hashlib.sha256(b"signed").hexdigest()
    assert found["notice_sha256"] == hashlib.sha256(bank.notice.read_bytes()).hexdigest()
    assert found["frequency"] == {"unit": "day", "uses": 3}
    assert found["data_life"] == {"unit": "month", "value": 6}
    assert (found["jurisdiction"], found["purposes"]) == ("CN", ["underwriting"])

    reason = ("--reason", "asked for")
    paused = bank.run("consent", "pause", consent_id, *reason)
    assert re.fullmatch(rf"{consent_id} is paused now, ledger entry \d+\.\n", paused)
    again = bank.run("consent", "pause", consent_id, *reason)
    assert again == f"{consent_id} was paused before: nothing changed.\n"
    resumed = json.loads(bank.run("consent", "resume", consent_id, *reason, "--json"))
    assert resumed["consent"]["state"] == "active"
    bank.run("consent", "withdraw", consent_id, "--asked-at", "2026-01-02T03:04:05")
    found = bank.shown(consent_id)
    assert (found["state"], found["asked_at"]) == ("withdrawn", "2026-01-02T03:04:05+00:00")
    refused = concordat("consent", "resume", consent_id, *reason, "--profile", bank.profile)
    assert refused.returncode == 1
    assert "CONSENT_WITHDRAWN" in refused.stderr
    table = bank.run("consent", "show", consent_id)
    assert re.search(r"^state +withdrawn$", table, re.M)
    assert re.search(r"^data_life +6 month$", table, re.M)


def test_consents_are_listed_by_person_and_by_state(bank: Bank) -> None:
    first = bank.record("grant", 11, "--evidence", bank.form)["consent_id"]
    second = bank.record("request", 11)["consent_id"]
    bank.record("request", 12)
    printed = bank.run(*("consent", "list", "--resident-id", "-", "--json"), stdin=resident_id(11))
    assert [one["consent_id"] for one in json.loads(printed)] == [first, second]
    table = bank.run(
        *("consent", "list", "--resident-id", "-", "--state", "requested"),
        stdin=resident_id(11),
    )
    heading, row = table.splitlines()
    assert heading.split()[:2] == ["consent", "state"]
    assert row.split()[:2] == [second, "requested"]
    activated = bank.run("consent", "activate", second, "--evidence", bank.form)
    assert "is active now" in activated


def test_a_start_that_is_to_come_is_shown(bank: Bank) -> None:
    begins = f"{datetime.now(UTC) + timedelta(days=7):%Y-%m-%d}"
    consent_id = bank.record("grant", 21, "--evidence", bank.form, starts=begins)["consent_id"]
    table = bank.run("consent", "show", consent_id)
    assert re.search(rf"^state +active, begins {begins} 00:00 UTC$", table, re.M)
    assert f"active, begins {begins} 00:00 UTC" in bank.run("consent", "list")


def test_a_manager_signs_what_a_bank_requested(
    gateway: Gateway, bank: Bank, tmp_path: Path
) -> None:
    signer, key, signature = Signer.p256(), tmp_path / "house.jwk", tmp_path / "jws.txt"
    key.write_text(signer.jwk_text)
    registered = concordat(
        *("manager", "register", "cli-house", "--name", "Consent House", "--jwk", key),
        *("--profile", gateway.operator),
    )
    assert registered.returncode == 0, registered.stderr
    assert "cli-house is registered now" in registered.stdout

    asked = bank.record("request", 31, "--for-signature")
    assert len(bytes.fromhex(asked["nonce"])) == 16
    bank.run("consent", "terms", asked["consent_id"], "--out", tmp_path / "terms.json")
    terms = (tmp_path / "terms.json").read_bytes()
    assert json.loads(terms)["recipient"] == "consent-bank"
    signature.write_text(signer.sign(terms, kid="cli-house") + "\n")
    bank.run("consent", "activate", asked["consent_id"], "--evidence-jws", signature)
    assert bank.shown(asked["consent_id"])["evidence_signer"] == "manager:cli-house"

    revoked = concordat(
        *("consent", "revoke", asked["consent_id"], "--reason", "told to", "--manager"),
        *("cli-house", "--profile", gateway.operator),
    )
    assert revoked.returncode == 0, revoked.stderr
    assert bank.shown(asked["consent_id"])["revoked_by"] == "manager:cli-house"
    disabled = concordat("manager", "disable", "cli-house", "--profile", gateway.operator)
    assert "is disabled now" in disabled.stdout, disabled.stderr
    listed = json.loads(bank.run("manager", "list", "--json"))
    [house] = [one for one in listed if one["manager_id"] == "cli-house"]
    assert house["disabled_at"] is not None
    assert "cli-house" in bank.run("manager", "list")


def test_wrong_usage_is_said_in_one_line(bank: Bank, gateway: Gateway) -> None:
    wrong = [
        (("consent", "show", "xyz"), 2, "not hexadecimal"),
        (("consent", "show", "00" * 16), 1, "CONSENT_NOT_FOUND"),
        (("consent", "activate", "00" * 16), 2, "Exactly one of --evidence and --evidence-jws"),
        (("consent", "list", "--resident-id", resident_id(1)), 2, "do not belong"),
        (("manager", "disable", "nobody"), 1, "ROLE_NOT_ALLOWED"),
    ]
    for arguments, code, text in wrong:
        ended = concordat(*arguments, "--profile", bank.profile)
        assert ended.returncode == code, ended.stderr
        assert text in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_refused_consent_says_which_field_and_why(bank: Bank) -> None:
    name, *terms = TERMS
    ended = concordat(
        *(name, "grant", *terms, "--purpose", "underwriting", "--purpose", "contribution"),
        *("--expires", "2030-01-01", "--evidence", bank.form, "--profile", bank.profile),
        stdin=resident_id(41),
    )
    assert ended.returncode == 1
    assert "[REQUIRED]" in ended.stderr
    assert "notice_sha256" in ended.stderr
