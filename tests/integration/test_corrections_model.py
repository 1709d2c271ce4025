"""Contributions, corrections and withdrawals in any order, against a model of the pool; and kills.

The model is written from docs/uploads.md. It knows rows by (entry, item) and accounts by months.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import contributions
from concordat_gateway.rules.intake import RawRow
from concordat_gateway.rules.withdrawals import RawWithdrawal
from concordat_gateway.store.control_tables import replaced_row
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.rows import RowRef
from concordat_rpc.errors import Refusal, unavailable
from concordat_store.database import Database
from tests.contributing import history_of
from tests.furnishing import Answer, Furnisher
from tests.services import (
    EPOCH,
    PEPPER,
    Consortium,
    draft,
    grant,
    months_since_1970,
    peer,
    serving,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal

ROOT = Path(__file__).parents[2]
SUBJECTS = (1, 2)
MEMBERS = ("beta", "gamma")
NUMBERS = {"alpha": 1, "beta": 2, "gamma": 3}
KNOWN_MONTHS = 24
FITTING = 0
NEVER = RowRef(10**9, 0)

Key = tuple[str, int, int]
"""Member, subject and number of an account or application."""


class FailingStore(SignalStore):
    """A signals store that does not publish where it is told to."""

    failing = False

    def publish(
        self, batch_id: bytes, member_no: int, refused_rows: Collection[int], entry: int = 0
    ) -> None:
        if self.failing:
            self.failing = False
            raise unavailable("STORE_UNAVAILABLE", "told to", 1.0)
        super().publish(batch_id, member_no, refused_rows, entry)


@dataclass
class Account:
    """What the model holds of an account."""

    newest: int
    """Months ago."""
    balance: int
    days: dict[int, int]
    """Band by months ago; 0 and absent: unknown."""
    source: RowRef


@dataclass
class Model:
    """The pool by the rules, worked out row by row."""

    rows: dict[RowRef, tuple[bool, Key, int]] = field(default_factory=dict)
    """Accepted rows: whether of an account, of which, and how long ago."""
    replaced: set[RowRef] = field(default_factory=set)
    accounts: dict[Key, Account] = field(default_factory=dict)
    applications: dict[Key, RowRef] = field(default_factory=dict)

    def why_not(self, member: str, row: RowRef, key: Key, is_account: bool, ago: int | None) -> str:
        """Why a row cannot be replaced; empty where it can."""
        if row not in self.rows or self.rows[row][1][0] != member:
            return "NO_SUCH_ROW"
        if row in self.replaced:
            return "ALREADY_REPLACED"
        if not is_account:
            return "" if self.applications.get(key) == row else "OTHER_ROW"
        account = self.accounts.get(key)
        if account is None or (ago is not None and ago < account.newest):
            return "OTHER_ROW"
        if ago is None or ago == account.newest:
            return "" if account.source == row else "OTHER_ROW"
        return "OTHER_ROW" if account.source == row else ""

    def report(
        self,
        key: Key,
        ago: int,
        balance: int,
        given: dict[int, int],
        ref: RowRef,
        corrects: bool,
    ) -> None:
        """Take a row about an account; `given` has its own month and those it tells of."""
        held = self.accounts.get(key)
        if held is None:
            self.accounts[key] = Account(ago, balance, dict(given), ref)
            return
        newest = ago <= held.newest
        # A new report of the newest month takes its place, what it says of that month as it is.
        days = {month: band for month, band in held.days.items() if not newest or month > ago}
        for month, band in given.items():
            before = days.get(month, 0)
            if corrects:
                days[month] = band if month == ago else band or before
            elif newest and month == ago:
                days[month] = band
            else:
                days[month] = min(band, before) if band and before else band or before
        if newest:
            self.accounts[key] = Account(ago, balance, days, ref)
        else:
            held.days = days

    def profile(self, account: Account) -> bytes:
        return bytes(account.days.get(account.newest + at, 0) for at in range(KNOWN_MONTHS))


class Reported(NamedTuple):
    """A row of a batch."""

    is_account: bool
    subject: int
    number: int
    """Which of the furnisher's accounts or applications."""
    ago: int
    """Months of an account, days of an application."""
    band: int
    """Of days past due."""
    before: list[int]
    """Of the months before."""
    replaces: int | None
    """Which earlier row. FITTING: the one that stands where this one wants to. From 1: those of
    the same account or application, the newest first, then all others. -1: none that ever was."""


