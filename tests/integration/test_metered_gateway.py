"""Metering by a real gateway: across its workers, through a kill, with alarms of its own accord."""

import json
import urllib.request
from pathlib import Path

import grpc
import pytest

from concordat import Client, PhoneNumber
from concordat.v1 import common_pb2, signal_pb2, signal_pb2_grpc, usage_pb2, usage_pb2_grpc
from tests.callers import CALL_SECONDS, Credentials, connected
from tests.gateways import Gateway, MakeGateway, concordat, eventually, free_port
from tests.services import reason_of, request_id, token

# Processes are started and stopped for nearly every test.
pytestmark = pytest.mark.slow


def look_up(gateway: Gateway, profile: Path, subjects: int) -> bool:
    """Look subjects up, on a connection of its own; whether the quota let it."""
    request = signal_pb2.BatchLookupRequest(
        tokens=b"".join(map(token, range(subjects))),
        purpose=common_pb2.PURPOSE_UNDERWRITING,
        request_id=request_id(),
    )
    with connected(gateway.address, Credentials.of_profile(profile)) as channel:
        try:
            signal_pb2_grpc.SignalServiceStub(channel).BatchLookup(request, timeout=CALL_SECONDS)
        except grpc.RpcError as refusal:
            if reason_of(refusal) != "LOOKUPS_EXHAUSTED":
                raise
            return False
    return True


def set_quota(gateway: Gateway, daily: int) -> None:
    request = usage_pb2.SetLookupQuotaRequest(
        request_id=request_id(), member_id="alpha", daily_limit=daily, monthly_limit=daily
    )
    with connected(gateway.address, Credentials.of_profile(gateway.operator)) as channel:
        usage_pb2_grpc.UsageServiceStub(channel).SetLookupQuota(request, timeout=CALL_SECONDS)


def usage_of(gateway: Gateway, profile: Path) -> usage_pb2.MemberUsage:
    with connected(gateway.address, Credentials.of_profile(profile)) as channel:
        reply = usage_pb2_grpc.UsageServiceStub(channel).ListUsage(
            usage_pb2.ListUsageRequest(), timeout=CALL_SECONDS
        )
    [member] = reply.members
    return member


@pytest.fixture
def metered(make_gateway: MakeGateway) -> Gateway:
    gateway = make_gateway()
    gateway.edit('metrics = ""', f'metrics = "127.0.0.1:{free_port()}"\nalarm_seconds = 0.2')
    gateway.start()
    return gateway


def test_a_quota_holds_across_workers_and_a_kill(metered: Gateway) -> None:
    alpha = metered.join("alpha")
    set_quota(metered, 12)
    # Each on a new connection, which the kernel gives to either worker.
    assert [look_up(metered, alpha, 2) for _ in range(5)] == [True] * 5
    metered.kill()
    metered.start()
    assert [look_up(metered, alpha, 2) for _ in range(5)] == [True, *[False] * 4]
    lookups = usage_of(metered, alpha).usage[0]
    assert (lookups.this_month, lookups.daily_limit, lookups.monthly_limit) == (12, 12, 12)


def test_evaluations_are_counted_and_alarms_come_unasked(metered: Gateway) -> None:
    alpha = metered.join("alpha")
    numbers = [PhoneNumber(f"+86138{number:08}") for number in range(1_001)]
    with Client.open(alpha) as client:
        client.tokenise(numbers)
        evaluations = usage_of(metered, alpha).usage[2]
        assert evaluations.kind == usage_pb2.USAGE_KIND_EVALUATIONS
        assert evaluations.this_month == 1_001

    alarm = "alarm UNUSED_TOKENS: 1001 evaluations this month, but 0 consents recorded"
    eventually(lambda: alarm in metered.log, "the supervisor logs the alarm")
    metrics = metered.config.read_text().partition('metrics = "')[2].partition('"')[0]

    def gauge() -> str:
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=30) as reply:
            text: str = reply.read().decode()
        return text

    shown = 'concordat_alarms_today{kind="UNUSED_TOKENS"} 1.0'
    eventually(lambda: shown in gauge(), "the alarm is in the metrics")
    # Neither names a member in the metrics nor repeats itself in the log.
    assert "alpha" not in gauge()
    assert metered.log.count(alarm) == 1


def test_the_command_line_shows_usage_and_sets_quotas(metered: Gateway) -> None:
    alpha, beta = metered.join("alpha"), metered.join("beta")
    done = concordat(
        *("quota", "set", "alpha", "--daily", "60", "--monthly", "70"),
        *("--profile", metered.operator),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "alpha may make 60 lookups a day and 70 a month now.\n"
    assert look_up(metered, alpha, 60)
    assert not look_up(metered, alpha, 1)

    shown = concordat("usage", "--profile", alpha)
    assert shown.returncode == 0, shown.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["alpha", "lookups", "60", "60", "60", "70"] in lines
    assert ["alpha", "lookups_refused", "60", "60"] in lines
    assert any(line[1:3] == ["alpha", "REFUSED_SHARE"] for line in lines)
    assert any(line[1:3] == ["alpha", "QUOTA_EXHAUSTED"] for line in lines)
    assert "beta" not in shown.stdout

    everybody = concordat("usage", "--profile", metered.auditor, "--json")
    members = {member["member"]: member for member in json.loads(everybody.stdout)}
    assert members.keys() == {"alpha", "beta"}
    assert members["alpha"]["usage"]["lookups"] == {
        "today": 60,
        "this_month": 60,
        "daily_limit": 60,
        "monthly_limit": 70,
    }
    kinds = {alarm["kind"] for alarm in members["alpha"]["alarms"]}
    assert kinds == {"REFUSED_SHARE", "QUOTA_EXHAUSTED"}
    assert members["beta"]["alarms"] == []
    only = concordat("usage", "--profile", metered.operator, "--member", "beta", "--json")
    assert [member["member"] for member in json.loads(only.stdout)] == ["beta"]

    other = concordat("usage", "--profile", beta, "--member", "alpha")
    assert other.returncode == 1
    assert "there is no member with this id" in other.stderr
    refused = concordat(
        *("quota", "set", "beta", "--daily", "6", "--monthly", "7", "--profile", alpha)
    )
    assert refused.returncode == 1
    assert "may not call" in refused.stderr
