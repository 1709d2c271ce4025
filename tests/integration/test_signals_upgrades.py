"""Signals stores of every earlier schema, with rows in all their tables, under this build."""

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from concordat_gateway.store.migrate import SIGNALS
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.relations import Inquiry
from concordat_privacy.catalogue.rows import RowRef
from concordat_store.database import Database
from concordat_store.migration import check_current, upgrade
from tests.relations import relation as built
from tests.stores import ManualClock, StoreUrls, open_signals

MONTH, DAY = 682, 20_700
MEMBER = 3
EPOCH = 2
PUBLISHED, STAGED, ERASURE = b"p" * 16, b"s" * 16, b"e" * 16
SUBJECTS = [SubjectKey(bytes([bucket]) + bytes(30) + b"\1") for bucket in range(0, 256, 5)]
"""Some in each of PostgreSQL's partitions."""
NEW = SubjectKey(b"\x80" * 32)
"""Has rows in the staged batch alone."""
PROFILE = b"\1\2\3" + bytes(21)

# Of the first release: no later code packs it here.
STAGED_ACCOUNT = struct.pack(
    ">B16sIBBI6BB23s", *(1, b"r" * 16, MONTH + 1, 1, 3, 200), *(9, 4, 1, 2, 8, 0), *(1, b"\1")
)
STAGED_APPLICATION = struct.pack(">B16sIB", 2, b"b" * 16, DAY + 1, 2)

Values = dict[str, dict[str, Any]]
Columns = dict[str, set[str]]
"""Of each table, at the revision that was upgraded from."""


def revisions() -> list[str]:
    """All revisions of the store, oldest first."""
    scripts = ScriptDirectory.from_config(SIGNALS.config()).walk_revisions()
    return [script.revision for script in scripts][::-1]


def values_of(subject: bytes) -> Values:
    """What a row holds in every column that any revision has or had."""
    own = {
        "subject": subject,
        "bucket": subject[0],
        "member_no": MEMBER,
        "source_entry": 3,
        "source_item": 1,
    }
    packed = {
        "limit_band": 9,
        "balance_band": 4,
        "past_due_band": 1,
        "days_past_due": 1,
        "utilisation": 8,
        "spend_volatility": 2,
    }
    return {
        "relation": {
            **own,
            **packed,
            "account_ref": b"r" * 16,
            "as_of_month": MONTH,
            "status": 1,
            "product": 3,
            "opened_quarter": 200,
            "first_delinquency_month": 660,
            "bands": bytes(packed.values()),
            "profile": PROFILE,
        },
        "inquiry": {
            **own,
            "application_ref": b"a" * 16,
            "day": DAY,
            "product": 2,
            "outcome": 1,
        },
    }


# Tables that say nothing of subjects, and the staged rows of the new one.
OTHERS: dict[str, list[dict[str, Any]]] = {
    "staged_row": [
        {"batch_id": STAGED, "row_no": row_no, "subject": NEW, "bucket": NEW[0], "content": content}
        for row_no, content in enumerate((STAGED_ACCOUNT, STAGED_APPLICATION))
    ],
    "staged_batch": [
        {
            "batch_id": STAGED,
            "staged_at": 7,
            # For each row: number u32, subject, length u16, the row.
            "content": b"".join(
                row_no.to_bytes(4, "big") + NEW + len(content).to_bytes(2, "big") + content
                for row_no, content in enumerate((STAGED_ACCOUNT, STAGED_APPLICATION))
            ),
        }
    ],
    "published_batch": [{"batch_id": PUBLISHED, "published_at": 5}],
    "publisher": [{"member_no": MEMBER, "published_at": 5}],
    "subject_epoch": [{"id": 1, "epoch": EPOCH}],
    "erased": [{"erasure_id": ERASURE, "erased_at": 6}],
}


