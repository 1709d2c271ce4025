"""A key-holder's folder: what is in it, and how a new one is made.

keyholder.toml              configuration
key.pem request.csr         key for mutual TLS, and the request to certify it
cert.pem ca.pem             what the operator's authority issued for the request
token.keys                  the token keys, sealed
seal.key                    what seals them, where that is a key-file
keys.log log.key log.vkey   the key log, what signs it, what verifies it
dealt-out                   says that the keys were split, and the key log is the holders' now
keyholder.db                meters, where the store is SQLite
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from concordat_keyholder.config import DEFAULT_QUOTA, DEFAULT_UPDATES_DAILY, Admission
from concordat_keyholder.files import PUBLIC, replace_file, turn
from concordat_keyholder.identity import make_key, write_request
from concordat_keyholder.keylog import signed_log, write_log
from concordat_keyholder.keys import HeldKey, HeldKeys, write_keys
from concordat_keyholder.sealing import KeyFileSeal, PassphraseSeal, Seal, Wrapper
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_privacy.keylog import KeyLog, key_entry
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.metering import Quota
from concordat_privacy.oprf import generate_key
from concordat_rpc.address import Address
from concordat_rpc.secret_files import write_secret
from concordat_rpc.settings import SettingsError, toml_text

CONFIG: Final = "keyholder.toml"
DEVELOPMENT_QUOTA: Final = Quota(
    daily=10_000_000, monthly=100_000_000, per_second=10_000.0, burst=200_000
)
DEVELOPMENT_UPDATES_DAILY: Final = 100_000_000
_KEYS, _SEAL, _LOG = "token.keys", "seal.key", "keys.log"
_LOG_KEY, _LOG_VKEY = "log.key", "log.vkey"
_KEY: Final = "key.pem"
REQUEST: Final = "request.csr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the key-holder's operator chooses."""

    folder: Path
    trust_domain: str
    listen: Address
    admission: Admission
    passphrase: str | None
    """Source of the passphrase that seals the keys; None: a key-file, made in the folder."""
    store_url: str
    is_development: bool
    """Whether quotas are so generous that nobody meets them by accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a configuration file says beside the names of the folder's files."""

    trust_domain: str
    listen: Address
    admission: Admission
    seal: Seal
    store_url: str
    key_log_vkey: str
    log_key: bool
    """Whether the log's signing key is in the folder."""
    quota: Quota
    updates_daily: int
    is_development: bool = False


def install(wishes: Wishes, now: int) -> KeyLog:
    """Make a folder with a first key, in use from `now` on (microseconds since 1970).

    The folder may hold the identity's files. Raises SettingsError where one of the others is there.
    """
    folder = wishes.folder
    _check_new(folder, [CONFIG, _KEYS, _SEAL, _LOG, _LOG_KEY, _LOG_VKEY])
    # A passphrase that is mistyped leaves nothing behind that a second try would stumble over.
    sealed = None if wishes.passphrase is None else _by_passphrase(wishes.passphrase)
    _make(folder)
    with turn(folder):
        if not (folder / _KEY).exists():
            make_key(folder / _KEY)
            write_request(folder / _KEY, folder / REQUEST)
        log_key = SigningKey.generate(f"{wishes.trust_domain}/token-keys")
        write_secret(folder / _LOG_KEY, f"{log_key.encode()}\n".encode())
        vkey = log_key.verifier.encode()
        replace_file(folder / _LOG_VKEY, f"{vkey}\n".encode(), PUBLIC)
        pair = generate_key()
        seal = write_folder_keys(folder, HeldKeys.of([HeldKey(FIRST_EPOCH, pair.secret)]), sealed)
        log = signed_log([key_entry(FIRST_EPOCH, pair.public, now)], log_key)
        write_log(folder / _LOG, log)
        write_settings(
            folder,
            Outline(
                trust_domain=wishes.trust_domain,
                listen=wishes.listen,
                admission=wishes.admission,
                seal=seal,
                store_url=wishes.store_url,
                key_log_vkey=vkey,
                log_key=True,
                quota=DEVELOPMENT_QUOTA if wishes.is_development else DEFAULT_QUOTA,
                updates_daily=(
                    DEVELOPMENT_UPDATES_DAILY if wishes.is_development else DEFAULT_UPDATES_DAILY
                ),
                is_development=wishes.is_development,
            ),
        )
    return log


