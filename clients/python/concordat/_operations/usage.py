"""How much members ask, and their quotas."""

from datetime import date, timedelta

from concordat._checks import checked_integer, checked_text
from concordat._context import Context
from concordat._convert import member_of, time_of
from concordat._methods import LIST_USAGE, SET_LOOKUP_QUOTA
from concordat._operations.members import MAX_MEMBER_ID_CHARACTERS
from concordat._steps import Operation
from concordat.enums import AlarmKind, UsageKind
from concordat.errors import ProtocolViolation
from concordat.results import Alarm, MemberUsage, Receipt, Usage
from concordat.v1 import usage_pb2
from concordat_privacy.log.leaf import Json

MAX_DAILY_LOOKUPS = 1_000_000_000
MAX_MONTHLY_LOOKUPS = 31 * MAX_DAILY_LOOKUPS
_DAY_ZERO = date(1970, 1, 1)
_LAST_DAY = (date.max - _DAY_ZERO).days


def usage(
    context: Context, member_id: str | None, timeout: float | None
) -> Operation[tuple[MemberUsage, ...]]:
    """Counters, limits and alarms."""
    only = "" if member_id is None else _member_id(member_id)
    request = usage_pb2.ListUsageRequest(member_id=only)
    reply = yield from context.send(LIST_USAGE, request, timeout)
    as_of = time_of(reply.as_of, "as_of")
    return tuple(
        MemberUsage(
            member.member_id,
            tuple(map(_usage, member.usage)),
            tuple(map(_alarm, member.alarms)),
            as_of,
        )
        for member in reply.members
    )


def set_lookup_quota(
    context: Context,
    member_id: str,
    daily: int,
    monthly: int,
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[Receipt]:
    """Set a member's quota of lookups."""
    checked_integer(daily, "daily", 1, MAX_DAILY_LOOKUPS)
    checked_integer(monthly, "monthly", daily, MAX_MONTHLY_LOOKUPS)
    request = usage_pb2.SetLookupQuotaRequest(
        request_id=context.request_id(request_id),
        member_id=_member_id(member_id),
        daily_limit=daily,
        monthly_limit=monthly,
    )
    reply = yield from context.send(SET_LOOKUP_QUOTA, request, timeout)
    recorded: dict[str, Json] = {
        "member": member_id,
        "lookups_daily": daily,
        "lookups_monthly": monthly,
    }
    return context.ledger.receipt(reply.receipt, {"quota.set"}, recorded)


def _member_id(member_id: str) -> str:
    return checked_text(member_id, "member_id", MAX_MEMBER_ID_CHARACTERS)


def _usage(usage: usage_pb2.Usage) -> Usage:
    return Usage(
        kind=member_of(UsageKind, usage.kind, "usage.kind"),
        today=usage.today,
        this_month=usage.this_month,
        daily_limit=usage.daily_limit or None,
        monthly_limit=usage.monthly_limit or None,
    )


def _alarm(alarm: usage_pb2.Alarm) -> Alarm:
    if alarm.day > _LAST_DAY:
        raise ProtocolViolation(f"alarms.day: the gateway sent {alarm.day}, which is no day")
    return Alarm(
        kind=member_of(AlarmKind, alarm.kind, "alarms.kind"),
        day=_DAY_ZERO + timedelta(days=alarm.day),
        description=alarm.description,
    )
