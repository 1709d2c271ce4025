"""The key-holder's command line: what it makes, what it changes, what it says."""

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from concordat_gateway.pki import Authority
from concordat_keyholder.cli import keyholder as command_line
from concordat_keyholder.config import load_config
from concordat_keyholder.keys import read_keys
from concordat_keyholder.roster import fingerprint
from concordat_privacy import oprf
from tests.gateways import concordat
from tests.keyholders import (
    PORTFOLIO,
    TRUST_DOMAIN,
    Host,
    Member,
    evaluate,
    evaluate_refused,
    new_authority,
    stopped_at_end,
)

# Processes are started and stopped for nearly every test.
pytestmark = pytest.mark.slow

PASSPHRASE = "correct horse battery staple"
_, BLINDED = oprf.blind_batch([b"first", b"second", b"third"])


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def host(tmp_path: Path, authority: Authority) -> Host:
    return Host.made(tmp_path / "host", authority)


@pytest.fixture(scope="module")
def alpha(authority: Authority) -> Member:
    return Member.certified_by(authority, "alpha")


def invoke(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(command_line, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def rows(output: str) -> list[list[str]]:
    """A printed table without its heading, split at wide gaps."""
    return [re.split(r" {2,}", line) for line in output.splitlines()[1:]]


def test_the_command_line_has_it() -> None:
    """Found by the entry point, as the installed distribution has it."""
    shown = concordat("keyholder", "--help")
    assert shown.returncode == 0, shown.stderr
    for name in command_line.commands:
        assert re.search(rf"^  {name} ", shown.stdout, re.MULTILINE), name
    assert "keyholder" in concordat("--help").stdout


# init


def test_a_new_folder_is_for_production(host: Host) -> None:
    config = load_config(host.config)
    assert config.admission.value == "roster"
    assert (config.quota.daily, config.quota.monthly) == (20_000, 200_000)
    assert config.key_log_vkey.name == f"{TRUST_DOMAIN}/token-keys"
    assert (host.folder / "log.vkey").read_text().strip() == config.key_log_vkey.encode()
    assert config.store_url == f"sqlite:///{host.folder}/keyholder.db"


def test_the_key_that_members_compare_is_shown_at_the_start_and_with_each_admission(
    tmp_path: Path, authority: Authority, alpha: Member
) -> None:
    host = Host(tmp_path / "host", authority)
    code, made = invoke("init", host.folder, "--trust-domain", TRUST_DOMAIN)
    assert code == 0, made
    (tmp_path / "alpha.pem").write_bytes(alpha.certificate_pem)
    admitted = host.does("admit", "alpha", "--certificate", tmp_path / "alpha.pem")
    vkey = (host.folder / "log.vkey").read_text().strip()
    digest = hashlib.sha256(vkey.encode()).hexdigest()[:32]
    for output in (made, admitted):
        assert vkey in output
        assert digest in output.replace(" ", "")


def test_nothing_that_is_there_is_overwritten(host: Host) -> None:
    before = {file: file.read_bytes() for file in host.folder.iterdir()}
    code, output = invoke("init", host.folder, "--trust-domain", TRUST_DOMAIN)
    assert code == 1
    assert "is there already; nothing was changed" in output
    assert {file: file.read_bytes() for file in host.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--trust-domain", "not a domain"),
        ("--listen", "nowhere"),
        ("--passphrase", "secret"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(tmp_path: Path, option: str, value: str) -> None:
    options = {"--trust-domain": TRUST_DOMAIN} | {option: value}
    line = [part for pair in options.items() for part in pair]
    code, output = invoke("init", tmp_path / "host", *line)
    assert code == 2
    assert option in output
    assert not (tmp_path / "host").exists()


def test_a_folder_can_be_sealed_by_a_passphrase_from_the_start(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PASSPHRASE", PASSPHRASE)
    host = Host.made(tmp_path / "host", authority, "--passphrase", "environment:TEST_PASSPHRASE")
    assert not (host.folder / "seal.key").exists()
    with stopped_at_end([host]):
        host.start()
    monkeypatch.setenv("TEST_PASSPHRASE", "another passphrase")
    assert "wrong passphrase, or the file was changed" in host.fails_to_start()
    monkeypatch.delenv("TEST_PASSPHRASE")
    assert "passphrase: none was given" in host.fails_to_start()


# reseal


def test_keys_are_sealed_anew_and_the_old_seal_opens_nothing(
    host: Host, alpha: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PASSPHRASE", PASSPHRASE)
    host.admit(alpha)
    said = host.does("reseal", "--passphrase", "environment:TEST_PASSPHRASE")
    assert 'method = "passphrase"' in said
    assert "sealed by passphrase, but the configuration's [seal] has key-file" in (
        host.fails_to_start()
    )
    host.edit('method = "key-file"', 'method = "passphrase"')
    host.edit('key_file = "seal.key"', 'passphrase = "environment:TEST_PASSPHRASE"')
    with stopped_at_end([host]):
        host.start()
        with host.channel() as channel:
            evaluate(channel, alpha.signed(BLINDED))

    said = host.does("reseal", "--key-file", host.folder / "other.key")
    assert f'key_file = "{host.folder / "other.key"}"' in said
    host.edit('method = "passphrase"', 'method = "key-file"')
    host.edit('passphrase = "environment:TEST_PASSPHRASE"', 'key_file = "seal.key"')
    assert "wrong key-file, or the file was changed" in host.fails_to_start()
    host.edit('key_file = "seal.key"', 'key_file = "other.key"')
    config = load_config(host.config)
    assert read_keys(config.keys, config.seal)[0].records


def test_a_plain_file_of_an_older_build_is_sealed(host: Host, tmp_path: Path) -> None:
    config = load_config(host.config)
    [held] = read_keys(config.keys, config.seal)[0]
    secret = bytes(held.secret).hex()
    config.keys.write_text(f'[[keys]]\nepoch = 1\nsecret = "{secret}"\n')
    said = host.fails_to_start()
    assert "concordat keyholder reseal" in said
    assert secret not in said

    host.does("reseal", "--key-file", host.folder / "seal.key")
    assert secret not in config.keys.read_text()
    assert read_keys(config.keys, config.seal)[0].records[0].secret == held.secret


@pytest.mark.parametrize("options", [[], ["--key-file", "a", "--passphrase", "prompt"]])
def test_one_seal_is_wanted(host: Host, options: list[str]) -> None:
    result = host.run("reseal", *options)
    assert result.exit_code == 2
    assert "exactly one is wanted of --key-file and --passphrase" in result.output


WITH_TERMINAL = """
import fcntl, os, sys, termios

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "concordat_keyholder", *sys.argv[1:]])
"""


def typed(
    arguments: list[str], *lines: str, ends: bytes | tuple[bytes, ...] = (b"keys: ", b"again: ")
) -> tuple[int, str]:
    """Run a command at a terminal of its own and type a line at each prompt; all it showed."""
    terminal, inside = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", WITH_TERMINAL, *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    shown, left = b"", list(lines)
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            # The other end is closed: it has ended.
            break
        if not piece:
            break
        shown += piece
        if left and shown.endswith(ends):
            os.write(terminal, f"{left.pop(0)}\n".encode())
    os.close(terminal)
    return child.wait(30), shown.decode()


def test_a_passphrase_is_typed_twice_and_not_shown(host: Host) -> None:
    line = ["reseal", "--config", str(host.config), "--passphrase", "prompt"]
    code, shown = typed(line, PASSPHRASE, PASSPHRASE + "r")
    assert (code, "passphrase: the two differ" in shown) == (1, True)
    code, shown = typed(line, PASSPHRASE, PASSPHRASE)
    assert code == 0, shown
    assert PASSPHRASE not in shown

    host.edit('method = "key-file"', 'method = "passphrase"')
    host.edit('key_file = "seal.key"', 'passphrase = "prompt"')
    code, shown = typed(["new-epoch", "--config", str(host.config)], "not the passphrase")
    assert (code, "wrong passphrase, or the file was changed" in shown) == (1, True)
    code, shown = typed(["new-epoch", "--config", str(host.config)], PASSPHRASE)
    assert code == 0, shown
    assert len(host.key_log.keys) == 2


def test_a_passphrase_mistyped_at_the_start_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "host"
    line = ["init", str(folder), "--trust-domain", TRUST_DOMAIN, "--passphrase", "prompt"]
    code, shown = typed(line, PASSPHRASE, PASSPHRASE + "r")
    assert (code, "passphrase: the two differ" in shown) == (1, True)
    assert not folder.exists()
    code, shown = typed(line, PASSPHRASE, PASSPHRASE)
    assert code == 0, shown


def test_a_passphrase_s_file_is_found_from_the_configuration_s_folder(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other path of the file, wherever the command is run."""
    kept = host.folder / "passphrase"
    kept.touch(0o600)
    kept.write_text(PASSPHRASE)
    monkeypatch.chdir(host.folder)
    said = host.does("reseal", "--passphrase", "file:passphrase")
    assert f'passphrase = "file:{kept}"' in said
    host.edit('method = "key-file"', 'method = "passphrase"')
    host.edit('key_file = "seal.key"', 'passphrase = "file:passphrase"')
    monkeypatch.chdir(tmp_path)
    host.does("new-epoch")
    kept.unlink()
    assert f"passphrase: {kept}: No such file" in host.run("new-epoch").output


# Members.


def test_the_roster_is_shown_with_fingerprints(
    host: Host, alpha: Member, authority: Authority
) -> None:
    from concordat_keyholder.certificates import read_pem

    der = read_pem(alpha.certificate_pem, TRUST_DOMAIN).key_der
    host.admit(alpha)
    host.admit(Member.certified_by(authority, "beta"))
    host.does("expel", "beta")
    host.does("quota", "gamma", "--daily", "5", "--monthly", "50")

    shown = rows(host.does("members"))
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    assert [(row[0], row[1]) for row in shown] == [
        ("alpha", "admitted"),
        ("beta", "expelled"),
        ("gamma", "not yet"),
    ]
    assert shown[0][2].startswith(day)
    assert shown[0][3:] == ["20000", "200000", fingerprint(der)]
    assert shown[2][-2:] == ["5", "50"]


def test_whoever_is_not_admitted_is_told_of(host: Host, alpha: Member) -> None:
    """A mistyped name has a quota of its own, and nobody who uses it."""
    quota = ("--daily", "5", "--monthly", "50")
    grant = ("--evaluations", "100", "--until", "2098-12-31")
    assert "alpha is not admitted here" in host.does("quota", "alpha", *quota)
    assert "alpha is not admitted here" in host.does("grant", "alpha", *grant)
    host.admit(alpha)
    assert "not admitted" not in host.does("quota", "alpha", *quota)
    assert "not admitted" not in host.does("grant", "alpha", *grant)
    host.does("expel", "alpha")
    assert "alpha is not admitted here" in host.does("quota", "alpha", *quota)


def test_a_person_who_starts_it_is_told_what_it_does(host: Host) -> None:
    code, shown = typed(["serve", "--config", str(host.config)], "\x03", ends=b"and stops.\r\n")
    assert code == 0, shown
    assert "Serving on port " in shown


def test_usage_shows_quota_and_allowance(host: Host, alpha: Member) -> None:
    host.admit(alpha)
    host.does("grant", "alpha", "--evaluations", "100", "--until", "2098-12-31")
    with stopped_at_end([host]):
        host.start()
        with host.channel() as channel:
            evaluate(channel, alpha.signed(BLINDED))
            evaluate(channel, alpha.signed(BLINDED[:32], quota=PORTFOLIO))
            # While it serves.
            shown = rows(host.does("usage"))
    assert shown == [["alpha", "3", "20000", "3", "200000", "1", "100", "2099-01-01 00:00:00 UTC"]]


def test_only_the_member_s_own_certificate_admits_it(
    host: Host, alpha: Member, authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "certificate.pem"
    for content, message in (
        (alpha.certificate_pem, "is alpha's and not beta's"),
        (b"no certificate", "not an X.509 certificate"),
        (
            Member.certified_by(
                authority, "beta", f"spiffe://{TRUST_DOMAIN}/operator/main"
            ).certificate_pem,
            "not a member's",
        ),
        (
            Member.certified_by(
                authority, "beta", "spiffe://other.test/member/beta"
            ).certificate_pem,
            f"trust domain is not {TRUST_DOMAIN}",
        ),
    ):
        file.write_bytes(content)
        result = host.run("admit", "beta", "--certificate", file)
        assert result.exit_code == 1
        assert message in result.output
    assert rows(host.does("members")) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["quota", "alpha", "--daily", "10", "--monthly", "9"], "less than 10 a day"),
        (["quota", "alpha", "--daily", "0", "--monthly", "9"], "--daily"),
        (["quota", "Alpha!", "--daily", "1", "--monthly", "9"], "not a member id"),
        (["expel", "Alpha!"], "not a member id"),
        (["grant", "alpha", "--evaluations", "5", "--until", "2001-01-01"], "is over"),
        (["grant", "alpha", "--evaluations", "5", "--until", "soon"], "--until"),
        (["grant", "alpha", "--evaluations", "-5", "--until", "2098-01-01"], "--evaluations"),
        (["admit", "alpha", "--certificate", "absent.pem"], "absent.pem"),
    ],
)
def test_mistakes_are_named(host: Host, line: list[str], message: str) -> None:
    result = host.run(line[0], *line[1:])
    assert result.exit_code == 2
    assert message in result.output
    assert rows(host.does("members")) == []


def test_members_are_admitted_before_it_ever_served(host: Host, alpha: Member) -> None:
    host.admit(alpha)
    with stopped_at_end([host]):
        host.start()
        with host.channel() as channel:
            evaluate(channel, alpha.signed(BLINDED))
            # And expelled while it serves.
            host.does("expel", "alpha")
            assert evaluate_refused(channel, alpha.signed(BLINDED)).reason == "NOT_ADMITTED"


def test_its_database_is_for_this_account_alone(host: Host, alpha: Member) -> None:
    host.admit(alpha)
    for file in host.folder.glob("keyholder.db*"):
        assert file.stat().st_mode & 0o077 == 0, file


# What keeps it from serving.


def test_a_store_of_a_newer_build_is_refused(host: Host, alpha: Member) -> None:
    host.admit(alpha)
    with sqlite3.connect(host.folder / "keyholder.db") as connection:
        connection.execute("UPDATE alembic_version_keyholder SET version_num = 'later'")
    connection.close()
    assert "a newer build made it" in host.fails_to_start()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cert.pem", "cert.pem: No such file"),
        ("key.pem", "key.pem: No such file"),
        ("token.keys", "token.keys: No such file"),
        ("seal.key", "seal.key: No such file"),
        ("keys.log", "keys.log: No such file"),
        ("keyholder.toml", "keyholder.toml: No such file"),
    ],
)
def test_a_missing_file_is_named(host: Host, name: str, message: str) -> None:
    (host.folder / name).unlink()
    assert message in host.fails_to_start()


def test_a_port_that_is_taken_is_named(host: Host, tmp_path: Path) -> None:
    with stopped_at_end([host]):
        host.start()
        other = Host.made(tmp_path / "other", host.authority)
        assert f"cannot listen on 127.0.0.1:{host.port}" in other.fails_to_start(
            "--port", str(host.port)
        )


def test_a_key_that_is_not_the_log_s_is_refused(host: Host, tmp_path: Path) -> None:
    other = Host.made(tmp_path / "other", host.authority)
    for name in ("token.keys", "seal.key"):
        (host.folder / name).write_bytes((other.folder / name).read_bytes())
    assert "epoch 1: its key is not the one in the key log" in host.fails_to_start()


def test_a_log_of_another_key_is_refused(host: Host, tmp_path: Path) -> None:
    other = Host.made(tmp_path / "other", host.authority)
    (host.folder / "keys.log").write_bytes((other.folder / "keys.log").read_bytes())
    assert "not signed by its log" in host.fails_to_start()
