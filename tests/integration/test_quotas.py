"""Quotas of lookups: never overspent, refused clearly, whatever is asked about."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import common_pb2, signal_pb2, usage_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import lookups
from concordat_gateway.rules.lookups import Question
from concordat_gateway.rules.subjects import Named
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.metering import Quota
from concordat_rpc.errors import Refusal
from tests.services import (
    CALL_SECONDS,
    EPOCH,
    Caller,
    Consortium,
    draft,
    fields_of,
    grant_one,
    join_members,
    peer,
    quota_subject_of,
    reason_of,
    request_id,
    retry_seconds_of,
    serving,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal, open_signals, traced

# The clock starts on 2026-11-18 at 11:06:40 UTC.
SECONDS_TO_MIDNIGHT = 46_400
SECONDS_TO_DECEMBER = 12 * 86_400 + 46_400

UNDERWRITING = common_pb2.PURPOSE_UNDERWRITING
REVIEW = common_pb2.PURPOSE_PORTFOLIO_REVIEW


class Desk:
    """Makes consortia with quotas of a test's choice, on fresh stores."""

    def __init__(self, journal: Journal, signals: SignalStore, clock: ManualClock) -> None:
        self._parts = (journal, signals, clock)

    @contextmanager
    def serving(
        self, daily: int = 100, monthly: int = 1000, per_second: float = 1e6, burst: int = 1000
    ) -> Iterator[Consortium]:
        quota = Quota(daily=daily, monthly=monthly, per_second=per_second, burst=burst)
        with serving(*self._parts, quota=quota) as running:
            yield running


@pytest.fixture
def desk(journal: Journal, signal_store: SignalStore, clock: ManualClock) -> Desk:
    return Desk(journal, signal_store, clock)


def look_up(
    caller: Caller, subjects: Sequence[int], purpose: int = UNDERWRITING
) -> signal_pb2.BatchLookupResponse:
    request = signal_pb2.BatchLookupRequest(
        tokens=b"".join(map(token, subjects)),
        purpose=common_pb2.Purpose.ValueType(purpose),
        request_id=request_id(),
    )
    return caller.signals.BatchLookup(request, timeout=CALL_SECONDS)


def look_up_one(caller: Caller, subject: int) -> signal_pb2.LookupResponse:
    request = signal_pb2.LookupRequest(
        token=token(subject), purpose=UNDERWRITING, request_id=request_id()
    )
    return caller.signals.Lookup(request, timeout=CALL_SECONDS)


