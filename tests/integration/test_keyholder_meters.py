"""Evaluations are counted and limited by the key-holder itself, on disk, before they happen."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concordat.v1 import keyholder_pb2, token_pb2
from concordat_gateway.pki import Authority
from concordat_keyholder.config import load_config
from concordat_keyholder.store.migrate import opened_store
from concordat_privacy import oprf
from tests.keyholders import (
    ONLINE,
    PORTFOLIO,
    Host,
    Member,
    evaluate,
    evaluate_refused,
    new_authority,
    stopped_at_end,
)
from tests.postgresql import Cluster
from tests.stores import ManualClock, database_of

_, TEN = oprf.blind_batch([str(number).encode() for number in range(10)])
ONE = TEN[:32]
QUOTA = """\
[quota]
daily = 8192
monthly = 10000
per_second = 100.0
burst = 4096
"""
# In the middle of a day and of a month.
NOON = datetime(2031, 5, 16, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture(scope="module")
def alpha(authority: Authority) -> Member:
    return Member.certified_by(authority, "alpha")


@pytest.fixture(scope="module")
def beta(authority: Authority) -> Member:
    return Member.certified_by(authority, "beta")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def host(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    authority: Authority,
    alpha: Member,
    beta: Member,
) -> Iterator[Host]:
    """A key-holder with small quotas and two members, on a store of either kind; not serving."""
    with ExitStack() as stack:
        url = "sqlite:///keyholder.db"
        if request.param == "postgresql":
            cluster: Cluster = request.getfixturevalue("postgresql_cluster")
            url = stack.enter_context(database_of(cluster)).control_url
        made = Host.made(tmp_path / "host", authority, "--store-url", url)
        text = made.config.read_text()
        made.config.write_text(text[: text.index("[quota]")] + QUOTA)
        made.admit(alpha)
        made.admit(beta)
        yield made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(micros(NOON))


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def batch_of(size: int) -> bytes:
    """Blinded elements; that they repeat is nobody's business."""
    return ONE * size


@dataclass(frozen=True)
class Exhausted:
    reason: str
    subject: str
    retry_seconds: float | None


def exhausted(channel: grpc.Channel, request: keyholder_pb2.EvaluateBlindedRequest) -> Exhausted:
    """How a batch meets a limit, as a client reads it."""
    with pytest.raises(grpc.RpcError) as caught:
        evaluate(channel, request)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info, quota = error_details_pb2.ErrorInfo(), error_details_pb2.QuotaFailure()
    retry, retry_seconds = error_details_pb2.RetryInfo(), None
    for detail in rpc_status.from_call(caught.value).details:
        detail.Unpack(info)
        detail.Unpack(quota)
        if detail.Unpack(retry):
            retry_seconds = retry.retry_delay.ToNanoseconds() / 1e9
    [violation] = quota.violations
    return Exhausted(info.reason, violation.subject, retry_seconds)


def test_the_day_s_quota_ends_at_midnight(
    host: Host, alpha: Member, beta: Member, clock: ManualClock
) -> None:
    with host.serving(clock), host.channel() as channel:
        for _ in range(2):
            evaluate(channel, alpha.signed(batch_of(4096), now=clock()))
            clock.advance(60)
        met = exhausted(channel, alpha.signed(ONE, now=clock()))
        # The clock stands at 12:02.
        assert met == Exhausted(
            "EVALUATIONS_EXHAUSTED", "member:alpha/evaluations/day", 12 * 3600 - 120
        )
        # Nobody else's.
        evaluate(channel, beta.signed(ONE, now=clock()))
        clock.advance(met.retry_seconds or 0)
        evaluate(channel, alpha.signed(ONE, now=clock()))


