"""The journal's promises in one process, on SQLite and PostgreSQL."""

import hashlib
import json
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from concordat_gateway.ledger.journal import (
    MAX_GROUP_ENTRIES,
    Committed,
    Entry,
    Item,
    Journal,
    Transaction,
)
from concordat_gateway.store.control_tables import budget, ledger_entry, ledger_head
from concordat_privacy.log.checkpoint import SigningKey, open_note
from concordat_privacy.log.leaf import LeafError
from concordat_rpc.errors import Kind, Refusal
from concordat_store.database import Database
from concordat_store.engines import StoreError
from tests.ledgers import appending, check_ledger, in_one_group, leaves_of, writer_held
from tests.stores import ManualClock, StoreUrls, open_journal

ACTOR = "spiffe://concordat.test/member/alpha"


def set_budget(scope: str, spent: int) -> Callable[[Transaction], None]:
    def change(transaction: Transaction) -> None:
        values = {"scope": scope, "cap_nano_rho": 100, "spent_nano_rho": spent}
        transaction.connection.execute(sa.insert(budget).values(values))

    return change


def scopes(journal: Journal) -> list[str]:
    with journal.read() as connection:
        return list(
            connection.execute(sa.select(budget.c.scope).order_by(budget.c.scope)).scalars()
        )


def test_entry_carries_type_time_actor_and_fields(journal: Journal) -> None:
    def change(transaction: Transaction) -> Entry:
        return transaction.append("consent.granted", ACTOR, {"purposes": [1, 2]})

    entry = journal.write(change).value

    assert entry.index == 0
    # 1,795,000,000 s after the epoch; RFC 8785: members in order, no white space.
    assert entry.leaf == (
        b'{"actor":"spiffe://concordat.test/member/alpha","purposes":[1,2],'
        b'"time":"2026-11-18T11:06:40.000000Z","type":"consent.granted","v":1}'
    )


def test_acknowledged_entry_is_under_its_checkpoint(
    journal: Journal, ledger_key: SigningKey
) -> None:
    for number in range(5):
        committed = journal.write(appending(number))
        checkpoint = open_note(committed.checkpoint, [ledger_key.verifier])
        assert checkpoint.size == committed.value.index + 1
    assert committed.value == Entry(4, leaves_of(journal)[4])
    assert committed.checkpoint == journal.checkpoint()


def test_every_size_has_proofs(journal: Journal, ledger_key: SigningKey) -> None:
    for number in range(20):
        journal.write(appending(number))
        assert len(check_ledger(journal, ledger_key.verifier)) == number + 1


def test_items_are_committed_to_and_kept(journal: Journal) -> None:
    items = [Item({"decision": "permit"}), Item({"decision": "refuse"})]

    entry = journal.write(
        lambda transaction: transaction.append("test.decided", ACTOR, {}, items)
    ).value

    contents = [b'{"decision":"permit"}', b'{"decision":"refuse"}']
    hashes = [hashlib.sha256(b"\0" + content).digest() for content in contents]
    fields = json.loads(entry.leaf)
    assert fields["items"] == 2
    assert fields["items_root"] == hashlib.sha256(b"\1" + b"".join(hashes)).hexdigest()
    assert list(journal.entries(0, 1)) == [(0, entry.leaf, tuple(contents))]


def test_change_and_entry_commit_together(journal: Journal) -> None:
    def change(transaction: Transaction) -> None:
        set_budget("pool", 7)(transaction)
        transaction.append("aggregate.charged", ACTOR, {})

    journal.write(change)

    assert scopes(journal) == ["pool"]
    assert journal.size == 1