def refusal_of(caller: Caller, subjects: Sequence[int]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refusal:
        look_up(caller, subjects)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(refusal.value) == "LOOKUPS_EXHAUSTED"
    return refusal.value


def lookups_today(caller: Caller) -> int:
    reply = caller.usage.ListUsage(usage_pb2.ListUsageRequest(), timeout=CALL_SECONDS)
    [member] = reply.members
    [today] = [one.today for one in member.usage if one.kind == usage_pb2.USAGE_KIND_LOOKUPS]
    return today


def set_quota(
    consortium: Consortium, member: str, daily: int, monthly: int, request: bytes | None = None
) -> usage_pb2.SetLookupQuotaResponse:
    return consortium.operator.usage.SetLookupQuota(
        usage_pb2.SetLookupQuotaRequest(
            request_id=request or request_id(),
            member_id=member,
            daily_limit=daily,
            monthly_limit=monthly,
        ),
        timeout=CALL_SECONDS,
    )


def test_after_a_days_lookups_none_is_answered_until_midnight(desk: Desk) -> None:
    with desk.serving(daily=4) as consortium:
        look_up_one(consortium.alpha, 1)
        look_up(consortium.alpha, [1, 2, 2])
        size = consortium.journal.size

        refusal = refusal_of(consortium.alpha, [3])
        assert quota_subject_of(refusal) == "member:alpha/lookups/day"
        assert retry_seconds_of(refusal) == SECONDS_TO_MIDNIGHT
        with pytest.raises(grpc.RpcError) as one:
            look_up_one(consortium.alpha, 3)
        assert reason_of(one.value) == "LOOKUPS_EXHAUSTED"
        assert consortium.journal.size == size
        assert lookups_today(consortium.alpha) == 4

        consortium.clock.advance(SECONDS_TO_MIDNIGHT - 1e-6)
        refusal_of(consortium.alpha, [3])
        consortium.clock.advance(1e-6)
        look_up(consortium.alpha, [1, 2, 3, 4])
        refusal_of(consortium.alpha, [5])


def test_a_batch_is_charged_whole_or_not_at_all(desk: Desk) -> None:
    with desk.serving(daily=10) as consortium:
        look_up(consortium.alpha, range(8))
        refusal_of(consortium.alpha, [1, 1, 1])
        assert lookups_today(consortium.alpha) == 8
        look_up(consortium.alpha, [1, 1])
        assert lookups_today(consortium.alpha) == 10


def test_after_a_months_lookups_none_is_answered_until_the_next(desk: Desk) -> None:
    with desk.serving(daily=5, monthly=7) as consortium:
        look_up(consortium.alpha, range(5))
        consortium.clock.advance(86_400)
        look_up(consortium.alpha, range(2))
        refusal = refusal_of(consortium.alpha, [1])
        assert quota_subject_of(refusal) == "member:alpha/lookups/month"
        assert retry_seconds_of(refusal) == SECONDS_TO_DECEMBER - 86_400
        consortium.clock.advance(SECONDS_TO_DECEMBER - 86_400)
        look_up(consortium.alpha, range(5))


def test_a_burst_is_followed_by_the_sustained_rate(desk: Desk) -> None:
    with desk.serving(per_second=2, burst=6) as consortium:
        look_up(consortium.alpha, range(6))
        refusal = refusal_of(consortium.alpha, [1])
        assert quota_subject_of(refusal) == "member:alpha/lookups/rate"
        assert retry_seconds_of(refusal) == 0.5
        consortium.clock.advance(0.5)
        look_up(consortium.alpha, [1])
        assert retry_seconds_of(refusal_of(consortium.alpha, range(4))) == 2
        consortium.clock.advance(2)
        look_up(consortium.alpha, range(4))
        # Too fast is no alarm.
        usage = consortium.alpha.usage.ListUsage(usage_pb2.ListUsageRequest(), timeout=60)
        assert not usage.members[0].alarms


def test_what_no_wait_can_make_possible_is_refused_without_a_time(desk: Desk) -> None:
    with desk.serving(daily=5, monthly=8, burst=4) as consortium:
        for subjects, scope in ((9, "month"), (6, "day"), (5, "rate")):
            refusal = refusal_of(consortium.alpha, range(subjects))
            assert quota_subject_of(refusal) == f"member:alpha/lookups/{scope}"
            assert retry_seconds_of(refusal) is None
        look_up(consortium.alpha, range(4))


def test_a_portfolio_review_is_charged_as_any_lookup(desk: Desk) -> None:
    with desk.serving(daily=3) as consortium:
        look_up(consortium.alpha, range(3), REVIEW)
        refusal_of(consortium.alpha, [1])


def test_members_do_not_use_each_others_quota(desk: Desk) -> None:
    with desk.serving(daily=3) as consortium:
        look_up(consortium.alpha, range(3))
        refusal_of(consortium.alpha, [1])
        look_up(consortium.beta, range(3))
        assert quota_subject_of(refusal_of(consortium.beta, [1])) == "member:beta/lookups/day"


def test_an_exhausted_quota_says_the_same_of_every_subject_and_asks_nothing_about_it(
    desk: Desk,
) -> None:
    with desk.serving(daily=5) as consortium:
        grant_one(consortium.alpha, draft(consortium, 1))
        look_up(consortium.alpha, range(5))
        refusal_of(consortium.alpha, [7])
        runs, texts = [], set()
        for subject in (1, 2):
            with traced() as seen:
                texts.add(refusal_of(consortium.alpha, [subject]).details())
            runs.append(seen)
        assert runs[0] == runs[1]
        assert len(texts) == 1
        assert "consent" not in " ".join(one.text for one in runs[0])
        # Who is over its quota makes no disk work.
        assert not any(one.text.startswith(("INSERT", "UPDATE")) for one in runs[0])


def test_the_operator_sets_another_quota_which_counts_at_once(desk: Desk) -> None:
    with desk.serving(daily=3) as consortium:
        look_up(consortium.alpha, range(3))
        refusal_of(consortium.alpha, [1])
        receipt = set_quota(consortium, "alpha", 5, 6).receipt
        entry = json.loads(receipt.entry)
        assert entry["type"] == "quota.set"
        assert entry["actor"] == "spiffe://concordat.test/operator/operator"
        assert (entry["member"], entry["lookups_daily"], entry["lookups_monthly"]) == (
            "alpha",
            5,
            6,
        )
        look_up(consortium.alpha, range(2))
        refusal_of(consortium.alpha, [1])
        # Of others the configured one holds.
        refusal_of(consortium.beta, range(4))
        set_quota(consortium, "alpha", 1, 1)
        refusal_of(consortium.alpha, [1])
        set_quota(consortium, "alpha", 50, 60)
        look_up(consortium.alpha, range(45))


def test_a_repeated_setting_is_made_once(desk: Desk) -> None:
    with desk.serving() as consortium:
        request = request_id()
        first = set_quota(consortium, "alpha", 5, 6, request)
        set_quota(consortium, "alpha", 7, 8)
        again = set_quota(consortium, "alpha", 5, 6, request)
        assert again.receipt.entry_index == first.receipt.entry_index
        assert again.receipt.entry == first.receipt.entry
        look_up(consortium.alpha, range(7))
        with pytest.raises(grpc.RpcError) as refusal:
            set_quota(consortium, "alpha", 5, 7, request)
        assert reason_of(refusal.value) == "REQUEST_ID_REUSED"


def test_a_wrong_setting_is_refused_and_leaves_nothing(desk: Desk) -> None:
    with desk.serving() as consortium:
        size = consortium.journal.size
        for daily, monthly, field in (
            (0, 5, "daily_limit"),
            (10**9 + 1, 2**63, "daily_limit"),
            (5, 4, "monthly_limit"),
            (5, 2**64 - 1, "monthly_limit"),
        ):
            with pytest.raises(grpc.RpcError) as refusal:
                set_quota(consortium, "alpha", daily, monthly)
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert fields_of(refusal.value) == [field]
        with pytest.raises(grpc.RpcError) as refusal:
            set_quota(consortium, "alpha", 5, 6, b"short")
        assert fields_of(refusal.value) == ["request_id"]
        with pytest.raises(grpc.RpcError) as refusal:
            set_quota(consortium, "nobody", 5, 6)
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        assert reason_of(refusal.value) == "MEMBER_NOT_FOUND"
        assert consortium.journal.size == size


def test_nobody_but_the_operator_sets_a_quota(desk: Desk) -> None:
    with desk.serving() as consortium:
        request = usage_pb2.SetLookupQuotaRequest(
            request_id=request_id(), member_id="alpha", daily_limit=5, monthly_limit=6
        )
        for caller in (consortium.alpha, consortium.auditor):
            with pytest.raises(grpc.RpcError) as refusal:
                caller.usage.SetLookupQuota(request, timeout=CALL_SECONDS)
            assert reason_of(refusal.value) == "ROLE_NOT_ALLOWED"


def attempt(journal: Journal, signals: SignalStore, subjects: int, quota: Quota) -> bool:
    """Look random subjects up as alpha; whether the quota let it."""
    keys = [SubjectKey(number.to_bytes(32, "big")) for number in range(subjects)]
    named = Named(EPOCH, keys, [None] * subjects, [()] * subjects, lambda *_: "")
    question = Question.of(UNDERWRITING, [], request_id())
    try:
        lookups.look_up(journal, signals, peer("alpha"), named, question, quota, CALL_SECONDS)
    except Refusal as refusal:
        if refusal.reason != "LOOKUPS_EXHAUSTED":
            raise
        return False
    return True


def recorded_subjects(journal: Journal) -> int:
    """How many subjects all lookups together have asked about, by the ledger."""
    with journal.read() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM ledger_item")).scalar_one())


@pytest.mark.parametrize("of_the_burst", [False, True])
def test_racing_journals_never_overspend(
    store_urls: StoreUrls, clock: ManualClock, of_the_burst: bool
) -> None:
    """Each journal is a process of its own as far as the store can tell."""
    limit = 50
    quota = (
        Quota(daily=10**6, monthly=10**6, per_second=0.001, burst=limit)
        if of_the_burst
        else Quota(daily=limit, monthly=10**6, per_second=1e6, burst=10**6)
    )
    with ExitStack() as stack:
        journals = [stack.enter_context(open_journal(store_urls, clock)) for _ in range(3)]
        signals = stack.enter_context(open_signals(store_urls, clock))
        join_members(journals[0])
        let: list[int] = []

        def ask(journal: Journal, subjects: int) -> None:
            while attempt(journal, signals, subjects, quota):
                let.append(subjects)

        threads = [
            threading.Thread(target=ask, args=(journal, subjects))
            for journal in journals
            for subjects in (1, 1, 2, 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Whoever asks for one goes on until nothing is left.
        assert sum(let) == limit
        assert recorded_subjects(journals[0]) == limit


def test_what_was_used_outlives_a_restart(store_urls: StoreUrls, clock: ManualClock) -> None:
    quota = Quota(daily=3, monthly=4, per_second=1e6, burst=10**6)
    with open_signals(store_urls, clock) as signals:
        with open_journal(store_urls, clock) as journal:
            join_members(journal)
            assert attempt(journal, signals, 3, quota)
        with open_journal(store_urls, clock) as journal:
            assert not attempt(journal, signals, 1, quota)
        clock.advance(86_400)
        with open_journal(store_urls, clock) as journal:
            assert attempt(journal, signals, 1, quota)
            assert not attempt(journal, signals, 1, quota)
