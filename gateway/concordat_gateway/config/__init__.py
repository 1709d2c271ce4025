"""The gateway's configuration: one TOML file, parsed once into frozen dataclasses."""

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
from concordat_gateway.config.reading import load_config

__all__ = [
    "DEFAULT_AGES",
    "ConsentPolicies",
    "GatewayConfig",
    "IdentityFiles",
    "Keyholder",
    "Membership",
    "PrivacyBudgets",
    "StoreUrls",
    "Timestamps",
    "UploadAges",
    "Witness",
    "Witnesses",
    "load_config",
]