@pytest.mark.parametrize("neighbours", [0, 2])
def test_failing_change_leaves_nothing_and_disturbs_nobody(
    journal: Journal, ledger_key: SigningKey, neighbours: int
) -> None:
    def fails(transaction: Transaction) -> None:
        set_budget("failed", 1)(transaction)
        transaction.append("aggregate.charged", ACTOR, {}, [Item({"a": 1})], changes_pool=True)
        raise KeyError("mine")

    def succeeds(number: int) -> Callable[[Transaction], Entry]:
        def change(transaction: Transaction) -> Entry:
            set_budget(f"kept-{number}", number)(transaction)
            return appending(number)(transaction)

        return change

    before = [succeeds(number) for number in range(neighbours)]
    after = [succeeds(number + neighbours) for number in range(neighbours)]
    outcomes = in_one_group(journal, [*before, fails, *after])

    failed = outcomes.pop(neighbours)
    with pytest.raises(KeyError, match="mine"):
        failed.result()
    assert [outcome.result().value.index for outcome in outcomes] == list(range(2 * neighbours))
    assert len({outcome.result().checkpoint for outcome in outcomes}) <= 1
    assert scopes(journal) == [f"kept-{number}" for number in range(2 * neighbours)]
    assert journal.pool_version == 0
    check_ledger(journal, ledger_key.verifier)
    journal.write(appending(99))


def test_broken_statement_fails_alone(journal: Journal) -> None:
    def swallows(transaction: Transaction) -> None:
        set_budget("twice", 1)(transaction)
        with pytest.raises(sa.exc.IntegrityError):
            set_budget("twice", 1)(transaction)

    def raises(transaction: Transaction) -> None:
        set_budget("raised", 1)(transaction)
        set_budget("raised", 1)(transaction)

    first, raising, swallowing, last = in_one_group(
        journal, [appending(0), raises, swallows, appending(1)]
    )

    assert first.result().value.index == 0
    with pytest.raises(sa.exc.IntegrityError):
        raising.result()
    # PostgreSQL gives up a transaction after an error; that must stay within the change as well.
    swallowing.exception()
    assert last.result().value.index == 1
    assert journal.size == 2


def test_malformed_entry_is_refused(journal: Journal) -> None:
    with pytest.raises(LeafError):
        journal.write(lambda tx: tx.append("consent.granted", ACTOR, {"ratio": 0.5}))  # type: ignore[dict-item]  # the point of the test
    with pytest.raises(ValueError, match="actor"):
        journal.write(lambda tx: tx.append("consent.granted", ACTOR, {"actor": "somebody else"}))
    assert journal.size == 0


def test_time_never_runs_backwards(journal: Journal, clock: ManualClock) -> None:
    times = []
    for seconds in (0, 5, -3600, 1, 3600):
        clock.advance(seconds)
        times.append(json.loads(journal.write(appending(0)).value.leaf)["time"])
    assert times == [
        "2026-11-18T11:06:40.000000Z",
        "2026-11-18T11:06:45.000000Z",
        "2026-11-18T11:06:45.000000Z",
        "2026-11-18T11:06:45.000000Z",
        "2026-11-18T11:06:46.000000Z",
    ]


def test_time_survives_a_restart_with_a_slow_clock(
    store_urls: StoreUrls, clock: ManualClock
) -> None:
    with open_journal(store_urls, clock) as journal:
        first = json.loads(journal.write(appending(0)).value.leaf)["time"]
    clock.advance(-60)
    with open_journal(store_urls, clock) as journal:
        assert json.loads(journal.write(appending(1)).value.leaf)["time"] == first


def test_pool_version_counts_changes_to_the_pool(journal: Journal) -> None:
    def contributes(transaction: Transaction) -> tuple[int, int]:
        before = transaction.pool_version
        transaction.append("contribution.batch", ACTOR, {}, changes_pool=True)
        return before, transaction.pool_version

    assert journal.write(contributes).value == (0, 1)
    journal.write(appending(0))
    assert journal.write(contributes).value == (1, 2)
    assert journal.pool_version == 2


def test_racing_threads_leave_no_gap(journal: Journal, ledger_key: SigningKey) -> None:
    def work(worker: int) -> list[Committed[Entry]]:
        return [journal.write(appending(worker * 1000 + number)) for number in range(20)]

    with ThreadPoolExecutor(12) as pool:
        committed = [done for result in pool.map(work, range(12)) for done in result]

    leaves = check_ledger(journal, ledger_key.verifier)
    assert sorted(done.value.index for done in committed) == list(range(240))
    assert all(leaves[done.value.index] == done.value.leaf for done in committed)
    for done in committed:
        assert open_note(done.checkpoint, [ledger_key.verifier]).size > done.value.index


