"""Epochs of the token key: begun, ended, destroyed. Each step is in the key log before it counts.

Order of writing: a new key goes into the sealed file first and into the log second. A command that
died in between is repeated and goes on with the same key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from concordat_keyholder.config import KeyholderConfig
from concordat_keyholder.files import PUBLIC, replace_file, turn
from concordat_keyholder.keylog import check_held, extended_log, read_log, read_log_key, write_log
from concordat_keyholder.keys import HeldKey, HeldKeys, read_keys, write_keys
from concordat_privacy.keylog import KeyLog, end_entry, key_entry
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.oprf import generate_key, key_ratio
from concordat_rpc.settings import SettingsError

DEALT_OUT: Final = "dealt-out"
"""A file that marks a folder whose keys were split: its key log is no longer the newest."""


def begin_epoch(config: KeyholderConfig, valid_from: int, newest: Path | None = None) -> KeyLog:
    """Make the next epoch's key and its ratio to the last one; the longer log.

    Raises SettingsError. For `newest` see `signing_log`. `valid_from` is microseconds since 1970.
    """
    with turn(config.folder):
        log, log_key = signing_log(config, newest)
        keys, wrapper = read_keys(config.keys, config.seal)
        last = log.keys[-1]
        held = keys.get(last.epoch)
        if held is None or not held.is_whole:
            raise SettingsError(
                f"epoch {last.epoch}: its key is not held whole here, which the next one needs; "
                "join the shares first (concordat keyholder join)"
            )
        made = keys.get(last.epoch + 1)
        known = [one for one in keys if one is not made]
        if made is None:
            secret = generate_key().secret
            made = HeldKey(last.epoch + 1, secret, update=key_ratio(held.secret, secret))
        entry = key_entry(made.epoch, made.public_key, valid_from)
        # What the log would not take must not be held either.
        longer = extended_log(log, [entry], log_key)
        write_keys(config.keys, HeldKeys.of([*known, made]), wrapper, config.seal.method)
        write_log(config.key_log, longer)
        return longer


@dataclass(frozen=True, slots=True)
class Ending:
    """What an epoch's end brings, for whoever decides on it: it cannot be changed later."""

    epoch: int
    valid_to: int
    """Microseconds since 1970, excluded."""
    resumes_at: int | None
    """When a later epoch is in use; None where the log has none that is ever in use."""

    @property
    def leaves_gap(self) -> bool:
        """Whether there is a time from its end on in which no token can be made or used."""
        return self.resumes_at is None or self.resumes_at > self.valid_to


def planned_end(
    config: KeyholderConfig, epoch: int, valid_to: int, newest: Path | None = None
) -> Ending:
    """What an end would bring; nothing is changed. Raises SettingsError as `end_epoch`."""
    log, log_key = signing_log(config, newest)
    longer = extended_log(log, [end_entry(epoch, valid_to)], log_key)
    return Ending(epoch, valid_to, _in_use_again(longer, valid_to))


def end_epoch(
    config: KeyholderConfig, epoch: int, valid_to: int, newest: Path | None = None
) -> KeyLog:
    """Say when an epoch ends (microseconds since 1970, excluded). Raises SettingsError."""
    with turn(config.folder):
        log, log_key = signing_log(config, newest)
        longer = extended_log(log, [end_entry(epoch, valid_to)], log_key)
        write_log(config.key_log, longer)
        return longer


def _in_use_again(log: KeyLog, moment: int) -> int | None:
    """The first moment, this one or later, at which an epoch is in use."""
    return min(
        (
            max(key.valid_from, moment)
            for key in log.keys
            if key.valid_to is None or key.valid_to > moment
        ),
        default=None,
    )


def check_forgettable(config: KeyholderConfig, epoch: int, now: int) -> None:
    """Raises SettingsError unless an epoch has ended."""
    entry = read_log(config.key_log, config.key_log_vkey).key(epoch)
    if entry is None:
        raise SettingsError(f"epoch {epoch}: not in the key log")
    if entry.valid_to is None or now < entry.valid_to:
        raise SettingsError(
            f"epoch {epoch}: still in use; end it first (concordat keyholder end-epoch)"
        )


def forget_epoch(config: KeyholderConfig, epoch: int, now: int) -> None:
    """Destroy what is held of an epoch that has ended. Raises SettingsError.

    With it goes the next epoch's ratio, from which the key could be made again.
    """
    with turn(config.folder):
        check_forgettable(config, epoch, now)
        keys, wrapper = read_keys(config.keys, config.seal)
        if keys.get(epoch) is None:
            raise SettingsError(f"epoch {epoch}: not held")
        left = HeldKeys.of(
            held.without_update() if held.epoch == epoch + 1 else held
            for held in keys
            if held.epoch != epoch
        )
        if not left.records:
            raise SettingsError(f"epoch {epoch}: it is the only one held; make the next one first")
        write_keys(config.keys, left, wrapper, config.seal.method, for_good=True)


def extend_log(config: KeyholderConfig, longer: KeyLog) -> None:
    """Take a longer key log, made where its signing key is. Raises SettingsError, KeyLogForked."""
    with turn(config.folder):
        longer.check_extends(read_log(config.key_log, config.key_log_vkey))
        keys, _ = read_keys(config.keys, config.seal)
        check_held(keys, longer)
        write_log(config.key_log, longer)


def signing_log(config: KeyholderConfig, newest: Path | None) -> tuple[KeyLog, SigningKey]:
    """The log and the key to add to it with.

    Args:
        newest: a copy of the newest log, in the place of the folder's own, which it must extend.

    Raises SettingsError, also where the folder's own log may not be the newest, and KeyLogForked.
    """
    if config.log_key is None:
        raise SettingsError(
            f"{config.file}: log_key: missing; the key log is signed with it (--log-key FILE)"
        )
    log_key = read_log_key(config.log_key)
    if log_key.verifier != config.key_log_vkey:
        raise SettingsError(f"{config.log_key}: not the key that key_log_vkey verifies")
    log = read_log(config.key_log, config.key_log_vkey)
    if newest is not None:
        longer = read_log(newest, config.key_log_vkey)
        longer.check_extends(log)
        return longer, log_key
    if (config.folder / DEALT_OUT).exists():
        raise SettingsError(
            f"{config.folder}: its keys were dealt out, and since then the holders may have a "
            "longer key log, which an entry signed here would contradict for good. Do it in a "
            "holder's folder with --log-key, or give a holder's keys.log with --log"
        )
    return log, log_key


def mark_dealt_out(folder: Path) -> None:
    """Note that others have shares of this folder's keys, and the key log. Raises SettingsError."""
    text = (
        "The keys in this folder were dealt out in shares: destroy token.keys and seal.key.\n"
        "The holders have the key log now; keys.log here is a copy that grows old.\n"
    )
    replace_file(folder / DEALT_OUT, text.encode(), PUBLIC)
