"""Retention beside what else changes the rows: nothing is undone, nothing comes back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date

import pytest
import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.retention import enforce
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.signal_tables import relation
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import ROTATING, SubjectKey
from concordat_privacy.catalogue.bands import AccountStatus, ProductClass
from concordat_privacy.catalogue.calendar import day_number, month_number
from concordat_privacy.catalogue.packing import pack_row
from concordat_privacy.catalogue.relations import Relation
from concordat_privacy.catalogue.retention import Cutoffs
from concordat_privacy.catalogue.rows import AccountSnapshot
from concordat_privacy.jurisdictions import policies
from concordat_rpc.errors import Refusal
from concordat_store.database import Database
from tests.stores import ManualClock, StoreUrls, open_signals

GATEWAY = "spiffe://concordat.test/gateway/gateway"
CHINA = policies()["CN"]
# The clock of the tests starts on 2026-11-18.
TODAY = date(2026, 11, 18)
CUTOFFS = Cutoffs.at(month_number(TODAY), day_number(TODAY), 5)
# Of one bucket: the first is past its time, the second has months that are.
OLD, LONG = SubjectKey(bytes([7]) + bytes(31)), SubjectKey(bytes([7]) * 32)
NEXT_NAME = SubjectKey(bytes([9]) * 32)
WAIT_SECONDS = 30


def row(status: AccountStatus, as_of: date, profile: bytes = b"") -> bytes:
    snapshot = AccountSnapshot(
        account_ref=bytes(16),
        as_of_month=month_number(as_of),
        status=status,
        product=ProductClass.REVOLVING,
        opened_quarter=100,
        payment_profile=profile,
    )
    return pack_row(snapshot)


def publish(signals: SignalStore, number: int, *rows: tuple[SubjectKey, bytes]) -> None:
    batch = number.to_bytes(16, "big")
    signals.stage(batch, [StagedRow(at, *one) for at, one in enumerate(rows)])
    signals.publish(batch, 1, ())


def fill(signals: SignalStore) -> None:
    publish(
        signals,
        1,
        (OLD, row(AccountStatus.CHARGED_OFF, date(2021, 10, 1))),
        (LONG, row(AccountStatus.CHARGED_OFF, date(2023, 3, 1), bytes([7]) * 23)),
    )


def relations(signals: SignalStore, subject: SubjectKey) -> list[Relation]:
    return [account for _, account in signals.histories([subject], 1)[subject].relations]


def correct(signals: SignalStore) -> None:
    """The furnisher reports that the account is in order."""
    publish(signals, 2, (LONG, row(AccountStatus.OPEN, date(2026, 11, 1))))


def erase(signals: SignalStore) -> None:
    signals.erase(bytes(16), [LONG], lambda _batches: ())


def move(signals: SignalStore) -> None:
    """A rotation gives the subject its next name."""
    signals.set_epoch(ROTATING)
    signals.move(LONG[0], {LONG: NEXT_NAME})
    signals.set_epoch(1)


def is_corrected(signals: SignalStore) -> bool:
    return [one.status for one in relations(signals, LONG)] == [AccountStatus.OPEN]


def is_erased(signals: SignalStore) -> bool:
    return relations(signals, LONG) == []


def is_moved(signals: SignalStore) -> bool:
    return relations(signals, LONG) == [] and len(relations(signals, NEXT_NAME)) == 1


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


@contextmanager
def held_back(database: Database) -> Iterator[Callable[[int], bool]]:
    """Nobody deletes OLD in the block; gives whether so many transactions wait for something."""
    mine = sa.select(relation.c.subject).where(relation.c.subject == OLD).with_for_update()
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def are_waiting(count: int) -> bool:
        with database.read() as connection:
            return bool(connection.execute(waiting).scalar_one() >= count)

    with database.write() as connection:
        assert connection.execute(mine).scalars().all() == [OLD]
        yield are_waiting


# SQLite has one writer at a time.
@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("change", "is_done"),
    [(correct, is_corrected), (erase, is_erased), (move, is_moved)],
    ids=["correct", "erase", "move"],
)
def test_what_changes_a_row_while_its_history_is_cut_is_not_undone(
    postgresql_stores: StoreUrls,
    clock: ManualClock,
    change: Callable[[SignalStore], None],
    is_done: Callable[[SignalStore], bool],
) -> None:
    with (
        open_signals(postgresql_stores, clock) as signals,
        closing(Database.open(postgresql_stores.signals_url)) as database,
    ):
        fill(signals)
        faults: list[Refusal] = []

        def delete() -> None:
            try:
                signals.drop_past(CUTOFFS)
            except Refusal as refusal:
                faults.append(refusal)

        deleting = threading.Thread(target=delete)
        changing = threading.Thread(target=change, args=(signals,))
        with held_back(database) as are_waiting:
            deleting.start()
            until(lambda: are_waiting(1))
            changing.start()
            until(lambda: not changing.is_alive() or are_waiting(2))
        for thread in (deleting, changing):
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
        # It may have met the rotation at a later bucket, and stopped there.
        assert {fault.reason for fault in faults} <= {"TOKENS_ROTATING"}
        assert relations(signals, OLD) == []
        assert is_done(signals)


def test_stores_that_are_being_moved_are_left_alone_and_finished_later(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, store_urls: StoreUrls
) -> None:
    rotating = True

    class Moved(SignalStore):
        """A rotation begins as soon as it is recorded what will be deleted."""

        def drop_past(self, cutoffs: Cutoffs) -> None:
            if rotating:
                self.set_epoch(ROTATING)
            super().drop_past(cutoffs)

    fill(signal_store)
    with closing(Database.open(store_urls.signals_url)) as database:
        signals = Moved(database, clock)
        with pytest.raises(Refusal) as raised:
            enforce(journal, signals, CHINA, GATEWAY, clock())
        assert raised.value.reason == "TOKENS_ROTATING"
        assert enforce(journal, signals, CHINA, GATEWAY, clock()) == 0
        size = journal.size
        rotating = False
        signals.set_epoch(1)
        assert [one.profile.count(7) for one in relations(signals, LONG)] == [23]
        assert len(relations(signals, OLD)) == 1
        enforce(journal, signals, CHINA, GATEWAY, clock())
        assert relations(signals, OLD) == []
        # From November 2021 to February 2023.
        assert [one.profile.count(7) for one in relations(signals, LONG)] == [16]
        assert journal.size == size