def test_group_of_too_many_entries_is_split(journal: Journal, ledger_key: SigningKey) -> None:
    def many(transaction: Transaction) -> int:
        count = MAX_GROUP_ENTRIES // 2 + 1
        for number in range(count):
            appending(number)(transaction)
        return count

    outcomes = in_one_group(journal, [many, many, many, appending(0)])

    assert sum(outcome.result().value for outcome in outcomes[:3]) + 1 == journal.size
    assert outcomes[0].result().checkpoint == outcomes[1].result().checkpoint
    assert outcomes[1].result().checkpoint != outcomes[2].result().checkpoint
    check_ledger(journal, ledger_key.verifier)


def test_entries_are_read_over_page_borders(journal: Journal) -> None:
    def many(transaction: Transaction) -> None:
        for number in range(2_500):
            appending(number)(transaction)

    journal.write(many)

    assert [index for index, _, _ in journal.entries(990, 2_010)] == list(range(990, 2_010))
    assert [index for index, _, _ in journal.entries(2_400, 9_000)] == list(range(2_400, 2_500))
    assert list(journal.entries(2_500, 9_000)) == []


def test_entries_with_many_items_are_read_a_few_at_a_time(journal: Journal) -> None:
    items = [Item({"number": number, "text": "x" * 50}) for number in range(1_000)]
    numbers = [0, 1, 1_000, 999, 12_000, 0, 1, *[1_000] * 40]
    contents = [item for _ in range(12) for item in items]

    def many(transaction: Transaction) -> None:
        for number in numbers:
            transaction.append("test.decided", ACTOR, {}, contents[:number])

    journal.write(many)

    def read(start: int, stop: int) -> tuple[list[tuple[int, int]], int]:
        """Indexes with the numbers of items, and the most memory that was in use meanwhile."""
        tracemalloc.start()
        found = [(index, len(contents)) for index, _, contents in journal.entries(start, stop)]
        _, most_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found, most_bytes

    largest, bytes_of_largest = read(4, 5)
    everything, bytes_of_everything = read(0, len(numbers))

    assert largest == [(4, 12_000)]
    assert everything == list(enumerate(numbers))
    # A page and the one before it; all 54,000 items at once would take more than four times.
    assert bytes_of_everything < 2.5 * bytes_of_largest


def test_change_that_is_too_late_never_runs(journal: Journal) -> None:
    with writer_held(journal), pytest.raises(Refusal) as refused:
        journal.write(appending(0), timeout_seconds=0.01)
    assert refused.value.kind is Kind.DEADLINE_EXCEEDED
    assert journal.write(appending(1)).value.index == 0


def test_caller_does_not_wait_for_another_process_beyond_its_deadline(
    journal: Journal, store_urls: StoreUrls
) -> None:
    other = Database.open(store_urls.control_url)
    with other.write() as connection:
        connection.execute(sa.select(ledger_head.c.size).with_for_update())
        with pytest.raises(Refusal) as refused:
            journal.write(appending(0), timeout_seconds=0.05)
    other.close()
    assert refused.value.kind is Kind.DEADLINE_EXCEEDED
    # On PostgreSQL it had started: the lock is waited for inside the transaction.
    first = journal.write(appending(1)).value
    assert first.index in (0, 1)
    assert [json.loads(leaf)["number"] for leaf in leaves_of(journal)] in ([1], [0, 1])


def test_submitted_changes_are_written_together_and_waited_for_later(
    journal: Journal, ledger_key: SigningKey
) -> None:
    def fails(transaction: Transaction) -> None:
        appending(99)(transaction)
        raise KeyError("mine")

    with writer_held(journal):
        submitted = [journal.submit(appending(number)) for number in range(10)]
        failing = journal.submit(fails)
        late = journal.submit(appending(98))
        with pytest.raises(Refusal) as refused:
            late.result(timeout_seconds=0.01)
        assert refused.value.kind is Kind.DEADLINE_EXCEEDED

    committed = [pending.result() for pending in reversed(submitted)]
    assert [done.value.index for done in committed] == list(range(9, -1, -1))
    assert len({done.checkpoint for done in committed}) == 1
    assert submitted[0].result() == committed[-1]
    with pytest.raises(KeyError, match="mine"):
        failing.result()
    # What was given up before it started never runs.
    assert len(check_ledger(journal, ledger_key.verifier)) == 10


