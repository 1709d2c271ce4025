"""Token keys at rest: sealed, bound to what is open of them, replaced whole or not at all."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from concordat_keyholder import files
from concordat_keyholder.keys import HeldKey, HeldKeys, read_keys, read_plain_keys, write_keys
from concordat_keyholder.sealing import (
    METHODS,
    KeyFileSeal,
    PassphraseSeal,
    Seal,
    SealBroken,
    Wrapper,
    configured_seal,
)
from concordat_privacy.oprf import SecretKey, generate_key, key_ratio
from concordat_rpc.settings import Settings, SettingsError

PASSPHRASE = "correct horse battery staple"


def two_epochs() -> HeldKeys:
    """A whole key and its successor with the ratio."""
    first, second = generate_key().secret, generate_key().secret
    return HeldKeys.of([HeldKey(2, second, update=key_ratio(first, second)), HeldKey(1, first)])


def same(one: HeldKeys, other: HeldKeys) -> bool:
    return [(k.epoch, k.holder, k.threshold, k.secret, k.update) for k in one] == [
        (k.epoch, k.holder, k.threshold, k.secret, k.update) for k in other
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "token.keys"


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFileSeal:
    return KeyFileSeal.created(tmp_path / "seal.key")


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> PassphraseSeal:
    monkeypatch.setenv("TEST_PASSPHRASE", PASSPHRASE)
    return PassphraseSeal("environment:TEST_PASSPHRASE")


def write(file: Path, keys: HeldKeys, seal: Seal) -> None:
    write_keys(file, keys, seal.fresh(), seal.method)


@pytest.mark.parametrize("by", ["key_file", "passphrase"])
def test_what_was_sealed_opens_again(file: Path, request: pytest.FixtureRequest, by: str) -> None:
    seal: Seal = request.getfixturevalue(by)
    keys = HeldKeys.of([*two_epochs(), HeldKey(3, generate_key().secret, holder=2, threshold=3)])
    write(file, keys, seal)
    opened, wrapper = read_keys(file, seal)
    assert same(opened, keys)
    assert [held.epoch for held in opened] == [1, 2, 3]
    # And what it was opened with seals the next version.
    write_keys(file, two_epochs(), wrapper, seal.method)
    assert len(read_keys(file, seal)[0].records) == 2


@pytest.mark.parametrize("by", ["key_file", "passphrase"])
def test_no_secret_is_in_the_file(file: Path, request: pytest.FixtureRequest, by: str) -> None:
    seal: Seal = request.getfixturevalue(by)
    keys = two_epochs()
    write(file, keys, seal)
    content = file.read_bytes()
    for held in keys:
        for secret in (held.secret, held.update):
            if secret is not None:
                assert bytes(secret) not in content
                assert bytes(secret).hex().encode() not in content
    assert PASSPHRASE.encode() not in content
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_same_keys_are_never_sealed_to_the_same_bytes(
    file: Path, key_file: KeyFileSeal
) -> None:
    keys = two_epochs()
    write(file, keys, key_file)
    first = file.read_text()
    write(file, keys, key_file)
    secrets = re.findall(r'(?:secret|update) = "([^"]+)"', first + file.read_text())
    assert len(secrets) == len(set(secrets)) == 6


def test_a_wrong_passphrase_is_one_clear_error(
    file: Path, passphrase: PassphraseSeal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, two_epochs(), passphrase)
    monkeypatch.setenv("TEST_PASSPHRASE", PASSPHRASE + "r")
    with pytest.raises(SettingsError) as caught:
        read_keys(file, passphrase)
    assert str(caught.value) == (
        f"{file}: cannot be unsealed: wrong passphrase, or the file was changed"
    )


def test_another_key_file_is_one_clear_error(
    file: Path, key_file: KeyFileSeal, tmp_path: Path
) -> None:
    write(file, two_epochs(), key_file)
    with pytest.raises(SettingsError, match="wrong key-file, or the file was changed"):
        read_keys(file, KeyFileSeal.created(tmp_path / "other.key"))


def test_the_method_must_be_the_configured_one(
    file: Path, key_file: KeyFileSeal, passphrase: PassphraseSeal
) -> None:
    write(file, two_epochs(), key_file)
    with pytest.raises(SettingsError, match=r"sealed by key-file, but .* has passphrase"):
        read_keys(file, passphrase)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"epoch = 1$", "epoch = 3"),
        (r"holder = 0$", "holder = 1"),
        (r"threshold = 1$", "threshold = 2"),
        (r'public_key = "[0-9a-f]{8}', 'public_key = "00000000'),
        (r'secret = "....', 'secret = "AAAA'),
        (r'(secret = ".*)...."$', r'\1AAAA"'),
        (r'(update = ")....', r"\1AAAA"),
    ],
)
def test_no_part_of_a_record_can_be_changed(
    file: Path, key_file: KeyFileSeal, old: str, new: str
) -> None:
    write(file, two_epochs(), key_file)
    text = file.read_text()
    changed = re.sub(old, new, text, count=1, flags=re.MULTILINE)
    assert changed != text
    file.write_text(changed)
    with pytest.raises(SettingsError, match=r"cannot be unsealed|is not|wanted"):
        read_keys(file, key_file)


def test_sealed_secrets_cannot_change_places(file: Path, key_file: KeyFileSeal) -> None:
    """One epoch's secret in another's record, and a ratio in the place of a key."""
    write(file, two_epochs(), key_file)
    text = file.read_text()
    first, second = re.findall(r'secret = "([^"]+)"', text)
    [update] = re.findall(r'update = "([^"]+)"', text)
    for one, other in ((first, second), (second, update)):
        swapped = text.replace(one, "@").replace(other, one).replace("@", other)
        assert swapped != text
        file.write_text(swapped)
        with pytest.raises(SettingsError, match="cannot be unsealed"):
            read_keys(file, key_file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "an older build"),
        (lambda text: text.replace("version = 2", "version = 3"), "version: must be 2 to 2"),
        (lambda text: text[: text.index("[[keys]]")], "at least one key is needed"),
        (lambda text: text + text[text.index("[[keys]]") :], "epoch 1 is there twice"),
        (lambda text: text.replace('method = "key-file"', ""), "seal.method: missing"),
        (lambda text: text.replace('secret = "', 'secret = "!'), "secret: not base64"),
        (lambda text: text.replace("holder = 0", "holder = 17"), "holder: must be 0 to 16"),
        (lambda text: text + "more = 1\n", "more: no such entry"),
        (lambda text: text + "[", "token.keys: "),
    ],
)
def test_a_file_that_is_none_is_a_clear_error(
    file: Path, key_file: KeyFileSeal, change: Callable[[str], str], message: str
) -> None:
    write(file, two_epochs(), key_file)
    file.write_text(change(file.read_text()))
    with pytest.raises(SettingsError) as caught:
        read_keys(file, key_file)
    assert message in str(caught.value)


def test_a_file_that_others_can_read_is_refused(file: Path, key_file: KeyFileSeal) -> None:
    write(file, two_epochs(), key_file)
    file.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_keys(file, key_file)


# Seals.


def test_a_key_file_that_others_can_read_is_refused(file: Path, key_file: KeyFileSeal) -> None:
    write(file, two_epochs(), key_file)
    key_file.file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_keys(file, key_file)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "32 bytes wanted, 0 found"), ("00" * 31, "31 found"), ("zz", "not hexadecimal")],
)
def test_a_key_file_has_32_bytes(key_file: KeyFileSeal, content: str, message: str) -> None:
    key_file.file.write_text(content)
    with pytest.raises(SettingsError, match=message):
        key_file.fresh()


def test_a_key_file_is_not_overwritten(key_file: KeyFileSeal) -> None:
    with pytest.raises(SettingsError):
        KeyFileSeal.created(key_file.file)


def test_a_passphrase_comes_from_a_file_or_a_descriptor(file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "passphrase"
    kept.touch(0o600)
    kept.write_text(f"{PASSPHRASE}\n")
    keys = two_epochs()
    write(file, keys, PassphraseSeal(f"file:{kept}"))

    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode())
    os.close(writing)
    opened, _ = read_keys(file, PassphraseSeal(f"file:/dev/fd/{reading}"))
    os.close(reading)
    assert same(opened, keys)
    kept.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_keys(file, PassphraseSeal(f"file:{kept}"))


def test_a_passphrase_is_not_short_and_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSPHRASE", "elevenchars")
    with pytest.raises(SettingsError, match="at least 12 characters"):
        PassphraseSeal("environment:TEST_PASSPHRASE").fresh()
    monkeypatch.delenv("TEST_PASSPHRASE")
    with pytest.raises(SettingsError, match="none was given"):
        PassphraseSeal("environment:TEST_PASSPHRASE").fresh()


def test_without_a_terminal_nobody_waits_for_a_passphrase() -> None:
    code = (
        "from concordat_keyholder.sealing import PassphraseSeal\n"
        "from concordat_rpc.settings import Settings, SettingsError\n"
        "try: PassphraseSeal('prompt').fresh()\n"
        "except SettingsError as error: print(error)"
    )
    # Stdin stays open and silent, as a supervisor's pipe does.
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert "no terminal to ask at" in child.stdout.read()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("log2_n = 17", "log2_n = 30"),
        ("log2_n = 17", "log2_n = 1"),
        ("r = 8", "r = 4096"),
        ("p = 1", "p = 1000"),
        ('kdf = "scrypt"', 'kdf = "none"'),
        ('salt = "', 'salt = "zz'),
    ],
)
def test_parameters_of_the_passphrase_are_bounded(
    file: Path, passphrase: PassphraseSeal, old: str, new: str
) -> None:
    write(file, two_epochs(), passphrase)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(SettingsError, match=r"seal\."):
        read_keys(file, passphrase)


class Device:
    """A third method as an adapter would add it: the key-encryption key never leaves the device."""

    method = "device"
    parameters: Mapping[str, int | str] = MappingProxyType({"slot": 3, "label": "token keys"})

    def __init__(self, settings: Settings) -> None:
        self._label = settings.text("label")
        self._inside: dict[bytes, tuple[bytes, bytes]] = {}

    def fresh(self) -> Wrapper:
        return self

    def reopen(self, parameters: Settings) -> Wrapper:
        assert (parameters.integer("slot", 0, 9), parameters.text("label")) == (3, self._label)
        parameters.finish()
        return self

    def wrap(self, secret: bytes, about: bytes) -> bytes:
        handle = os.urandom(16)
        self._inside[handle] = (secret, about)
        return handle

    def unwrap(self, wrapped: bytes, about: bytes) -> bytes:
        secret, kept = self._inside.get(wrapped, (b"", b""))
        if not secret or kept != about:
            raise SealBroken
        return secret


def test_another_method_is_one_class_and_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "device", Device)
    table = b'method = "device"\nlabel = "token keys"\n'
    seal = configured_seal(Settings.parse(file, table))
    keys = two_epochs()
    write(file, keys, seal)
    assert same(read_keys(file, seal)[0], keys)
    file.write_text(file.read_text().replace("epoch = 1", "epoch = 3"))
    with pytest.raises(SettingsError, match="wrong device, or the file was changed"):
        read_keys(file, seal)


# Replacing.


def test_a_file_is_the_old_one_or_the_new_one(
    file: Path, key_file: KeyFileSeal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, or the process dies, before the new file has its name."""
    keys = two_epochs()
    write(file, keys, key_file)

    def fails(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(SettingsError, match="No space left"):
        write(file, two_epochs(), key_file)
    monkeypatch.undo()
    assert same(read_keys(file, key_file)[0], keys)
    # What was left lying does not stand in the way.
    write(file, two_epochs(), key_file)
    assert not same(read_keys(file, key_file)[0], keys)


def test_a_file_that_others_may_have_prepared_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "token.keys.new").symlink_to(target)
    with pytest.raises(SettingsError):
        files.replace_file(tmp_path / "token.keys", b"secret", files.SECRET)
    assert not target.exists()


