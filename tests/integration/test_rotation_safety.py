"""Rotations that go wrong: another pepper, a twin on another host, a failure during the switch."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.rotation import (
    OWNER_BYTES,
    Means,
    Progress,
    RotationError,
    rotate,
    status,
)
from concordat_gateway.rules.stores_epoch import adopt_epoch, is_pepper_of
from concordat_gateway.store.rotation_sql import State
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SEALED_BYTES, SUBJECT_BYTES
from concordat_rpc.errors import Refusal, unavailable
from tests.integration.test_rotation import ACTOR, OK, Rotating, fill, rotating
from tests.services import draft, grant
from tests.stores import ManualClock
from tests.tokenkeys import TokenKeys, peppers

ANOTHER = bytes([99]) * 32
"""A pepper that nothing was made with."""


class Killed(BaseException):
    """Stands for the end of a process, where nothing more is done."""


@dataclass
class Two:
    """Stores at epoch 1 with data; the key of epoch 2 is there."""

    running: Rotating
    before: list[object] = field(default_factory=list)

    def means(self, report: Callable[[Progress], None] = lambda _progress: None) -> Means:
        """What one process rotates with."""
        consortium, keys = self.running.consortium, self.running.keys
        return Means(
            journal=consortium.journal,
            signals=consortium.signal_store,
            key_log=keys.log(),
            pepper=peppers(1, 2).__getitem__,
            update=keys.update,
            actor=ACTOR,
            report=report,
            owner=os.urandom(OWNER_BYTES),
        )

    def epochs(self) -> tuple[int, int]:
        """Control's epoch and that of signals."""
        journal = self.running.consortium.journal
        return journal.tokens_epoch, self.running.consortium.signal_store.epoch()

    def state(self) -> State | None:
        consortium = self.running.consortium
        under_way = status(consortium.journal, consortium.signal_store).rotation
        return under_way.state if under_way else None

    def is_served(self, epoch: int) -> bool:
        """Whether everything reads as it did before."""
        return self.running.reading(epoch) == self.before


@pytest.fixture
def two(journal: Journal, signal_store: SignalStore, clock: ManualClock) -> Iterator[Two]:
    with rotating(journal, signal_store, clock, TokenKeys.of_epochs(1, 2)) as running:
        fill(running.consortium)
        yield Two(running, running.reading(1))


def killed_at(step: str, done: int) -> Callable[[Progress], None]:
    """Ends a rotation as soon as so much of a step is done."""

    def report(progress: Progress) -> None:
        if progress.step == step and progress.done >= done:
            raise Killed

    return report


def test_what_one_pepper_prepared_is_not_gone_on_with_under_another(two: Two) -> None:
    with pytest.raises(Killed):
        rotate(two.means(killed_at("prepare", 1)), None)
    for wrong in ({1: peppers(1)[1], 2: ANOTHER}, {1: ANOTHER, 2: peppers(2)[2]}):
        with pytest.raises(RotationError, match="is not the one that the stores were sealed"):
            rotate(replace(two.means(), pepper=wrong.__getitem__), None)
    assert two.state() is State.PREPARING
    assert two.is_served(1)

    rotate(two.means(), None)
    assert two.is_served(2)


def test_where_the_pepper_is_lost_names_are_prepared_anew(two: Two) -> None:
    with pytest.raises(Killed):
        rotate(two.means(killed_at("prepare", 1)), None)
    two_peppers = {1: peppers(1)[1], 2: ANOTHER}
    anew = replace(two.means(), pepper=two_peppers.__getitem__)
    assert rotate(anew, None, prepare_anew=True).subjects == len(two.before) // 3
    journal = two.running.consortium.journal
    with journal.read() as connection:
        assert is_pepper_of(connection, 2, ANOTHER)
        assert not is_pepper_of(connection, 2, peppers(2)[2])


def test_names_in_use_are_not_prepared_anew(two: Two) -> None:
    with pytest.raises(Killed):
        rotate(two.means(killed_at("signals", 100)), None)
    with pytest.raises(RotationError, match="what was prepared is in use"):
        rotate(two.means(), None, prepare_anew=True)
    rotate(two.means(), None)
    assert two.is_served(2)


@pytest.mark.parametrize(
    ("step", "done"), [("prepare", 0), ("prepare", 1), ("signals", 3), ("control", 0)]
)
def test_a_slower_twin_is_told_and_undoes_nothing(two: Two, step: str, done: int) -> None:
    """Two hosts rotate the same stores: the one that came later ends it."""
    overtaken: list[bool] = []

    def report(progress: Progress) -> None:
        if progress.step == step and progress.done >= done and not overtaken:
            overtaken.append(True)
            rotate(two.means(), None)

    with pytest.raises(RotationError, match="another process has taken this rotation over"):
        rotate(two.means(report), None)
    assert overtaken
    assert (two.epochs(), two.state()) == ((2, 2), None)
    assert two.is_served(2)


def test_a_slower_twin_moves_nothing_of_the_next_rotation(two: Two) -> None:
    keys = two.running.keys
    keys.add(3)
    log = keys.log()
    three = peppers(1, 2, 3).__getitem__
    later = [False]

    def report(progress: Progress) -> None:
        if progress.step == "signals" and progress.done == 3 and not later[0]:
            later[0] = True
            rotate(two.means(), None)
            # The next one has names ready, and serves.
            ready = replace(two.means(killed_at("prepare", 1)), key_log=log, pepper=three)
            with pytest.raises(Killed):
                rotate(ready, 3)

    with pytest.raises(RotationError, match="another process"):
        rotate(two.means(report), None)
    assert (two.epochs(), two.state()) == ((2, 2), State.PREPARING)
    assert two.is_served(2)


