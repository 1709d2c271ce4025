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
)


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    """See proto/concordat/v1/usage.proto."""

    def __init__(self, journal: Journal, quota: Quota, clock: Clock) -> None:
        """`quota`: of lookups, for members for whom the operator set no other."""
        self._journal = journal
        self._quota = quota
        self._clock = clock

    def ListUsage(
        self, request: usage_pb2.ListUsageRequest, _context: grpc.ServicerContext
    ) -> usage_pb2.ListUsageResponse:
        now = self._clock()
        members = usage.list_usage(
            self._journal,
            call.current().peer,
            request.member_id,
            self._quota,
            now,
            seconds_left(),
        )
        return usage_pb2.ListUsageResponse(members=map(_member, members), as_of=timestamp_of(now))

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


def _member(member: MemberUsage) -> usage_pb2.MemberUsage:
    return usage_pb2.MemberUsage(
        member_id=member.member_id,
        usage=[_usage(member, kind) for kind in _SHOWN],
        alarms=map(_alarm, member.alarms),
    )


def _usage(member: MemberUsage, kind: UsageKind) -> usage_pb2.Usage:
    limited = kind is UsageKind.LOOKUPS
    return usage_pb2.Usage(
        kind=usage_pb2.UsageKind.ValueType(kind),
        today=member.counts.of_today(kind),
        this_month=member.counts.of_month(kind),
        daily_limit=member.quota.daily if limited else 0,
        monthly_limit=member.quota.monthly if limited else 0,
    )


def _alarm(alarm: Alarm) -> usage_pb2.Alarm:
    return usage_pb2.Alarm(
        kind=usage_pb2.AlarmKind.ValueType(alarm.kind),
        day=alarm.day,
        description=alarm.description,
    )
