"""A new installation in one folder: authority, keys, configuration, the first profiles.

It serves development, demonstrations and a first deployment. In production the key-holder's folder
moves to a host of its own, and the authority to wherever the operator issues certificates.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from concordat_gateway.config import DEFAULT_AGES
from concordat_gateway.pki import Authority, Names, certificate_pem, key_pem, new_key
from concordat_gateway.profiles import Gateway, write_profile
from concordat_gateway.store.subject_keys import SECRET_BYTES
from concordat_gateway.store.subjects import PEPPER_BYTES
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_privacy.jurisdictions import UNNAMED, policies
from concordat_privacy.log.checkpoint import SigningKey
from concordat_rpc.address import Address
from concordat_rpc.peer import Role, spiffe_id
from concordat_rpc.secret_files import write_secret
from concordat_rpc.settings import toml_text

PROCESS_LIFETIME = timedelta(days=825)
_PROFILE_LIFETIME = timedelta(days=365)


class InstallationError(Exception):
    """The installation cannot be made; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the operator chooses."""

    folder: Path
    """Missing or empty; made absolute."""
    listen: Address
    host: str
    """Name that clients verify in the gateway's certificate."""
    trust_domain: str
    control_url: str | None
    """None: a SQLite file in the folder."""
    signals_url: str | None
    evidence_url: str | None
    live_keys_url: str | None
    pool_epsilon: float
    member_epsilon: float
    workers: int


def install(wishes: Wishes, now: datetime) -> None:
    """Make the installation; raises InstallationError and then leaves what it has made."""
    folder = _new_folder(wishes.folder)
    authority = Authority.create(wishes.trust_domain, now)
    ca_pem = certificate_pem(authority.certificate)
    for name in ("ca", "gateway", "keyholder", "data", "profiles"):
        (folder / name).mkdir(mode=0o700)
    (folder / "ca" / "ca.pem").write_bytes(ca_pem)
    write_secret(folder / "ca" / "ca.key", key_pem(authority.key))
    issue = _Issuer(authority, wishes.trust_domain, now)

    vkey = _make_gateway(folder / "gateway", issue, wishes)
    _make_keyholder(folder / "keyholder", issue, wishes, ca_pem)
    key_log_vkey = (folder / "keyholder" / "log.vkey").read_text().strip()
    # Its store URLs may hold a password.
    settings = _gateway_settings(wishes, folder, key_log_vkey)
    write_secret(folder / "gateway.toml", settings.encode())
    gateway = Gateway(
        address=str(_reached_at(wishes)),
        server_name=wishes.host,
        ca_pem=ca_pem.decode(),
        ledger_vkey=vkey,
        key_log_vkey=key_log_vkey,
        key_log=(folder / "keyholder" / "keys.log").read_text(),
    )
    for role in (Role.OPERATOR, Role.AUDITOR):
        _make_profile(folder / "profiles" / role.value, issue, role, gateway)


@dataclass(frozen=True, slots=True)
class _Issuer:
    authority: Authority
    trust_domain: str
    now: datetime

    def identity(
        self, role: Role, name: str, lifetime: timedelta, hosts: tuple[str, ...] = ()
    ) -> tuple[str, bytes, bytes]:
        """A new identity: SPIFFE id, certificate and key in PEM."""
        key = new_key()
        identity = spiffe_id(self.trust_domain, role, name)
        certificate = self.authority.issue(
            key.public_key(), Names(identity, hosts), self.now, lifetime
        )
        return identity, certificate_pem(certificate), key_pem(key)


def _new_folder(wanted: Path) -> Path:
    folder = wanted.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InstallationError(f"{folder} is not empty; nothing was changed")
        folder.chmod(0o700)
    except OSError as error:
        raise InstallationError(f"{folder}: {error.strerror}") from None
    return folder


def _make_gateway(folder: Path, issue: _Issuer, wishes: Wishes) -> str:
    """The gateway's identity and keys; returns the ledger's verifier key."""
    _, certificate, key = issue.identity(
        Role.GATEWAY, "main", PROCESS_LIFETIME, hosts=_gateway_hosts(wishes)
    )
    (folder / "cert.pem").write_bytes(certificate)
    write_secret(folder / "key.pem", key)
    ledger_key = SigningKey.generate(f"{wishes.trust_domain}/ledger")
    vkey = ledger_key.verifier.encode()
    write_secret(folder / "ledger.key", f"{ledger_key.encode()}\n".encode())
    (folder / "ledger.vkey").write_text(f"{vkey}\n")
    for name, length in (
        (f"pepper-{FIRST_EPOCH}.key", PEPPER_BYTES),
        ("evidence.key", SECRET_BYTES),
        ("live.key", SECRET_BYTES),
    ):
        write_secret(folder / name, f"{secrets.token_hex(length)}\n".encode())
    return vkey


def _gateway_hosts(wishes: Wishes) -> tuple[str, ...]:
    hosts = {wishes.host: None}
    if wishes.listen.is_loopback:
        hosts |= {"localhost": None, "127.0.0.1": None}
    elif not wishes.listen.is_any:
        hosts[wishes.listen.host] = None
    return tuple(hosts)


def _reached_at(wishes: Wishes) -> Address:
    if wishes.listen.is_any:
        return Address(wishes.host, wishes.listen.port)
    return wishes.listen


