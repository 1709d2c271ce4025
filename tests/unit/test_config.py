"""The gateway's configuration file: what init writes is read, what is wrong is named."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from concordat_gateway.config import GatewayConfig, load_config
from concordat_gateway.installation import InstallationError, Wishes, install
from concordat_privacy.metering import Quota
from concordat_rpc.address import Address
from concordat_rpc.limits import Limits
from concordat_rpc.settings import SettingsError

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


def wishes(folder: Path) -> Wishes:
    return Wishes(
        folder=folder,
        listen=Address("127.0.0.1", 7443),
        host="gateway.example",
        trust_domain="lenders.example",
        control_url=None,
        signals_url="postgresql://concordat@db.example/signals",
        pool_epsilon=6.0,
        member_epsilon=4.0,
        workers=3,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config") / "made"
    install(wishes(folder), NOW)
    return folder


@pytest.fixture
def file(installed: Path, tmp_path: Path) -> Path:
    """A copy of the configuration file, to be edited."""
    copy = tmp_path / "gateway.toml"
    copy.write_text((installed / "gateway.toml").read_text())
    return copy


def edited(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def test_what_init_writes_is_what_was_wished(installed: Path) -> None:
    config = load_config(installed / "gateway.toml")

    assert config.listen == Address("127.0.0.1", 7443)
    assert config.trust_domain == "lenders.example"
    assert config.workers == 3
    assert config.metrics is None
    assert config.stores.control == f"sqlite:///{installed}/data/control.db"
    assert config.stores.signals == "postgresql://concordat@db.example/signals"
    assert config.budgets.pool_epsilon == 6.0
    assert config.budgets.member_epsilon == 4.0
    assert config.keyholder.config == installed / "keyholder" / "keyholder.toml"
    assert config.resume_seconds == 60.0
    assert config.alarm_seconds == 300.0
    assert config.limits == Limits()
    [key] = config.token_keys
    assert (key.epoch, len(key.public_key), key.valid_to) == (1, 32, None)
    assert key.valid_from == datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def test_every_path_that_init_writes_exists(installed: Path) -> None:
    config = load_config(installed / "gateway.toml")

    for path in (
        *(config.identity.certificate, config.identity.private_key, config.identity.ca),
        *(config.ledger_key, config.pepper, config.membership.ca_key, config.keyholder.config),
    ):
        assert path is not None
        assert path.is_file(), path


def test_keys_are_for_their_owner_alone(installed: Path) -> None:
    secret = [*installed.rglob("*.key"), *installed.rglob("key.pem"), *installed.rglob("*.keys")]

    assert len(secret) == 8
    assert {file.stat().st_mode & 0o777 for file in secret} == {0o600}


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")

    with pytest.raises(InstallationError, match="not empty"):
        install(wishes(tmp_path), NOW)

    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_any_limit_can_be_set(file: Path) -> None:
    edited(file, "[limits]", "[limits]\nmax_receive_bytes = 1000\ndrain_seconds = 3")
    config = load_config(file)

    assert config.limits == Limits(max_receive_bytes=1000, drain_seconds=3.0)


def test_a_key_holder_on_a_host_of_its_own(file: Path) -> None:
    edited(file, 'config = "keyholder/keyholder.toml"', 'address = "keys.example:7444"')
    config = load_config(file)

    assert config.keyholder.config is None
    assert config.keyholder.address == Address("keys.example", 7444)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('listen = "127.0.0.1:7443"', "", "listen: missing"),
        ('listen = "127.0.0.1:7443"', 'listen = "7443"', "listen: '7443' is not host:port"),
        ("workers = 3", "workers = 0", "workers: must be 1 to 256, is 0"),
        ("workers = 3", "wrokers = 3", "wrokers: no such entry"),
        ("workers = 3", "resume_seconds = 0", "resume_seconds: must be 0.1 to 86400, is 0"),
        ('metrics = ""', 'metrics = "0.0.0.0:9000"', "metrics: must be a loopback address"),
        ('"lenders.example"', '"Lenders!"', "trust_domain: not a SPIFFE trust domain name"),
        ("signals_url", "signal_url", "stores.signals_url: missing"),
        ("pool_epsilon = 6.0", "pool_epsilon = 0", "budgets.pool_epsilon: must be 0.001 to 100"),
        ("[limits]", "[limits]\nunary_threads = 0", "limits.unary_threads: must be 1 to"),
        ("[limits]", "[limits]\nthreads = 4", "limits.threads: no such entry"),
        ("epoch = 1", "epoch = 0", "token_keys[0].epoch: must be 1 to"),
        ("public_key = ", 'public_key = "00"#', "token_keys[0].public_key: must be 32 bytes"),
        ("valid_from = ", 'valid_from = "2026-01-01"#', "token_keys[0].valid_from: the time needs"),
        ("valid_from = ", 'valid_from = "soon"#', "token_keys[0].valid_from: not a time"),
        ("config = ", 'address = "h:1"\nconfig = ', "keyholder.config: exactly one wanted"),
        ("[[token_keys]]", "[other]", "token_keys: at least one epoch is needed"),
    ],
)
def test_a_wrong_entry_is_named(file: Path, old: str, new: str, message: str) -> None:
    edited(file, old, new)

    with pytest.raises(SettingsError) as raised:
        load_config(file)

    assert f"{file}: {message}" in str(raised.value)


def test_epochs_are_in_order(file: Path) -> None:
    text = file.read_text()
    file.write_text(text + text[text.index("[[token_keys]]") :])

    with pytest.raises(SettingsError, match="token_keys: epochs must increase"):
        load_config(file)


def test_a_read_configuration_cannot_be_changed(installed: Path) -> None:
    config: GatewayConfig = load_config(installed / "gateway.toml")

    with pytest.raises(AttributeError):
        config.workers = 5  # type: ignore[misc]


def test_a_member_may_look_up_little_unless_the_file_says_more(file: Path) -> None:
    text = file.read_text()
    # The table may be there already.
    head, found, tail = text.partition("[quotas]\n")
    rest = tail.partition("\n[")[2]
    without = f"{head}[{rest}" if found else head
    file.write_text(without)
    assert load_config(file).lookup_quota == Quota(
        daily=10_000, monthly=100_000, per_second=20.0, burst=1_000
    )

    def quoted(lines: str) -> Quota:
        file.write_text(f"{without}\n[quotas]\n{lines}\n")
        return load_config(file).lookup_quota

    assert quoted(
        "lookups_daily = 5\nlookups_monthly = 6\nlookups_per_second = 2\nlookups_burst = 9"
    ) == Quota(daily=5, monthly=6, per_second=2.0, burst=9)
    # A day's limit above the default month's is a month's too.
    assert quoted("lookups_daily = 200_000").monthly == 200_000
    with pytest.raises(SettingsError, match=r"quotas\.lookups_monthly: must be at least"):
        quoted("lookups_daily = 5\nlookups_monthly = 4")
    with pytest.raises(SettingsError, match=r"quotas\.lookups_burst: must be 1 to"):
        quoted("lookups_burst = 0")
    with pytest.raises(SettingsError, match=r"quotas\.lookups_hourly: no such entry"):
        quoted("lookups_hourly = 3")
