"""The commands of docs/keyholder.md, in its order, on one key-holder."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from concordat_keyholder.batches import MAX_REPEATS
from concordat_keyholder.cli import keyholder as command_line
from concordat_keyholder.config import DEFAULT_QUOTA, DEFAULT_UPDATES_DAILY
from tests.keyholders import Member, new_authority

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "keyholder.md"
PREFIX = "    concordat keyholder "


def commands() -> list[list[str]]:
    lines = GUIDE.read_text(encoding="utf-8").splitlines()
    return [shlex.split(line.removeprefix(PREFIX)) for line in lines if line.startswith(PREFIX)]


def test_the_guide_s_commands_work_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = "spiffe://consortium.example/member/alpha"
    alpha = Member.certified_by(new_authority(), "alpha", uri)
    (tmp_path / "alpha.pem").write_bytes(alpha.certificate_pem)
    done = []
    for command in commands():
        # It serves until it is stopped; the other tests do that.
        if command[0] == "serve":
            continue
        result = CliRunner().invoke(command_line, command)
        done.append(command[0])
        if command[0] == "forget":
            # The first epoch is in use for a long time yet.
            assert "epoch 1: still in use" in result.output
        else:
            assert result.exit_code == 0, result.output
    assert len(done) == 11


def test_the_guide_s_numbers_are_the_code_s() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    quota = DEFAULT_QUOTA
    assert (
        f"{quota.daily:,} a day, {quota.monthly:,} a month, {quota.per_second:g} a second" in text
    )
    assert f"answered up to {MAX_REPEATS} times more" in text
    assert f"{DEFAULT_UPDATES_DAILY:,} a day" in text


def test_the_guide_names_every_command() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for name in command_line.commands:
        assert f"keyholder {name}" in text or f"`{name}" in text, name
