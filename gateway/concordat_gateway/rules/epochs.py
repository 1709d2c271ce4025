"""Epochs of the token keys: which key new tokens are made with at a moment."""

from collections.abc import Iterable

from concordat_gateway.config import TokenKeyEpoch
from concordat_rpc.errors import failed_precondition


def check_active(keys: Iterable[TokenKeyEpoch], epoch: int, now: int) -> None:
    """Refuse an epoch that is not in use at `now`, in microseconds since the epoch of time.

    A key is in use from its valid_from, included, to its valid_to, excluded.
    Raises Refusal FAILED_PRECONDITION (EPOCH_NOT_ACTIVE).
    """
    if not any(key.epoch == epoch and _in_use(key, now / 1_000_000) for key in keys):
        raise failed_precondition("EPOCH_NOT_ACTIVE", f"epoch {epoch} is not in use")


def _in_use(key: TokenKeyEpoch, now_seconds: float) -> bool:
    if now_seconds < key.valid_from.timestamp():
        return False
    return key.valid_to is None or now_seconds < key.valid_to.timestamp()
