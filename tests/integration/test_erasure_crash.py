"""Erasures that are cut off, that meet work under way, and that backups bring back."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import erasure_pb2
from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.anchors import check_anchors, set_anchors
from concordat_gateway.rules.contributions import resume
from concordat_gateway.rules.erased_stores import (
    ORPHAN_AGE_MICROSECONDS,
    destroy_orphans,
    erase_again,
)
from concordat_gateway.rules.rotation import Progress, rotate
from concordat_gateway.rules.subject_records import prepare
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.signal_tables import METADATA as SIGNALS
from concordat_gateway.store.subject_keys import SubjectKeys
from concordat_gateway.store.subjects import SubjectKey, subject_key
from concordat_rpc.errors import unavailable
from concordat_store.database import Database
from concordat_store.engines import StoreError, sqlite_module
from tests.integration.test_erasure import (
    CONTRIBUTION,
    EVERYTHING,
    OK,
    REFUSED,
    ask,
    consents_found,
    erase,
    execute,
    exported,
    furnish,
    look_up,
    open_by,
    rows_with,
)
from tests.integration.test_lookups_in_flight import Stop, StoppingStore, in_flight
from tests.rotations import means_of
from tests.services import (
    Caller,
    Consortium,
    account,
    contribute,
    draft,
    grant_one,
    reason_of,
    serving,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal, open_signals, subject_keys_of
from tests.tokenkeys import TokenKeys, peppers

ROOT = Path(__file__).parents[2]
EXECUTED = erasure_pb2.ERASURE_STATE_EXECUTED
ERASED = erasure_pb2.ERASURE_STATE_ERASED
# Up to the ninth they are one transaction of control; then each is a state of its own.
WRITES = (1, 5, *range(9, 40))


def name_of(subject: int, epoch: int = 1) -> SubjectKey:
    return subject_key(peppers(epoch)[epoch], token(subject, epoch))


def keys_of(consortium: Consortium) -> SubjectKeys:
    return subject_keys_of(consortium.journal, consortium.clock)


def start(consortium: Consortium) -> None:
    """What a gateway does before it serves."""
    check_anchors(consortium.journal, keys_of(consortium))
    erase_again(consortium.journal, consortium.signal_store, keys_of(consortium))
    resume(consortium.journal, consortium.signal_store, consortium.clock)


def state_of(consortium: Consortium, erasure_id: bytes) -> int:
    with consortium.journal.read() as connection:
        return int(
            connection.execute(
                sa.text("SELECT state FROM erasure WHERE erasure_id = :id"), {"id": erasure_id}
            ).scalar_one()
        )


def live_ids(consortium: Consortium) -> set[bytes]:
    with consortium.journal.read() as connection:
        found = connection.execute(sa.text("SELECT live_id FROM subject_record")).scalars()
        return {bytes(one) for one in found}


def fails(*_: object) -> None:
    raise unavailable("STORE_UNAVAILABLE", "it is down", 1.0)


def rows_held(consortium: Consortium, subject: int, epoch: int = 1) -> int:
    return consortium.signal_store.count(name_of(subject, epoch))


@pytest.mark.slow
def test_an_erasure_that_is_killed_anywhere_is_whole_or_has_not_begun(
    consortium: Consortium, store_urls: StoreUrls
) -> None:
    seen = set()
    for writes in WRITES:
        subject = writes
        furnish(consortium, consortium.beta, [subject])
        grant_one(consortium.alpha, draft(consortium, subject))
        erasure_id = ask(consortium.alpha, subject).erasure.erasure_id
        command = [sys.executable, "-m", "tests.programs.erase"]
        command += [store_urls.control_url, store_urls.signals_url, erasure_id.hex(), str(writes)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert ended.returncode in (-9, 0), ended.stderr
        # Before anything is made good: nothing that was executed is answered.
        state = state_of(consortium, erasure_id)
        seen.add(state)
        [result] = look_up(consortium.alpha, [subject])
        if state == erasure_pb2.ERASURE_STATE_REQUESTED:
            assert (result.status, rows_held(consortium, subject)) == (OK, 2)
            assert open_by(consortium, subject=subject).evidence_keys[0].consents == 2
        else:
            assert result.status == REFUSED
            start(consortium)
            assert state_of(consortium, erasure_id) == ERASED
            assert rows_held(consortium, subject) == 0
            assert rows_with(store_urls.all, [name_of(subject)]) == []
        keys = keys_of(consortium)
        assert set(keys.live.old(2**62, b"")) == live_ids(consortium)
        if ended.returncode == 0:
            break
    assert ended.returncode == 0
    assert seen == {1, EXECUTED, ERASED}


@pytest.fixture(params=[True, False], ids=["before reading", "after reading"])
def stop(request: pytest.FixtureRequest) -> Stop:
    return Stop(before_reading=request.param)


@pytest.fixture
def held(
    journal: Journal, store_urls: StoreUrls, clock: ManualClock, stop: Stop
) -> Iterator[Consortium]:
    with closing(Database.open(store_urls.signals_url)) as database:
        store = StoppingStore(database, clock, stop)
        with serving(journal, store, clock) as running:
            yield running


def test_a_lookup_under_way_returns_nothing_of_whom_an_erasure_ended(
    held: Consortium, stop: Stop
) -> None:
    furnish(held, held.beta, [1, 2])
    for subject in (1, 2):
        grant_one(held.alpha, draft(held, subject))
    with in_flight(stop, lambda: look_up(held.alpha, [1, 2])) as future:
        erase(held, held.beta, 1)
    results = future.result()
    assert isinstance(results, list)
    assert [one.status for one in results] == [REFUSED, OK]
    assert not results[0].signals


def test_what_was_accepted_before_an_erasure_is_never_published_after_it(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(consortium, consortium.beta, [1, 2])

    with monkeypatch.context() as broken:
        broken.setattr(SignalStore, "publish", fails)
        rows = [account(consortium, subject, ref=7) for subject in (1, 2)]
        assert contribute(consortium.beta, rows).rows_accepted == 2
    erase(consortium, consortium.alpha, 1)
    resume(consortium.journal, consortium.signal_store, consortium.clock)
    assert rows_held(consortium, 1) == 0
    assert rows_held(consortium, 2) == 3


def test_what_is_contributed_after_an_erasure_outlives_its_completion(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(consortium, consortium.beta, [1])
    erasure_id = ask(consortium.alpha, 1).erasure.erasure_id

    with monkeypatch.context() as broken:
        broken.setattr(SignalStore, "erase", fails)
        assert execute(consortium, erasure_id).erasure.state == EXECUTED
    assert rows_held(consortium, 1) == 2
    furnish(consortium, consortium.beta, [1])
    contribute(consortium.beta, [account(consortium, 1, ref=9)])
    assert rows_held(consortium, 1) == 3
    start(consortium)
    assert state_of(consortium, erasure_id) == ERASED
    assert rows_held(consortium, 1) == 3


def test_a_rotation_under_way_does_not_carry_an_erased_person_on(
    journal: Journal, signal_store: SignalStore, clock: ManualClock, store_urls: StoreUrls
) -> None:
    keys = TokenKeys.of_epochs(1, 2)
    with serving(journal, signal_store, clock, keys) as consortium:
        furnish(consortium, consortium.beta, [1, 2])

        def meanwhile(progress: Progress) -> None:
            # Names are prepared, and the stores still serve.
            if progress.step == "prepare" and progress.done and rows_held(consortium, 1):
                erase(consortium, consortium.beta, 1)

        rotated = rotate(means_of(journal, signal_store, keys, meanwhile), None)
        assert rotated.subjects == 1
        assert rows_with(store_urls.all, [name_of(1), name_of(1, 2)]) == []
        assert rows_held(consortium, 2, 2) == 2


@contextmanager
def running(urls: StoreUrls, clock: ManualClock) -> Iterator[Consortium]:
    """A gateway that starts on stores as they are, and lets go of all of them at the end."""
    with open_journal(urls, clock) as journal, open_signals(urls, clock) as signals:
        keys = subject_keys_of(journal, clock)
        try:
            with serving(journal, signals, clock) as consortium:
                start(consortium)
                yield consortium
        finally:
            keys.close()


def path_of(urls: StoreUrls, store: str) -> Path:
    names = ("control", "signals", "evidence", "live")
    url = dict(zip(names, urls.all, strict=True))[store]
    return Path(url.removeprefix("sqlite:///"))


def back_up(urls: StoreUrls, *stores: str) -> None:
    """Real copies of SQLite stores, as its own backup makes them."""
    for store in stores:
        path = path_of(urls, store)
        with (
            closing(sqlite_module().connect(path)) as source,
            closing(sqlite_module().connect(path.with_suffix(".backup"))) as copy,
        ):
            source.backup(copy)


def restore(urls: StoreUrls, *stores: str) -> None:
    """Put the copies in the places of stores that nobody has open."""
    for store in stores:
        path = path_of(urls, store)
        for left in path.parent.glob(f"{path.name}-*"):
            left.unlink()
        shutil.copyfile(path.with_suffix(".backup"), path)


def test_a_restored_signals_store_loses_the_erased_again_and_nobody_else(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with running(sqlite_stores, clock) as consortium:
        furnish(consortium, consortium.beta, [1, 2])
        back_up(sqlite_stores, "signals")
        erase(consortium, consortium.alpha, 1)
    restore(sqlite_stores, "signals")
    assert "relation" in rows_with([sqlite_stores.signals_url], [name_of(1)])
    with running(sqlite_stores, clock) as consortium:
        assert rows_with(sqlite_stores.all, [name_of(1)]) == []
        assert rows_held(consortium, 2) == 2


def test_a_restored_signals_store_brings_nothing_back_to_who_consented_again(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with running(sqlite_stores, clock) as consortium:
        furnish(consortium, consortium.beta, [1])
        back_up(sqlite_stores, "signals")
        erase(consortium, consortium.alpha, 1)
        furnish(consortium, consortium.gamma, [1])
        grant_one(consortium.beta, draft(consortium, 1, [CONTRIBUTION], EVERYTHING))
        grant_one(consortium.alpha, draft(consortium, 1))
    restore(sqlite_stores, "signals")
    with running(sqlite_stores, clock) as consortium:
        # What gamma contributed since is lost with the store; what beta did before stays erased.
        assert rows_held(consortium, 1) == 0
        contribute(consortium.gamma, [account(consortium, 1)])
    with running(sqlite_stores, clock) as consortium:
        assert rows_held(consortium, 1) == 1


def test_a_signals_store_restored_from_after_the_erasure_keeps_what_came_since(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with running(sqlite_stores, clock) as consortium:
        furnish(consortium, consortium.beta, [1])
        erase(consortium, consortium.alpha, 1)
        furnish(consortium, consortium.beta, [1])
        back_up(sqlite_stores, "signals")
    restore(sqlite_stores, "signals")
    with running(sqlite_stores, clock) as consortium:
        assert rows_held(consortium, 1) == 2


def test_staged_rows_that_a_restored_store_brings_back_are_not_published(
    sqlite_stores: StoreUrls, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(sqlite_stores, clock) as consortium:
        furnish(consortium, consortium.beta, [1, 2])
        with monkeypatch.context() as broken:
            broken.setattr(SignalStore, "publish", fails)
            contribute(consortium.beta, [account(consortium, one, ref=7) for one in (1, 2)])
        back_up(sqlite_stores, "signals")
        resume(consortium.journal, consortium.signal_store, consortium.clock)
        erase(consortium, consortium.alpha, 1)
    restore(sqlite_stores, "signals")
    with running(sqlite_stores, clock) as consortium:
        assert rows_with(sqlite_stores.all, [name_of(1)]) == []
        assert rows_held(consortium, 2) == 3


def test_a_live_key_that_comes_back_is_destroyed_again(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with running(sqlite_stores, clock) as consortium:
        kept = grant_one(consortium.alpha, draft(consortium, 2))
        grant_one(consortium.alpha, draft(consortium, 1))
        back_up(sqlite_stores, "live")
        erase(consortium, consortium.alpha, 1)
        left = live_ids(consortium)
    restore(sqlite_stores, "live")
    with running(sqlite_stores, clock) as consortium:
        keys = keys_of(consortium)
        assert set(keys.live.old(2**62, b"")) == left
        assert open_by(consortium, consent=kept).evidence_keys


@pytest.mark.parametrize("also", [[], ["signals"], ["live"]], ids=["alone", "signals", "live"])
def test_nothing_is_served_from_a_control_store_that_is_behind(
    sqlite_stores: StoreUrls, clock: ManualClock, also: list[str]
) -> None:
    with running(sqlite_stores, clock) as consortium:
        furnish(consortium, consortium.beta, [1])
        back_up(sqlite_stores, "control", *also)
        erase(consortium, consortium.alpha, 1)
    restore(sqlite_stores, "control", *also)
    with (
        pytest.raises(StoreError, match=r"control store is behind: its ledger has \d+ entries"),
        running(sqlite_stores, clock),
    ):
        pass


def test_nothing_is_served_from_a_control_store_that_went_on_from_a_backup(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with running(sqlite_stores, clock) as consortium:
        grant_one(consortium.alpha, draft(consortium, 1))
        back_up(sqlite_stores, "control")
        erase(consortium, consortium.alpha, 1)
    restore(sqlite_stores, "control")
    with open_journal(sqlite_stores, clock) as journal:

        def append(transaction: Transaction) -> None:
            for number in range(50):
                transaction.append("test.appended", "spiffe://concordat.test/x/y", {"n": number})

        journal.write(append)
    with (
        pytest.raises(StoreError, match="another one than the live-key store has seen"),
        running(sqlite_stores, clock),
    ):
        pass


def test_a_start_is_an_anchor_and_a_ledger_that_grew_is_served(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    for _ in range(3):
        with running(sqlite_stores, clock) as consortium:
            grant_one(consortium.alpha, draft(consortium, 1))
            set_anchors(consortium.journal, keys_of(consortium))
            anchor = keys_of(consortium).live.anchor()
            assert anchor is not None
            assert anchor.size == consortium.journal.size


def test_a_restored_evidence_store_makes_no_second_key_for_anybody(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with running(sqlite_stores, clock) as consortium:
        back_up(sqlite_stores, "evidence")
        grant_one(consortium.alpha, draft(consortium, 1))
    restore(sqlite_stores, "evidence")
    with running(sqlite_stores, clock) as consortium:
        with pytest.raises(grpc.RpcError) as refusal:
            grant_one(consortium.alpha, draft(consortium, 1))
        assert reason_of(refusal.value) == "STORE_UNAVAILABLE"
        # An erasure needs no evidence key.
        erase(consortium, consortium.alpha, 1)
        grant_one(consortium.alpha, draft(consortium, 1))


def test_keys_of_calls_that_came_to_nothing_are_given_up(
    consortium: Consortium,
) -> None:
    grant_one(consortium.alpha, draft(consortium, 1))
    keys = keys_of(consortium)
    prepare(consortium.journal, keys, [name_of(2)])
    destroy_orphans(consortium.journal, keys, consortium.clock)
    assert len(keys.live.old(2**62, b"")) == 2  # the call may still be under way
    consortium.clock.advance(ORPHAN_AGE_MICROSECONDS / 1_000_000 + 1)
    destroy_orphans(consortium.journal, keys, consortium.clock)
    assert set(keys.live.old(2**62, b"")) == live_ids(consortium)


def test_nothing_of_a_destroyed_live_key_is_left_in_its_files(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> None:
    with running(sqlite_stores, clock) as consortium:
        grant_one(consortium.alpha, draft(consortium, 1))
        database = Database.open(sqlite_stores.live_keys_url)
        with database.read() as connection:
            [sealed] = connection.execute(sa.text("SELECT sealed FROM live_key")).scalars()
        database.close()
        path = path_of(sqlite_stores, "live")

        def written() -> bytes:
            return b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))

        assert bytes(sealed) in written()
        erase(consortium, consortium.alpha, 1)
        assert bytes(sealed) not in written()


def test_contributions_that_race_with_an_erasure_leave_nothing_of_the_person(
    consortium: Consortium,
) -> None:
    for caller in (consortium.beta, consortium.gamma):
        furnish(consortium, caller, [1, 2])
    erased = threading.Event()

    def contribute_on(caller: Caller) -> None:
        for ref in range(2, 60):
            rows = [account(consortium, subject, ref) for subject in (1, 2)]
            # Asked before: what is accepted after an erasure that was acknowledged is a fault.
            is_over = erased.is_set()
            accepted = contribute(caller, rows).rows_accepted
            if is_over:
                assert accepted == 1
                return

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(contribute_on, one) for one in (consortium.beta, consortium.gamma)]
        erase(consortium, consortium.alpha, 1)
        erased.set()
        for run in runs:
            run.result()
    resume(consortium.journal, consortium.signal_store, consortium.clock)
    assert rows_held(consortium, 1) == 0
    assert rows_held(consortium, 2) >= 4


def test_grants_that_race_with_erasures_are_each_under_the_key_of_their_life(
    consortium: Consortium,
) -> None:
    grant_one(consortium.beta, draft(consortium, 1))

    def grant_twelve(caller: Caller) -> list[bytes]:
        return [grant_one(caller, draft(consortium, 1)) for _ in range(12)]

    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(grant_twelve, caller) for caller in (consortium.alpha, consortium.gamma)
        ]
        for _ in range(3):
            erase(consortium, consortium.beta, 1)
        given = {consent for run in runs for consent in run.result()}
    grant_one(consortium.beta, draft(consortium, 1))
    log = exported(consortium)
    ended = [
        {item["consent"] for item in items}
        for fields, items in log
        if fields["type"] == "erasure.executed"
    ]
    found: list[set[str]] = []
    for life in ended:
        if life:
            [evidence] = open_by(consortium, consent=bytes.fromhex(min(life))).evidence_keys
            found.append({*consents_found(log, evidence.key, evidence.consents)})
    assert found == [life for life in ended if life]
    [evidence] = open_by(consortium, subject=1).evidence_keys
    living = {*consents_found(log, evidence.key, evidence.consents)}
    assert {one.hex() for one in given} <= living.union(*found)
    with consortium.journal.read() as connection:
        left = connection.execute(sa.text("SELECT consent_id FROM consent")).scalars()
        assert {bytes(one).hex() for one in left} == living


@pytest.mark.postgresql
def test_stores_restored_on_postgresql_lose_the_erased_again_and_nobody_else(
    postgresql_stores: StoreUrls, clock: ManualClock
) -> None:
    tables = [*SIGNALS.tables, "live_key", "live_anchor"]
    with running(postgresql_stores, clock) as consortium:
        furnish(consortium, consortium.beta, [1, 2])
        with closing(Database.open(postgresql_stores.signals_url)) as database:
            with database.write() as connection:
                for table in tables:
                    connection.exec_driver_sql(f"CREATE TABLE copy_{table} AS TABLE {table}")
            erase(consortium, consortium.alpha, 1)
            left = live_ids(consortium)
            with database.write() as connection:
                for table in tables:
                    connection.exec_driver_sql(f"DELETE FROM {table}")
                    connection.exec_driver_sql(f"INSERT INTO {table} TABLE copy_{table}")
                    connection.exec_driver_sql(f"DROP TABLE copy_{table}")
            assert rows_held(consortium, 1) == 2
            assert len(keys_of(consortium).live.old(2**62, b"")) == 2
            start(consortium)
        assert rows_with(postgresql_stores.all, [name_of(1)]) == []
        assert rows_held(consortium, 2) == 2
        assert set(keys_of(consortium).live.old(2**62, b"")) == left
