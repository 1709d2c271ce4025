"""Reads the configuration file, once, and checks it.

Paths in the file are relative to its own folder. Errors are SettingsError and name the entry.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

from concordat_gateway.config.model import (
    DEFAULT_AGES,
    ConsentPolicies,
    GatewayConfig,
    IdentityFiles,
    Keyholder,
    Membership,
    PrivacyBudgets,
    StoreUrls,
    Timestamps,
    UploadAges,
    Witness,
    Witnesses,
)
from concordat_privacy.catalogue.signals import Disputed
from concordat_privacy.epochs import MAX_EPOCH
from concordat_privacy.jurisdictions import UNNAMED, policies
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_privacy.log.cosignature import Quorum, WitnessKey
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.metering import MAX_PER_SECOND, Quota
from concordat_privacy.oprf import MAX_HOLDERS
from concordat_rpc.address import Address
from concordat_rpc.limits import Limits
from concordat_rpc.peer import is_trust_domain
from concordat_rpc.settings import Settings

DEFAULT_LOOKUP_QUOTA = Quota(daily=10_000, monthly=100_000, per_second=20.0, burst=10_000)
"""Of a member for which neither the file nor the operator says otherwise: enough to decide on
applications, too little to try a register. The burst is one batch of the largest size."""
DEFAULT_GRACE_SECONDS = 3_600
_CARRIED_PER_SECOND = 20.0
_CARRIED_BURST = 20_000
_DAYS_A_MONTH = 31


def load_config(file: Path) -> GatewayConfig:
    """Read and check a configuration file; raises SettingsError."""
    settings = Settings.read(file)
    quotas = settings.table("quotas")
    lookup_quota = _lookup_quota(quotas)
    config = GatewayConfig(
        file=file.absolute(),
        listen=_address(settings, "listen"),
        trust_domain=_trust_domain(settings),
        workers=settings.integer("workers", 1, 256, default=2),
        resume_seconds=settings.number("resume_seconds", 0.1, 86_400.0, default=60.0),
        alarm_seconds=settings.number("alarm_seconds", 0.1, 86_400.0, default=300.0),
        job_seconds=settings.number("job_seconds", 0.1, 86_400.0, default=600.0),
        metrics=_metrics(settings),
        identity=_identity(settings.table("identity")),
        stores=_stores(settings.table("stores")),
        ledger_key=settings.path("ledger_key"),
        evidence_key=_subject_keys(settings).path("evidence_key"),
        live_key=settings.path("live_key"),
        peppers=_peppers(settings),
        key_log=settings.path("key_log"),
        key_log_vkey=_verifier_key(settings, "key_log_vkey"),
        keyholders=_keyholders(settings),
        membership=_membership(settings.table("membership")),
        budgets=_budgets(settings.table("budgets")),
        consents=_consents(settings.table("consents")),
        retention=_retention(settings.table("retention")),
        upload_ages=_upload_ages(settings.table("uploads")),
        disputed=_disputed(settings.table("signals")),
        witnesses=_witnesses(settings.table("witnesses")),
        timestamps=_timestamps(settings),
        lookup_quota=lookup_quota,
        carried_quota=_carried_quota(quotas, lookup_quota),
        limits=_limits(settings.table("limits")),
    )
    quotas.finish()
    settings.finish()
    return config


def _address(settings: Settings, key: str) -> Address:
    try:
        return Address.parse(settings.text(key))
    except ValueError as error:
        raise settings.wrong(key, str(error)) from None


def _trust_domain(settings: Settings) -> str:
    domain = settings.text("trust_domain")
    if not is_trust_domain(domain):
        raise settings.wrong("trust_domain", "not a SPIFFE trust domain name")
    return domain


def _metrics(settings: Settings) -> Address | None:
    if not settings.text("metrics", default=""):
        return None
    address = _address(settings, "metrics")
    if not address.is_loopback:
        raise settings.wrong("metrics", "must be a loopback address: the endpoint has no TLS")
    return address


def _identity(settings: Settings) -> IdentityFiles:
    files = IdentityFiles(
        settings.path("certificate"), settings.path("private_key"), settings.path("ca")
    )
    settings.finish()
    return files


def _stores(settings: Settings) -> StoreUrls:
    urls = StoreUrls(
        settings.text("control_url"),
        settings.text("signals_url"),
        _subject_keys(settings).text("evidence_url"),
        settings.text("live_keys_url"),
    )
    settings.finish()
    return urls


def _subject_keys(settings: Settings) -> Settings:
    """The same settings, after a word to who has a configuration of before subjects had keys."""
    for name in ("evidence_key", "live_key", "evidence_url", "live_keys_url"):
        beside = "ledger_key" if name.endswith("key") else "control_url"
        if settings.has(beside) and not settings.has(name):
            raise settings.wrong(
                name, "missing: subjects have keys of their own now; docs/erasure.md, Upgrading"
            )
    return settings


def _peppers(settings: Settings) -> dict[int, Path]:
    table = settings.table("peppers")
    peppers: dict[int, Path] = {}
    for name in table.names():
        if not name.isdecimal() or not 1 <= int(name) <= MAX_EPOCH:
            raise table.wrong(name, "not the number of a key epoch")
        peppers[int(name)] = table.path(name)
    if not peppers:
        raise settings.wrong("peppers", "at least one is needed")
    return peppers


def _verifier_key(settings: Settings, key: str) -> VerifierKey:
    try:
        return VerifierKey.decode(settings.text(key))
    except CheckpointError as error:
        raise settings.wrong(key, str(error)) from None


def _keyholders(settings: Settings) -> tuple[Keyholder, ...]:
    keyholders = tuple(_keyholder(table) for table in settings.tables("keyholders"))
    if not keyholders:
        raise settings.wrong("keyholders", "at least one is needed")
    shares = [one.holder for one in keyholders if one.holder]
    if len(shares) != len(set(shares)):
        raise settings.wrong("keyholders", "two hold the same share")
    return keyholders


def _keyholder(settings: Settings) -> Keyholder:
    embedded, remote = settings.has("config"), settings.has("address")
    if embedded == remote:
        raise settings.wrong(
            "config", "exactly one wanted of config (embedded) and address (a host of its own)"
        )
    keyholder = Keyholder(
        holder=settings.integer("holder", 0, MAX_HOLDERS, default=0),
        config=settings.path("config") if embedded else None,
        address=_address(settings, "address") if remote else None,
        server_name=settings.text("server_name"),
    )
    settings.finish()
    return keyholder


def _membership(settings: Settings) -> Membership:
    membership = Membership(
        ca_key=settings.path("ca_key"),
        invitation_lifetime=timedelta(days=settings.integer("invitation_days", 1, 90, default=7)),
        certificate_lifetime=timedelta(
            days=settings.integer("certificate_days", 1, 825, default=365)
        ),
    )
    settings.finish()
    return membership


def _budgets(settings: Settings) -> PrivacyBudgets:
    budgets = PrivacyBudgets(
        pool_epsilon=settings.number("pool_epsilon", 0.001, 100.0),
        member_epsilon=settings.number("member_epsilon", 0.001, 100.0),
    )
    settings.finish()
    return budgets


def _consents(settings: Settings) -> ConsentPolicies:
    """All jurisdictions that there are, and "ZZ" (no place named) by default."""
    known = sorted(policies())
    codes = settings.texts("jurisdictions", default=known)
    for code in codes:
        if code not in known:
            raise settings.wrong(
                "jurisdictions", f"no policy of {code!r}; there are {', '.join(known)}"
            )
    default = settings.text("default", default=UNNAMED)
    if default not in codes:
        raise settings.wrong("default", f"{default!r} is not one of the jurisdictions")
    settings.finish()
    return ConsentPolicies(tuple(codes), default)


def _retention(settings: Settings) -> str:
    code = settings.text("jurisdiction", default=UNNAMED)
    if code not in policies():
        raise settings.wrong(
            "jurisdiction", f"no policy of {code!r}; there are {', '.join(sorted(policies()))}"
        )
    settings.finish()
    return code


def _upload_ages(settings: Settings) -> UploadAges:
    default = DEFAULT_AGES
    ages = UploadAges(
        *(
            timedelta(days=settings.integer(name, 1, 3_650, default=usual.days))
            for name, usual in (
                ("abandoned_days", default.abandoned_after),
                ("answered_days", default.answered_for),
            )
        )
    )
    settings.finish()
    return ages


def _disputed(settings: Settings) -> Disputed:
    names = {policy.name.lower(): policy for policy in Disputed}
    name = settings.text("disputed", default=Disputed.HELD_BACK.name.lower())
    if name not in names:
        raise settings.wrong("disputed", f"one of {', '.join(names)} wanted, {name!r} given")
    settings.finish()
    return names[name]


def _witnesses(settings: Settings) -> Witnesses:
    listed = tuple(_witness(table) for table in settings.tables("witness"))
    needed = settings.integer("quorum", 0, 100, default=0)
    try:
        quorum = Quorum(tuple(one.key for one in listed), needed)
    except CheckpointError as error:
        raise settings.wrong("quorum", str(error)) from None
    seconds = settings.integer("grace_seconds", 0, 30 * 86_400, default=DEFAULT_GRACE_SECONDS)
    settings.finish()
    return Witnesses(quorum, timedelta(seconds=seconds), listed)


def _witness(settings: Settings) -> Witness:
    try:
        key = WitnessKey.decode(settings.text("vkey"))
    except CheckpointError as error:
        raise settings.wrong("vkey", str(error)) from None
    url = _url(settings) if settings.has("url") else ""
    settings.finish()
    return Witness(key, url.rstrip("/"))


def _timestamps(settings: Settings) -> Timestamps | None:
    if not settings.has("timestamps"):
        return None
    table = settings.table("timestamps")
    timestamps = Timestamps(
        _url(table),
        table.path("ca"),
        timedelta(seconds=table.integer("every_seconds", 1, 7 * 86_400, default=3_600)),
    )
    table.finish()
    return timestamps


def _url(settings: Settings) -> str:
    url = settings.text("url")
    if not url.startswith(("http://", "https://")):
        raise settings.wrong("url", "an address that begins with https:// or http:// is wanted")
    return url


def _carried_quota(settings: Settings, lookups: Quota) -> Quota:
    """By default one largest batch of contributions may come at once, all of it by older tokens.

    Subjects whose consents a member recorded before the rotation go by aliases: what is carried is
    newcomers, so twice a day's lookups is plenty.
    """
    daily = settings.integer("carried_daily", 1, 2 * 10**9, default=2 * lookups.daily)
    return Quota(
        daily=daily,
        # None of its own: as many as its days together.
        monthly=_DAYS_A_MONTH * daily,
        per_second=settings.number("carried_per_second", 0.001, 1e6, default=_CARRIED_PER_SECOND),
        burst=settings.integer("carried_burst", 1, 10**9, default=_CARRIED_BURST),
    )


def _lookup_quota(settings: Settings) -> Quota:
    """Any entry may be set; the others keep their defaults."""
    default = DEFAULT_LOOKUP_QUOTA
    daily = settings.integer("lookups_daily", 1, 10**9, default=default.daily)
    monthly = settings.integer(
        "lookups_monthly", 1, 31 * 10**9, default=max(default.monthly, daily)
    )
    if monthly < daily:
        raise settings.wrong("lookups_monthly", f"must be at least lookups_daily, {daily}")
    return Quota(
        daily=daily,
        monthly=monthly,
        per_second=settings.number(
            "lookups_per_second", 0.001, MAX_PER_SECOND, default=default.per_second
        ),
        burst=settings.integer("lookups_burst", 1, 10**9, default=default.burst),
    )


def _limits(settings: Settings) -> Limits:
    """Any field of Limits may be set; the others keep their defaults."""
    defaults = Limits()
    changes: dict[str, int | float] = {}
    for field in dataclasses.fields(Limits):
        if not settings.has(field.name):
            continue
        if isinstance(getattr(defaults, field.name), int):
            changes[field.name] = settings.integer(field.name, 1, 2**31 - 1)
        else:
            changes[field.name] = settings.number(field.name, 0.01, 1e6)
    settings.finish()
    return dataclasses.replace(defaults, **changes)  # type: ignore[arg-type]  # types checked above
