"""The gateway's configuration: one TOML file, parsed once into frozen dataclasses."""

from concordat_gateway.config.model import (
    ConsentPolicies,
    GatewayConfig,
    IdentityFiles,
    Keyholder,
    Membership,
    PrivacyBudgets,
    StoreUrls,
    Timestamps,
    Witness,
    Witnesses,
)
from concordat_gateway.config.reading import load_config

__all__ = [
    "ConsentPolicies",
    "GatewayConfig",
    "IdentityFiles",
    "Keyholder",
    "Membership",
    "PrivacyBudgets",
    "StoreUrls",
    "Timestamps",
    "Witness",
    "Witnesses",
    "load_config",
]