class Gone(NamedTuple):
    """A row of a withdrawal."""

    is_account: bool
    subject: int
    number: int
    row: int
    """As `Reported.replaces`."""


class Step(NamedTuple):
    """One call."""

    member: str
    rows: list[Reported] | list[Gone]
    fails: bool
    """Whether it is not published at first."""
    again: bool
    """Whether it is sent again."""


earlier = st.sampled_from([FITTING, FITTING, FITTING, FITTING, 1, 2, 3, 6, -1])
# Mostly one account: steps that have nothing to do with each other show little.
subjects, numbers = st.sampled_from([1, 1, 1, 2]), st.sampled_from([0, 0, 0, 1])
bands = st.integers(0, 6)
accounts = st.builds(
    Reported,
    st.just(True),
    subjects,
    numbers,
    st.sampled_from([1, 1, 1, 0, 2]),
    bands,
    st.lists(bands, max_size=3),
    st.none() | earlier,
)
applications = st.builds(
    Reported,
    st.just(False),
    subjects,
    numbers,
    st.integers(1, 20),
    st.just(0),
    st.just([]),
    st.none() | earlier,
)
gone = st.builds(Gone, st.booleans(), subjects, numbers, earlier)
reports = st.lists(accounts | accounts | applications, min_size=1, max_size=3)
leaving = st.lists(gone, min_size=1, max_size=2, unique_by=lambda one: one[:3])
rows = st.integers(0, 5).flatmap(lambda one: reports if one else leaving)
steps = st.lists(
    st.builds(
        Step, st.sampled_from(["beta", "beta", "beta", "gamma"]), rows, st.booleans(), st.booleans()
    ),
    min_size=6,
    max_size=14,
)


