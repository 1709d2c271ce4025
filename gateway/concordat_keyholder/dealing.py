"""A whole key dealt out in shares, taken up by its holders, and put together again.

The dealer has the whole key while it deals, and must destroy it: after that no host has it. A new
epoch needs the whole key once more: t holders bring their folders together, `join`, make it,
`split` it, and each takes its new share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from concordat_keyholder.config import KeyholderConfig
from concordat_keyholder.epochs import mark_dealt_out, signing_log
from concordat_keyholder.files import new_folder, turn
from concordat_keyholder.installation import (
    CONFIG,
    Outline,
    write_folder_keys,
    write_folder_log,
    write_settings,
)
from concordat_keyholder.keylog import check_held, extended_log, read_log, write_log
from concordat_keyholder.keys import HeldKey, HeldKeys, read_keys, write_keys
from concordat_privacy.keylog import Holder, KeyLog, KeyLogForked, split_entry
from concordat_privacy.oprf import KeyInvalid, PublicKey, SecretKey, Share, sharing, update_batch
from concordat_rpc.settings import SettingsError

_STORE: Final = "sqlite:///keyholder.db"


@dataclass(frozen=True, slots=True)
class Dealt:
    """What was dealt."""

    folders: tuple[Path, ...]
    """One a holder, in the order of their numbers."""
    epochs: tuple[int, ...]
    log: KeyLog
    is_first: bool
    """Whether nobody had shares before; else there are holders, and they take the new ones."""


def deal(
    config: KeyholderConfig,
    threshold: int,
    holders: int,
    out: Path,
    newest: Path | None = None,
) -> Dealt:
    """Split every whole key that is held and not in shares yet; a folder a holder below `out`.

    The shares are written before the log says that there are any. Raises SettingsError. For
    `newest` see :func:`.epochs.signing_log`.
    """
    with turn(config.folder):
        log, log_key = signing_log(config, newest)
        keys, _ = read_keys(config.keys, config.seal)
        check_held(keys, log)
        whole = [held for held in keys if held.is_whole and _can_be_split(log, held.epoch)]
        if not whole:
            raise SettingsError("no epoch's key is held whole and not in shares yet")
        shares: list[list[HeldKey]] = [[] for _ in range(holders)]
        entries = []
        for held in whole:
            dealt = _shares(held, threshold, holders)
            for share, of_holder in zip(dealt, shares, strict=True):
                of_holder.append(share)
            entries.append(split_entry(held.epoch, threshold, _public(log, dealt)))
        longer = extended_log(log, entries, log_key)
        new_folder(out)
        folders = [
            _write_holder(out / f"holder-{number}", config, HeldKeys.of(of_holder))
            for number, of_holder in enumerate(shares, 1)
        ]
        mark_dealt_out(config.folder)
        write_log(config.key_log, longer)
        for folder in folders:
            write_folder_log(folder, longer)
    is_first = not any(key.holders for key in log.keys)
    return Dealt(tuple(folders), tuple(held.epoch for held in whole), longer, is_first)


def take(config: KeyholderConfig, dealt: KeyholderConfig) -> tuple[int, ...]:
    """Take the shares of a dealt folder, of epochs that are not held yet, and its longer log.

    Returns the epochs. Raises SettingsError, KeyLogForked.
    """
    with turn(config.folder):
        log = read_log(dealt.key_log, config.key_log_vkey)
        log.check_extends(read_log(config.key_log, config.key_log_vkey))
        brought, _ = read_keys(dealt.keys, dealt.seal)
        keys, wrapper = read_keys(config.keys, config.seal)
        new = [held for held in brought if keys.get(held.epoch) is None]
        if {held.holder for held in (*keys, *new)} != {held.holder for held in keys}:
            raise SettingsError(f"{dealt.keys}: shares of another holder")
        both = HeldKeys.of([*keys, *new])
        check_held(both, log)
        write_log(config.key_log, log)
        write_keys(config.keys, both, wrapper, config.seal.method)
        return tuple(held.epoch for held in new)


def join(folders: Sequence[KeyholderConfig], out: Path) -> tuple[int, ...]:
    """Put the whole keys together in a new folder; the epochs that could be.

    Raises SettingsError: too few holders, a share that is not the key log's (it is named), or
    logs that do not extend each other.
    """
    log = _longest([read_log(one.key_log, one.key_log_vkey) for one in folders])
    held = [held for one in folders for held in _checked_shares(one, log)]
    epochs = sorted({share.epoch for share in held})
    keys = HeldKeys.of(
        _joined(log, epoch, [share for share in held if share.epoch == epoch]) for epoch in epochs
    )
    new_folder(out)
    first = folders[0]
    seal = write_folder_keys(out, keys)
    write_folder_log(out, log)
    write_settings(out, replace(_outline(first), seal=seal))
    return tuple(epochs)


def _can_be_split(log: KeyLog, epoch: int) -> bool:
    entry = log.key(epoch)
    return entry is not None and not entry.holders


def _shares(held: HeldKey, threshold: int, holders: int) -> list[HeldKey]:
    """The shares of a key and of its ratio, by holder."""
    try:
        secrets = sharing.split(held.secret, threshold, holders)
        updates: Sequence[Share | None] = (
            [None] * holders
            if held.update is None
            else sharing.split(held.update, threshold, holders)
        )
    except KeyInvalid as error:
        raise SettingsError(str(error)) from None
    return [
        HeldKey(
            held.epoch,
            share.secret,
            share.holder,
            threshold,
            None if update is None else update.secret,
        )
        for share, update in zip(secrets, updates, strict=True)
    ]


def _public(log: KeyLog, dealt: Sequence[HeldKey]) -> list[Holder]:
    before = log.key(dealt[0].epoch - 1)
    return [
        Holder(
            share.holder,
            share.public_key,
            None
            if share.update is None or before is None
            else _times(share.update, before.public_key),
        )
        for share in dealt
    ]


def _times(scalar: SecretKey, public: PublicKey) -> PublicKey:
    product, _ = update_batch(scalar, public, public.element)
    return PublicKey(product)


def _write_holder(folder: Path, config: KeyholderConfig, keys: HeldKeys) -> Path:
    new_folder(folder)
    seal = write_folder_keys(folder, keys)
    write_settings(folder, replace(_outline(config), seal=seal))
    if config.ca.exists():
        (folder / "ca.pem").write_bytes(config.ca.read_bytes())
    return folder


def _outline(config: KeyholderConfig) -> Outline:
    """The configuration of another folder of the same consortium."""
    return Outline(
        trust_domain=config.trust_domain,
        listen=config.listen,
        admission=config.admission,
        seal=config.seal,
        store_url=_STORE,
        key_log_vkey=config.key_log_vkey.encode(),
        log_key=False,
        quota=config.quota,
        updates_daily=config.updates_daily,
    )


def _longest(logs: Sequence[KeyLog]) -> KeyLog:
    longest = max(logs, key=lambda log: len(log.entries))
    for log in logs:
        try:
            longest.check_extends(log)
        except KeyLogForked as error:
            raise SettingsError(str(error)) from None
    return longest


def _checked_shares(config: KeyholderConfig, log: KeyLog) -> HeldKeys:
    keys, _ = read_keys(config.keys, config.seal)
    if any(held.is_whole for held in keys):
        raise SettingsError(f"{config.keys}: holds a whole key; there is nothing to join")
    try:
        check_held(keys, log)
    except SettingsError as error:
        raise SettingsError(f"{config.keys}: {error}") from None
    return keys


def _joined(log: KeyLog, epoch: int, shares: Sequence[HeldKey]) -> HeldKey:
    entry, before = log.key(epoch), log.key(epoch - 1)
    assert entry is not None
    numbers = sorted({share.holder for share in shares})
    if len(numbers) != len(shares):
        raise SettingsError(f"epoch {epoch}: the same holder's folder was given twice")
    if len(shares) < entry.threshold:
        raise SettingsError(
            f"epoch {epoch}: {entry.threshold} holders' shares are needed, {len(shares)} were given"
        )
    secret = sharing.join([share.share for share in shares])
    updates = [share.update_share for share in shares]
    ratio = sharing.join([one for one in updates if one is not None]) if all(updates) else None
    joined = HeldKey(epoch, secret, update=ratio)
    if joined.public_key != entry.public_key:
        raise SettingsError(f"epoch {epoch}: the shares make another key than the key log's")
    if ratio is not None and (
        before is None or _times(ratio, before.public_key) != entry.public_key
    ):
        raise SettingsError(f"epoch {epoch}: the ratio's shares do not lead to the key")
    return joined


def folder_config(folder: Path) -> Path:
    """The configuration file of a holder's folder."""
    return folder / CONFIG