def tables_of(connection: sa.Connection) -> list[sa.Table]:
    """All tables of the store as they are now, without partitions."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return [
        table
        for table in metadata.sorted_tables
        if not re.search(r"^alembic_|_[0-9a-f]{2}$", table.name)
    ]


def rows_for(table: sa.Table) -> list[dict[str, Any]]:
    """Rows for a table of any revision. A KeyError asks for the values of what a revision adds."""
    rows: Sequence[dict[str, Any]] = (
        OTHERS[table.name]
        if table.name in OTHERS
        else [values_of(subject)[table.name] for subject in SUBJECTS]
    )
    return [{column.name: row[column.name] for column in table.columns} for row in rows]


@contextmanager
def upgraded(
    urls: StoreUrls, clock: ManualClock, revision: str
) -> Iterator[tuple[SignalStore, Columns]]:
    """The store of an earlier revision under this build, and the columns that it had."""
    database = Database.open(urls.signals_url)
    config = SIGNALS.config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        had: Columns = {}
        for table in tables_of(connection):
            connection.execute(sa.insert(table), rows_for(table))
            had[table.name] = {column.name for column in table.columns}
    upgrade(SIGNALS, database)
    check_current(SIGNALS, database)
    database.close()
    with open_signals(urls, clock) as store:
        yield store, had


@pytest.mark.parametrize("revision", revisions())
def test_a_store_of_each_revision_reads_as_before_and_goes_on(
    empty_urls: StoreUrls, clock: ManualClock, revision: str
) -> None:
    with upgraded(empty_urls, clock, revision) as (store, had):
        check_pool_reads_as_before(store, had)
        check_batches_go_on(store, had)
        check_rows_can_be_moved_and_erased(store, had)


def check_pool_reads_as_before(store: SignalStore, had: Columns) -> None:
    epoch = EPOCH if "subject_epoch" in had else 1
    assert store.epoch() == epoch
    account = built(
        account_ref=b"r" * 16,
        as_of_month=MONTH,
        status=AccountStatus.OPEN,
        product=ProductClass.REVOLVING,
        opened_quarter=200,
        first_delinquency_month=660 if "first_delinquency_month" in had["relation"] else 0,
        limit=AmountBand(9),
        balance=AmountBand(4),
        past_due=AmountBand(1),
        days_past_due=DaysPastDueBand(1),
        utilisation=UtilisationBand(8),
        spend_volatility=VolatilityBand(2),
        profile=PROFILE,
    )
    applied = Inquiry.from_numbers(DAY, 2, 1 if "outcome" in had["inquiry"] else 0)

    histories = store.histories([*SUBJECTS, NEW], epoch)

    assert [histories[subject].relations for subject in SUBJECTS] == (
        [((MEMBER, account),)] * len(SUBJECTS)
    )
    assert [histories[subject].inquiries for subject in SUBJECTS] == (
        [((MEMBER, applied),)] * len(SUBJECTS)
    )
    assert not histories[NEW].relations
    source = RowRef(3, 1) if "source_entry" in had["relation"] else RowRef(0, 0)
    standing = store.standing(MEMBER, SUBJECTS, epoch)
    assert {one.source for one in standing.values()} == {source}
    assert len(standing) == 2 * len(SUBJECTS)
    scanned = [
        row for _, rows in store.relations_by_bucket(["subject", "status"], epoch) for row in rows
    ]
    assert [(bytes(subject), status) for subject, status in scanned] == (
        [(subject, 1) for subject in sorted(SUBJECTS)]
    )
    found = set[SubjectKey]().union(*store.subjects_by_bucket())
    assert {bytes(subject) for subject in found} == {*SUBJECTS, NEW}


def check_batches_go_on(store: SignalStore, had: Columns) -> None:
    epoch = EPOCH if "subject_epoch" in had else 1
    assert store.is_published(PUBLISHED)
    assert store.erasures() == ({ERASURE} if "erased" in had else set())
    assert list(map(bytes, store.staged())) == [STAGED]
    assert list(map(bytes, store.staged_before(8))) == [STAGED]
    assert store.staged_before(7) == []

    store.publish(STAGED, MEMBER, ())

    assert store.is_published(STAGED)
    assert store.staged() == []
    history = store.histories([NEW], epoch)[NEW]
    [(_, account)], [(_, application)] = history.relations, history.inquiries
    assert (account.as_of_month, account.limit, account.days_past_due) == (MONTH + 1, 9, 2)
    assert (account.profile, account.first_delinquency_month) == (b"\2\1" + bytes(22), 0)
    assert (application.day, application.product) == (DAY + 1, ProductClass.CASH_INSTALMENT)


def check_rows_can_be_moved_and_erased(store: SignalStore, had: Columns) -> None:
    epoch = EPOCH if "subject_epoch" in had else 1
    first, second, *_ = SUBJECTS
    named = SubjectKey(b"\xee" * 32)

    store.erase(b"x" * 16, [first], lambda batches: batches)
    store.move(second[0], {second: named})

    histories = store.histories([first, second, named], epoch)
    assert [len(histories[name].relations) for name in (first, second, named)] == [0, 0, 1]
    assert [len(histories[name].inquiries) for name in (first, second, named)] == [0, 0, 1]
    assert b"x" * 16 in set(map(bytes, store.erasures()))
