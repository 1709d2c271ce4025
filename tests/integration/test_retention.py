"""Retention as a job: on time, once a day, recorded, and finished after whatever stopped it."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.retention import enforce
from concordat_gateway.store.signal_store import PastRetention, SignalStore
from concordat_gateway.store.signal_tables import inquiry, relation
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import AccountStatus, DataCategory, ProductClass
from concordat_privacy.catalogue.calendar import day_number, month_number
from concordat_privacy.catalogue.packing import pack_row
from concordat_privacy.catalogue.relations import merge
from concordat_privacy.catalogue.retention import Cutoffs, kept
from concordat_privacy.catalogue.rows import AccountSnapshot, ApplicationEvent, Row
from concordat_privacy.catalogue.signals import SignalStatus, compute
from concordat_privacy.jurisdictions import policies
from concordat_rpc.errors import Refusal
from concordat_store.database import Database, store_unavailable
from tests.stores import ManualClock, StoreUrls

GATEWAY = "spiffe://concordat.test/gateway/gateway"
CHINA, AMERICA = policies()["CN"], policies()["US"]
# The clock of the tests starts on 2026-11-18.
TODAY = date(2026, 11, 18)
DAY = 86_400


def subject(number: int) -> SubjectKey:
    return SubjectKey(bytes([number * 37 % 256]) + number.to_bytes(31, "big"))


def snapshot(
    status: AccountStatus, as_of: date, profile: bytes = b"", ref: int = 1, first: int = 0
) -> AccountSnapshot:
    return AccountSnapshot(
        account_ref=ref.to_bytes(16, "big"),
        as_of_month=month_number(as_of),
        status=status,
        product=ProductClass.REVOLVING,
        opened_quarter=100,
        payment_profile=profile,
        first_delinquency_month=first,
    )


def application(day: date) -> Row:
    return ApplicationEvent(bytes(16), day_number(day), ProductClass.REVOLVING)


ROWS = {
    1: snapshot(AccountStatus.CHARGED_OFF, date(2021, 10, 1)),
    2: snapshot(AccountStatus.CHARGED_OFF, date(2021, 11, 1)),
    3: snapshot(AccountStatus.CHARGED_OFF, date(2023, 3, 1), bytes([7]) * 23),
    4: snapshot(AccountStatus.OPEN, date(2024, 10, 1)),
    5: snapshot(AccountStatus.OPEN, date(2024, 11, 1)),
    6: application(date(2024, 11, 17)),
    7: application(date(2024, 11, 18)),
    8: snapshot(AccountStatus.SETTLED_LESS, date(2019, 10, 1)),
}


@pytest.fixture
def pool(signal_store: SignalStore) -> SignalStore:
    publish(signal_store, ROWS)
    return signal_store


def publish(signals: SignalStore, rows: Mapping[int, Row], number: int = 0) -> None:
    """Publish rows of subjects by their numbers, as batch `number` of member 1."""
    batch = number.to_bytes(16, "big")
    signals.stage(batch, [StagedRow(at, subject(at), pack_row(row)) for at, row in rows.items()])
    signals.publish(batch, 1, ())


def held(store_urls: StoreUrls, rows: Collection[int] = ROWS) -> set[int]:
    """Numbers of the rows that are left."""
    database = Database.open(store_urls.signals_url)
    try:
        with database.read() as connection:
            found = {
                *connection.execute(sa.select(relation.c.subject)).scalars(),
                *connection.execute(sa.select(inquiry.c.subject)).scalars(),
            }
    finally:
        database.close()
    return {number for number in rows if subject(number) in found}


_SAID = ("jurisdiction", "kind", "before", "delinquency_before", "rows")


def recorded(journal: Journal) -> list[dict[str, Any]]:
    leaves = [json.loads(leaf) for _, leaf, _ in journal.entries(0, journal.size)]
    return [
        {name: fields[name] for name in _SAID if name in fields}
        for fields in leaves
        if fields["type"] == "retention.executed"
    ]


def test_what_is_past_its_time_leaves_with_an_entry_that_counts_it(
    journal: Journal, pool: SignalStore, clock: ManualClock, store_urls: StoreUrls
) -> None:
    assert enforce(journal, pool, CHINA, GATEWAY, clock()) == 5
    assert held(store_urls) == {2, 3, 5, 7}
    # Two charge-offs of more than five years ago, and a history that reached too far back.
    assert recorded(journal) == [
        {"jurisdiction": "CN", "kind": "adverse", "before": "2021-11", "rows": 3},
        {"jurisdiction": "CN", "kind": "positive", "before": "2024-11", "rows": 1},
        {"jurisdiction": "CN", "kind": "inquiries", "before": "2024-11-18", "rows": 1},
    ]
    [(_, account)] = pool.histories([subject(3)], 1)[subject(3)].relations
    assert account.profile == b"\0" + bytes([7]) * 16 + bytes(7)


def test_another_place_keeps_adverse_rows_for_its_own_years(
    journal: Journal, pool: SignalStore, clock: ManualClock, store_urls: StoreUrls
) -> None:
    enforce(journal, pool, AMERICA, GATEWAY, clock())
    assert held(store_urls) == {1, 2, 3, 5, 7}
    assert recorded(journal)[0] == {
        "jurisdiction": "US",
        "kind": "adverse",
        "before": "2019-11",
        "delinquency_before": "2019-05",
        "rows": 1,
    }


RECENTLY, BEFORE = month_number(date(2019, 5, 1)), month_number(date(2019, 4, 1))
REPORTED_ON = {
    # Each was reported this month; 180 days from May 2019 and seven years end this month.
    11: snapshot(AccountStatus.CHARGED_OFF, TODAY, first=RECENTLY),
    12: snapshot(AccountStatus.CHARGED_OFF, TODAY, first=BEFORE),
    13: snapshot(AccountStatus.SETTLED_LESS, TODAY, first=BEFORE),
    14: snapshot(AccountStatus.CHARGED_OFF, TODAY),
    15: snapshot(AccountStatus.OPEN, TODAY, first=BEFORE),
}


def test_in_america_a_charge_off_that_is_reported_every_month_leaves_all_the_same(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, store_urls: StoreUrls
) -> None:
    publish(signal_store, REPORTED_ON)
    assert enforce(journal, signal_store, CHINA, GATEWAY, clock()) == 0
    # Another clock on the same day is another run.
    assert enforce(journal, signal_store, AMERICA, GATEWAY, clock()) == 2
    assert held(store_urls, REPORTED_ON) == {11, 14, 15}
    [entry] = recorded(journal)
    assert (entry["before"], entry["delinquency_before"]) == ("2019-11", "2019-05")
    assert enforce(journal, signal_store, AMERICA, GATEWAY, clock()) == 0

    # Next month: its furnisher names a later month, or none, and it leaves.
    clock.advance(seconds=13 * DAY)
    december = date(2026, 12, 1)
    later = month_number(december)
    publish(signal_store, {11: snapshot(AccountStatus.CHARGED_OFF, december, first=later)}, 1)
    publish(signal_store, {11: snapshot(AccountStatus.CHARGED_OFF, december)}, 2)
    assert enforce(journal, signal_store, AMERICA, GATEWAY, clock()) == 1
    assert held(store_urls, REPORTED_ON) == {14, 15}


@pytest.mark.parametrize("from_delinquency", [False, True])
def test_the_store_deletes_and_cuts_what_the_catalogue_says(
    signal_store: SignalStore, store_urls: StoreUrls, from_delinquency: bool
) -> None:
    month = month_number(TODAY)
    cutoffs = Cutoffs.at(month, day_number(TODAY), 7, from_delinquency=from_delinquency)
    rows: dict[int, AccountSnapshot] = {}
    for status in (AccountStatus.CHARGED_OFF, AccountStatus.SETTLED_LESS, AccountStatus.OPEN):
        for as_of in (month, month - 24, month - 25, month - 84, month - 85, month - 90):
            for first in (0, month - 92, month - 91, month - 90, month - 89):
                row = snapshot(status, TODAY, b"\6" * 10, first=first)
                rows[len(rows)] = replace(row, as_of_month=as_of)
    publish(signal_store, rows)
    expected = {
        number: left
        for number, row in rows.items()
        if (left := kept(merge(None, row), cutoffs)) is not None
    }
    changed = [n for n, row in rows.items() if expected.get(n) != merge(None, row)]
    past = signal_store.count_past(cutoffs)
    assert past.adverse + past.positive + past.inquiries == len(changed) > 0
    signal_store.drop_past(cutoffs)
    assert held(store_urls, rows) == set(expected)
    histories = signal_store.histories([subject(number) for number in expected], 1)
    for number, left in expected.items():
        assert [account for _, account in histories[subject(number)].relations] == [left]
    assert signal_store.count_past(cutoffs) == PastRetention()


def test_it_is_done_once_a_day_and_again_when_more_is_due(
    journal: Journal, pool: SignalStore, clock: ManualClock, store_urls: StoreUrls
) -> None:
    enforce(journal, pool, CHINA, GATEWAY, clock())
    size = journal.size
    assert enforce(journal, pool, CHINA, GATEWAY, clock()) == 0
    assert journal.size == size
    clock.advance(seconds=DAY)
    assert enforce(journal, pool, CHINA, GATEWAY, clock()) == 1
    assert held(store_urls) == {2, 3, 5}
    clock.advance(seconds=13 * DAY)  # the second of December
    assert enforce(journal, pool, CHINA, GATEWAY, clock()) == 3
    assert held(store_urls) == {3}


class Failing(SignalStore):
    """Fails while it deletes, as a store does that loses its disk."""

    failures = 1

    def drop_past(self, cutoffs: Cutoffs) -> None:
        if self.failures:
            self.failures -= 1
            raise store_unavailable()
        super().drop_past(cutoffs)


def test_what_was_recorded_and_not_deleted_is_deleted_next_and_counted_once(
    journal: Journal, pool: SignalStore, clock: ManualClock, store_urls: StoreUrls
) -> None:
    database = Database.open(store_urls.signals_url)
    try:
        failing = Failing(database, clock)
        with pytest.raises(Refusal):
            enforce(journal, failing, CHINA, GATEWAY, clock())
        assert held(store_urls) == set(ROWS)
        before = recorded(journal)
        assert sum(entry["rows"] for entry in before) == 5

        assert enforce(journal, failing, CHINA, GATEWAY, clock()) == 0
        assert held(store_urls) == {2, 3, 5, 7}
        assert recorded(journal) == before
    finally:
        database.close()


def test_what_was_recorded_under_one_clock_is_deleted_by_it(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, store_urls: StoreUrls
) -> None:
    publish(signal_store, REPORTED_ON)
    database = Database.open(store_urls.signals_url)
    try:
        failing = Failing(database, clock)
        with pytest.raises(Refusal):
            enforce(journal, failing, AMERICA, GATEWAY, clock())
        assert enforce(journal, failing, CHINA, GATEWAY, clock()) == 0
        assert held(store_urls, REPORTED_ON) == {11, 14, 15}
    finally:
        database.close()


def test_lookups_do_not_show_what_waits_to_be_deleted(
    pool: SignalStore, clock: ManualClock
) -> None:
    old = pool.histories([subject(1), subject(4)], 1)
    for history in old.values():
        values = compute(history, day_number(TODAY), set(DataCategory), {"open_accounts"})
        assert all(value.status is SignalStatus.NOT_FOUND for value in values)
