"""The key-holder's configuration: one TOML file, paths relative to its folder."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from concordat_keyholder.sealing import Seal, configured_seal
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.metering import MAX_PER_SECOND, Quota
from concordat_privacy.oprf import MAX_BATCH
from concordat_rpc.address import Address
from concordat_rpc.peer import is_trust_domain
from concordat_rpc.settings import Settings

_SQLITE: Final = "sqlite:///"
_MOST: Final = 10**12


class Admission(enum.Enum):
    """Whose batches are evaluated."""

    ROSTER = "roster"
    """Members whose keys were admitted on the key-holder's own command line."""
    AUTHORITY = "authority"
    """Also whoever shows a certificate of the consortium's authority: its holder can make members
    up. For development."""


DEFAULT_QUOTA: Final = Quota(daily=20_000, monthly=200_000, per_second=20.0, burst=MAX_BATCH)
"""Of a member that has none of its own: evaluations of applicants as they come."""
DEFAULT_UPDATES_DAILY: Final = 1_000_000
"""A rotation of so many subjects a day; during an overlap also old tokens as they are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyholderConfig:
    """Everything the key-holder needs to know."""

    file: Path
    """The file this was read from."""
    listen: Address
    """Port 0 takes a free one."""
    trust_domain: str
    """Trust domain of the gateways that may call, and of the members whose batches they bring."""
    certificate: Path
    private_key: Path
    ca: Path
    keys: Path
    """See :mod:`concordat_keyholder.keys`."""
    seal: Seal
    """What the keys are sealed by."""
    key_log: Path
    key_log_vkey: VerifierKey
    log_key: Path | None
    """The key log's signing key. Commands that add to the log need it, serving does not."""
    store_url: str
    """The meters' database: ``sqlite:////absolute/path`` or ``postgresql://...``, not the
    gateway's."""
    admission: Admission
    quota: Quota
    updates_daily: int
    """How many elements all gateways may have updated to the next epoch a day."""

    @property
    def folder(self) -> Path:
        return self.file.parent


def load_config(file: Path) -> KeyholderConfig:
    """Read and check a configuration file; raises SettingsError."""
    settings = Settings.read(file)
    identity, quota = settings.table("identity"), settings.table("quota")
    config = KeyholderConfig(
        file=file.absolute(),
        listen=_address(settings),
        trust_domain=_trust_domain(settings),
        certificate=identity.path("certificate"),
        private_key=identity.path("private_key"),
        ca=identity.path("ca"),
        keys=settings.path("keys"),
        seal=configured_seal(settings.table("seal")),
        key_log=settings.path("key_log"),
        key_log_vkey=_verifier_key(settings),
        log_key=settings.path("log_key") if settings.has("log_key") else None,
        store_url=_store_url(settings, file.absolute().parent),
        admission=_admission(settings),
        quota=_quota(quota),
        updates_daily=quota.integer(
            "updates_daily", MAX_BATCH, _MOST, default=DEFAULT_UPDATES_DAILY
        ),
    )
    quota.finish()
    identity.finish()
    settings.finish()
    return config


def _address(settings: Settings) -> Address:
    try:
        return Address.parse(settings.text("listen"))
    except ValueError as error:
        raise settings.wrong("listen", str(error)) from None


def _trust_domain(settings: Settings) -> str:
    trust_domain = settings.text("trust_domain")
    if not is_trust_domain(trust_domain):
        raise settings.wrong("trust_domain", "not a SPIFFE trust domain name")
    return trust_domain


def _verifier_key(settings: Settings) -> VerifierKey:
    try:
        return VerifierKey.decode(settings.text("key_log_vkey"))
    except CheckpointError as error:
        raise settings.wrong("key_log_vkey", str(error)) from None


def _store_url(settings: Settings, folder: Path) -> str:
    url = settings.text("store_url")
    # Relative like every other path of the file, so that the folder can move.
    if url.startswith(_SQLITE) and not url.startswith(f"{_SQLITE}/"):
        return f"{_SQLITE}{folder / url.removeprefix(_SQLITE)}"
    return url


def _admission(settings: Settings) -> Admission:
    try:
        return Admission(settings.text("admission", Admission.ROSTER.value))
    except ValueError:
        names = ", ".join(one.value for one in Admission)
        raise settings.wrong("admission", f"must be one of {names}") from None


def _quota(settings: Settings) -> Quota:
    daily = settings.integer("daily", 1, _MOST, default=DEFAULT_QUOTA.daily)
    monthly = settings.integer("monthly", 1, _MOST, default=DEFAULT_QUOTA.monthly)
    per_second = settings.number(
        "per_second", 0.001, MAX_PER_SECOND, default=DEFAULT_QUOTA.per_second
    )
    # A larger batch than the burst could never be evaluated.
    burst = settings.integer("burst", MAX_BATCH, _MOST, default=DEFAULT_QUOTA.burst)
    try:
        return Quota(daily=daily, monthly=monthly, per_second=per_second, burst=burst)
    except ValueError as error:
        raise settings.wrong("monthly", str(error)) from None