def test_the_month_s_quota_ends_with_the_month(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    with host.serving(clock), host.channel() as channel:
        for day in (4096, 4096, 1808):
            evaluate(channel, alpha.signed(batch_of(day), now=clock()))
            clock.advance(86_400)
        met = exhausted(channel, alpha.signed(ONE, now=clock()))
        # Noon of 19 May to the first of June.
        assert met == Exhausted(
            "EVALUATIONS_EXHAUSTED", "member:alpha/evaluations/month", (12 + 12 * 24) * 3600
        )
        clock.advance(met.retry_seconds or 0)
        evaluate(channel, alpha.signed(batch_of(4096), now=clock()))


def test_a_limit_is_told_with_the_time_to_wait(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    with host.serving(clock), host.channel() as channel:
        evaluate(channel, alpha.signed(batch_of(4096), now=clock()))
        too_fast = evaluate_refused(channel, alpha.signed(batch_of(2000), now=clock()))
        clock.advance(60)
        evaluate(channel, alpha.signed(batch_of(4096), now=clock()))
        spent = evaluate_refused(channel, alpha.signed(ONE, now=clock()))
    # 2,000 at 100 a second; and at 12:01 the day has 11 hours and 59 minutes left.
    assert "at most 4096 at once, 100 a second; again in 20 s" in too_fast.message
    assert "at most 8192 a day; again in 12 hours" in spent.message


def test_a_burst_is_let_through_and_then_the_rate(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    with host.serving(clock), host.channel() as channel:
        evaluate(channel, alpha.signed(batch_of(4096), now=clock()))
        met = exhausted(channel, alpha.signed(batch_of(50), now=clock()))
        # 100 a second.
        assert met == Exhausted("EVALUATIONS_EXHAUSTED", "member:alpha/evaluations/rate", 0.5)
        clock.advance(0.499)
        exhausted(channel, alpha.signed(batch_of(50), now=clock()))
        clock.advance(0.001)
        evaluate(channel, alpha.signed(batch_of(50), now=clock()))


def test_a_member_s_own_quota_counts_instead(
    host: Host, alpha: Member, beta: Member, clock: ManualClock
) -> None:
    host.does("quota", "alpha", "--daily", "5", "--monthly", "7")
    with host.serving(clock), host.channel() as channel:
        evaluate(channel, alpha.signed(batch_of(5), now=clock()))
        met = exhausted(channel, alpha.signed(ONE, now=clock()))
        assert met.subject == "member:alpha/evaluations/day"
        # More than a whole day's quota: no time will help.
        assert exhausted(channel, alpha.signed(batch_of(6), now=clock())).retry_seconds is not None
        evaluate(channel, beta.signed(batch_of(6), now=clock()))
        clock.advance(86_400)
        never = exhausted(channel, alpha.signed(batch_of(8), now=clock()))
        assert (never.subject, never.retry_seconds) == ("member:alpha/evaluations/month", None)
        evaluate(channel, alpha.signed(batch_of(2), now=clock()))


def test_a_limit_that_was_met_charges_nothing(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    host.does("quota", "alpha", "--daily", "10", "--monthly", "10")
    with host.serving(clock), host.channel() as channel:
        for _ in range(3):
            exhausted(channel, alpha.signed(batch_of(11), now=clock()))
        evaluate(channel, alpha.signed(batch_of(10), now=clock()))


def test_a_batch_with_a_wrong_element_is_charged(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    """Nobody has the key-holder work for nothing."""
    host.does("quota", "alpha", "--daily", "10", "--monthly", "10")
    with host.serving(clock), host.channel() as channel:
        refusal = evaluate_refused(channel, alpha.signed(batch_of(9) + bytes(32), now=clock()))
        assert refusal.violations[0][0] == "blinded_elements[9]"
        exhausted(channel, alpha.signed(ONE, now=clock()))


def test_a_portfolio_has_an_allowance_of_its_own(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    host.does("quota", "alpha", "--daily", "1", "--monthly", "1")
    with host.serving(clock), host.channel() as channel:
        request = alpha.signed(batch_of(4096), quota=PORTFOLIO, now=clock())
        met = exhausted(channel, request)
        assert met == Exhausted("PORTFOLIO_EXHAUSTED", "member:alpha/evaluations/portfolio", None)

        host.does("grant", "alpha", "--evaluations", "8200", "--until", "2031-05-20")
        evaluate(channel, request)
        # No rate: a portfolio comes at once.
        evaluate(channel, alpha.signed(batch_of(4096), quota=PORTFOLIO, now=clock()))
        exhausted(channel, alpha.signed(batch_of(9), quota=PORTFOLIO, now=clock()))
        evaluate(channel, alpha.signed(batch_of(8), quota=PORTFOLIO, now=clock()))
        exhausted(channel, alpha.signed(ONE, quota=PORTFOLIO, now=clock()))
        # It takes nothing from the quota, and gives nothing to it.
        evaluate(channel, alpha.signed(ONE, quota=ONLINE, now=clock()))
        exhausted(channel, alpha.signed(ONE, quota=ONLINE, now=clock()))


def test_an_allowance_ends_with_its_last_day(host: Host, alpha: Member, clock: ManualClock) -> None:
    host.does("grant", "alpha", "--evaluations", "100", "--until", "2031-05-16")
    with host.serving(clock), host.channel() as channel:
        clock.microseconds = micros(datetime(2031, 5, 17, tzinfo=UTC)) - 1
        evaluate(channel, alpha.signed(ONE, quota=PORTFOLIO, now=clock()))
        clock.microseconds += 1
        exhausted(channel, alpha.signed(ONE, quota=PORTFOLIO, now=clock()))


def test_a_new_grant_stands_in_the_place_of_the_old(
    host: Host, alpha: Member, clock: ManualClock
) -> None:
    host.does("grant", "alpha", "--evaluations", "100", "--until", "2031-05-16")
    host.does("grant", "alpha", "--evaluations", "2", "--until", "2031-05-20")
    with host.serving(clock), host.channel() as channel:
        exhausted(channel, alpha.signed(batch_of(3), quota=PORTFOLIO, now=clock()))
        evaluate(channel, alpha.signed(batch_of(2), quota=PORTFOLIO, now=clock()))


def test_what_was_used_survives_a_restart(host: Host, alpha: Member, clock: ManualClock) -> None:
    host.does("quota", "alpha", "--daily", "10", "--monthly", "10")
    with host.serving(clock), host.channel() as channel:
        request = alpha.signed(TEN, now=clock())
        evaluate(channel, request)
    with host.serving(clock), host.channel() as channel:
        exhausted(channel, alpha.signed(ONE, now=clock()))
        # The nonce too.
        evaluate(channel, request)


def test_what_was_used_survives_a_kill(host: Host, alpha: Member) -> None:
    host.does("quota", "alpha", "--daily", "10", "--monthly", "10")
    with stopped_at_end([host]):
        host.start()
        with host.channel() as channel:
            evaluate(channel, alpha.signed(TEN))
        host.kill()
        host.start()
        with host.channel() as channel:
            exhausted(channel, alpha.signed(ONE))


@pytest.mark.parametrize("quota", [ONLINE, PORTFOLIO], ids=["online", "portfolio"])
def test_two_processes_on_one_store_never_overspend(
    host: Host, alpha: Member, quota: token_pb2.EvaluationQuota.ValueType
) -> None:
    """Eight callers, two key-holder processes, seventy-seven evaluations in tens and ones."""
    host.does("quota", "alpha", "--daily", "77", "--monthly", "77")
    host.does("grant", "alpha", "--evaluations", "77", "--until", "2099-01-01")
    twin = Host(host.folder, host.authority)
    evaluated: list[int] = []
    with stopped_at_end([host, twin]):
        host.start()
        twin.start()
        start = threading.Barrier(8)

        def ask(one: Host) -> None:
            with one.channel() as channel:
                start.wait()
                for blinded in (TEN, TEN, TEN, ONE, ONE, ONE, ONE, ONE):
                    try:
                        evaluate(channel, alpha.signed(blinded, quota=quota))
                    except grpc.RpcError as error:
                        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
                    else:
                        evaluated.append(len(blinded) // 32)

        threads = [threading.Thread(target=ask, args=(one,)) for one in (host, twin) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # All that asked for a ten were met or refused; ones filled what was left.
    assert sum(evaluated) == 77


def test_one_batch_brought_to_two_processes_at_once_is_charged_once(
    host: Host, alpha: Member
) -> None:
    host.does("quota", "alpha", "--daily", "10", "--monthly", "10")
    twin = Host(host.folder, host.authority)
    with stopped_at_end([host, twin]):
        host.start()
        twin.start()
        request = alpha.signed(TEN)
        start = threading.Barrier(6)
        replies: list[bytes] = []

        def bring(one: Host) -> None:
            with one.channel() as channel:
                start.wait()
                replies.append(evaluate(channel, request).evaluated_elements)

        threads = [threading.Thread(target=bring, args=(one,)) for one in (host, twin) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(replies) == 6
        assert len(set(replies)) == 1


def test_old_nonces_are_dropped(host: Host, alpha: Member, clock: ManualClock) -> None:
    with host.serving(clock), host.channel() as channel:
        evaluate(channel, alpha.signed(ONE, now=clock()))
    clock.advance(3600)
    with host.serving(clock), host.channel() as channel:
        evaluate(channel, alpha.signed(ONE, now=clock()))
    url = load_config(host.config).store_url
    with opened_store(url) as database, database.read() as connection:
        [expiry] = connection.execute(sa.text("SELECT expires_at FROM nonce")).scalars()
    # Longer than it can be brought again.
    assert expiry == clock() + 600_000_000


@pytest.mark.postgresql
def test_without_its_store_nothing_is_evaluated(
    tmp_path: Path,
    authority: Authority,
    alpha: Member,
    clock: ManualClock,
    postgresql_cluster: Cluster,
) -> None:
    name = postgresql_cluster.create_database()
    url = postgresql_cluster.url(name)
    host = Host.made(tmp_path / "host", authority, "--store-url", url)
    host.admit(alpha)
    with host.serving(clock), host.channel() as channel:
        evaluate(channel, alpha.signed(ONE, now=clock()))
        postgresql_cluster.drop_database(name)
        refusal = evaluate_refused(channel, alpha.signed(ONE, now=clock()))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
