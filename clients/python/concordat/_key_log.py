"""Which token keys one client trusts: the pinned key log, and later ones that extend it."""

import threading
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache

from concordat.errors import KeyLogForked, KeyLogInvalid, ProfileError
from concordat.profile import Profile
from concordat_privacy import keylog
from concordat_privacy.keylog import EpochKey, KeyLog
from concordat_privacy.moments import micros_of
from concordat_privacy.oprf import PublicKey
from concordat_privacy.oprf.sharing import weighted_public_key


class KeyLogView:
    """The newest key log that this client has verified. Safe to share between threads."""

    def __init__(self, profile: Profile) -> None:
        self._key = profile.key_log_key
        self._pinned = profile.key_log
        self._lock = threading.Lock()
        self._newest = profile.key_log
        self._doubted = False

    @property
    def newest(self) -> KeyLog:
        """The newest log verified so far. Raises ProfileError if the profile pins none."""
        with self._lock:
            newest = self._newest
        if newest is None:
            raise ProfileError(
                "this profile pins no key log (key_log_vkey in profile.toml, and keys.log), so no "
                "tokens can be made with it",
                key="key_log_vkey",
            )
        return newest

    @property
    def text(self) -> str | None:
        """The newest log verified so far, to be kept; None if the profile pins none."""
        with self._lock:
            return None if self._newest is None else self._newest.text

    @property
    def is_doubted(self) -> bool:
        """Whether the gateway has refused an epoch since the last log was taken."""
        with self._lock:
            return self._doubted

    def doubt(self) -> None:
        """Note that the gateway refused an epoch: its log may be newer."""
        with self._lock:
            self._doubted = True

    def is_pinned(self, key: EpochKey) -> bool:
        """Whether the profile's own log has this key."""
        pinned = None if self._pinned is None else self._pinned.key(key.epoch)
        return pinned is not None and pinned.public_key == key.public_key

    def read(self, text: str) -> KeyLog:
        """A log that the pinned key has signed. Raises KeyLogInvalid."""
        if self._key is None:
            raise KeyLogInvalid("this profile has no key to verify a key log with")
        try:
            return KeyLog.open(text, self._key)
        except keylog.KeyLogError as error:
            raise KeyLogInvalid(f"the gateway's key log does not verify: {error}") from None

    def take(self, offered: KeyLog) -> KeyLog:
        """The newest log, after one more was offered. Raises KeyLogForked.

        A log that is a beginning of the newest one is a gateway's that lags behind.
        """
        seen = self.newest
        shorter, longer = sorted((seen, offered), key=lambda log: len(log.entries))
        try:
            longer.check_extends(shorter)
        except keylog.KeyLogForked as error:
            raise KeyLogForked(
                f"the gateway's token keys contradict those seen before: {error}; keep both key "
                "logs as evidence",
                seen=seen.text,
                offered=offered.text,
            ) from None
        with self._lock:
            self._doubted = False
            if self._newest is seen:
                self._newest = longer
                return longer
        # Another thread took a log meanwhile: compare with that one.
        return self.take(offered)


def newest_in_use(log: KeyLog, now: datetime, refused: Collection[int] = ()) -> EpochKey | None:
    """The newest epoch that is in use at a moment and was not refused."""
    keys = log.in_use(micros_of(now))
    return next((key for key in reversed(keys) if key.epoch not in refused), None)


@lru_cache(maxsize=256)
def weighted_public_keys(key: EpochKey, holders: tuple[int, ...]) -> tuple[PublicKey, ...]:
    """The key that each holder's proof must hold for when exactly these answer together.

    Holders are those of the log. Kept, because a handful of choices serves every batch.
    """
    public = {one.holder: one.public_key for one in key.holders}
    return tuple(weighted_public_key(public[one], one, holders) for one in holders)
