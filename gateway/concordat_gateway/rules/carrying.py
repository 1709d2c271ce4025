"""Elements carried from one key epoch to the next, through the key-holders, proof by proof."""

import logging
from collections.abc import Callable, Collection, Sequence

from concordat_privacy.keylog import EpochKey
from concordat_privacy.oprf import (
    ELEMENT_BYTES,
    MAX_BATCH,
    ShareInvalid,
    ShareReply,
    finish_update,
    mask_elements,
)
from concordat_rpc.errors import unavailable

Update = Callable[[EpochKey, bytes, Collection[int], float], Sequence[ShareReply]]
"""Has masked elements of the epoch before a key updated to it, as `KeyholderClient.update` does:
(key, packed elements, holders to avoid, seconds) -> replies."""

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0


def carried(
    update: Update, old: EpochKey, new: EpochKey, elements: Sequence[bytes], timeout_seconds: float
) -> list[bytes]:
    """Elements under the old epoch's key, as they are under the new one's, in order.

    A key-holder whose proof does not hold is named in the operator's log, and others are asked
    where there are enough.

    Raises:
        ElementInvalid: an element is none.
        Refusal: UNAVAILABLE (KEYHOLDER_UNAVAILABLE; also where no good proof is to be had), or
            what the key-holders answer.
    """
    found: list[bytes] = []
    for start in range(0, len(elements), MAX_BATCH):
        packed = b"".join(elements[start : start + MAX_BATCH])
        moved = _carried_batch(update, old, new, packed, timeout_seconds)
        found += [moved[at : at + ELEMENT_BYTES] for at in range(0, len(moved), ELEMENT_BYTES)]
    return found


def _carried_batch(
    update: Update, old: EpochKey, new: EpochKey, packed: bytes, timeout_seconds: float
) -> bytes:
    masked = mask_elements(packed)
    # Whoever lied is avoided, so each round names another one or is the last.
    avoid: set[int] = set()
    while True:
        replies = update(new, masked.packed, avoid, timeout_seconds)
        try:
            return finish_update(masked, old.public_key, replies)
        except ShareInvalid as error:
            _log.error("an update to epoch %d is not proven: %s", new.epoch, error)
            if error.holder in avoid or not new.holders:
                raise unavailable(
                    "KEYHOLDER_UNAVAILABLE",
                    f"the key-holders do not prove the update to epoch {new.epoch}",
                    _RETRY_SECONDS,
                ) from None
            avoid.add(error.holder)
