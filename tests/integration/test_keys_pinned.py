"""`concordat keys list` and `concordat keys pin`, against a peer: what a member pins, and when."""

from datetime import timedelta
from pathlib import Path

import pytest

from concordat import Client, Profile
from concordat_rpc.errors import Kind, Refusal
from tests.gateways import concordat
from tests.peer import Peer, Refuse
from tests.peer_tokens import EPOCH

NEXT = EPOCH + 1


@pytest.fixture
def rotated(peer: Peer, profile: Path) -> Peer:
    """The peer, with an epoch more than the profile pins."""
    peer.keyholders.add_epoch(NEXT, peer.time - timedelta(hours=1))
    peer.keyholders.end_epoch(EPOCH, peer.time + timedelta(days=30))
    return peer


def test_the_keys_are_listed_with_what_is_pinned(rotated: Peer, profile: Path) -> None:
    listed = concordat("keys", "list", "--profile", profile)
    assert listed.returncode == 0, listed.stderr
    heading, old, new = (line.split() for line in listed.stdout.splitlines())
    assert heading[0] == "epoch"
    keys = rotated.keyholders.pairs
    assert (old[:2], old[-1]) == ([str(EPOCH), bytes(keys[EPOCH].public).hex()], "yes")
    assert (new[:2], new[-1]) == ([str(NEXT), bytes(keys[NEXT].public).hex()], "no")


def test_a_later_log_is_pinned_once(rotated: Peer, profile: Path) -> None:
    first = concordat("keys", "pin", "--profile", profile)
    assert first.returncode == 0, first.stderr
    assert (profile / "keys.log").read_text() == rotated.keyholders.log
    again = concordat("keys", "pin", "--profile", profile)
    assert "has the newest key log: 3 entries" in again.stdout
    with Client(Profile.load(profile)) as client:
        assert client.key_log == rotated.keyholders.log


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_command_learns_on_its_way_is_pinned(
    rotated: Peer, profile: Path, fails: bool
) -> None:
    # The pinned epoch has ended, so a token needs the gateway's log.
    rotated.keyholders.ends[EPOCH] = rotated.time - timedelta(minutes=1)
    if fails:
        rotated.next("Lookup", Refuse(Refusal(Kind.PERMISSION_DENIED, "MEMBER_SUSPENDED", "no")))
    looked_up = concordat(
        *("lookup", "--resident-id", "-", "--purpose", "underwriting", "--profile", profile),
        stdin="11010019000101000X\n",
    )
    assert looked_up.returncode == (1 if fails else 0), looked_up.stderr
    assert ("MEMBER_SUSPENDED" in looked_up.stderr) is fails
    assert (profile / "keys.log").read_text() == rotated.keyholders.log


def test_a_command_that_asks_for_no_keys_leaves_the_pinned_log(
    rotated: Peer, profile: Path
) -> None:
    pinned = (profile / "keys.log").read_text()
    shown = concordat("usage", "--profile", profile)
    assert shown.returncode == 0, shown.stderr
    assert (profile / "keys.log").read_text() == pinned


def test_a_log_that_contradicts_the_pinned_one_is_not_pinned(peer: Peer, profile: Path) -> None:
    pinned = (profile / "keys.log").read_text()
    peer.keyholders.fork()
    for command in ("list", "pin"):
        refused = concordat("keys", command, "--profile", profile)
        assert refused.returncode == 1
        assert "KEY_LOG_FORKED" in refused.stderr
    assert (profile / "keys.log").read_text() == pinned


def test_a_profile_without_a_key_log_pins_none(peer: Peer, profile: Path) -> None:
    settings = profile / "profile.toml"
    text = settings.read_text()
    settings.write_text(text[: text.index("key_log_vkey")])
    (profile / "keys.log").unlink()
    refused = concordat("keys", "pin", "--profile", profile)
    assert refused.returncode == 1
    assert "pins no key log" in refused.stderr
    assert not (profile / "keys.log").exists()