class Run:
    """One example: the gateway's rules and the model, step by step."""

    def __init__(
        self, stores: tuple[Journal, FailingStore], clock: ManualClock, example: int
    ) -> None:
        self.journal, self.store = stores
        self.clock = clock
        self.model = Model()
        self._prefix = example.to_bytes(8, "big")
        self._balances = itertools.cycle(range(2, 8))
        self._furnishers = {
            name: Furnisher(self.journal, self.store, clock, peer(name)) for name in MEMBERS
        }

    def step(self, step: Step) -> None:
        """Do it, and hold the answer against the model's."""
        furnisher, request = self._furnishers[step.member], os.urandom(16)
        reported = [one for one in step.rows if isinstance(one, Reported)]
        leaving = [one for one in step.rows if isinstance(one, Gone)]
        balances = [next(self._balances) for _ in reported]
        refs = [self._row_of(step.member, one, one.replaces) for one in reported]
        leaving_refs = [self._row_of(step.member, one, one.row) for one in leaving]

        def call() -> Answer:
            if leaving:
                return furnisher.withdraw(
                    [
                        RawWithdrawal(
                            token(one.subject), ref, one.is_account, self._ref(one.number)
                        )
                        for one, ref in zip(leaving, leaving_refs, strict=True)
                        if ref is not None
                    ],
                    request,
                )
            raw = [
                self._raw(furnisher, one, balance, ref)
                for one, balance, ref in zip(reported, balances, refs, strict=True)
            ]
            return furnisher.contribute(raw, request)

        size = self.journal.size
        self.store.failing = step.fails
        answer = None
        while answer is None:
            with suppress(Refusal):
                answer = call()
        self.store.failing = False
        if step.again:
            assert call() == answer
        assert self.journal.size == size + 1
        if leaving:
            expected = self._withdraw(step.member, leaving, leaving_refs)
        else:
            expected = self._report(answer.entry, step.member, reported, refs, balances)
        assert [(item, reason) for item, _, reason in answer.refused] == expected

    def check(self) -> None:
        """The pool is the model's."""
        month = months_since_1970(self.clock)
        keys = {subject_key(PEPPER, token(one)): one for one in SUBJECTS}
        names = {NUMBERS[name]: name for name in MEMBERS}
        sources = {
            (names[number], keys[subject], is_account, ref): one.source
            for number in names
            for (subject, is_account, ref), one in self.store.standing(number, keys, EPOCH).items()
        }
        found = {}
        for key, history in self.store.histories(list(keys), EPOCH).items():
            for number, one in history.relations:
                if one.account_ref.startswith(self._prefix):
                    source = sources[names[number], keys[key], True, one.account_ref]
                    found[names[number], keys[key], one.account_ref[-1]] = (
                        month - one.as_of_month,
                        one.balance,
                        one.profile,
                        source,
                    )
        assert found == {
            key: (one.newest, one.balance, self.model.profile(one), one.source)
            for key, one in self.model.accounts.items()
        }
        assert self.model.applications == {
            (name, subject, ref[-1]): source
            for (name, subject, is_account, ref), source in sources.items()
            if not is_account and ref.startswith(self._prefix)
        }

    def _ref(self, number: int) -> bytes:
        return self._prefix + number.to_bytes(8, "big")

    def _row_of(self, member: str, one: Reported | Gone, choice: int | None) -> RowRef | None:
        if choice is None:
            return None
        own = one.is_account, (member, one.subject, one.number)
        if choice == FITTING:
            return self._fitting(own[1], one)
        rows = self.model.rows
        known = sorted(rows, key=lambda ref: (rows[ref][:2] == own, ref), reverse=True)
        return known[choice - 1] if 0 < choice <= len(known) else NEVER

    def _fitting(self, key: Key, one: Reported | Gone) -> RowRef | None:
        """The row that stands where this one wants to; none where there is none to replace."""
        otherwise = None if isinstance(one, Reported) else NEVER
        if not one.is_account:
            return self.model.applications.get(key, otherwise)
        account = self.model.accounts.get(key)
        if account is None:
            return otherwise
        if isinstance(one, Gone) or one.ago == account.newest:
            return account.source
        of_month = (True, key, one.ago)
        fitting = (ref for ref, row in self.model.rows.items() if row == of_month)
        return max((ref for ref in fitting if ref not in self.model.replaced), default=None)

    def _raw(self, furnisher: Furnisher, one: Reported, balance: int, ref: RowRef | None) -> RawRow:
        if not one.is_account:
            return furnisher.application(one.subject, self._ref(one.number), one.ago, ref)
        return furnisher.account(
            one.subject,
            self._ref(one.number),
            one.ago,
            balance=balance,
            days=one.band,
            profile=bytes(one.before),
            replaces=ref,
        )

    def _report(
        self,
        entry: int,
        member: str,
        reported: list[Reported],
        refs: list[RowRef | None],
        balances: list[int],
    ) -> list[tuple[int, str]]:
        """Take a batch into the model; what it refuses."""
        refused, good = [], []
        first: set[tuple[bool, int, int, int | None]] = set()
        for item, (one, row) in enumerate(zip(reported, refs, strict=True)):
            key, ago = (member, one.subject, one.number), one.ago if one.is_account else None
            reason = ""
            if (one.is_account, one.subject, one.number, ago) in first:
                reason = "DUPLICATE"
            elif row is not None:
                reason = self.model.why_not(member, row, key, one.is_account, ago)
            first.add((one.is_account, one.subject, one.number, ago))
            if reason:
                refused.append((item, reason))
                continue
            if row is not None:
                self.model.replaced.add(row)
            good.append((item, one, row))
        # Only now: a batch is judged by what was there before it.
        for item, one, row in good:
            key, ref = (member, one.subject, one.number), RowRef(entry, item)
            self.model.rows[ref] = one.is_account, key, one.ago
            if one.is_account:
                told = dict(enumerate([one.band, *one.before], start=one.ago))
                corrects = row is not None
                self.model.report(key, one.ago, balances[item], told, ref, corrects)
            else:
                self.model.applications[key] = ref
        return refused

    def _withdraw(
        self, member: str, leaving: list[Gone], refs: list[RowRef | None]
    ) -> list[tuple[int, str]]:
        """Take a withdrawal into the model; what it refuses."""
        refused = []
        for item, (one, row) in enumerate(zip(leaving, refs, strict=True)):
            assert row is not None
            key = (member, one.subject, one.number)
            reason = self.model.why_not(member, row, key, one.is_account, None)
            if reason:
                refused.append((item, reason))
                continue
            self.model.replaced.add(row)
            held = self.model.accounts if one.is_account else self.model.applications
            held.pop(key)  # type: ignore[attr-defined]
        return refused


