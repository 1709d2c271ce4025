"""Profiles: who the client is, where its gateway is, and the keys it holds the gateway to.

A profile is a folder:

    profile.toml   gateway = "127.0.0.1:7443"     host:port
                   server_name = "localhost"      name that the gateway's certificate must have
                   spiffe_id = "spiffe://..."     the identity in cert.pem
                   ledger_vkey = "..."            key that signs the ledger's checkpoints
                   key_log_vkey = "..."           key that signs the log of token keys
    keys.log       the log of token keys, as far as it is pinned
    cert.pem, key.pem, ca.pem

The keys in it are pinned. From the gateway the client takes a later key log only if the same key
signed it and it begins with every entry of the pinned one. A client that makes no tokens may do
without the key log; then both `key_log_vkey` and `keys.log` are missing.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from concordat.errors import ProfileError
from concordat_privacy.keylog import KeyLog, KeyLogError
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.oprf import ELEMENT_BYTES, SodiumUnavailable, is_element

KEY_LOG = "keys.log"
"""Name of a profile's file with the pinned key log."""

_SETTINGS = "profile.toml"
_CERTIFICATE = "cert.pem"
_KEY = "key.pem"
_AUTHORITY = "ca.pem"
_KNOWN = frozenset({"gateway", "server_name", "spiffe_id", "ledger_vkey", "key_log_vkey"})

