"""The gateway's own keys at rest: ledger key, peppers, authority. Errors are SettingsError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from concordat_gateway.pki import Authority, PkiError
from concordat_gateway.store.subject_keys import SECRET_BYTES
from concordat_gateway.store.subjects import PEPPER_BYTES
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.log.errors import CheckpointError
from concordat_rpc.secret_files import read_secret
from concordat_rpc.settings import SettingsError


def load_ledger_key(file: Path) -> SigningKey:
    """The key that signs checkpoints: one line of signed-note skey text."""
    try:
        return SigningKey.decode(read_secret(file).decode())
    except (CheckpointError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not a ledger key: {error}") from None


def load_pepper(file: Path) -> bytes:
    """The store's pepper: bytes in hexadecimal."""
    try:
        pepper = bytes.fromhex(read_secret(file).decode())
    except ValueError:
        raise SettingsError(f"{file}: not hexadecimal") from None
    if len(pepper) < PEPPER_BYTES:
        raise SettingsError(f"{file}: at least {PEPPER_BYTES} bytes wanted, {len(pepper)} found")
    return pepper


def load_subject_secret(file: Path) -> bytes:
    """The secret of one of the stores of subjects' keys: bytes in hexadecimal."""
    try:
        secret = bytes.fromhex(read_secret(file).decode())
    except ValueError:
        raise SettingsError(f"{file}: not hexadecimal") from None
    if len(secret) < SECRET_BYTES:
        raise SettingsError(f"{file}: at least {SECRET_BYTES} bytes wanted, {len(secret)} found")
    return secret


class PepperFiles:
    """The peppers by key epoch, each read when it is first needed. Thread-safe.

    A rotation brings a pepper while the gateway serves; so what the configuration names is asked
    for again where an epoch's is not known.
    """

    def __init__(self, files: Mapping[int, Path], reread: Callable[[], Mapping[int, Path]]) -> None:
        self._files = files
        self._reread = reread
        self._peppers: dict[int, bytes] = {}

    def pepper(self, epoch: int) -> bytes:
        """The pepper of an epoch. Raises SettingsError."""
        pepper = self._peppers.get(epoch)
        if pepper is None:
            if epoch not in self._files:
                self._files = self._reread()
            if epoch not in self._files:
                raise SettingsError(f"peppers: there is none of epoch {epoch}")
            pepper = self._peppers[epoch] = load_pepper(self._files[epoch])
        return pepper


def load_authority(certificate: Path, private_key: Path) -> Authority:
    """The authority that signs member certificates."""
    try:
        return Authority.load(certificate.read_bytes(), read_secret(private_key))
    except OSError as error:
        raise SettingsError(f"{certificate}: {error.strerror}") from None
    except PkiError as error:
        raise SettingsError(f"{certificate}, {private_key}: {error}") from None
