"""Usage: who sees which counters, and alarms that are raised once a day."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack

import grpc
import pytest
import sqlalchemy as sa

from concordat.v1 import common_pb2, signal_pb2, usage_pb2
from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.alarms import AlarmKind
from concordat_gateway.rules.counters import UsageKind, count_evaluations
from concordat_gateway.rules.usage import watch
from concordat_store import meters
from tests.services import (
    CALL_SECONDS,
    Caller,
    Consortium,
    draft,
    grant,
    join_members,
    reason_of,
    request_id,
    token,
)
from tests.stores import ManualClock, StoreUrls, open_journal

# The clock starts on 2026-11-18.
TODAY = 20_775
DAY = 86_400


def look_up(caller: Caller, subjects: Sequence[int]) -> None:
    request = signal_pb2.BatchLookupRequest(
        tokens=b"".join(map(token, subjects)),
        purpose=common_pb2.PURPOSE_UNDERWRITING,
        request_id=request_id(),
    )
    caller.signals.BatchLookup(request, timeout=CALL_SECONDS)


def usage_of(caller: Caller, member: str = "") -> list[usage_pb2.MemberUsage]:
    request = usage_pb2.ListUsageRequest(member_id=member)
    return list(caller.usage.ListUsage(request, timeout=CALL_SECONDS).members)


def figures(member: usage_pb2.MemberUsage) -> dict[str, tuple[int, int]]:
    return {
        usage_pb2.UsageKind.Name(one.kind).removeprefix("USAGE_KIND_"): (one.today, one.this_month)
        for one in member.usage
    }


def alarms(member: usage_pb2.MemberUsage) -> list[tuple[int, int]]:
    return [(alarm.kind, alarm.day) for alarm in member.alarms]


def test_a_member_sees_what_it_used(consortium: Consortium) -> None:
    grant(consortium.alpha, [draft(consortium, subject) for subject in range(3)])
    look_up(consortium.alpha, [0, 1, 7, 8, 8])
    count_evaluations(consortium.journal, "alpha", 2_000, 30)
    count_evaluations(consortium.journal, "alpha", 5, 30)
    look_up(consortium.beta, [0])

    [mine] = usage_of(consortium.alpha)
    assert mine.member_id == "alpha"
    assert figures(mine) == {
        "LOOKUPS": (5, 5),
        "LOOKUPS_REFUSED": (3, 3),
        "EVALUATIONS": (2005, 2005),
        "CONSENTS": (3, 3),
        "CARRIED": (0, 0),
    }
    assert [(one.daily_limit, one.monthly_limit) for one in mine.usage] == [
        (10**6, 10**7),
        (0, 0),
        (0, 0),
        (0, 0),
        (10**6, 0),
    ]

    consortium.clock.advance(DAY)
    look_up(consortium.alpha, [1])
    assert figures(usage_of(consortium.alpha)[0])["LOOKUPS"] == (1, 6)
    assert figures(usage_of(consortium.alpha)[0])["CONSENTS"] == (0, 3)
    # 2026-12-01.
    consortium.clock.advance(12 * DAY)
    assert figures(usage_of(consortium.alpha)[0])["LOOKUPS"] == (0, 0)


def test_a_repeated_grant_is_counted_once_and_a_refused_one_not(consortium: Consortium) -> None:
    grant(consortium.alpha, [draft(consortium, 1), draft(consortium, 1)])
    assert figures(usage_of(consortium.alpha)[0])["CONSENTS"] == (1, 1)
    grant(consortium.alpha, [draft(consortium, b"short")])
    assert figures(usage_of(consortium.alpha)[0])["CONSENTS"] == (1, 1)


def test_a_member_sees_no_other_and_does_not_learn_whether_there_is_one(
    consortium: Consortium,
) -> None:
    assert [member.member_id for member in usage_of(consortium.alpha, "alpha")] == ["alpha"]
    texts = set()
    for name in ("beta", "nobody", "no such name at all"):
        with pytest.raises(grpc.RpcError) as refusal:
            usage_of(consortium.alpha, name)
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        assert reason_of(refusal.value) == "MEMBER_NOT_FOUND"
        texts.add(refusal.value.details())
    assert len(texts) == 1


def test_the_oversight_sees_all_members_or_one(consortium: Consortium) -> None:
    look_up(consortium.beta, [1])
    for caller in (consortium.auditor, consortium.operator):
        members = usage_of(caller)
        assert [member.member_id for member in members] == ["alpha", "beta", "gamma"]
        assert [figures(member)["LOOKUPS"] for member in members] == [(0, 0), (1, 1), (0, 0)]
        [beta] = usage_of(caller, "beta")
        assert figures(beta)["LOOKUPS"] == (1, 1)
        with pytest.raises(grpc.RpcError) as refusal:
            usage_of(caller, "nobody")
        assert reason_of(refusal.value) == "MEMBER_NOT_FOUND"


def test_an_alarm_is_kept_a_month_and_logged_once_a_day(
    consortium: Consortium, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "concordat_gateway.rules.usage")
    look_up(consortium.beta, range(60))
    for _ in range(3):
        [seen] = usage_of(consortium.auditor, "beta")
        assert alarms(seen) == [(usage_pb2.ALARM_KIND_REFUSED_SHARE, TODAY)]
    assert alarms(usage_of(consortium.alpha)[0]) == []
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert (record.__dict__["member"], record.__dict__["alarm"]) == ("beta", "REFUSED_SHARE")
    assert record.getMessage() == (
        "alarm REFUSED_SHARE: 60 of 60 lookups today were refused for want of a consent"
    )

    consortium.clock.advance(DAY)
    look_up(consortium.beta, range(70))
    assert alarms(usage_of(consortium.beta)[0]) == [
        (usage_pb2.ALARM_KIND_REFUSED_SHARE, TODAY + 1),
        (usage_pb2.ALARM_KIND_REFUSED_SHARE, TODAY),
    ]
    assert len(caplog.records) == 2
    consortium.clock.advance(29 * DAY)
    assert [day for _, day in alarms(usage_of(consortium.beta)[0])] == [TODAY + 1, TODAY]
    consortium.clock.advance(DAY)
    assert [day for _, day in alarms(usage_of(consortium.beta)[0])] == [TODAY + 1]


def test_reading_one_members_usage_raises_no_alarm_of_another(
    consortium: Consortium, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "concordat_gateway.rules.usage")
    look_up(consortium.beta, range(60))
    usage_of(consortium.alpha)
    usage_of(consortium.auditor, "alpha")
    assert not caplog.records
    usage_of(consortium.auditor)
    assert [record.__dict__["member"] for record in caplog.records] == ["beta"]


def test_an_exhausted_quota_is_an_alarm(consortium: Consortium) -> None:
    consortium.operator.usage.SetLookupQuota(
        usage_pb2.SetLookupQuotaRequest(
            request_id=request_id(), member_id="alpha", daily_limit=3, monthly_limit=3
        ),
        timeout=CALL_SECONDS,
    )
    look_up(consortium.alpha, range(3))
    assert alarms(usage_of(consortium.alpha)[0]) == []
    for _ in range(2):
        with pytest.raises(grpc.RpcError):
            look_up(consortium.alpha, [1])
    [mine] = usage_of(consortium.alpha)
    assert alarms(mine) == [(usage_pb2.ALARM_KIND_QUOTA_EXHAUSTED, TODAY)]
    [limits] = [one for one in mine.usage if one.kind == usage_pb2.USAGE_KIND_LOOKUPS]
    assert (limits.today, limits.daily_limit, limits.monthly_limit) == (3, 3, 3)


def test_several_processes_raise_an_alarm_once(
    store_urls: StoreUrls, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "concordat_gateway.rules.usage")

    def enumerate_identifiers(transaction: Transaction) -> None:
        for member in ("alpha", "beta"):
            meters.count(
                transaction.connection, member, UsageKind.EVALUATIONS, 5_000, transaction.now
            )

    with ExitStack() as stack:
        journals = [stack.enter_context(open_journal(store_urls, clock)) for _ in range(3)]
        join_members(journals[0])
        journals[0].write(enumerate_identifiers)
        today: list[int] = []

        def look(journal: Journal) -> None:
            today.append(watch(journal, clock())[AlarmKind.UNUSED_TOKENS])

        threads = [threading.Thread(target=look, args=(journal,)) for journal in journals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert today == [2, 2, 2]
        assert sorted(record.__dict__["member"] for record in caplog.records) == ["alpha", "beta"]
        with journals[0].read() as connection:
            rows = connection.execute(sa.text("SELECT count(*) FROM alarm")).scalar_one()
        assert rows == 2
