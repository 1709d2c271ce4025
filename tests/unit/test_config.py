"""The gateway's configuration file: what init writes is read, what is wrong is named."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from concordat_gateway.config import ConsentPolicies, GatewayConfig, load_config
from concordat_gateway.installation import InstallationError, Wishes, install
from concordat_gateway.keylog import KeyLogFile
from concordat_gateway.server import witness_policy
from concordat_privacy.catalogue.signals import Disputed
from concordat_privacy.log.cosignature import Quorum, WitnessSigningKey
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
        evidence_url=None,
        live_keys_url=None,
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
    [keyholder] = config.keyholders
    assert keyholder.config == installed / "keyholder" / "keyholder.toml"
    assert (keyholder.holder, keyholder.address) == (0, None)
    assert config.resume_seconds == 60.0
    assert config.alarm_seconds == 300.0
    assert config.limits == Limits()
    assert config.consents == ConsentPolicies(("CN", "EU", "US", "ZZ"), "ZZ")
    assert list(config.peppers) == [1]
    [key] = KeyLogFile(config.key_log, config.key_log_vkey).current().keys
    assert (key.epoch, key.valid_to, key.holders) == (1, None, ())


def test_every_path_that_init_writes_exists(installed: Path) -> None:
    config = load_config(installed / "gateway.toml")

    for path in (
        *(config.identity.certificate, config.identity.private_key, config.identity.ca),
        *(config.ledger_key, config.peppers[1], config.membership.ca_key, config.key_log),
        config.keyholders[0].config,
    ):
        assert path is not None
        assert path.is_file(), path


def test_keys_are_for_their_owner_alone(installed: Path) -> None:
    secret = [*installed.rglob("*.key"), *installed.rglob("key.pem"), *installed.rglob("*.keys")]

    assert len(secret) == 12
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


def test_a_gateway_takes_the_jurisdictions_that_it_names(file: Path) -> None:
    edited(file, 'jurisdictions = ["CN", "EU", "US", "ZZ"]', 'jurisdictions = ["CN"]')
    edited(file, 'default = "ZZ"', 'default = "CN"')
    assert load_config(file).consents == ConsentPolicies(("CN",), "CN")


def test_a_file_of_before_policies_takes_all_and_names_none(file: Path) -> None:
    text = file.read_text()
    start, end = text.index("[consents]"), text.index("[quotas]")
    file.write_text(text[:start] + text[end:])
    assert load_config(file).consents == ConsentPolicies(("CN", "EU", "US", "ZZ"), "ZZ")


def test_a_key_holder_on_a_host_of_its_own(file: Path) -> None:
    edited(file, 'config = "keyholder/keyholder.toml"', 'address = "keys.example:7444"')
    config = load_config(file)

    [keyholder] = config.keyholders
    assert keyholder.config is None
    assert keyholder.address == Address("keys.example", 7444)


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
        ('["CN", ', '["CN", "XX", ', "consents.jurisdictions: no policy of 'XX'"),
        ('["CN", ', '["CN", "CN", ', "consents.jurisdictions: must have one or more, each once"),
        ('["CN", ', "[5, ", "consents.jurisdictions: must be a list of texts"),
        ('"US", "ZZ"]', '"US"]', "consents.default: 'ZZ' is not one of the jurisdictions"),
        ('default = "ZZ"', 'standard = "ZZ"', "consents.standard: no such entry"),
        ("1 = ", "0 = ", "peppers.0: not the number of a key epoch"),
        ("[peppers]", "[other]", "peppers: at least one is needed"),
        ("1 = ", "first = ", "peppers.first: not the number of a key epoch"),
        ("1 = ", "4294967296 = ", "peppers.4294967296: not the number of a key epoch"),
        ('key_log_vkey = "', 'key_log_vkey = "x', "key_log_vkey: "),
        ('key_log = "', 'keylog = "', "key_log: missing"),
        ("holder = 0", "holder = 17", "keyholders[0].holder: must be 0 to 16, is 17"),
        ("config = ", 'address = "h:1"\nconfig = ', "keyholders[0].config: exactly one wanted"),
        ("[[keyholders]]", "[other]", "keyholders: at least one is needed"),
    ],
)
def test_a_wrong_entry_is_named(file: Path, old: str, new: str, message: str) -> None:
    edited(file, old, new)

    with pytest.raises(SettingsError) as raised:
        load_config(file)

    assert f"{file}: {message}" in str(raised.value)


ONE, TWO = (WitnessSigningKey(f"witness.example/w{n}", bytes([n] * 32)) for n in (1, 2))
WITNESS = f'[[witnesses.witness]]\nvkey = "{ONE.verifier.encode()}"\n'


def with_witnesses(file: Path, text: str) -> GatewayConfig:
    file.write_text(f"{file.read_text()}\n[witnesses]\n{text}")
    return load_config(file)


def test_no_witness_is_wanted_unless_the_file_says_so(file: Path) -> None:
    assert load_config(file).witnesses.quorum == Quorum((), 0)
    assert witness_policy(load_config(file)).grace is None


def test_witnesses_and_how_long_they_may_be_missing(file: Path) -> None:
    second = f'[[witnesses.witness]]\nvkey = "{TWO.verifier.encode()}"\n'
    config = with_witnesses(
        file, f'quorum = 2\ngrace_seconds = 90\n{WITNESS}url = "https://w1.example/"\n{second}'
    )
    assert config.witnesses.quorum == Quorum((ONE.verifier, TWO.verifier), 2)
    assert [one.url for one in config.witnesses.listed] == ["https://w1.example", ""]
    assert witness_policy(config).grace == 90_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quorum = 1\n", "1 of 0 witnesses cannot be met"),
        (f"quorum = 2\n{WITNESS}", "2 of 1 witnesses cannot be met"),
        (f"quorum = -1\n{WITNESS}", "must be 0 to 100"),
        (WITNESS + WITNESS, "named twice"),
        (WITNESS.replace("+", "+ ", 1), "key id"),
        ('[[witnesses.witness]]\nvkey = "x"\n', "name, key id and key wanted"),
        (f'{WITNESS}url = "ftp://w1.example"\n', "https://"),
        (f"{WITNESS}uri = 1\n", "no such entry"),
        ("grace_seconds = -1\n", "must be 0 to"),
        ("grace = 5\n", "no such entry"),
    ],
)
def test_a_wrong_entry_about_witnesses_is_named(file: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"witnesses.*{message}"):
        with_witnesses(file, text)


def test_one_key_is_one_witness_under_whatever_name(file: Path) -> None:
    alias = WitnessSigningKey("witness.example/other", ONE.seed).verifier.encode()
    with pytest.raises(SettingsError, match="two witnesses have one key"):
        with_witnesses(file, f'{WITNESS}[[witnesses.witness]]\nvkey = "{alias}"\n')


def test_a_ledgers_key_is_no_witnesses_key(file: Path, installed: Path) -> None:
    vkey = (installed / "gateway" / "ledger.vkey").read_text().strip()
    with pytest.raises(SettingsError, match=r"vkey: .*algorithm 4"):
        with_witnesses(file, f'[[witnesses.witness]]\nvkey = "{vkey}"\n')


def test_several_key_holders(file: Path) -> None:
    share = '[[keyholders]]\nholder = {}\naddress = "keys-{}.example:7444"\nserver_name = "k"\n'
    text = file.read_text()
    file.write_text(text + share.format(1, 1) + share.format(3, 3))
    config = load_config(file)
    assert [one.holder for one in config.keyholders] == [0, 1, 3]
    assert config.keyholders[2].address == Address("keys-3.example", 7444)

    file.write_text(text + share.format(1, 1) + share.format(1, 2))
    with pytest.raises(SettingsError, match="keyholders: two hold the same share"):
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
        daily=10_000, monthly=100_000, per_second=20.0, burst=10_000
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


def test_older_tokens_are_carried_for_twice_a_days_lookups_unless_the_file_says_otherwise(
    file: Path,
) -> None:
    head, _, tail = file.read_text().partition("[quotas]\n")
    rest = tail.partition("\n[")[2]

    def carried(lines: str) -> Quota:
        file.write_text(f"{head}[quotas]\n{lines}\n[{rest}")
        return load_config(file).carried_quota

    # A month is no limit beyond its days.
    assert carried("") == Quota(daily=20_000, monthly=620_000, per_second=20.0, burst=20_000)
    assert carried("lookups_daily = 300").daily == 600
    assert carried("carried_daily = 7\ncarried_per_second = 2\ncarried_burst = 9") == Quota(
        daily=7, monthly=217, per_second=2.0, burst=9
    )
    with pytest.raises(SettingsError, match=r"quotas\.carried_daily: must be 1 to"):
        carried("carried_daily = 0")


@pytest.mark.parametrize(
    ("line", "policy"),
    [('disputed = "held_back"', "HELD_BACK"), ('disputed = "marked"', "MARKED"), ("", "HELD_BACK")],
)
def test_what_becomes_of_disputed_data_is_the_consortiums_to_say(
    file: Path, line: str, policy: str
) -> None:
    config = load_config(edited(file, 'disputed = "held_back"', line))
    assert config.disputed is Disputed[policy]


def test_another_policy_of_disputed_data_is_refused(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"signals\.disputed: one of held_back, marked wanted"):
        load_config(edited(file, '"held_back"\n\n', '"hidden"\n\n'))


UPLOADS = "abandoned_days = 30\nanswered_days = 180\n"


@pytest.mark.parametrize(
    ("lines", "days"),
    [("", (30, 180)), ("abandoned_days = 7\nanswered_days = 1\n", (7, 1))],
)
def test_when_uploads_are_abandoned_and_expire_is_the_consortiums_to_say(
    file: Path, lines: str, days: tuple[int, int]
) -> None:
    ages = load_config(edited(file, UPLOADS, lines)).upload_ages
    assert (ages.abandoned_after.days, ages.answered_for.days) == days


def test_uploads_that_expire_at_once_are_refused(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"uploads\.answered_days: must be 1 to"):
        load_config(edited(file, UPLOADS, "answered_days = 0\n"))
