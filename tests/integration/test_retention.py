"""Retention as a job: on time, once a day, recorded, and finished after whatever stopped it."""

import json
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.retention import enforce
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.signal_tables import inquiry, relation
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import AccountStatus, DataCategory, ProductClass
from concordat_privacy.catalogue.calendar import day_number, month_number
from concordat_privacy.catalogue.packing import pack_row
from concordat_privacy.catalogue.retention import Cutoffs
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


def snapshot(status: AccountStatus, as_of: date, profile: bytes = b"", ref: int = 1) -> Row:
    return AccountSnapshot(
        account_ref=ref.to_bytes(16, "big"),
        as_of_month=month_number(as_of),
        status=status,
        product=ProductClass.REVOLVING,
        opened_quarter=100,
        payment_profile=profile,
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
    batch = bytes(16)
    staged = [
        StagedRow(number, subject(number), pack_row(row)) for number, row in sorted(ROWS.items())
    ]
    signal_store.stage(batch, staged)
    signal_store.publish(batch, 1, ())
    return signal_store


def held(store_urls: StoreUrls) -> set[int]:
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
    return {number for number in ROWS if subject(number) in found}


def recorded(journal: Journal) -> list[dict[str, Any]]:
    leaves = [json.loads(leaf) for _, leaf, _ in journal.entries(0, journal.size)]
    return [
        {name: fields[name] for name in ("jurisdiction", "kind", "before", "rows")}
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
        "rows": 1,
    }


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


def test_lookups_do_not_show_what_waits_to_be_deleted(
    pool: SignalStore, clock: ManualClock
) -> None:
    old = pool.histories([subject(1), subject(4)], 1)
    for history in old.values():
        values = compute(history, day_number(TODAY), set(DataCategory), {"open_accounts"})
        assert all(value.status is SignalStatus.NOT_FOUND for value in values)
