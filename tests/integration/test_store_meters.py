"""Meters in a store: charged under a lock, summed by day and month, on both kinds of database."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from concordat_privacy.metering import Exhausted, Meter, Quota, Scope
from concordat_store import meters
from concordat_store.database import Database
from tests.stores import StoreUrls

KIND = 7
# 2026-02-28 at noon UTC, in microseconds; day 20,512.
NOON = 1_772_280_000_000_000
DAY = 86_400_000_000
QUOTA = Quota(daily=10, monthly=12, per_second=1.0, burst=10)


@pytest.fixture
def database(store_urls: StoreUrls) -> Iterator[Database]:
    opened = Database.open(store_urls.control_url)
    yield opened
    opened.close()


def charge(database: Database, amount: int, now: int, quota: Quota = QUOTA) -> Exhausted | None:
    with database.write() as connection:
        return meters.charge(connection, "alpha", KIND, amount, quota, now)


def read(database: Database, now: int) -> Meter:
    with database.read() as connection:
        return meters.read(connection, "alpha", KIND, now)


def test_charges_add_up_by_day_and_month(database: Database) -> None:
    assert read(database, NOON) == Meter(0, 0, 0)
    assert charge(database, 4, NOON) is None
    # The rate is one a second: four make the next one due four seconds later.
    assert read(database, NOON) == Meter(4, 4, NOON + 4_000_000)
    assert charge(database, 6, NOON) is None
    assert charge(database, 1, NOON + 20_000_000) == Exhausted(Scope.DAY, 10, 43_180.0)
    assert read(database, NOON) == Meter(10, 10, NOON + 10_000_000)
    # The first of March.
    assert charge(database, 10, NOON + DAY) is None
    assert charge(database, 3, NOON + 2 * DAY) == Exhausted(
        Scope.MONTH, 12, 30.5 * 86_400 - DAY / 1e6
    )
    assert read(database, NOON + 2 * DAY) == Meter(0, 10, NOON + DAY + 10_000_000)


def test_a_charge_that_is_undone_was_never_made(database: Database) -> None:
    def fail_after_charging() -> None:
        with database.write() as connection:
            assert meters.charge(connection, "alpha", KIND, 4, QUOTA, NOON) is None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_charging()
    assert read(database, NOON) == Meter(0, 0, 0)


def test_several_kinds_are_counted_together(database: Database) -> None:
    with database.write() as connection:
        meters.count_all(connection, "alpha", {9: 0, KIND: 5}, NOON)
        meters.count_all(connection, "alpha", {KIND: 2, 9: 3}, NOON)
        meters.count(connection, "beta", KIND, 1, NOON - DAY)
    with database.read() as connection:
        assert meters.history(connection, [KIND, 9], 20_512) == {
            ("alpha", KIND, 20_512): 7,
            ("alpha", 9, 20_512): 3,
        }
        assert meters.history(connection, [KIND], 20_511)["beta", KIND, 20_511] == 1


def test_racing_processes_never_overspend(store_urls: StoreUrls) -> None:
    """Nobody but the charge itself keeps the writers apart on PostgreSQL."""
    quota = Quota(daily=60, monthly=10_000, per_second=1e6, burst=10_000)
    with ExitStack() as stack:
        databases = [Database.open(store_urls.control_url) for _ in range(3)]
        for one in databases:
            stack.callback(one.close)
        charged: list[int] = []

        def spend(database: Database, amount: int) -> None:
            while charge(database, amount, NOON, quota) is None:
                charged.append(amount)

        threads = [
            threading.Thread(target=spend, args=(one, amount))
            for one in databases
            for amount in (1, 2, 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(charged) == 60
        assert read(databases[0], NOON).today == 60
