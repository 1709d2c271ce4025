"""Epochs of the token keys: which key tokens are made with, and whose tokens are taken.

A key is in use from its valid_from, included, to its valid_to, excluded. Tokens are taken of the
epochs in use that the stores can name subjects of: up to the one they are at.
"""

from concordat_privacy.keylog import EpochKey, KeyLog
from concordat_privacy.moments import rfc3339
from concordat_rpc.errors import Refusal, failed_precondition

ANY_EPOCH = 0
"""In a request: the one epoch whose tokens are taken."""


def check_active(log: KeyLog, epoch: int, now: int) -> EpochKey:
    """The key of an epoch that is in use at `now`, in microseconds since 1970.

    Raises Refusal FAILED_PRECONDITION (EPOCH_NOT_ACTIVE).
    """
    key = log.key(epoch)
    if key is None or not key.is_valid(now):
        raise _not_active(log, epoch, now)
    return key


def taken_epoch(log: KeyLog, epoch: int, store_epoch: int, now: int) -> int:
    """The epoch of a request's tokens, whose stores are at `store_epoch`.

    Raises Refusal FAILED_PRECONDITION: EPOCH_NOT_ACTIVE where its tokens are not taken;
    EPOCH_REQUIRED where the request names none and tokens of several are taken.
    """
    taken = _taken(log, store_epoch, now)
    if epoch == ANY_EPOCH and len(taken) > 1:
        raise failed_precondition(
            "EPOCH_REQUIRED",
            f"tokens of the epochs {', '.join(map(str, taken))} are taken: say which these are of",
        )
    if epoch == ANY_EPOCH and taken:
        return taken[0]
    if epoch not in taken:
        raise _not_active(log, epoch, now)
    return epoch


def check_taken(log: KeyLog, epoch: int, store_epoch: int, now: int) -> None:
    """Refuse an epoch whose tokens are not taken, one that is not named among them.

    Raises Refusal FAILED_PRECONDITION (EPOCH_NOT_ACTIVE).
    """
    if epoch not in _taken(log, store_epoch, now):
        raise _not_active(log, epoch, now)


def _taken(log: KeyLog, store_epoch: int, now: int) -> list[int]:
    return [key.epoch for key in log.in_use(now) if key.epoch <= store_epoch]


def _not_active(log: KeyLog, epoch: int, now: int) -> Refusal:
    key = log.key(epoch)
    why = ""
    if key is not None and key.valid_to is not None and key.valid_to <= now:
        why = f": the epoch ended at {rfc3339(key.valid_to)}"
    elif key is not None and now < key.valid_from:
        why = f": the epoch begins at {rfc3339(key.valid_from)}"
    return failed_precondition(
        "EPOCH_NOT_ACTIVE", f"tokens of key epoch {epoch} are not taken{why}"
    )
