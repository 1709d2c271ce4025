"""The key log as the gateway serves it: a file that the key-holder's side signs and extends.

The gateway takes a new version only if it extends the one it has, as a member does: a log that
was exchanged for another would otherwise reach whoever joins next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from concordat_privacy.keylog import EpochKey, KeyLog, KeyLogError
from concordat_privacy.log.checkpoint import VerifierKey
from concordat_rpc.errors import Refusal
from concordat_rpc.settings import SettingsError

_log = logging.getLogger(__name__)

_MOST_BYTES: Final = 8_000_000
_Stamp = tuple[int, int, int]


class KeyLogFile:
    """The newest good version of a key log file. Thread-safe."""

    def __init__(
        self,
        file: Path,
        verifier_key: VerifierKey,
        on_taken: Callable[[KeyLog], None] = lambda _: None,
    ) -> None:
        """Read and verify the file. Raises SettingsError.

        `on_taken` is told of each later log before it is taken; where it raises Refusal, as when
        the ledger cannot record it, the log is not taken yet.
        """
        self._on_taken = on_taken
        self._file = file
        self._verifier_key = verifier_key
        self._lock = threading.Lock()
        self._told: tuple[_Stamp, str] | None = None
        try:
            self._stamp = _stamp(file)
            self._log = self._read()
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}") from None
        except (KeyLogError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: {error}") from None

    def current(self) -> KeyLog:
        """The log, read again if the file changed.

        A version that cannot be read, is not signed, or does not extend the one before is not
        taken, with an error in the operator's log, once. It is tried again each time: what kept it
        from being read may be over.
        """
        try:
            stamp = _stamp(self._file)
        except OSError:
            return self._log
        with self._lock:
            if stamp == self._stamp:
                return self._log
            try:
                newer = self._read()
                newer.check_extends(self._log)
                self._on_taken(newer)
            except (OSError, KeyLogError, UnicodeDecodeError, Refusal) as error:
                self._tell(stamp, str(error))
                return self._log
            _log.info("key log: %d entries, epochs to %d", len(newer.entries), newer.keys[-1].epoch)
            self._log, self._stamp = newer, stamp
            return newer

    def _tell(self, stamp: _Stamp, why: str) -> None:
        if self._told != (stamp, why):
            self._told = (stamp, why)
            _log.error("the changed key log is not taken; the old one is kept: %s", why)

    def _read(self) -> KeyLog:
        with self._file.open("rb") as opened:
            text = opened.read(_MOST_BYTES).decode()
        return KeyLog.open(text, self._verifier_key)


def unanswerable(keys: Iterable[EpochKey], configured: Collection[int]) -> list[str]:
    """What stands in the way of each epoch that the configured holders cannot answer for.

    `configured` are their numbers, 0 for one that holds whole keys.
    """
    lacking = []
    for key in keys:
        numbers = [one.holder for one in key.holders] or [0]
        if len(set(numbers) & set(configured)) >= key.threshold:
            continue
        needed = "a holder of the whole key (holder = 0)"
        if key.holders:
            needed = f"{key.threshold} of the holders {', '.join(map(str, numbers))}"
        found = ", ".join(map(str, sorted(set(configured))))
        lacking.append(f"epoch {key.epoch} needs {needed}; [[keyholders]] has {found}")
    return lacking


def _stamp(file: Path) -> _Stamp:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
