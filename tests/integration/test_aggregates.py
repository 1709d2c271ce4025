"""Questions about the pool: charged before data is read, never over a cap, answered once."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.aggregates import Asked, ask, snapshot_of
from concordat_gateway.rules.budgets import POOL, Caps, Scope, accounts
from concordat_gateway.rules.scopes import Purpose, mask_of
from concordat_gateway.store.control_tables import answer, batch, budget, consent, member
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import (
    AccountStatus,
    DataCategory,
    ProductClass,
    UtilisationBand,
)
from concordat_privacy.catalogue.calendar import month_of_day
from concordat_privacy.catalogue.packing import pack_row
from concordat_privacy.catalogue.rows import AccountSnapshot
from concordat_privacy.dp.query import Dimension, Question, parse
from concordat_privacy.dp.rho import NanoRho
from concordat_privacy.jurisdictions import policies
from concordat_rpc.errors import Kind, Refusal
from concordat_rpc.peer import Peer, Role
from concordat_store.database import Database
from tests.stores import ManualClock, StoreUrls, open_journal, statements

DAY_MICROS = 86_400 * 1_000_000
EVERYBODY = parse([], 0, 3_000_000, 1)
"""Everybody with an account, at epsilon 3: rho 4.5."""
CHARGE = NanoRho(4_500_000_000)
NOISE = 40
"""More than this comes up once in 10^26 draws at epsilon 3, also with two cells a person."""
AMPLE = Caps(pool=NanoRho(10**12), member=NanoRho(10**12))
RESTS_ON = {
    "purposes": ["contribution", "aggregate_statistics"],
    "categories": ["credit_accounts"],
}
COUNTABLE = (Purpose.CONTRIBUTION, Purpose.AGGREGATE_STATISTICS)


def peer(name: str) -> Peer:
    return Peer(Role.MEMBER, name, f"spiffe://concordat.test/member/{name}")


ALPHA, BETA = peer("alpha"), peer("beta")


def subject(number: int) -> SubjectKey:
    return SubjectKey(hashlib.sha256(number.to_bytes(4, "big")).digest())


def account(ref: int, now: int, **fields: object) -> AccountSnapshot:
    month = month_of_day(now // DAY_MICROS)
    row = AccountSnapshot(
        account_ref=ref.to_bytes(16, "big"),
        as_of_month=month,
        status=AccountStatus.OPEN,
        product=ProductClass.REVOLVING,
        opened_quarter=month // 3 - 4,
        utilisation=UtilisationBand.FROM_30_TO_50,
    )
    return replace(row, **fields)  # type: ignore[arg-type]  # the fields of a dataclass, by name


class Pool:
    """Two members and whatever a test puts into the pool."""

    def __init__(self, journal: Journal, signals: SignalStore, clock: ManualClock) -> None:
        self.journal = journal
        self.signals = signals
        self.clock = clock
        self._consents = 0
        self._batches = 0
        journal.write(self._join)

    def _join(self, transaction: Transaction) -> None:
        rows = [
            {"member_id": m, "member_no": n, "display_name": m, "state": 2, "invited_at": 0}
            for n, m in enumerate(("alpha", "beta"), start=1)
        ]
        transaction.connection.execute(sa.insert(member), rows)

    def consent(
        self,
        numbers: Sequence[int],
        *,
        recipient: str = "alpha",
        purposes: Sequence[Purpose] = COUNTABLE,
        categories: Sequence[DataCategory] = (DataCategory.CREDIT_ACCOUNTS,),
        days: float = 365,
    ) -> None:
        now = self.clock()
        rows = []
        for number in numbers:
            self._consents += 1
            rows.append(
                {
                    "consent_id": self._consents.to_bytes(16, "big"),
                    "subject": subject(number),
                    "recipient": recipient,
                    "purposes": mask_of(purposes),
                    "categories": mask_of(categories),
                    "starts_at": now,
                    "expires_at": now + round(days * DAY_MICROS),
                    "notice_version": "1",
                    "evidence_sha256": bytes(32),
                    "granted_at": now,
                    "activated_at": now,
                    "grant_entry": 0,
                    "commitment": bytes(32),
                }
            )
        self._change(lambda t: t.connection.execute(sa.insert(consent), rows))

    def withdraw(self, number: int) -> None:
        statement = (
            sa.update(consent)
            .where(consent.c.subject == subject(number))
            .values(withdrawn_at=self.clock())
        )
        self._change(lambda t: t.connection.execute(statement))

    def contribute(
        self,
        rows: Sequence[tuple[int, AccountSnapshot]],
        member_no: int = 1,
        published: bool = True,
    ) -> None:
        self._batches += 1
        batch_id = self._batches.to_bytes(16, "big")
        staged = [
            StagedRow(row_no, subject(number), pack_row(row))
            for row_no, (number, row) in enumerate(rows)
        ]
        accepted = {
            "batch_id": batch_id,
            "member_id": ("alpha", "beta")[member_no - 1],
            "request_id": batch_id,
            "rows_accepted": len(rows),
            "rows_refused": 0,
            "refused_rows": b"",
            "root": bytes(32),
            "entry": 0,
            "accepted_at": self.clock(),
        }
        self.signals.stage(batch_id, staged)
        self._change(lambda t: t.connection.execute(sa.insert(batch), accepted))
        if published:
            self.signals.publish(batch_id, member_no, [])

    def _change(self, change: Callable[[Transaction], object]) -> None:
        def recorded(transaction: Transaction) -> None:
            change(transaction)
            transaction.append("pool.changed", "test", {}, changes_pool=True)

        self.journal.write(recorded)

    def ask(self, question: Question = EVERYBODY, who: Peer = ALPHA, caps: Caps = AMPLE) -> Asked:
        return ask(self.journal, self.signals, caps, who, question, bytes(16), 30).value

    def spent(self, scope: str) -> int:
        with self.journal.read() as connection:
            return accounts(connection, [Scope(scope)], AMPLE)[0].spent

    def entries(self) -> list[tuple[str, dict[str, object]]]:
        leaves = [json.loads(leaf) for _, leaf, _ in self.journal.entries(0, self.journal.size)]
        return [
            (leaf["type"], leaf) for leaf in leaves if str(leaf["type"]).startswith("aggregate.")
        ]


@pytest.fixture
def pool(journal: Journal, signal_store: SignalStore, clock: ManualClock) -> Pool:
    return Pool(journal, signal_store, clock)


@pytest.fixture
def people(pool: Pool, clock: ManualClock) -> Pool:
    """400 persons with one countable account each."""
    pool.consent(range(400))
    pool.contribute([(n, account(n, clock())) for n in range(400)])
    return pool


def test_counts_persons_within_its_error(people: Pool) -> None:
    asked = people.ask()
    assert len(asked.answer.counts) == 1
    assert abs(asked.answer.counts[0] - 400) <= NOISE
    assert asked.charged == CHARGE
    assert asked.answer.mechanism == "discrete Laplace, scale 0.333333"


def test_a_person_counts_once_however_many_accounts_and_members(
    people: Pool, clock: ManualClock
) -> None:
    people.consent(range(400), recipient="beta")
    people.contribute([(n, account(9_000 + n, clock())) for n in range(400)], member_no=2)
    people.contribute([(n, account(5_000 + n, clock())) for n in range(400)])
    assert abs(people.ask().answer.counts[0] - 400) <= NOISE


def test_groups_and_conditions_count_the_cells_asked_for(people: Pool, clock: ManualClock) -> None:
    rows = [
        (
            n,
            account(
                20_000 + n,
                clock(),
                product=ProductClass.MORTGAGE,
                utilisation=UtilisationBand.OVER_100,
            ),
        )
        for n in range(200)
    ]
    people.contribute(rows)
    by_product = people.ask(parse([], Dimension.PRODUCT, 3_000_000, 2)).answer.counts
    expected = [0, 0, 400, 0, 0, 0, 200, 0]
    assert len(by_product) == 8
    assert all(abs(c - e) <= NOISE for c, e in zip(by_product, expected, strict=True))

    over = parse([(Dimension.UTILISATION, [8])], Dimension.PRODUCT, 3_000_000, 1)
    counts = people.ask(over).answer.counts
    assert all(abs(c - e) <= NOISE for c, e in zip(counts, [0, 0, 0, 0, 0, 0, 200, 0], strict=True))


def test_unknown_bands_lie_in_no_cell(people: Pool, clock: ManualClock) -> None:
    counts = people.ask(parse([], Dimension.BALANCE, 3_000_000, 1)).answer.counts
    assert len(counts) == 9
    assert all(abs(count) <= NOISE for count in counts)


@pytest.mark.parametrize(
    "missing",
    [
        {"purposes": (Purpose.CONTRIBUTION,)},
        {"purposes": (Purpose.AGGREGATE_STATISTICS,)},
        {"categories": (DataCategory.INQUIRIES,)},
        {"recipient": "beta"},
        {"days": 0.5},
    ],
    ids=["not to be counted", "not to be contributed", "category", "other member", "expired"],
)
def test_persons_without_a_live_consent_to_be_counted_are_not(
    pool: Pool, clock: ManualClock, missing: dict[str, object]
) -> None:
    pool.consent(range(400), **missing)  # type: ignore[arg-type]  # cases differ in one argument
    pool.contribute([(n, account(n, clock())) for n in range(400)])
    clock.advance(86_400)
    assert abs(pool.ask().answer.counts[0]) <= NOISE


def test_two_consents_can_permit_together(pool: Pool, clock: ManualClock) -> None:
    for purpose in COUNTABLE:
        pool.consent(range(400), purposes=[purpose])
    pool.contribute([(n, account(n, clock())) for n in range(400)])
    assert abs(pool.ask().answer.counts[0] - 400) <= NOISE


def test_rows_past_retention_are_not_counted(people: Pool, clock: ManualClock) -> None:
    people.consent(range(400), days=900)
    clock.advance(25 * 31 * 86_400)
    assert abs(people.ask().answer.counts[0]) <= NOISE


@pytest.mark.parametrize(("place", "counted"), [("US", 400), ("CN", 800)])
def test_an_ending_whose_years_are_over_is_not_counted_though_nothing_has_deleted_it(
    pool: Pool, clock: ManualClock, place: str, counted: int
) -> None:
    """180 days and seven years from the first delinquency; in China from the newest report."""
    month = month_of_day(clock() // DAY_MICROS)
    pool.consent(range(800))
    pool.contribute(
        [
            (
                n,
                account(
                    n,
                    clock(),
                    status=AccountStatus.CHARGED_OFF,
                    opened_quarter=month // 3 - 40,
                    first_delinquency_month=month - (91 if n < 400 else 90),
                ),
            )
            for n in range(800)
        ]
    )
    retention = policies()[place]
    asked = ask(pool.journal, pool.signals, AMPLE, ALPHA, EVERYBODY, bytes(16), 30, retention)
    assert abs(asked.value.answer.counts[0] - counted) <= NOISE


def test_a_batch_that_is_accepted_and_not_yet_published_is_counted(
    people: Pool, clock: ManualClock
) -> None:
    people.consent(range(400, 800))
    people.contribute([(n, account(n, clock())) for n in range(400, 800)], published=False)
    people.signals.stage(b"\xaa" * 16, [StagedRow(0, subject(1), b"accepted by nobody")])
    assert abs(people.ask().answer.counts[0] - 800) <= NOISE
    assert people.signals.staged() == [b"\xaa" * 16]


def test_the_same_question_gives_the_same_answer_free_to_everybody(people: Pool) -> None:
    first = people.ask()
    again = people.ask(who=BETA)
    assert again.answer == first.answer
    assert again.snapshot == first.snapshot
    assert again.charged == 0
    assert people.spent(POOL) == CHARGE
    assert people.spent("member:alpha") == CHARGE
    assert people.spent("member:beta") == 0
    (charged_type, charged), (repeated_type, repeated) = people.entries()
    assert (charged_type, repeated_type) == ("aggregate.charged", "aggregate.repeated")
    assert charged["question"] == repeated["question"] == EVERYBODY.id.hex()
    assert charged["query"] == EVERYBODY.content
    assert charged["nano_rho"] == CHARGE
    assert charged["scopes"] == ["pool", "member:alpha"]
    assert charged["rests_on"] == RESTS_ON
    assert repeated["actor"] == BETA.spiffe_id
    assert repeated["charged"] == first.entry.index
    assert "rests_on" not in repeated


def test_the_order_in_which_a_question_is_put_does_not_matter(people: Pool) -> None:
    one = parse([(Dimension.PRODUCT, [3, 2]), (Dimension.STATUS, [1])], 0, 1_000_000, 1)
    other = parse([(Dimension.STATUS, [1]), (Dimension.PRODUCT, [2, 3])], 0, 1_000_000, 1)
    first = people.ask(one)
    assert people.ask(other).answer == first.answer
    assert people.spent(POOL) == first.charged


def test_a_changed_pool_and_a_new_day_are_new_snapshots(people: Pool, clock: ManualClock) -> None:
    first = people.ask()
    people.withdraw(7)
    second = people.ask()
    clock.advance(86_400)
    third = people.ask()
    assert first.snapshot < second.snapshot < third.snapshot
    assert [first.charged, second.charged, third.charged] == [CHARGE] * 3
    assert people.spent(POOL) == 3 * CHARGE


def test_snapshots_fit_the_ledger_until_the_year_2328() -> None:
    assert snapshot_of(0, 0) == 0
    assert snapshot_of(5, 3 * DAY_MICROS + 1) == 3 * 2**36 + 5
    assert snapshot_of(2**36 - 1, 131_071 * DAY_MICROS) < 2**53


@pytest.mark.parametrize(
    ("caps", "scope"),
    [
        (Caps(pool=NanoRho(CHARGE - 1), member=NanoRho(10**12)), "pool"),
        (Caps(pool=NanoRho(10**12), member=NanoRho(CHARGE - 1)), "member:alpha"),
    ],
)
def test_an_exhausted_scope_refuses_spends_nothing_and_is_recorded(
    people: Pool, caps: Caps, scope: str
) -> None:
    with pytest.raises(Refusal) as refused:
        people.ask(caps=caps)
    assert refused.value.kind is Kind.RESOURCE_EXHAUSTED
    assert refused.value.reason == "BUDGET_EXHAUSTED"
    assert refused.value.quota_subject == scope
    assert people.spent(POOL) == people.spent("member:alpha") == 0
    ((kind, entry),) = people.entries()
    assert kind == "aggregate.refused"
    assert entry["scope"] == scope


def test_a_budget_can_be_spent_to_the_last_billionth(people: Pool) -> None:
    people.ask(caps=Caps(pool=CHARGE, member=CHARGE))
    with people.journal.read() as connection:
        spent, cap = connection.execute(
            sa.select(budget.c.spent_nano_rho, budget.c.cap_nano_rho).where(budget.c.scope == POOL)
        ).one()
    assert spent == cap == CHARGE


def test_a_stranger_with_a_certificate_is_refused(people: Pool) -> None:
    with pytest.raises(Refusal) as refused:
        people.ask(who=peer("never-joined"))
    assert refused.value.kind is Kind.PERMISSION_DENIED
    assert people.entries() == []


def test_a_charge_outlives_a_crash_and_is_not_made_twice(people: Pool) -> None:
    first = people.ask()
    forget = sa.update(answer).values(reply=None)
    people.journal.write(lambda t: t.connection.execute(forget))
    again = people.ask(who=BETA)
    assert again.charged == 0
    assert abs(again.answer.counts[0] - 400) <= NOISE
    assert people.spent(POOL) == first.charged
    # The answer that was computed only now rests on the consents of now.
    _, (_, repeated) = people.entries()
    assert (repeated["charged"], repeated["rests_on"]) == (first.entry.index, RESTS_ON)
    assert people.ask().answer == again.answer


def test_whoever_withdraws_between_the_charge_and_the_reading_is_not_counted(
    people: Pool, store_urls: StoreUrls, clock: ManualClock
) -> None:
    class Withdrawing(SignalStore):
        def relations_by_bucket(
            self, columns: Sequence[str], epoch: int
        ) -> Iterator[tuple[int, Sequence[Any]]]:
            for number in range(300):
                people.withdraw(number)
            return super().relations_by_bucket(columns, epoch)

    with closing(Database.open(store_urls.signals_url)) as database:
        people.signals = Withdrawing(database, clock)
        asked = people.ask()
    assert asked.charged == CHARGE
    assert abs(asked.answer.counts[0] - 100) <= NOISE


def test_nothing_is_read_before_the_charge_is_durable(
    people: Pool, store_urls: StoreUrls, clock: ManualClock
) -> None:
    spent_when_read: list[int] = []

    class Watched(SignalStore):
        def relations_by_bucket(self, columns, epoch):  # type: ignore[no-untyped-def]
            spent_when_read.append(people.spent(POOL))
            return super().relations_by_bucket(columns, epoch)

    with closing(Database.open(store_urls.signals_url)) as database:
        watched = Watched(database, clock)
        ask(people.journal, watched, AMPLE, ALPHA, EVERYBODY, bytes(16), 30)
        nothing, another = Caps(NanoRho(0), NanoRho(0)), parse([], 1, 3_000_000, 1)
        with pytest.raises(Refusal):
            ask(people.journal, watched, nothing, BETA, another, bytes(16), 30)
    assert spent_when_read == [CHARGE]


def test_what_is_read_does_not_depend_on_the_question(people: Pool) -> None:
    """A store that looked for the cohort would tell by its speed whether anybody is in it."""
    nobody = parse([(Dimension.UTILISATION, [8])], 0, 1_000, 1)
    everybody = parse([(Dimension.STATUS, [1])], 0, 1_000, 1)
    runs = []
    for question in (everybody, nobody):
        with statements() as seen:
            people.ask(question)
        runs.append(seen)

    assert runs[0] == runs[1]
    assert sum("FROM relation" in statement for statement in runs[0]) == 256
    assert sum("FROM consent" in statement for statement in runs[0]) == 256


@pytest.fixture
def second_journal(store_urls: StoreUrls, clock: ManualClock) -> Iterator[Journal]:
    """The journal of a second process on the same store."""
    with open_journal(store_urls, clock) as opened:
        yield opened


def test_askers_at_the_same_time_share_one_charge_and_one_answer(
    people: Pool, second_journal: Journal
) -> None:
    start = threading.Barrier(8)

    def one(number: int) -> Asked:
        journal = people.journal if number % 2 else second_journal
        start.wait()
        who = ALPHA if number < 4 else BETA
        return ask(journal, people.signals, AMPLE, who, EVERYBODY, bytes(16), 60).value

    with ThreadPoolExecutor(8) as threads:
        asked = list(threads.map(one, range(8)))
    assert len({result.answer for result in asked}) == 1
    assert sorted(result.charged for result in asked) == [0] * 7 + [CHARGE]
    assert people.spent(POOL) == CHARGE


def test_racing_askers_never_overspend(pool: Pool, second_journal: Journal) -> None:
    """24 different questions, two processes, a pool that bears 10 and members that bear 6 each."""
    questions = [parse([], 0, 2_000_000 + n, 1) for n in range(24)]
    dearest = 2_000_100_000
    caps = Caps(pool=NanoRho(10 * dearest), member=NanoRho(6 * dearest))
    start = threading.Barrier(12)

    def one(worker: int) -> list[int]:
        journal = pool.journal if worker % 2 else second_journal
        who = ALPHA if worker < 6 else BETA
        charged: list[int] = []
        start.wait()
        for question in questions[2 * worker : 2 * worker + 2]:
            try:
                asked = ask(journal, pool.signals, caps, who, question, bytes(16), 60).value
                charged.append(asked.charged)
            except Refusal as refusal:
                if refusal.reason != "BUDGET_EXHAUSTED":
                    raise
        return charged

    with ThreadPoolExecutor(12) as threads:
        charges = [charge for worker in threads.map(one, range(12)) for charge in worker]
    assert len(charges) == 10
    assert pool.spent(POOL) == sum(charges) <= caps.pool
    assert pool.spent("member:alpha") <= caps.member
    assert pool.spent("member:beta") <= caps.member
    assert pool.spent("member:alpha") + pool.spent("member:beta") == sum(charges)
    kinds = [kind for kind, _ in pool.entries()]
    assert kinds.count("aggregate.charged") == 10
    assert kinds.count("aggregate.refused") == 14
