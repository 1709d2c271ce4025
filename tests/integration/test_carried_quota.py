"""Tokens of earlier epochs: what the key-holders carry over for a member is charged to it first."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import grpc
import pytest

from concordat.v1 import common_pb2, consent_pb2, signal_pb2, usage_pb2
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.quotas import charge_carried
from concordat_gateway.rules.rotation import Means, rotate
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.metering import Quota
from concordat_rpc.errors import Refusal
from tests.services import (
    CALL_SECONDS,
    Consortium,
    application,
    contribute,
    draft,
    grant,
    quota_subject_of,
    reason_of,
    request_id,
    retry_seconds_of,
    serving,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal, traced
from tests.tokenkeys import TokenKeys, peppers

# The clock starts on 2026-11-18 at 11:06:40 UTC.
SECONDS_TO_MIDNIGHT = 46_400
OLD, NEW = 1, 2
CONSENTING = 0
"""Who consented to alpha before the rotation: the old token goes by an alias."""


@dataclass
class Rotated:
    """A consortium whose stores have moved on, while the tokens of before are still taken."""

    consortium: Consortium
    keys: TokenKeys

    def grant(self, subjects: Sequence[int], epoch: int = OLD) -> None:
        drafts = [draft(self.consortium, token(subject, epoch)) for subject in subjects]
        grant(self.consortium.alpha, drafts, epoch)

    def contribute(self, subjects: Sequence[int], epoch: int = OLD) -> None:
        rows = [application(self.consortium, token(subject, epoch)) for subject in subjects]
        contribute(self.consortium.alpha, rows, epoch=epoch)

    def look_up(self, subjects: Sequence[int], epoch: int = OLD) -> None:
        request = signal_pb2.BatchLookupRequest(
            tokens=b"".join(token(subject, epoch) for subject in subjects),
            purpose=common_pb2.PURPOSE_UNDERWRITING,
            request_id=request_id(),
            epoch=epoch,
        )
        self.consortium.alpha.signals.BatchLookup(request, timeout=CALL_SECONDS)

    def list(self, subjects: Sequence[int], epoch: int = OLD) -> None:
        for subject in subjects:
            request = consent_pb2.ListConsentsRequest(token=token(subject, epoch), epoch=epoch)
            self.consortium.alpha.consents.ListConsents(request, timeout=CALL_SECONDS)

    def refusal_of(
        self, use: Callable[[Sequence[int]], None], subjects: Sequence[int]
    ) -> grpc.Call:
        with pytest.raises(grpc.RpcError) as refusal:
            use(subjects)
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(refusal.value) == "CARRIED_EXHAUSTED"
        return refusal.value

    @property
    def usage(self) -> usage_pb2.MemberUsage:
        reply = self.consortium.alpha.usage.ListUsage(
            usage_pb2.ListUsageRequest(), timeout=CALL_SECONDS
        )
        return reply.members[0]

    @property
    def carried_today(self) -> int:
        [one] = [one for one in self.usage.usage if one.kind == usage_pb2.USAGE_KIND_CARRIED]
        return one.today


class Desk:
    """Makes rotated consortia with quotas of a test's choice, on fresh stores."""

    def __init__(self, journal: Journal, signals: SignalStore, clock: ManualClock) -> None:
        self._journal, self._signals, self._clock = journal, signals, clock

    @contextmanager
    def serving(
        self, daily: int = 1_000, per_second: float = 1e6, burst: int = 1_000
    ) -> Iterator[Rotated]:
        keys = TokenKeys.of_epochs(OLD, NEW)
        quota = Quota(daily=daily, monthly=31 * daily, per_second=per_second, burst=burst)
        parts = (self._journal, self._signals, self._clock, keys)
        with serving(*parts, carried=quota) as consortium:
            grant(consortium.alpha, [draft(consortium, token(CONSENTING, OLD))], OLD)
            rotate(
                Means(
                    journal=self._journal,
                    signals=self._signals,
                    key_log=keys.log(),
                    pepper=peppers(OLD, NEW).__getitem__,
                    update=keys.update,
                    actor="spiffe://concordat.test/gateway/main",
                    report=lambda _progress: None,
                    owner=bytes(16),
                ),
                to_epoch=NEW,
            )
            keys.asked = 0
            yield Rotated(consortium, keys)


@pytest.fixture
def desk(journal: Journal, signal_store: SignalStore, clock: ManualClock) -> Desk:
    return Desk(journal, signal_store, clock)


