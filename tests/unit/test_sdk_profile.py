"""Profiles load, or say which file and which entry is wrong."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from concordat import Client, Environment, Profile, ProfileError
from tests.peer import SERVER_NAME, Certificates, Peer, write_profile
from tests.peer_ledger import SPIFFE_ID
from tests.peer_tokens import EPOCH

ROOT, NOBODY = 0, 65534


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest.fixture
def folder(tmp_path: Path, certificates: Certificates) -> Path:
    """A good profile; nothing listens behind it."""
    return write_profile(tmp_path / "alpha", Peer(port=7443), certificates)


def edit(folder: Path, old: str, new: str) -> None:
    settings = folder / "profile.toml"
    text = settings.read_text()
    assert old in text
    settings.write_text(text.replace(old, new))


def test_a_good_profile_loads(folder: Path) -> None:
    profile = Profile.load(folder)
    assert profile.gateway == "127.0.0.1:7443"
    assert profile.server_name == SERVER_NAME
    assert profile.spiffe_id == SPIFFE_ID
    assert profile.key_log is not None
    assert [key.epoch for key in profile.key_log.keys] == [EPOCH]


def test_the_private_key_is_not_in_the_repr(folder: Path) -> None:
    assert "PRIVATE KEY" not in repr(Profile.load(folder))


@pytest.mark.parametrize("name", ["profile.toml", "cert.pem", "key.pem", "ca.pem", "keys.log"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ProfileError) as caught:
        Profile.load(folder)
    assert caught.value.path == folder / name


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "ca.pem"])
def test_a_file_that_is_not_pem_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"not PEM")
    with pytest.raises(ProfileError) as caught:
        Profile.load(folder)
    assert caught.value.path == folder / name


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('gateway = "127.0.0.1:7443"\n', "", "gateway"),
        ("127.0.0.1:7443", "127.0.0.1", "gateway"),
        ("127.0.0.1:7443", "127.0.0.1:70000", "gateway"),
        ('gateway = "127.0.0.1:7443"', "gateway = 7443", "gateway"),
        (f'server_name = "{SERVER_NAME}"', 'server_name = " "', "server_name"),
        ("ledger_vkey = ", 'ledger_vkey = "nonsense" #', "ledger_vkey"),
        ("key_log_vkey = ", 'key_log_vkey = "nonsense" #', "key_log_vkey"),
        ("key_log_vkey = ", "key_log_vkey = 5 #", "key_log_vkey"),
        ("key_log_vkey = ", "key_log = ", "key_log"),
        (SPIFFE_ID, "spiffe://concordat.test/member/beta", "spiffe_id"),
    ],
)
def test_a_wrong_entry_is_named(folder: Path, old: str, new: str, key: str) -> None:
    edit(folder, old, new)
    with pytest.raises(ProfileError) as caught:
        Profile.load(folder)
    assert caught.value.path == folder / "profile.toml"
    assert caught.value.key == key
    assert key in str(caught.value)


@pytest.mark.parametrize("given", [5, None, b"alpha"])
def test_what_is_no_path_is_refused(given: object) -> None:
    with pytest.raises(ProfileError, match="path wanted"):
        Client.open(given)  # type: ignore[arg-type]  # the mistake under test


def test_what_is_not_toml_is_said_so(folder: Path) -> None:
    (folder / "profile.toml").write_text("gateway = ")
    with pytest.raises(ProfileError, match="not TOML"):
        Profile.load(folder)


def test_the_table_of_keys_of_older_profiles_is_refused_by_name(folder: Path) -> None:
    settings = folder / "profile.toml"
    settings.write_text(settings.read_text() + "[[token_keys]]\nepoch = 1\n")
    with pytest.raises(ProfileError) as caught:
        Profile.load(folder)
    assert caught.value.key == "token_keys"


def test_a_profile_without_a_key_log_loads(folder: Path) -> None:
    edit(folder, "key_log_vkey = ", "# ")
    (folder / "keys.log").unlink()
    profile = Profile.load(folder)
    assert profile.key_log is None
    with Client(profile) as client, pytest.raises(ProfileError) as caught:
        client.tokenise([])
    assert caught.value.key == "key_log_vkey"


def test_a_key_log_without_its_key_is_refused(folder: Path) -> None:
    edit(folder, "key_log_vkey = ", "# ")
    with pytest.raises(ProfileError) as caught:
        Profile.load(folder)
    assert (caught.value.path, caught.value.key) == (folder / "keys.log", "key_log_vkey")


def flip_a_digit(log: str) -> str:
    at = log.index('"public_key":"') + len('"public_key":"')
    return log[:at] + ("0" if log[at] != "0" else "1") + log[at + 1 :]


@pytest.mark.parametrize(
    "change",
    [
        flip_a_digit,
        lambda log: log.replace('"epoch":3', '"epoch":4'),
        lambda log: log.partition("\n\n")[0],
        lambda _: "",
        lambda _: Peer().keyholders.log,
    ],
    ids=["key", "epoch", "unsigned", "empty", "another signer"],
)
def test_a_key_log_that_does_not_verify_is_refused(
    folder: Path, change: Callable[[str], str]
) -> None:
    file = folder / "keys.log"
    file.write_text(change(file.read_text()))
    with pytest.raises(ProfileError, match="key log: ") as caught:
        Profile.load(folder)
    assert (caught.value.path, caught.value.reason) == (file, "KEY_LOG_INVALID")


def test_a_key_log_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "keys.log").write_bytes(b"\xff")
    with pytest.raises(ProfileError) as caught:
        Profile.load(folder)
    assert caught.value.path == folder / "keys.log"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o660, 0o666])
def test_a_key_that_others_may_read_or_change_is_refused(folder: Path, mode: int) -> None:
    (folder / "key.pem").chmod(mode)
    with pytest.raises(ProfileError, match="chmod 600") as caught:
        Profile.load(folder)
    assert caught.value.reason == "KEY_FILE_UNSAFE"


def test_only_roots_key_may_be_lent_to_a_group(folder: Path) -> None:
    key = folder / "key.pem"
    key.chmod(0o640)
    if key.stat().st_uid == ROOT:
        assert Profile.load(folder).spiffe_id == SPIFFE_ID
        os.chown(key, NOBODY, -1)
    with pytest.raises(ProfileError) as caught:
        Profile.load(folder)
    assert caught.value.reason == "KEY_FILE_UNSAFE"


def test_another_certificates_key_is_refused(folder: Path, certificates: Certificates) -> None:
    _, other_key = certificates.issue(SPIFFE_ID)
    (folder / "key.pem").write_bytes(other_key)
    with pytest.raises(ProfileError, match="not the private key of"):
        Profile.load(folder)


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        (lambda now: now + timedelta(days=2), "CERTIFICATE_EXPIRED"),
        (lambda now: now - timedelta(days=2), "CERTIFICATE_NOT_YET_VALID"),
    ],
)
def test_a_certificate_out_of_its_time_is_refused_before_any_call(
    folder: Path, shift: Callable[[datetime], datetime], reason: str
) -> None:
    moved = Environment(utc_now=lambda: shift(datetime.now(UTC)))
    with pytest.raises(ProfileError) as caught:
        Client(Profile.load(folder), environment=moved)
    assert caught.value.reason == reason
