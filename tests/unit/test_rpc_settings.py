"""Configuration errors name the file, the entry, and what is wrong with it."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from concordat_rpc.address import Address
from concordat_rpc.secret_files import read_secret, replace_secret, write_secret
from concordat_rpc.settings import Settings, SettingsError, toml_text


def settings_of(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "some.toml"
    file.write_text(text)
    return Settings.read(file)


def test_entries_are_read_with_their_types(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 'name = "x"\nsize = 3\nshare = 1\nkey = "sub/key"\n[t]\na = 1')

    assert settings.text("name") == "x"
    assert settings.integer("size", 1, 5) == 3
    assert settings.number("share", 0.0, 1.0) == 1.0
    assert settings.path("key") == tmp_path / "sub" / "key"
    table = settings.table("t")
    assert table.integer("a", 1, 1) == 1
    table.finish()
    settings.finish()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "some.toml: outer.size: missing"),
        ("[outer]\nsize = 0", "some.toml: outer.size: must be 1 to 5, is 0"),
        ("[outer]\nsize = true", "some.toml: outer.size: must be a whole number"),
        ('[outer]\nsize = "3"', "some.toml: outer.size: must be a whole number"),
        ("[outer]\nsize = 3.0", "some.toml: outer.size: must be a whole number"),
        ("[outer]\nsize = 3\nsise = 4", "some.toml: outer.sise: no such entry"),
        ("outer = 3", "some.toml: outer: must be a table"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, text: str, message: str) -> None:
    def read_outer() -> None:
        outer = settings_of(tmp_path, text).table("outer")
        outer.integer("size", 1, 5)
        outer.finish()

    with pytest.raises(SettingsError) as raised:
        read_outer()

    assert str(raised.value).endswith(message)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: No such file"):
        Settings.read(tmp_path / "absent.toml")


@pytest.mark.parametrize("content", [b"size = ", b"\xff\xfe"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)

    with pytest.raises(SettingsError, match=r"broken\.toml: "):
        Settings.read(file)


def test_a_key_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", b"secret")

    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert read_secret(tmp_path / "key") == b"secret"
    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "key", b"other")


def test_a_key_files_name_is_made_durable_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink())
    )
    write_secret(tmp_path / "key", b"secret")
    assert synced == [tmp_path / "key", tmp_path]

    synced.clear()
    replace_secret(tmp_path / "key", b"other")
    assert synced[-1] == tmp_path
    assert read_secret(tmp_path / "key") == b"other"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"old"])
def test_a_key_file_whose_writing_is_broken_off_is_the_old_one_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        write_secret(file, content)

    def killed(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            replace_secret(file, b"new")
    assert (file.read_bytes() if file.exists() else None) == content
    # What was left behind is in nobody's way.
    replace_secret(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    write_secret(tmp_path / "key", b"secret")
    (tmp_path / "key").chmod(mode)

    with pytest.raises(SettingsError, match="chmod 600"):
        read_secret(tmp_path / "key")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7443", "127.0.0.1", 7443),
        ("gateway.example:0", "gateway.example", 0),
        ("[::1]:443", "::1", 443),
    ],
)
def test_addresses_read_back_as_they_were_written(text: str, host: str, port: int) -> None:
    address = Address.parse(text)

    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", ":1", "host", "host:", "host:x", "host:65536", "::1:5", "h:²"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Address.parse(text)


@given(text=st.text(st.characters(codec="utf-8")))
@example('C:\\keys "new"\x7f\n')
def test_a_text_written_as_toml_is_read_back(text: str) -> None:
    assert tomllib.loads(f"entry = {toml_text(text)}") == {"entry": text}
