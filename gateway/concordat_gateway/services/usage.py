"""UsageService: translates messages; the rules are in `rules.usage` and `rules.quotas`."""

import grpc

from concordat.v1 import usage_pb2, usage_pb2_grpc
from concordat_gateway.ledger.journal import Entry, Journal
from concordat_gateway.rules import quotas, usage
from concordat_gateway.rules.alarms import Alarm
from concordat_gateway.rules.counters import UsageKind
from concordat_gateway.rules.usage import MemberUsage
from concordat_gateway.services._translate import (
    seconds_left,
    stored_reply,
    timestamp_of,
    unsigned_receipt,
)
from concordat_privacy.metering import Quota
from concordat_rpc import call
from concordat_store.clock import Clock

_SHOWN = (
    UsageKind.LOOKUPS,
    UsageKind.LOOKUPS_REFUSED,
    UsageKind.EVALUATIONS,
    UsageKind.CONSENTS,
    UsageKind.CARRIED,
)


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    """See proto/concordat/v1/usage.proto."""

    def __init__(self, journal: Journal, lookups: Quota, carried: Quota, clock: Clock) -> None:
        """`lookups`: the quota of members for whom the operator set no other; `carried`: of all."""
        self._journal = journal
        self._lookups = lookups
        self._carried = carried
        self._clock = clock

    def ListUsage(
        self, request: usage_pb2.ListUsageRequest, _context: grpc.ServicerContext
    ) -> usage_pb2.ListUsageResponse:
        now = self._clock()
        members = usage.list_usage(
            self._journal,
            call.current().peer,
            request.member_id,
            self._lookups,
            now,
            seconds_left(),
        )
        return usage_pb2.ListUsageResponse(
            members=[_member(member, self._carried) for member in members],
            as_of=timestamp_of(now),
        )

    def SetLookupQuota(
        self, request: usage_pb2.SetLookupQuotaRequest, _context: grpc.ServicerContext
    ) -> usage_pb2.SetLookupQuotaResponse:
        committed = quotas.set_lookup_quota(
            self._journal,
            call.current().peer,
            request.request_id,
            request.member_id,
            request.daily_limit,
            request.monthly_limit,
            _set,
            seconds_left(),
        )
        return stored_reply(usage_pb2.SetLookupQuotaResponse, committed)


def _set(entry: Entry) -> bytes:
    response = usage_pb2.SetLookupQuotaResponse(receipt=unsigned_receipt(entry))
    return response.SerializeToString()


def _member(member: MemberUsage, carried: Quota) -> usage_pb2.MemberUsage:
    limits = {
        UsageKind.LOOKUPS: (member.quota.daily, member.quota.monthly),
        UsageKind.CARRIED: (carried.daily, 0),
    }
    return usage_pb2.MemberUsage(
        member_id=member.member_id,
        usage=[_usage(member, kind, *limits.get(kind, (0, 0))) for kind in _SHOWN],
        alarms=map(_alarm, member.alarms),
    )


def _usage(member: MemberUsage, kind: UsageKind, daily: int, monthly: int) -> usage_pb2.Usage:
    return usage_pb2.Usage(
        kind=usage_pb2.UsageKind.ValueType(kind),
        today=member.counts.of_today(kind),
        this_month=member.counts.of_month(kind),
        daily_limit=daily,
        monthly_limit=monthly,
    )


def _alarm(alarm: Alarm) -> usage_pb2.Alarm:
    return usage_pb2.Alarm(
        kind=usage_pb2.AlarmKind.ValueType(alarm.kind),
        day=alarm.day,
        description=alarm.description,
    )