# Version 1.


def plain(*secrets: SecretKey) -> str:
    return "".join(
        f'[[keys]]\nepoch = {epoch}\nsecret = "{bytes(secret).hex()}"\n'
        for epoch, secret in enumerate(secrets, 1)
    )


def test_a_plain_file_is_not_opened_and_says_what_to_do(file: Path, key_file: KeyFileSeal) -> None:
    secret = generate_key().secret
    file.touch(0o600)
    file.write_text(plain(secret))
    with pytest.raises(SettingsError, match="concordat keyholder reseal") as caught:
        read_keys(file, key_file)
    assert bytes(secret).hex() not in str(caught.value)


def test_a_plain_file_is_read_for_sealing_with_its_ratios(file: Path) -> None:
    first, second = generate_key().secret, generate_key().secret
    file.touch(0o600)
    file.write_text(plain(first, second))
    keys = read_plain_keys(file)
    assert keys is not None
    assert [(k.epoch, k.secret, k.update) for k in keys] == [
        (1, first, None),
        (2, second, key_ratio(first, second)),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "keys: at least one key is needed"),
        ('[[keys]]\nepoch = 1\nsecret = "zz"', r"keys\[0\].secret: 32 bytes in hexadecimal wanted"),
        ('[[keys]]\nepoch = 1\nsecret = "00"', r"keys\[0\].secret: 32 bytes"),
        (f'[[keys]]\nepoch = 1\nsecret = "{"ff" * 32}"', r"keys\[0\].secret: secret key"),
        (f'[[keys]]\nepoch = 1\nsecret = "{"00" * 32}"', r"keys\[0\].secret: secret key"),
    ],
)
def test_plain_keys_that_are_none_are_refused(file: Path, content: str, message: str) -> None:
    file.touch(0o600)
    file.write_text(content)
    with pytest.raises(SettingsError, match=message) as caught:
        read_plain_keys(file)
    assert "ff" * 32 not in str(caught.value)


def test_no_repr_shows_a_secret(file: Path, key_file: KeyFileSeal) -> None:
    keys = two_epochs()
    write(file, keys, key_file)
    opened, wrapper = read_keys(file, key_file)
    shown = repr((opened, list(opened), wrapper))
    for held in keys:
        assert bytes(held.secret).hex() not in shown
        assert repr(bytes(held.secret)) not in shown
    assert key_file.file.read_text().strip() not in shown