def test_stores_that_were_left_at_two_epochs_are_brought_together(two: Two) -> None:
    consortium, keys = two.running.consortium, two.running.keys

    def adopt() -> None:
        now = consortium.clock()
        adopt_epoch(consortium.journal, consortium.signal_store, keys.log(), {1}, now)

    def cannot_rotate() -> None:
        with pytest.raises(RotationError, match="the next is 2, not 3"):
            rotate(two.means(), 3)

    for settle in (adopt, cannot_rotate):
        consortium.signal_store.set_epoch(0)
        assert two.epochs() == (1, 0)
        settle()
        assert two.epochs() == (1, 1)
        assert two.is_served(1)


def test_a_start_killed_between_the_stores_is_made_good_by_the_next(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = TokenKeys.of_epochs(1, 2)

    def adopt() -> None:
        adopt_epoch(journal, signal_store, keys.log(), {1, 2}, clock())

    with monkeypatch.context() as patched:

        def killed(_store: SignalStore) -> int:
            raise Killed

        patched.setattr(SignalStore, "epoch", killed)
        with pytest.raises(Killed):
            adopt()
    assert (journal.tokens_epoch, signal_store.epoch()) == (2, 1)

    adopt()
    assert (journal.tokens_epoch, signal_store.epoch()) == (2, 2)
    with rotating(journal, signal_store, clock, keys) as running:
        grant(running.consortium.alpha, [draft(running.consortium, keys.token(1, 2))], epoch=2)
        assert running.look_up(1, 2).status == OK


def test_an_epoch_without_a_pepper_is_not_adopted(
    journal: Journal, signal_store: SignalStore, clock: ManualClock
) -> None:
    log = TokenKeys.of_epochs(1, 2).log()
    adopt_epoch(journal, signal_store, log, {1}, clock())
    assert journal.tokens_epoch == 1
    # Nor is one kept whose pepper is not to be had, as long as nothing was named with it.
    adopt_epoch(journal, signal_store, log, {1, 2}, clock())
    assert journal.tokens_epoch == 2
    adopt_epoch(journal, signal_store, log, {1}, clock())
    assert (journal.tokens_epoch, signal_store.epoch()) == (1, 1)


def insert_damaged(transaction: Transaction) -> None:
    row = {"subject": bytes(SUBJECT_BYTES), "sealed": bytes(SEALED_BYTES)}
    statement = "INSERT INTO subject_element (subject, epoch, sealed) VALUES (:subject, 1, :sealed)"
    transaction.connection.execute(sa.text(statement), row)


def remove_damaged(transaction: Transaction) -> None:
    statement = sa.text("DELETE FROM subject_element WHERE subject = :subject")
    transaction.connection.execute(statement, {"subject": bytes(SUBJECT_BYTES)})


def test_a_late_element_that_does_not_open_does_not_keep_the_stores_closed(two: Two) -> None:
    journal = two.running.consortium.journal
    late: list[bool] = []

    def report(_progress: Progress) -> None:
        if journal.tokens_epoch == 0 and not late:
            late.append(True)
            journal.write(insert_damaged)

    with pytest.raises(RotationError, match="a sealed element does not open"):
        rotate(two.means(report), None)
    assert late
    assert (two.epochs(), two.state()) == ((1, 1), State.PREPARING)
    assert two.is_served(1)

    # Once more it does not even come to the switch.
    with pytest.raises(RotationError, match="a sealed element does not open"):
        rotate(two.means(killed_at("signals", 0)), None)
    assert two.is_served(1)
    journal.write(remove_damaged)
    rotate(two.means(), None)
    assert two.is_served(2)


def test_a_rotation_killed_in_the_switch_can_still_go_back(two: Two) -> None:
    """Whoever goes on with it may find the key-holders gone."""
    journal, signals = two.running.consortium.journal, two.running.consortium.signal_store

    def dead_store(epoch: int) -> None:
        raise unavailable("STORE_UNAVAILABLE", f"not set to {epoch}", 1.0)

    class Unreachable:
        """A signals store that fails, so that there is no way back either."""

        set_epoch = staticmethod(dead_store)
        epoch = staticmethod(signals.epoch)

    with pytest.raises(Refusal, match="not set to 0"):
        rotate(replace(two.means(), signals=Unreachable()), None)  # type: ignore[arg-type]
    assert (two.epochs(), two.state()) == ((0, 1), State.SWITCHING)

    def gone(progress: Progress) -> None:
        raise unavailable("KEYHOLDER_UNAVAILABLE", f"gone at {progress.step}", 1.0)

    with pytest.raises(Refusal, match="gone at prepare"):
        rotate(two.means(gone), None)
    assert (two.epochs(), two.state()) == ((1, 1), State.PREPARING)
    assert two.is_served(1)
    assert journal.tokens_epoch == 1


def test_once_something_moves_there_is_no_way_back(two: Two) -> None:
    with pytest.raises(Killed):
        rotate(two.means(killed_at("signals", 1)), None)
    assert (two.epochs(), two.state()) == ((0, 0), State.MOVING)
