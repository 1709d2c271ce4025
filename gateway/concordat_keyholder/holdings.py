"""What a serving key-holder evaluates with: its keys and the key log, as the files are now.

A command that makes a new epoch, ends one or forgets one changes the files; the next call sees it.
Files that cannot be taken leave what was there before in use, with a line in the operator's log.
They are tried again at each call: what kept them from being read may be over.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from concordat_keyholder.config import KeyholderConfig
from concordat_keyholder.keylog import check_held, read_log
from concordat_keyholder.keys import HeldKey, HeldKeys, read_keys
from concordat_keyholder.sealing import Seal, Wrapper
from concordat_privacy.keylog import EpochKey, KeyLog, KeyLogForked
from concordat_rpc.errors import Refusal, failed_precondition
from concordat_rpc.settings import Settings, SettingsError

_log = logging.getLogger(__name__)

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Holdings:
    """The keys and the log, fitting each other."""

    keys: HeldKeys
    log: KeyLog

    def in_use(self, epoch: int, now: int) -> tuple[HeldKey, EpochKey]:
        """What is held of an epoch that is in use, and what the log says of it.

        Raises Refusal FAILED_PRECONDITION: EPOCH_NOT_ACTIVE.
        """
        held, entry = self.keys.get(epoch), self.log.key(epoch)
        if held is None or entry is None:
            raise _not_active(f"no key is held for epoch {epoch}")
        if not entry.is_valid(now):
            raise _not_active(f"epoch {epoch} is not in use now")
        return held, entry

    def ratio(self, from_epoch: int, to_epoch: int, now: int) -> tuple[HeldKey, EpochKey, EpochKey]:
        """What is held of an epoch whose ratio to the one before is held, and both log entries.

        Only until the older epoch's end: who has stolen its key makes tokens of the next epoch by
        the ratio, and its end is to end that too.
        Raises Refusal FAILED_PRECONDITION: EPOCH_NOT_ACTIVE.
        """
        held = self.keys.get(to_epoch)
        old, new = self.log.key(from_epoch), self.log.key(to_epoch)
        if (
            to_epoch != from_epoch + 1
            or held is None
            or held.update is None
            or old is None
            or new is None
        ):
            raise _not_active(f"no ratio from epoch {from_epoch} to {to_epoch} is held")
        if old.valid_to is not None and old.valid_to <= now:
            raise _not_active(f"epoch {from_epoch} has ended: nothing leads on from it any more")
        return held, old, new


class CurrentHoldings:
    """Holdings that follow their files. Thread-safe."""

    def __init__(self, config: KeyholderConfig) -> None:
        """Read both files. Raises SettingsError."""
        self._config = config
        self._lock = threading.Lock()
        self._told: tuple[_Stamp, str] | None = None
        self._stamp = _stamp(config)
        log = read_log(config.key_log, config.key_log_vkey)
        keys, wrapper = read_keys(config.keys, config.seal)
        check_held(keys, log)
        # A passphrase is asked for once.
        self._seal: Seal = _Opened(config.seal.method, wrapper)
        self._holdings = Holdings(keys, log)

    def __call__(self) -> Holdings:
        """The holdings as the files are now."""
        stamp = _stamp(self._config)
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._take(stamp)
        return self._holdings

    def _take(self, stamp: _Stamp) -> None:
        config = self._config
        try:
            log = read_log(config.key_log, config.key_log_vkey)
            log.check_extends(self._holdings.log)
            keys, _ = read_keys(config.keys, self._seal)
            check_held(keys, log)
        except (SettingsError, KeyLogForked) as error:
            if self._told != (stamp, str(error)):
                self._told = (stamp, str(error))
                _log.error("changed files not taken: %s", error)
            return
        self._holdings, self._stamp = Holdings(keys, log), stamp
        _log.info("took changed files: epochs held %s", [held.epoch for held in keys])


@dataclass(frozen=True, slots=True, repr=False)
class _Opened:
    """A seal that was opened before, for the same parameters."""

    method: str
    _wrapper: Wrapper

    def fresh(self) -> Wrapper:
        return self._wrapper

    def reopen(self, parameters: Settings) -> Wrapper:
        for name, value in self._wrapper.parameters.items():
            if isinstance(value, int):
                is_kept = parameters.integer(name, 0, 2**31) == value
            else:
                is_kept = parameters.text(name) == value
            if not is_kept:
                raise parameters.wrong(name, "sealed anew; restart the key-holder to open it")
        parameters.finish()
        return self._wrapper


def _stamp(config: KeyholderConfig) -> _Stamp:
    """Changes when a file is replaced."""
    return tuple(_stamp_of(file) for file in (config.keys, config.key_log))


def _stamp_of(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _not_active(message: str) -> Refusal:
    return failed_precondition("EPOCH_NOT_ACTIVE", message)
