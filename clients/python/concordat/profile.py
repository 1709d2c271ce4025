"""Profiles: who the client is, where its gateway is, and the keys it holds the gateway to.

A profile is a folder:

    profile.toml   gateway = "127.0.0.1:7443"     host:port
                   server_name = "localhost"      name that the gateway's certificate must have
                   spiffe_id = "spiffe://..."     the identity in cert.pem
                   ledger_vkey = "..."            key that signs the ledger's checkpoints
                   [[token_keys]]                 one for each key epoch
                   epoch = 1
                   public_key = "<64 hex digits>"
    cert.pem, key.pem, ca.pem

The keys in it are pinned: the client takes none from the gateway.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from concordat.errors import ProfileError
from concordat_privacy.identifiers import MAX_EPOCH, Epoch
from concordat_privacy.log.checkpoint import CheckpointError, VerifierKey
from concordat_privacy.oprf import OprfError, PublicKey, SodiumUnavailable

_SETTINGS = "profile.toml"
_CERTIFICATE = "cert.pem"
_KEY = "key.pem"
_AUTHORITY = "ca.pem"
_KNOWN = frozenset({"gateway", "server_name", "spiffe_id", "ledger_vkey", "token_keys"})

_ROOT = 0
_NOT_FOR_OWN = stat.S_IRWXG | stat.S_IRWXO
_NOT_FOR_ROOTS = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The pinned public key of one token epoch."""

    epoch: Epoch
    public_key: PublicKey


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
    token_keys: tuple[TokenKey, ...]
    """Pinned token keys, oldest epoch first; every profile of an installation gets them. Empty
    where profile.toml has none: such a client cannot make tokens."""
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
        profile = cls(
            gateway=settings.gateway(),
            server_name=settings.text("server_name"),
            spiffe_id=settings.text("spiffe_id"),
            ledger_key=settings.ledger_key(),
            token_keys=settings.token_keys(),
            certificate_pem=certificate,
            private_key_pem=private_key,
            ca_pem=authority,
        )
        _check_identity(profile, root)
        return profile

    @property
    def newest_epoch(self) -> Epoch:
        """The epoch that new tokens are made for. Raises ProfileError if no key is pinned."""
        if not self.token_keys:
            raise ProfileError(
                "this profile pins no token key ([[token_keys]] in profile.toml), so no tokens can "
                "be made with it",
                key="token_keys",
            )
        return self.token_keys[-1].epoch

    def token_key(self, epoch: Epoch) -> PublicKey:
        """The pinned key of an epoch. Raises ProfileError."""
        for pinned in self.token_keys:
            if pinned.epoch == epoch:
                return pinned.public_key
        known = ", ".join(str(pinned.epoch) for pinned in self.token_keys) or "none"
        raise ProfileError(
            f"no token key of epoch {epoch} is pinned (pinned: {known})", key="token_keys"
        )


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
        value = self._typed(self._table, key, str)
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
        try:
            return VerifierKey.decode(self.text("ledger_vkey"))
        except CheckpointError as error:
            raise self._wrong("ledger_vkey", str(error)) from None

    def token_keys(self) -> tuple[TokenKey, ...]:
        if "token_keys" not in self._table:
            return ()
        entries = self._typed(self._table, "token_keys", list)
        keys = [self._token_key(f"token_keys[{at}]", entry) for at, entry in enumerate(entries)]
        keys.sort(key=lambda pinned: pinned.epoch)
        for older, newer in pairwise(keys):
            if older.epoch == newer.epoch:
                raise self._wrong("token_keys", f"epoch {older.epoch} is there twice")
        return tuple(keys)

    def _token_key(self, where: str, entry: object) -> TokenKey:
        if not isinstance(entry, dict):
            raise self._wrong(where, "a table wanted")
        epoch = self._typed(entry, "epoch", int, where)
        if not 1 <= epoch <= MAX_EPOCH:
            raise self._wrong(f"{where}.epoch", f"{epoch} is not in 1..{MAX_EPOCH}")
        digits = self._typed(entry, "public_key", str, where)
        try:
            return TokenKey(Epoch(epoch), PublicKey(bytes.fromhex(digits)))
        except SodiumUnavailable as error:
            raise ProfileError(str(error), reason="SODIUM_UNAVAILABLE") from None
        except (ValueError, OprfError) as error:
            raise self._wrong(f"{where}.public_key", str(error)) from None

    def _typed(self, table: Mapping[str, object], key: str, kind: type[_T], where: str = "") -> _T:
        path = f"{where}.{key}" if where else key
        if key not in table:
            raise self._wrong(path, "missing")
        value = table[key]
        # bool is an int to Python, not to TOML.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self._wrong(path, f"{kind.__name__} wanted, {type(value).__name__} found")
        return value

    def _wrong(self, key: str, text: str) -> ProfileError:
        return ProfileError(f"{self._path}: {key}: {text}", path=self._path, key=key)


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
