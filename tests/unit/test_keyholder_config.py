"""keyholder.toml is read once, and what is wrong in it is named."""

from pathlib import Path

import pytest

from concordat_keyholder.config import DEFAULT_QUOTA, Admission, load_config
from concordat_keyholder.sealing import KeyFileSeal, PassphraseSeal
from concordat_privacy.log.checkpoint import SigningKey
from concordat_rpc.settings import SettingsError

VKEY = SigningKey("concordat.test/token-keys", bytes(32)).verifier.encode()
FILE = f"""\
listen = "127.0.0.1:7444"
trust_domain = "concordat.test"
keys = "token.keys"
key_log = "keys.log"
key_log_vkey = "{VKEY}"
store_url = "sqlite:///keyholder.db"

[identity]
certificate = "cert.pem"
private_key = "key.pem"
ca = "ca.pem"

[seal]
method = "key-file"
key_file = "/mnt/seal.key"
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "keyholder.toml"
    file.write_text(text)
    return file


def test_without_more_it_is_strict(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, FILE))
    assert config.admission is Admission.ROSTER
    assert config.quota == DEFAULT_QUOTA
    assert config.updates_daily == 1_000_000
    assert config.log_key is None
    assert config.seal == KeyFileSeal(Path("/mnt/seal.key"))
    assert config.keys == tmp_path / "token.keys"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///keyholder.db", "sqlite:///{folder}/keyholder.db"),
        ("sqlite:////var/lib/keyholder.db", "sqlite:////var/lib/keyholder.db"),
        ("postgresql://host/keyholder", "postgresql://host/keyholder"),
    ],
)
def test_a_store_may_lie_beside_the_file(tmp_path: Path, url: str, expected: str) -> None:
    text = FILE.replace("sqlite:///keyholder.db", url)
    config = load_config(write(tmp_path, text))
    assert config.store_url == expected.format(folder=tmp_path)


def test_a_quota_may_be_given_in_part(tmp_path: Path) -> None:
    quota = load_config(write(tmp_path, FILE + "\n[quota]\ndaily = 7\n")).quota
    assert (quota.daily, quota.monthly) == (7, DEFAULT_QUOTA.monthly)


@pytest.mark.parametrize("source", ["prompt", "environment:NAME", "file:/dev/fd/3"])
def test_a_passphrase_has_a_source(tmp_path: Path, source: str) -> None:
    text = FILE[: FILE.index("[seal]")] + f'[seal]\nmethod = "passphrase"\npassphrase = "{source}"'
    assert load_config(write(tmp_path, text)).seal == PassphraseSeal(source)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('keys = "token.keys"', "", "keys: missing"),
        ("127.0.0.1:7444", "nowhere", "listen: 'nowhere' is not host:port"),
        ('"concordat.test"', '"Not One"', "trust_domain: not a SPIFFE trust domain name"),
        (VKEY, VKEY[:-4], "key_log_vkey: "),
        ('method = "key-file"', 'method = "pkcs11"', "seal.method: 'pkcs11' is none of key-file"),
        ('method = "key-file"', "", "seal.method: missing"),
        ('key_file = "/mnt/seal.key"', "", "seal.key_file: missing"),
        ('key_file = "/mnt/seal.key"', 'key_file = "a"\nmore = 1', "seal.more: no such entry"),
        ("[identity]", 'admission = "anybody"\n[identity]', "admission: must be one of roster"),
        ("[seal]", "[quota]\nburst = 4095\n[seal]", "quota.burst: must be 4096 to"),
        ("[seal]", "[quota]\ndaily = 0\n[seal]", "quota.daily: must be 1 to"),
        ("[seal]", "[quota]\ndaily = 300000\n[seal]", "quota.monthly: quota: 200000 a month"),
        ("[seal]", "[quota]\nper_second = 1e7\n[seal]", "quota.per_second: must be 0.001 to 1e+06"),
        ("[seal]", "[quota]\nupdates_daily = 4095\n[seal]", "quota.updates_daily: must be 4096 to"),
        ("[seal]", "[quota]\nhourly = 3\n[seal]", "quota.hourly: no such entry"),
        ("[identity]", "more = 1\n[identity]", "more: no such entry"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(SettingsError) as caught:
        load_config(write(tmp_path, FILE.replace(old, new, 1)))
    assert message in str(caught.value)


@pytest.mark.parametrize("source", ["", "secret", "environment:", "file:", "prompt:"])
def test_a_passphrase_itself_is_no_source(tmp_path: Path, source: str) -> None:
    text = FILE[: FILE.index("[seal]")] + f'[seal]\nmethod = "passphrase"\npassphrase = "{source}"'
    with pytest.raises(SettingsError, match=r"seal\.passphrase: "):
        load_config(write(tmp_path, text))
