"""Any breaks of an upload, anywhere: the pool is the one that an unbroken upload makes."""

import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from enum import Enum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concordat_gateway.config import DEFAULT_AGES
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import contributions
from concordat_gateway.rules.calendar import day_of
from concordat_gateway.rules.intake import PART, AccountNumbers, Header, Intake, RawRow
from concordat_gateway.rules.uploads import UploadStream, get_upload, list_refused_rows
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.staging import StagedRow
from concordat_gateway.store.subjects import subject_key
from concordat_privacy.catalogue.relations import Relation
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION
from concordat_store.database import Database
from tests.services import (
    EPOCH,
    PEPPER,
    draft,
    grant,
    months_since_1970,
    peer,
    serving,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal

BETA = peer("beta")
BROKEN, UNBROKEN = 1, 2
"""Two subjects with the same accounts."""


class Point(Enum):
    """Where the gateway's process ends, as its stores see it."""

    BEFORE_STAGING = "nothing of the part is anywhere"
    AFTER_STAGING = "staged, not in the ledger"
    BEFORE_PUBLISHING = "in the ledger, not in the pool"
    AFTER_PUBLISHING = "in the pool, not acknowledged"


class Break(Exception):
    """The end of a process."""


class EndingStore(SignalStore):
    """A signals store whose process ends where it is told to."""

    end_at: Point | None = None

    def stage(self, batch_id: bytes, rows: Sequence[StagedRow]) -> None:
        self._pass(Point.BEFORE_STAGING)
        super().stage(batch_id, rows)
        self._pass(Point.AFTER_STAGING)

    def publish(
        self, batch_id: bytes, member_no: int, refused_rows: Collection[int], entry: int = 0
    ) -> None:
        self._pass(Point.BEFORE_PUBLISHING)
        super().publish(batch_id, member_no, refused_rows, entry)
        self._pass(Point.AFTER_PUBLISHING)

    def _pass(self, point: Point) -> None:
        if self.end_at is point:
            self.end_at = None
            raise Break


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """Numbers of examples: each has accounts of its own."""
    return itertools.count(1)


@pytest.fixture
def stores(sqlite_stores: StoreUrls, clock: ManualClock) -> Iterator[tuple[Journal, EndingStore]]:
    with open_journal(sqlite_stores, clock) as journal:
        database = Database.open(sqlite_stores.signals_url)
        store = EndingStore(database, clock)
        with serving(journal, store, clock) as consortium:
            drafts = [draft(consortium, one, [2], [1]) for one in (BROKEN, UNBROKEN)]
            assert not grant(consortium.beta, drafts).refused
        yield journal, store
        database.close()


row = st.tuples(
    st.integers(0, 2),  # account
    st.integers(-1, 1),  # months from now; 1 is refused
    st.integers(1, 6),  # balance
)
parts_of_rows = st.lists(st.lists(row, min_size=1, max_size=4), min_size=1, max_size=5)
breaks = st.lists(
    st.tuples(
        st.sampled_from(Point),
        st.integers(0, 3),  # parts that go well before
        st.integers(0, 2),  # parts that are sent again after
        st.booleans(),  # whether the supervisor publishes and tidies in between
    ),
    max_size=8,
)


class Sender:
    """A member's side of one upload, and the gateway's rules under it."""

    def __init__(
        self,
        stores: tuple[Journal, EndingStore],
        clock: ManualClock,
        subject: int,
        parts: Sequence[Sequence[tuple[int, int, int]]],
        base: int,
    ) -> None:
        self.journal, self.store = stores
        self.id = os.urandom(16)
        self._clock = clock
        self._month = months_since_1970(clock)
        self._subject, self._parts, self._base = subject, parts, base

    def open(self) -> UploadStream:
        header = Header(self.id, EPOCH, CATALOGUE_VERSION)
        return UploadStream(self.journal, self.store, BETA, header)

    def send(self, stream: UploadStream, sequence: int) -> None:
        """Send a part."""
        intake = Intake(
            Header(self.id, EPOCH, CATALOGUE_VERSION),
            day_of(self._clock()),
            EPOCH,
            lambda tokens: [subject_key(PEPPER, one) for one in tokens],
            PART,
        )
        intake.add([self._raw(*one) for one in self._parts[sequence - 1]])
        stream.take(sequence, intake, 30)

    def pool(self) -> dict[int, Relation]:
        """This example's accounts of the subject."""
        key = subject_key(PEPPER, token(self._subject))
        relations = self.store.histories([key], EPOCH)[key].relations
        found = {int.from_bytes(one.account_ref, "big"): one for _, one in relations}
        return {ref - self._base: one for ref, one in found.items() if 0 <= ref - self._base < 3}

    def _raw(self, account: int, months: int, balance: int) -> RawRow:
        numbers = AccountNumbers(
            account_ref=(self._base + account).to_bytes(16, "big"),
            as_of_month=self._month + months,
            status=1,
            product=3,
            opened_quarter=self._month // 3 - 8,
            limit=5,
            balance=balance,
            past_due=1,
            days_past_due=1,
            utilisation=4,
            spend_volatility=0,
            payment_profile=b"",
        )
        return RawRow(token(self._subject), numbers)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(parts=parts_of_rows, breaks=breaks, waits=st.lists(st.booleans(), min_size=8, max_size=8))
def test_an_upload_that_broke_anywhere_makes_the_pool_of_one_that_did_not(
    stores: tuple[Journal, EndingStore],
    clock: ManualClock,
    numbers: Iterator[int],
    parts: list[list[tuple[int, int, int]]],
    breaks: list[tuple[Point, int, int, bool]],
    waits: list[bool],
) -> None:
    """`waits`: whether the sender waits for the acknowledgement of a part before the next."""
    base = next(numbers) * 1_000
    unbroken = Sender(stores, clock, UNBROKEN, parts, base)
    with closing(unbroken.open()) as stream:
        for sequence in range(1, len(parts) + 1):
            unbroken.send(stream, sequence)
        stream.settle()

    journal, store = stores
    broken = Sender(stores, clock, BROKEN, parts, base)
    before = journal.size
    entries: dict[int, int] = {}
    left = iter(breaks)
    at = next(left, None)
    well = known = 0
    stream = broken.open()
    assert stream.taken == 0
    sequence = 1
    waiting = itertools.cycle(waits)
    while known < len(parts):
        if at is not None and well >= at[1]:
            store.end_at = at[0]
        try:
            if sequence <= len(parts):
                broken.send(stream, sequence)
            sequence += 1
            if next(waiting) or sequence > len(parts):
                stream.settle()
        except Break:
            assert at is not None
            _, _, again, tidied = at
            stream.close()
            store.end_at = None
            if tidied:
                clock.advance(3600)
                contributions.resume(journal, store, clock)
            at, well = next(left, None), 0
            stream = broken.open()
            # All that was acknowledged is there; perhaps what was being sent too.
            assert known <= stream.taken <= max(known, sequence)
            known = stream.taken
            sequence = max(1, known + 1 - again)
            continue
        for part in stream.published():
            # A part has one entry, however often it was sent.
            entry = part.committed.value.entry.index
            assert entries.setdefault(part.sequence, entry) == entry
            known = max(known, part.sequence)
        well += 1
    stream.close()
    store.end_at = None

    assert journal.size - before == len(parts)
    assert broken.pool() == unbroken.pool()
    one, other = (
        get_upload(journal, BETA, sender.id, DEFAULT_AGES, clock()) for sender in (broken, unbroken)
    )
    assert (one.rows_accepted, one.rows_refused) == (other.rows_accepted, other.rows_refused)
    refused = [list_refused_rows(journal, BETA, s.id, 0, "").rows for s in (broken, unbroken)]
    assert refused[0] == refused[1]
    clock.advance(3600)
    contributions.resume(journal, store, clock)
    assert store.staged() == []
    assert broken.pool() == unbroken.pool()


def test_after_a_part_that_could_not_be_published_none_is_acknowledged(
    stores: tuple[Journal, EndingStore], clock: ManualClock
) -> None:
    """Acknowledgements have no gap, and the upload goes on in its order over another stream."""
    sender = Sender(stores, clock, BROKEN, [[(0, 0, balance)] for balance in (1, 2, 3)], 10**9)
    with closing(sender.open()) as stream:
        sender.send(stream, 1)
        sender.store.end_at = Point.BEFORE_PUBLISHING
        sender.send(stream, 2)
        with pytest.raises(Break):
            stream.settle()
        # The store is well again, and yet.
        stream.settle()
        assert stream.published() == []
    with closing(sender.open()) as stream:
        assert stream.taken == 2
        for sequence in (1, 2, 3):
            sender.send(stream, sequence)
        stream.settle()
        assert [part.sequence for part in stream.published()] == [1, 2, 3]
    assert sender.pool()[0].balance == 3


def test_what_was_recorded_is_published_though_its_sender_has_gone(
    stores: tuple[Journal, EndingStore], clock: ManualClock
) -> None:
    sender = Sender(stores, clock, BROKEN, [[(0, 0, balance)] for balance in (1, 2)], 2 * 10**9)
    with closing(sender.open()) as stream:
        sender.send(stream, 1)
        sender.send(stream, 2)
    assert sender.store.staged() == []
    assert sender.pool()[0].balance == 2