@pytest.mark.parametrize("use", [Rotated.grant, Rotated.contribute, Rotated.look_up, Rotated.list])
def test_whatever_older_tokens_are_for_no_more_are_carried_than_the_quota_allows(
    desk: Desk, use: Callable[[Rotated, Sequence[int]], None]
) -> None:
    with desk.serving(daily=3) as rotated:
        use(rotated, [1, 2, 3])
        assert rotated.keys.asked == rotated.carried_today == 3
        size = rotated.consortium.journal.size
        refusal = rotated.refusal_of(lambda subjects: use(rotated, subjects), [4])
        assert quota_subject_of(refusal) == "member:alpha/carried/day"
        assert retry_seconds_of(refusal) == SECONDS_TO_MIDNIGHT
        assert rotated.keys.asked == rotated.carried_today == 3
        assert rotated.consortium.journal.size == size

        rotated.consortium.clock.advance(SECONDS_TO_MIDNIGHT)
        use(rotated, [4])
        assert rotated.carried_today == 1


def test_only_what_the_key_holders_are_asked_for_is_charged(desk: Desk) -> None:
    with desk.serving(daily=2) as rotated:
        rotated.look_up([CONSENTING] * 5)
        rotated.look_up([1, 1, 1])
        rotated.look_up(range(10), NEW)
        assert rotated.keys.asked == rotated.carried_today == 1


def test_a_call_is_charged_whole_or_not_at_all(desk: Desk) -> None:
    with desk.serving(daily=5) as rotated:
        rotated.look_up([1, 2, 3])
        rotated.refusal_of(rotated.look_up, [4, 5, 6])
        rotated.look_up([4, 5])
        assert rotated.carried_today == 5
        never = rotated.refusal_of(rotated.look_up, range(1, 7))
        assert retry_seconds_of(never) is None


def test_who_is_too_fast_is_told_when_to_come_back(desk: Desk) -> None:
    with desk.serving(per_second=2.0, burst=4) as rotated:
        rotated.look_up([1, 2, 3, 4])
        refusal = rotated.refusal_of(rotated.look_up, [5, 6, 7])
        assert quota_subject_of(refusal) == "member:alpha/carried/rate"
        # Three at two a second.
        assert retry_seconds_of(refusal) == 1.5
        rotated.consortium.clock.advance(1.5)
        rotated.look_up([5, 6, 7])


def test_a_spent_day_is_an_alarm_and_writes_nothing_more(desk: Desk) -> None:
    with desk.serving(daily=1) as rotated:
        rotated.look_up([1])
        rotated.refusal_of(rotated.look_up, [2])
        with traced() as seen:
            rotated.refusal_of(rotated.look_up, [2])
        assert not any(one.text.startswith(("INSERT", "UPDATE")) for one in seen)
        [alarm] = rotated.usage.alarms
        assert alarm.kind == usage_pb2.ALARM_KIND_QUOTA_EXHAUSTED


def test_members_have_quotas_of_their_own_and_see_their_limits(desk: Desk) -> None:
    with desk.serving(daily=1) as rotated:
        rotated.look_up([1])
        request = consent_pb2.ListConsentsRequest(token=token(1, OLD), epoch=OLD)
        rotated.consortium.beta.consents.ListConsents(request, timeout=CALL_SECONDS)
        [mine] = [one for one in rotated.usage.usage if one.kind == usage_pb2.USAGE_KIND_CARRIED]
        assert (mine.today, mine.daily_limit, mine.monthly_limit) == (1, 1, 0)


def test_racing_journals_never_overspend(store_urls: StoreUrls, clock: ManualClock) -> None:
    """Each journal is a process of its own as far as the store can tell."""
    quota = Quota(daily=50, monthly=50, per_second=1e6, burst=50)
    with ExitStack() as stack:
        journals = [stack.enter_context(open_journal(store_urls, clock)) for _ in range(3)]
        let: list[int] = []

        def charge(journal: Journal, elements: int) -> None:
            while True:
                try:
                    charge_carried(journal, "alpha", elements, quota, CALL_SECONDS)
                except Refusal as refusal:
                    if refusal.reason != "CARRIED_EXHAUSTED":
                        raise
                    return
                let.append(elements)

        threads = [
            threading.Thread(target=charge, args=(journal, elements))
            for journal in journals
            for elements in (1, 2, 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Whoever asks for one goes on until nothing is left.
        assert sum(let) == 50