def test_interrupted_change_leaves_nothing_and_the_journal_goes_on(
    journal: Journal, ledger_key: SigningKey
) -> None:
    def interrupted(transaction: Transaction) -> None:
        set_budget("interrupted", 1)(transaction)
        appending(0)(transaction)
        raise KeyboardInterrupt

    # The caller's own interrupt where it writes itself, as it does on SQLite.
    with pytest.raises((KeyboardInterrupt, Refusal)):
        journal.write(interrupted)
    assert journal.write(appending(1)).value.index == 0
    assert scopes(journal) == []
    check_ledger(journal, ledger_key.verifier)


def test_close_finishes_what_was_queued(journal: Journal) -> None:
    outcomes = in_one_group(journal, [appending(number) for number in range(10)])
    journal.close()
    journal.close()
    assert sorted(outcome.result().value.index for outcome in outcomes) == list(range(10))
    with pytest.raises(Refusal) as refused:
        journal.write(appending(0))
    assert (refused.value.kind, refused.value.reason) == (Kind.UNAVAILABLE, "SHUTTING_DOWN")
    assert journal.size == 10


def test_close_finishes_what_did_not_fit_into_one_group(journal: Journal) -> None:
    closing: list[threading.Thread] = []

    def closes(_: Transaction) -> None:
        closing.append(threading.Thread(target=journal.close))
        closing[0].start()

    def many(transaction: Transaction) -> None:
        for number in range(MAX_GROUP_ENTRIES):
            appending(number)(transaction)

    outcomes = in_one_group(journal, [closes, many, many, many])
    closing[0].join()

    assert all(outcome.done() and outcome.exception() is None for outcome in outcomes)
    assert journal.size == 3 * MAX_GROUP_ENTRIES


def test_change_cannot_write_through_its_own_journal(journal: Journal) -> None:
    with pytest.raises(RuntimeError, match="cannot write"):
        journal.write(lambda _: journal.write(appending(0)))


@pytest.mark.parametrize(
    ("index", "size"), [(0, 4), (3, 3), (-1, 3)], ids=["size", "index", "negative"]
)
def test_inclusion_beyond_the_ledger_is_refused(journal: Journal, index: int, size: int) -> None:
    for number in range(3):
        journal.write(appending(number))
    with pytest.raises(Refusal) as refused:
        journal.inclusion_proof(index, size)
    assert refused.value.kind is Kind.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (1, 4, Kind.OUT_OF_RANGE),
        (0, 3, Kind.INVALID_ARGUMENT),
        (3, 2, Kind.INVALID_ARGUMENT),
    ],
)
def test_consistency_that_proves_nothing_is_refused(
    journal: Journal, old: int, new: int, kind: Kind
) -> None:
    for number in range(3):
        journal.write(appending(number))
    with pytest.raises(Refusal) as refused:
        journal.consistency_proof(old, new)
    assert refused.value.kind is kind


def test_ledger_of_another_key_is_refused(
    store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey
) -> None:
    with open_journal(store_urls, clock, ledger_key) as journal:
        journal.write(appending(0))
    with (
        pytest.raises(StoreError, match="not signed with this gateway's key"),
        open_journal(store_urls, clock, SigningKey.generate(ledger_key.name)),
    ):
        pass


def test_damaged_head_is_refused(
    store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey
) -> None:
    with open_journal(store_urls, clock, ledger_key) as journal:
        older = journal.write(appending(0)).checkpoint
        journal.write(appending(1))
    database = Database.open(store_urls.control_url)
    with database.write() as connection:
        connection.execute(sa.update(ledger_head).values(checkpoint=older))
    database.close()
    with (
        pytest.raises(StoreError, match="damaged"),
        open_journal(store_urls, clock, ledger_key),
    ):
        pass


def _delete_entries(store_urls: StoreUrls, *indexes: int) -> None:
    """As an operator might who has the database."""
    database = Database.open(store_urls.control_url)
    with database.write() as connection:
        connection.execute(sa.delete(ledger_entry).where(ledger_entry.c.entry_index.in_(indexes)))
    database.close()