@pytest.fixture(scope="module")
def examples() -> Iterator[int]:
    """Numbers of examples: each has accounts of its own."""
    return itertools.count(1)


@contextmanager
def opened(urls: StoreUrls, clock: ManualClock) -> Iterator[tuple[Journal, FailingStore]]:
    """Stores with consents of all subjects for all members."""
    with open_journal(urls, clock) as journal, closing(Database.open(urls.signals_url)) as database:
        store = FailingStore(database, clock)
        with serving(journal, store, clock) as consortium:
            drafts = [draft(consortium, one, [2], [1, 2]) for one in SUBJECTS]
            for caller in (consortium.beta, consortium.gamma):
                assert not grant(caller, drafts).refused
        yield journal, store


@pytest.fixture
def on_sqlite(
    sqlite_stores: StoreUrls, clock: ManualClock
) -> Iterator[tuple[Journal, FailingStore]]:
    with opened(sqlite_stores, clock) as stores:
        yield stores


@pytest.fixture
def on_postgresql(
    postgresql_stores: StoreUrls, clock: ManualClock
) -> Iterator[tuple[Journal, FailingStore]]:
    with opened(postgresql_stores, clock) as stores:
        yield stores


def run_all(
    stores: tuple[Journal, FailingStore], clock: ManualClock, example: int, plan: list[Step]
) -> None:
    run = Run(stores, clock, example)
    for step in plan:
        run.step(step)
    contributions.resume(run.journal, run.store, clock)
    assert run.store.staged() == []
    run.check()


FIXTURES = [HealthCheck.function_scoped_fixture]


@settings(max_examples=40, deadline=None, suppress_health_check=FIXTURES)
@given(plan=steps)
def test_contributions_corrections_and_withdrawals_in_any_order_make_the_pool_of_the_model(
    on_sqlite: tuple[Journal, FailingStore],
    clock: ManualClock,
    examples: Iterator[int],
    plan: list[Step],
) -> None:
    run_all(on_sqlite, clock, next(examples), plan)


@pytest.mark.postgresql
@settings(max_examples=15, deadline=None, suppress_health_check=FIXTURES)
@given(plan=steps)
def test_on_postgresql_any_order_makes_the_pool_of_the_model_too(
    on_postgresql: tuple[Journal, FailingStore],
    clock: ManualClock,
    examples: Iterator[int],
    plan: list[Step],
) -> None:
    run_all(on_postgresql, clock, next(examples), plan)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["correct", "withdraw"])
def test_a_replacement_that_is_killed_anywhere_is_whole_or_has_not_begun(
    consortium: Consortium, store_urls: StoreUrls, what: str
) -> None:
    beta = Furnisher(consortium.journal, consortium.signal_store, consortium.clock, peer("beta"))
    seen = set()
    for writes in range(1, 60, 3):
        subject = writes
        grant(consortium.beta, [draft(consortium, subject, [2], [1])])
        entry = beta.contribute([beta.account(subject, bytes(16), balance=3)]).entry
        command = [sys.executable, "-m", "tests.programs.replace", store_urls.control_url]
        command += [store_urls.signals_url, what, str(subject), str(entry), str(writes)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert ended.returncode in (-9, 0), ended.stderr
        contributions.resume(consortium.journal, consortium.signal_store, consortium.clock)
        with consortium.journal.read() as connection:
            replaced = connection.execute(
                sa.select(replaced_row).where(replaced_row.c.entry == entry)
            ).all()
        balances = [relation.balance for _, relation in history_of(consortium, subject).relations]
        again = beta.account(subject, bytes(16), balance=5, replaces=RowRef(entry, 0))
        refused = [reason for *_, reason in beta.contribute([again]).refused]
        if replaced:
            assert balances == ([6] if what == "correct" else [])
            assert refused == ["ALREADY_REPLACED"]
        else:
            assert (balances, refused) == ([3], [])
        seen.add((bool(replaced), ended.returncode))
        if ended.returncode == 0:
            break
    assert seen == {(False, -9), (True, -9), (True, 0)}
