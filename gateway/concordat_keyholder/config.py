"""The key-holder's configuration: one TOML file, paths relative to its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from concordat_rpc.address import Address
from concordat_rpc.peer import is_trust_domain
from concordat_rpc.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyholderConfig:
    """Everything the key-holder needs to know."""

    listen: Address
    """Port 0 takes a free one."""
    trust_domain: str
    """Trust domain of the gateways that may call."""
    certificate: Path
    private_key: Path
    ca: Path
    keys: Path
    """See :mod:`concordat_keyholder.keys`."""


def load_config(file: Path) -> KeyholderConfig:
    """Read and check a configuration file; raises SettingsError."""
    settings = Settings.read(file)
    identity = settings.table("identity")
    trust_domain = settings.text("trust_domain")
    if not is_trust_domain(trust_domain):
        raise settings.wrong("trust_domain", "not a SPIFFE trust domain name")
    try:
        listen = Address.parse(settings.text("listen"))
    except ValueError as error:
        raise settings.wrong("listen", str(error)) from None
    config = KeyholderConfig(
        listen=listen,
        trust_domain=trust_domain,
        certificate=identity.path("certificate"),
        private_key=identity.path("private_key"),
        ca=identity.path("ca"),
        keys=settings.path("keys"),
    )
    identity.finish()
    settings.finish()
    return config
