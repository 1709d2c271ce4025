"""Writes profiles: the folders that clients open (read by the SDK)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from concordat_rpc.secret_files import write_secret
from concordat_rpc.settings import toml_text

KEY_LOG = "keys.log"
PROFILE_FILES = ("key.pem", "cert.pem", "ca.pem", KEY_LOG, "profile.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What a client knows of a gateway and pins."""

    address: str
    """host:port."""
    server_name: str
    """Name that the gateway's certificate carries."""
    ca_pem: str
    ledger_vkey: str
    key_log_vkey: str
    """Key that signs the log of token keys."""
    key_log: str
    """The log of token keys itself, as it is pinned."""


def write_profile(
    folder: Path, gateway: Gateway, spiffe_id: str, certificate_pem: bytes, private_key_pem: bytes
) -> None:
    """Write a profile into an existing folder; raises FileExistsError over an older one."""
    write_secret(folder / "key.pem", private_key_pem)
    (folder / "cert.pem").write_bytes(certificate_pem)
    (folder / "ca.pem").write_text(gateway.ca_pem, encoding="ascii")
    (folder / KEY_LOG).write_text(gateway.key_log, encoding="utf-8")
    (folder / "profile.toml").write_text(_settings(gateway, spiffe_id), encoding="utf-8")


def _settings(gateway: Gateway, spiffe_id: str) -> str:
    lines = [
        f"gateway = {toml_text(gateway.address)}",
        f"server_name = {toml_text(gateway.server_name)}",
        f"spiffe_id = {toml_text(spiffe_id)}",
        f"ledger_vkey = {toml_text(gateway.ledger_vkey)}",
        f"key_log_vkey = {toml_text(gateway.key_log_vkey)}",
    ]
    return "\n".join(lines) + "\n"