def write_folder_keys(
    folder: Path, keys: HeldKeys, sealed: tuple[Seal, Wrapper] | None = None
) -> Seal:
    """Write keys into a new folder, sealed by a new key-file or as given; the seal."""
    if sealed is None:
        key_file = KeyFileSeal.created(folder / _SEAL)
        sealed = key_file, key_file.fresh()
    seal, wrapper = sealed
    write_keys(folder / _KEYS, keys, wrapper, seal.method)
    return seal


def write_folder_log(folder: Path, log: KeyLog) -> None:
    """Write the key log into a folder."""
    write_log(folder / _LOG, log)


def write_settings(folder: Path, outline: Outline) -> None:
    """Write a folder's configuration. Its store's URL may hold a password."""
    write_secret(folder / CONFIG, _settings(outline).encode())


def _by_passphrase(source: str) -> tuple[Seal, Wrapper]:
    """Asks for it. Raises SettingsError."""
    seal = PassphraseSeal(source)
    return seal, seal.fresh()


def _check_new(folder: Path, files: list[str]) -> None:
    for name in files:
        if (folder / name).exists():
            raise SettingsError(f"{folder / name} is there already; nothing was changed")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}") from None


def _settings(outline: Outline) -> str:
    quota = outline.quota
    return "\n".join(
        [
            "# Concordat key-holder. Paths are relative to this file.",
            "# Port 0: any free one; the gateway that starts an embedded one learns which.",
            f"listen = {toml_text(str(outline.listen))}",
            f"trust_domain = {toml_text(outline.trust_domain)}",
            f"keys = {toml_text(_KEYS)}",
            f"key_log = {toml_text(_LOG)}",
            f"key_log_vkey = {toml_text(outline.key_log_vkey)}",
            *_log_key_lines(outline),
            "# Who is admitted and what was used. Not the gateway's database.",
            f"store_url = {toml_text(outline.store_url)}",
            *_admission_lines(outline),
            "",
            "[identity]",
            'certificate = "cert.pem"',
            'private_key = "key.pem"',
            'ca = "ca.pem"',
            "",
            "[seal]",
            "# What the keys are sealed by: change it with `concordat keyholder reseal`.",
            f"method = {toml_text(outline.seal.method)}",
            *_seal_lines(outline.seal),
            "",
            "[quota]",
            *_quota_comment(outline),
            f"daily = {quota.daily}",
            f"monthly = {quota.monthly}",
            f"per_second = {quota.per_second}",
            f"burst = {quota.burst}",
            "# Elements that all gateways may have carried to the next epoch a day: a rotation",
            "# carries each subject once.",
            f"updates_daily = {outline.updates_daily}",
            "",
        ]
    )


def _log_key_lines(outline: Outline) -> list[str]:
    if not outline.log_key:
        return [f'# log_key = "{_LOG_KEY}"   # only where the key log is added to']
    return [
        "# Signs the key log; serving does not need it. In production keep it off this host.",
        f"log_key = {toml_text(_LOG_KEY)}",
    ]


def _admission_lines(outline: Outline) -> list[str]:
    comment = {
        Admission.ROSTER: "# Only members admitted here, by `concordat keyholder admit`.",
        Admission.AUTHORITY: (
            "# For development: whoever shows a certificate of the authority is a member, so who\n"
            '# runs the authority can ask in any name. Production: "roster", and '
            "`concordat keyholder admit`."
        ),
    }[outline.admission]
    return [comment, f"admission = {toml_text(outline.admission.value)}"]


def _seal_lines(seal: Seal) -> list[str]:
    match seal:
        case PassphraseSeal(source=source):
            return [f"passphrase = {toml_text(source)}"]
        case _:
            return [
                "# Whoever has both files has the keys: keep this one on another medium.",
                f"key_file = {toml_text(_SEAL)}",
            ]


def _quota_comment(outline: Outline) -> list[str]:
    if outline.is_development:
        return [
            "# Evaluations a member. Generous, for development: who may ask so often can try every",
            "# resident of a city. Production: 20,000 a day, 200,000 a month, 20 a second.",
        ]
    return ["# Evaluations a member, unless `concordat keyholder quota` gives it its own."]
