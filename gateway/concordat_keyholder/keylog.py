"""The key log as a file: read, appended to, and replaced by a longer one.

The log itself, its entries and what they may say, is :mod:`concordat_privacy.keylog`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from concordat_keyholder.files import PUBLIC, replace_file
from concordat_keyholder.keys import HeldKey, HeldKeys
from concordat_privacy.keylog import EpochKey, KeyLog, KeyLogError
from concordat_privacy.log.checkpoint import SigningKey, VerifierKey
from concordat_privacy.log.errors import CheckpointError
from concordat_rpc.secret_files import read_secret
from concordat_rpc.settings import SettingsError


def read_log(file: Path, verifier_key: VerifierKey) -> KeyLog:
    """Read and verify a key log. Raises SettingsError."""
    try:
        return KeyLog.open(file.read_text(encoding="utf-8"), verifier_key)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: not UTF-8 text") from None
    except KeyLogError as error:
        raise SettingsError(f"{file}: {error}") from None


def signed_log(entries: Sequence[bytes], key: SigningKey) -> KeyLog:
    """Sign entries as a log; raises SettingsError where they cannot stand."""
    try:
        return KeyLog.signed(entries, key)
    except KeyLogError as error:
        raise SettingsError(str(error)) from None


def extended_log(log: KeyLog, entries: Sequence[bytes], key: SigningKey) -> KeyLog:
    """The log with more entries. Raises SettingsError."""
    return signed_log([*log.entries, *entries], key)


def write_log(file: Path, log: KeyLog) -> None:
    """Write a log in the place of a shorter one. It is public. Raises SettingsError."""
    replace_file(file, log.text.encode(), PUBLIC)


def read_log_key(file: Path) -> SigningKey:
    """The key that signs the log. Raises SettingsError."""
    try:
        return SigningKey.decode(read_secret(file).decode())
    except (CheckpointError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not a key log's signing key: {error}") from None


def check_held(keys: HeldKeys, log: KeyLog) -> None:
    """Raises SettingsError where something else is held than the log says.

    A key that the log does not know yet is nobody's: a command died before it was announced.
    """
    for held in keys:
        entry = log.key(held.epoch)
        if entry is not None and not _fits(held, entry):
            what = "its key" if held.is_whole else f"the share of holder {held.holder}"
            raise SettingsError(f"epoch {held.epoch}: {what} is not the one in the key log")


def _fits(held: HeldKey, entry: EpochKey) -> bool:
    if held.is_whole:
        return held.public_key == entry.public_key
    return held.threshold == entry.threshold and any(
        one.holder == held.holder and one.public_key == held.public_key for one in entry.holders
    )
