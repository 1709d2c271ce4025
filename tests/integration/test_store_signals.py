"""The signals store: staged rows nobody sees, idempotent publication, merged histories."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concordat_gateway.store.signal_store import BatchNotStagedError, SignalStore
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import SubjectKey, bucket_of
from concordat_privacy.catalogue.bands import (
    AccountStatus,
    AmountBand,
    DaysPastDueBand,
    ProductClass,
    UtilisationBand,
    VolatilityBand,
)
from concordat_privacy.catalogue.packing import pack_row
from concordat_privacy.catalogue.relations import History, Inquiry, Relation, merge
from concordat_privacy.catalogue.rows import AccountSnapshot, ApplicationEvent, Row
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_privacy.log.checkpoint import SigningKey
from concordat_store.database import Database
from tests.ledgers import check_ledger
from tests.relations import relation as built
from tests.stores import ManualClock, StoreUrls, open_journal, open_signals

ROOT = Path(__file__).parents[2]
MONTH = 682


def subject(number: int) -> SubjectKey:
    """Subjects spread over all buckets: 37 is odd."""
    return SubjectKey(bytes([number * 37 % 256]) + number.to_bytes(31, "big"))


def batch_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def snapshot(account: int = 1, month: int = MONTH, late: int = 1) -> AccountSnapshot:
    return AccountSnapshot(
        account_ref=account.to_bytes(16, "big"),
        as_of_month=month,
        status=AccountStatus.OPEN,
        product=ProductClass.REVOLVING,
        opened_quarter=200,
        limit=AmountBand.FROM_10K_TO_20K,
        balance=AmountBand.FROM_1K_TO_3K,
        past_due=AmountBand.ZERO,
        days_past_due=DaysPastDueBand(late),
        utilisation=UtilisationBand(3),
        spend_volatility=VolatilityBand(2),
        payment_profile=b"\1\2\3",
    )


def application(number: int = 1, day: int = 20_700) -> ApplicationEvent:
    return ApplicationEvent(number.to_bytes(16, "big"), day, ProductClass.CASH_INSTALMENT)


def staged(rows: Sequence[tuple[SubjectKey, Row]]) -> list[StagedRow]:
    return [StagedRow(number, key, pack_row(row)) for number, (key, row) in enumerate(rows)]


def contribute(
    store: SignalStore, batch: int, member: int, rows: Sequence[tuple[SubjectKey, Row]]
) -> None:
    store.stage(batch_id(batch), staged(rows))
    store.publish(batch_id(batch), member, ())


def test_staged_rows_are_seen_only_once_published(signal_store: SignalStore) -> None:
    rows: list[tuple[SubjectKey, Row]] = [
        (subject(1), snapshot()),
        (subject(1), application()),
    ]
    signal_store.stage(batch_id(1), staged(rows))
    assert signal_store.histories([subject(1)], FIRST_EPOCH) == {subject(1): History()}
    assert not any(rows for _, rows in signal_store.relations_by_bucket(["subject"], FIRST_EPOCH))
    assert not signal_store.is_published(batch_id(1))

    signal_store.publish(batch_id(1), 7, ())

    relation = built(
        account_ref=bytes(15) + b"\1",
        as_of_month=MONTH,
        status=AccountStatus.OPEN,
        product=ProductClass.REVOLVING,
        opened_quarter=200,
        limit=AmountBand.FROM_10K_TO_20K,
        balance=AmountBand.FROM_1K_TO_3K,
        past_due=AmountBand.ZERO,
        days_past_due=DaysPastDueBand.CURRENT,
        utilisation=UtilisationBand(3),
        spend_volatility=VolatilityBand(2),
        profile=b"\1\1\2\3" + bytes(20),
    )
    inquiry = Inquiry(20_700, ProductClass.CASH_INSTALMENT)
    assert signal_store.histories([subject(1)], FIRST_EPOCH) == {
        subject(1): History(relations=((7, relation),), inquiries=((7, inquiry),))
    }
    assert signal_store.is_published(batch_id(1))


def test_histories_answer_every_subject_asked_for(signal_store: SignalStore) -> None:
    known = [subject(number) for number in range(1_200)]
    contribute(signal_store, 1, 1, [(key, snapshot()) for key in known])
    unknown = [subject(number) for number in range(1_200, 1_300)]

    histories = signal_store.histories([*unknown, *known, *known], FIRST_EPOCH)

    assert set(histories) == {*known, *unknown}
    assert all(len(histories[key].relations) == 1 for key in known)
    assert all(histories[key] == History() for key in unknown)
    assert signal_store.histories([], FIRST_EPOCH) == {}


def test_refused_rows_are_left_out(signal_store: SignalStore) -> None:
    rows = [(subject(number), snapshot()) for number in range(4)]
    signal_store.stage(batch_id(1), staged(rows))
    signal_store.publish(batch_id(1), 1, [0, 2])
    found = signal_store.histories([subject(number) for number in range(4)], FIRST_EPOCH)
    assert [len(found[subject(number)].relations) for number in range(4)] == [0, 1, 0, 1]


def test_publishing_again_changes_nothing(signal_store: SignalStore) -> None:
    contribute(signal_store, 1, 1, [(subject(1), snapshot(month=MONTH))])
    contribute(signal_store, 2, 1, [(subject(1), snapshot(month=MONTH + 1, late=4))])
    before = signal_store.histories([subject(1)], FIRST_EPOCH)
    for batch in (1, 2):
        signal_store.publish(batch_id(batch), 1, ())
    assert signal_store.histories([subject(1)], FIRST_EPOCH) == before


def test_batch_that_was_never_staged_cannot_be_published(signal_store: SignalStore) -> None:
    with pytest.raises(BatchNotStagedError):
        signal_store.publish(batch_id(1), 1, ())
    signal_store.stage(batch_id(1), staged([(subject(1), snapshot())]))
    signal_store.discard(batch_id(1))
    signal_store.discard(batch_id(1))
    with pytest.raises(BatchNotStagedError):
        signal_store.publish(batch_id(1), 1, ())
    assert signal_store.histories([subject(1)], FIRST_EPOCH) == {subject(1): History()}


def test_batch_without_rows_is_published(signal_store: SignalStore) -> None:
    contribute(signal_store, 1, 1, [])
    assert signal_store.is_published(batch_id(1))


def test_abandoned_batches_are_found_by_age(signal_store: SignalStore, clock: ManualClock) -> None:
    for number in (1, 2, 3):
        signal_store.stage(batch_id(number), staged([(subject(1), snapshot(account=number))]))
        clock.advance(10)
    now = clock()
    signal_store.stage(batch_id(4), [])
    signal_store.publish(batch_id(2), 1, ())
    assert signal_store.staged_before(now) == [batch_id(1), batch_id(3)]
    assert signal_store.staged_before(now - 20_000_000) == [batch_id(1)]


def test_members_accounts_and_applications_stay_apart(signal_store: SignalStore) -> None:
    for member in (1, 2):
        rows: list[tuple[SubjectKey, Row]] = [(subject(1), snapshot(account=1))]
        rows += [(subject(1), snapshot(account=2)), (subject(1), application(1))]
        contribute(signal_store, member, member, rows)
    history = signal_store.histories([subject(1)], FIRST_EPOCH)[subject(1)]
    assert [(member, r.account_ref[-1]) for member, r in history.relations] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]
    assert [member for member, _ in history.inquiries] == [1, 2]


def test_racing_batches_of_one_account_lose_no_month(signal_store: SignalStore) -> None:
    months = range(MONTH, MONTH + 12)
    for month in months:
        rows = [(subject(1), snapshot(month=month, late=month - MONTH + 1 if month < 688 else 1))]
        signal_store.stage(batch_id(month), staged(rows))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda month: signal_store.publish(batch_id(month), 1, ()), months))

    [(_, relation)] = signal_store.histories([subject(1)], FIRST_EPOCH)[subject(1)].relations
    expected: Relation | None = None
    for month in months:
        expected = merge(
            expected, snapshot(month=month, late=month - MONTH + 1 if month < 688 else 1)
        )
    assert relation == expected


def test_scan_gives_every_bucket_with_its_relations_in_order_of_subject(
    signal_store: SignalStore,
) -> None:
    keys = sorted(subject(number) for number in range(60))
    rows: list[tuple[SubjectKey, Row]] = [
        (key, snapshot(account=account, late=1 + key[-1] % 2)) for key in keys for account in (1, 2)
    ]
    contribute(signal_store, 1, 3, rows)

    buckets = list(
        signal_store.relations_by_bucket(["subject", "bucket", "member_no"], FIRST_EPOCH)
    )
    assert [bucket for bucket, _ in buckets] == list(range(256))
    everything = [row for _, of_bucket in buckets for row in of_bucket]
    assert everything == [(key, bucket_of(key), 3) for key in keys for _ in (1, 2)]
    assert all(row.bucket == bucket for bucket, of_bucket in buckets for row in of_bucket)


def test_killed_between_commit_and_publication(
    store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey
) -> None:
    batches = {
        "after-stage": batch_id(1),
        "after-accept": batch_id(2),
        "after-publish": batch_id(3),
    }
    for number, (when, batch) in enumerate(batches.items()):
        rows = [[subject(number).hex(), pack_row(snapshot()).hex()]]
        program = [sys.executable, "-m", "tests.programs.contribute"]
        urls = [store_urls.control_url, store_urls.signals_url]
        done = subprocess.run([*program, *urls, batch.hex(), json.dumps(rows), when], cwd=ROOT)
        assert done.returncode == -signal.SIGKILL

    keys = [subject(number) for number in range(3)]
    with open_journal(store_urls, clock) as journal, open_signals(store_urls, clock) as signals:
        leaves = check_ledger(journal, ledger_key.verifier)
        accepted = {bytes.fromhex(json.loads(leaf)["batch"]) for leaf in leaves}
        assert accepted == {batches["after-accept"], batches["after-publish"]}
        assert not signals.histories(keys, FIRST_EPOCH)[subject(1)].relations

        # What a start does: publish what was accepted, discard what was not.
        for batch in signals.staged_before(2**62):
            if batch in accepted:
                signals.publish(batch, 1, ())
            else:
                signals.discard(batch)

        found = signals.histories(keys, FIRST_EPOCH)
        assert [len(found[key].relations) for key in keys] == [0, 1, 1]
        assert signals.staged_before(2**62) == []


rows_of_batches = st.lists(
    st.tuples(
        st.integers(1, 2),
        st.lists(
            st.tuples(
                st.integers(0, 2),
                st.one_of(
                    st.builds(
                        snapshot,
                        st.integers(1, 2),
                        st.integers(MONTH, MONTH + 30),
                        st.integers(0, 7),
                    ),
                    st.builds(application, st.integers(1, 2), st.integers(20_600, 20_700)),
                ),
            ),
            max_size=6,
        ),
    ),
    max_size=5,
)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=rows_of_batches)
def test_histories_are_the_merge_of_all_published_rows(
    signal_store: SignalStore, counter: list[int], batches: list[tuple[int, list[tuple[int, Row]]]]
) -> None:
    # The store outlives one example: each has subjects of its own.
    counter[0] += 1
    keys = [subject(counter[0] * 3 + number) for number in range(3)]
    relations: dict[tuple[SubjectKey, int, bytes], Relation] = {}
    inquiries: dict[tuple[SubjectKey, int, bytes], Inquiry] = {}
    for at, (member, rows) in enumerate(batches):
        contribute(
            signal_store, counter[0] * 100 + at, member, [(keys[who], row) for who, row in rows]
        )
        for who, row in rows:
            if isinstance(row, AccountSnapshot):
                key = (keys[who], member, row.account_ref)
                relations[key] = merge(relations.get(key), row)
            else:
                inquiries[keys[who], member, row.application_ref] = Inquiry(row.day, row.product)

    assert signal_store.histories(keys, FIRST_EPOCH) == {
        key: History(
            relations=tuple((k[1], relations[k]) for k in sorted(relations) if k[0] == key),
            inquiries=tuple((k[1], inquiries[k]) for k in sorted(inquiries) if k[0] == key),
        )
        for key in keys
    }


@pytest.fixture
def counter() -> list[int]:
    return [0]


@pytest.mark.postgresql
def test_a_connection_that_may_be_kept_for_ever_has_no_temporary_table(
    postgresql_stores: StoreUrls, clock: ManualClock
) -> None:
    """The age of one that stays holds back what the whole server may forget."""

    def temporary() -> list[str]:
        with psycopg.connect(postgresql_stores.signals_url) as connection:
            query = "SELECT relname FROM pg_class WHERE relpersistence = 't' ORDER BY 1"
            return [name for (name,) in connection.execute(query)]

    with closing(Database.open(postgresql_stores.signals_url)) as database:
        signals = SignalStore(database, clock)
        for number in (1, 2):
            signals.stage(batch_id(number), [StagedRow(0, subject(1), pack_row(snapshot()))])
            signals.publish(batch_id(number), 1, [])
        assert temporary()
        # Whoever asks may keep it.
        with database.ask():
            assert not temporary()
