"""Which epochs' tokens are made and taken, at which moment."""

import pytest

from concordat_gateway.rules.epochs import check_active, check_taken, taken_epoch
from concordat_privacy.keylog import KeyLog
from concordat_rpc.errors import Refusal
from tests.tokenkeys import LONG_AGO, TokenKeys

SECOND_FROM = LONG_AGO + 1_000
FIRST_TO = LONG_AGO + 2_000


@pytest.fixture
def log() -> KeyLog:
    """Epoch 2 begins at SECOND_FROM, epoch 1 ends at FIRST_TO."""
    keys = TokenKeys.of_epochs(1)
    keys.add(2, since=SECOND_FROM)
    keys.end(1, FIRST_TO)
    return keys.log()


def outcome(log: KeyLog, epoch: int, store_epoch: int, now: int) -> int | str:
    try:
        return taken_epoch(log, epoch, store_epoch, now)
    except Refusal as refusal:
        return refusal.reason


@pytest.mark.parametrize(
    ("epoch", "store_epoch", "now", "expected"),
    [
        (1, 1, LONG_AGO - 1, "EPOCH_NOT_ACTIVE"),
        (1, 1, LONG_AGO, 1),
        (0, 1, LONG_AGO, 1),
        (2, 1, LONG_AGO, "EPOCH_NOT_ACTIVE"),
        # Rotated before the second epoch's first moment.
        (0, 2, SECOND_FROM - 1, 1),
        (2, 2, SECOND_FROM - 1, "EPOCH_NOT_ACTIVE"),
        # Both in use; the stores are not at the second yet, then they are.
        (0, 1, SECOND_FROM, 1),
        (2, 1, SECOND_FROM, "EPOCH_NOT_ACTIVE"),
        (0, 2, SECOND_FROM, "EPOCH_REQUIRED"),
        (1, 2, SECOND_FROM, 1),
        (2, 2, SECOND_FROM, 2),
        (1, 2, FIRST_TO - 1, 1),
        (1, 2, FIRST_TO, "EPOCH_NOT_ACTIVE"),
        (0, 2, FIRST_TO, 2),
        # Never rotated, and the first epoch has ended: nothing is taken.
        (0, 1, FIRST_TO, "EPOCH_NOT_ACTIVE"),
        (3, 2, FIRST_TO, "EPOCH_NOT_ACTIVE"),
    ],
)
def test_whose_tokens_are_taken(
    log: KeyLog, epoch: int, store_epoch: int, now: int, expected: int | str
) -> None:
    assert outcome(log, epoch, store_epoch, now) == expected


def test_a_batch_must_name_its_epoch(log: KeyLog) -> None:
    check_taken(log, 1, 1, LONG_AGO)
    with pytest.raises(Refusal) as refused:
        check_taken(log, 0, 1, LONG_AGO)
    assert refused.value.reason == "EPOCH_NOT_ACTIVE"


def test_who_comes_too_late_or_too_early_is_told_the_time(log: KeyLog) -> None:
    for epoch, now, when in (
        (1, FIRST_TO, "ended at 2023-11-14T22:13:20.002000Z"),
        (2, SECOND_FROM - 1, "begins at 2023-11-14T22:13:20.001000Z"),
    ):
        with pytest.raises(Refusal) as refused:
            taken_epoch(log, epoch, 2, now)
        assert when in refused.value.message


def test_keys_are_in_use_from_their_first_moment_to_before_their_last(log: KeyLog) -> None:
    assert check_active(log, 2, SECOND_FROM).epoch == 2
    for epoch, now in ((2, SECOND_FROM - 1), (1, FIRST_TO), (3, FIRST_TO), (0, FIRST_TO)):
        with pytest.raises(Refusal) as refused:
            check_active(log, epoch, now)
        assert refused.value.reason == "EPOCH_NOT_ACTIVE"