@pytest.mark.parametrize("missing", [0, 3, 999, 1_000, 1_004])
def test_reading_over_a_hole_names_the_entry_that_is_missing(
    journal: Journal, store_urls: StoreUrls, missing: int
) -> None:
    journal.write(lambda transaction: [appending(n)(transaction) for n in range(1_005)])
    _delete_entries(store_urls, missing)

    read = []
    with pytest.raises(Refusal, match=rf"lacks entry {missing}\b") as refused:
        read.extend(index for index, _, _ in journal.entries(0, 5_000))
    assert (refused.value.kind, refused.value.reason) == (Kind.INTERNAL, "LEDGER_DAMAGED")


def test_an_entry_that_is_missing_at_the_end_is_no_end(
    journal: Journal, store_urls: StoreUrls
) -> None:
    for number in range(6):
        journal.write(appending(number))
    _delete_entries(store_urls, 5)

    assert len(list(journal.entries(0, 5))) == 5
    with pytest.raises(Refusal, match=r"lacks entry 5\b"):
        list(journal.entries(2, 9))


def test_a_proof_that_needs_a_missing_entry_names_it(
    journal: Journal, store_urls: StoreUrls
) -> None:
    for number in range(6):
        journal.write(appending(number))
    _delete_entries(store_urls, 3)

    # Entry 3 completes the nodes over 0..3; entry 2's proof wants entry 3's own hash.
    for index in (2, 4):
        with pytest.raises(Refusal, match=r"lacks entry 3\b") as refused:
            journal.inclusion_proof(index, 6)
        assert refused.value.reason == "LEDGER_DAMAGED"
    with pytest.raises(Refusal, match=r"lacks entry 3\b"):
        journal.checkpoint_of(5)


@pytest.mark.parametrize(
    ("deleted", "told"),
    [
        ([6], "entry 6 is missing"),
        ([5, 6], "entries 5 to 6 are missing"),
        (range(7), "entries 0 to 6 are missing"),
        # 7 entries hang on the nodes over 0..3, over 4..5 and on entry 6.
        ([3], "entry 3, or what is stored with it, is missing"),
        ([5, 3], "entry 3, or what is stored with it, is missing; entry 5, or"),
    ],
)
def test_a_gateway_does_not_start_on_a_tree_whose_end_is_missing(
    store_urls: StoreUrls,
    clock: ManualClock,
    ledger_key: SigningKey,
    deleted: list[int],
    told: str,
) -> None:
    with open_journal(store_urls, clock, ledger_key) as journal:
        for number in range(7):
            journal.write(appending(number))
    _delete_entries(store_urls, *deleted)

    with (
        pytest.raises(StoreError, match=f"entries are damaged: {told}"),
        open_journal(store_urls, clock, ledger_key),
    ):
        pass


def test_a_gateway_does_not_start_on_entries_that_its_tree_has_not(
    store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey
) -> None:
    with open_journal(store_urls, clock, ledger_key) as journal:
        journal.write(appending(0))
    database = Database.open(store_urls.control_url)
    with database.write() as connection:
        values = {"entry_index": 1, "hashes": bytes(32), "leaf": b"{}"}
        connection.execute(sa.insert(ledger_entry).values(values))
    database.close()

    with (
        pytest.raises(StoreError, match="entry 1 is stored in a tree of 1"),
        open_journal(store_urls, clock, ledger_key),
    ):
        pass


def test_a_gateway_does_not_start_on_a_changed_edge(
    store_urls: StoreUrls, clock: ManualClock, ledger_key: SigningKey
) -> None:
    with open_journal(store_urls, clock, ledger_key) as journal:
        for number in range(3):
            journal.write(appending(number))
    database = Database.open(store_urls.control_url)
    with database.write() as connection:
        changed = sa.update(ledger_entry).where(ledger_entry.c.entry_index == 1)
        connection.execute(changed.values(hashes=bytes(64)))
    database.close()

    with (
        pytest.raises(StoreError, match="what is stored with entry 1 was changed"),
        open_journal(store_urls, clock, ledger_key),
    ):
        pass