def _make_keyholder(folder: Path, issue: _Issuer, wishes: Wishes, ca_pem: bytes) -> None:
    """The key-holder's identity, and all that is its own: keys, key log, configuration."""
    _, certificate, key = issue.identity(
        Role.KEYHOLDER, "main", PROCESS_LIFETIME, hosts=(_keyholder_name(wishes),)
    )
    (folder / "cert.pem").write_bytes(certificate)
    write_secret(folder / "key.pem", key)
    # A copy, so that the folder can move to a host of its own.
    (folder / "ca.pem").write_bytes(ca_pem)
    # In a process of the key-holder's own: the gateway's code never has the secret key. Port 0:
    # the gateway that starts it learns which it took.
    options = ["--development", "--trust-domain", wishes.trust_domain, "--listen", "127.0.0.1:0"]
    made = subprocess.run(  # noqa: S603  our own module
        [sys.executable, "-m", "concordat_keyholder", "init", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise InstallationError(made.stderr.strip() or "the key-holder's folder cannot be made")


def _make_profile(folder: Path, issue: _Issuer, role: Role, gateway: Gateway) -> None:
    folder.mkdir(mode=0o700)
    identity, certificate, key = issue.identity(role, "main", _PROFILE_LIFETIME)
    write_profile(folder, gateway, identity, certificate, key)


def _keyholder_name(wishes: Wishes) -> str:
    return f"keyholder.{wishes.trust_domain}"


def _gateway_settings(wishes: Wishes, folder: Path, key_log_vkey: str) -> str:
    control = wishes.control_url or f"sqlite:///{folder / 'data' / 'control.db'}"
    signals = wishes.signals_url or f"sqlite:///{folder / 'data' / 'signals.db'}"
    evidence = wishes.evidence_url or f"sqlite:///{folder / 'data' / 'evidence.db'}"
    live_keys = wishes.live_keys_url or f"sqlite:///{folder / 'data' / 'live-keys.db'}"
    return f"""\
# Concordat gateway. Paths are relative to this file.
listen = {toml_text(str(wishes.listen))}
trust_domain = {toml_text(wishes.trust_domain)}
# Serving processes; one a core.
workers = {wishes.workers}
# Prometheus endpoint, loopback only, e.g. "127.0.0.1:9464"; empty for none.
metrics = ""
ledger_key = "gateway/ledger.key"
# What subjects' keys are sealed under, see docs/erasure.md. Losing evidence.key, nobody can be
# shown a person's part of the ledger any more.
evidence_key = "gateway/evidence.key"
live_key = "gateway/live.key"
# Which token keys there are, signed by the key-holder's side; read again when it changes.
key_log = "keyholder/keys.log"
key_log_vkey = {toml_text(key_log_vkey)}

[identity]
certificate = "gateway/cert.pem"
private_key = "gateway/key.pem"
ca = "ca/ca.pem"

[stores]
control_url = {toml_text(control)}
signals_url = {toml_text(signals)}
evidence_url = {toml_text(evidence)}
# Backups of this one are to be deleted within the time by which an erasure must be complete.
live_keys_url = {toml_text(live_keys)}

[peppers]
# By key epoch: under which the stores know a subject. A new epoch needs a new one.
{FIRST_EPOCH} = "gateway/pepper-{FIRST_EPOCH}.key"

[[keyholders]]
# Started by `concordat serve`. For one on a host of its own replace config by
# address = "host:port". holder: the number of its share, where the key is split.
holder = 0
config = "keyholder/keyholder.toml"
server_name = {toml_text(_keyholder_name(wishes))}

[membership]
ca_key = "ca/ca.key"
invitation_days = 7
certificate_days = 365

[budgets]
# The most that all answers together, and those to one member, may reveal about a person, as
# epsilon at delta 1e-6. Each is fixed for good by the first answer that is charged to it: a later
# change here counts only for members that have not asked yet, and is warned of at every start.
pool_epsilon = {wishes.pool_epsilon}
member_epsilon = {wishes.member_epsilon}

[consents]
# Jurisdictions whose policies consents are taken under, and the one of consents that name none.
# "ZZ" stands for no place: for development. See docs/consents.md.
jurisdictions = {_list(sorted(policies()))}
default = {toml_text(UNNAMED)}

[quotas]
# Lookups of a member for which the operator set no other limits (`concordat quota set`). Generous,
# for development; without these lines 10,000 a day, 100,000 a month, 20 a second, 10,000 at once.
lookups_daily = 1_000_000
lookups_monthly = 10_000_000
lookups_per_second = 5_000.0
lookups_burst = 100_000
# Tokens of earlier epochs that the key-holders carry over for a member; without these lines twice
# lookups_daily, 20 a second, 20,000 at once.
carried_daily = 2_000_000
carried_per_second = 5_000.0
carried_burst = 100_000

[uploads]
# An upload that was not ended and got no part for so many days counts as abandoned; so many days
# after that, or after its end, it expires. See docs/uploads.md.
abandoned_days = {DEFAULT_AGES.abandoned_after.days}
answered_days = {DEFAULT_AGES.answered_for.days}

[signals]
# What becomes of an account that its subject disputes, and of a category with an open dispute:
# "held_back", or "marked" as disputed and shown. See docs/catalogue.md.
disputed = "held_back"

# Witnesses of the ledger and time-stamps: docs/witnesses.md says what to write here.

[limits]
# Any field of concordat_rpc.limits.Limits, e.g. drain_seconds = 10.0
"""


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(toml_text, texts))}]"