_ROOT = 0
_NOT_FOR_OWN = stat.S_IRWXG | stat.S_IRWXO
_NOT_FOR_ROOTS = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A loaded profile."""

    gateway: str
    """host:port."""
    server_name: str
    """Name that the gateway's certificate must carry."""
    spiffe_id: str
    """The client's own identity."""
    ledger_key: VerifierKey
    """Key that must have signed every checkpoint."""
    key_log_key: VerifierKey | None
    """Key that must have signed every key log; None in a profile that makes no tokens."""
    key_log: KeyLog | None
    """The pinned key log; None in a profile that makes no tokens."""
    certificate_pem: bytes
    """The client's certificate, with its chain."""
    private_key_pem: bytes = field(repr=False)
    """The certificate's private key, unencrypted."""
    ca_pem: bytes
    """Authorities that may have signed the gateway's certificate."""

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a profile folder.

        Raises:
            ProfileError: names the file, and the entry in it, that is missing, malformed or open
                to other users of the machine; or the private key is another certificate's.
        """
        if not isinstance(folder, str | os.PathLike):
            raise ProfileError(f"a folder's path wanted, {type(folder).__name__} given")
        root = Path(folder)
        settings = _Settings.read(root / _SETTINGS)
        certificate = _read(root / _CERTIFICATE)
        private_key = _read_secret(root / _KEY)
        authority = _read(root / _AUTHORITY)
        key_log_key = settings.key_log_key()
        profile = cls(
            gateway=settings.gateway(),
            server_name=settings.text("server_name"),
            spiffe_id=settings.text("spiffe_id"),
            ledger_key=settings.ledger_key(),
            key_log_key=key_log_key,
            key_log=_read_key_log(root / KEY_LOG, key_log_key),
            certificate_pem=certificate,
            private_key_pem=private_key,
            ca_pem=authority,
        )
        _check_identity(profile, root)
        return profile


class _Settings:
    """profile.toml, entry by entry."""

    def __init__(self, path: Path, table: Mapping[str, object]) -> None:
        self._path = path
        self._table = table

    @classmethod
    def read(cls, path: Path) -> "_Settings":
        try:
            table = tomllib.loads(_read(path).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProfileError(f"{path}: not TOML: {error}", path=path) from None
        unknown = sorted(table.keys() - _KNOWN)
        if unknown:
            raise ProfileError(f"{path}: unknown entry {unknown[0]!r}", path=path, key=unknown[0])
        return cls(path, table)

    def text(self, key: str) -> str:
        if key not in self._table:
            raise self._wrong(key, "missing")
        value = self._table[key]
        if not isinstance(value, str):
            raise self._wrong(key, f"text wanted, {type(value).__name__} found")
        if not value.strip():
            raise self._wrong(key, "empty")
        return value

    def gateway(self) -> str:
        address = self.text("gateway")
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit():
            raise self._wrong("gateway", f"{address!r} is not host:port")
        if not 0 < int(port) < 65536:
            raise self._wrong("gateway", f"port {port} is not in 1..65535")
        return address

    def ledger_key(self) -> VerifierKey:
        return self._verifier_key("ledger_vkey")

    def key_log_key(self) -> VerifierKey | None:
        return self._verifier_key("key_log_vkey") if "key_log_vkey" in self._table else None

    def _verifier_key(self, key: str) -> VerifierKey:
        try:
            return VerifierKey.decode(self.text(key))
        except CheckpointError as error:
            raise self._wrong(key, str(error)) from None

    def _wrong(self, key: str, text: str) -> ProfileError:
        return ProfileError(f"{self._path}: {key}: {text}", path=self._path, key=key)


def _read_key_log(path: Path, key: VerifierKey | None) -> KeyLog | None:
    """The pinned key log. Without its key nothing vouches for it; without it the key pins none."""
    if key is None:
        if path.exists():
            raise ProfileError(
                f"{path}: {_SETTINGS} has no key_log_vkey to verify it with",
                path=path,
                key="key_log_vkey",
            )
        return None
    check_sodium()
    try:
        return KeyLog.open(_read(path).decode(), key)
    except (KeyLogError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: {error}", path=path, reason="KEY_LOG_INVALID") from None


def check_sodium() -> None:
    """Raise ProfileError where there is no libsodium: neither keys nor tokens can be checked."""
    try:
        is_element(bytes(ELEMENT_BYTES))
    except SodiumUnavailable as error:
        raise ProfileError(str(error), reason="SODIUM_UNAVAILABLE") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}", path=path) from None


def _read_secret(path: Path) -> bytes:
    """The content of a key file that nobody else may read or change.

    The one exception is a file of root's that its group may read: so do secret stores and
    orchestrators lend a key to a process that does not run as root. (The servers make no such
    exception: their key files are made on the spot, by the user that they run as.)
    """
    try:
        with path.open("rb") as opened:
            status = os.fstat(opened.fileno())
            content = opened.read()
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}", path=path) from None
    mode = stat.S_IMODE(status.st_mode)
    if mode & (_NOT_FOR_ROOTS if status.st_uid == _ROOT else _NOT_FOR_OWN):
        raise ProfileError(
            f"{path}: other users of this machine may read or change the private key "
            f"(mode {mode:04o}); run: chmod 600 {path}",
            path=path,
            reason="KEY_FILE_UNSAFE",
        )
    return content


def _check_identity(profile: Profile, root: Path) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(profile.certificate_pem)
    except ValueError:
        raise ProfileError(
            f"{root / _CERTIFICATE}: no PEM certificate", path=root / _CERTIFICATE
        ) from None
    try:
        key = serialization.load_pem_private_key(profile.private_key_pem, password=None)
    except (ValueError, TypeError):
        raise ProfileError(
            f"{root / _KEY}: no unencrypted PEM private key", path=root / _KEY
        ) from None
    if key.public_key() != certificate.public_key():
        raise ProfileError(
            f"{root / _KEY}: not the private key of {_CERTIFICATE}", path=root / _KEY
        )
    try:
        x509.load_pem_x509_certificates(profile.ca_pem)
    except ValueError:
        raise ProfileError(
            f"{root / _AUTHORITY}: no PEM certificate", path=root / _AUTHORITY
        ) from None
    named = _uris(certificate)
    if named != [profile.spiffe_id]:
        raise ProfileError(
            f"{root / _SETTINGS}: spiffe_id: {profile.spiffe_id!r}, but {_CERTIFICATE} names "
            f"{', '.join(named) or 'nobody'}",
            path=root / _SETTINGS,
            key="spiffe_id",
        )


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)
