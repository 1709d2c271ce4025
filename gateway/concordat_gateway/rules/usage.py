"""Usage: the counters, limits and alarms of members, as they and the oversight may see them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.alarms import HORIZON_DAYS, Alarm, AlarmKind, Counts, alarms_of
from concordat_gateway.rules.counters import UsageKind
from concordat_gateway.rules.quotas import quota_of
from concordat_gateway.store.control_tables import alarm as alarm_table
from concordat_gateway.store.control_tables import lookup_quota as quota_table
from concordat_gateway.store.control_tables import member as member_table
from concordat_privacy.metering import Quota, day_number, first_day_of_month
from concordat_rpc.errors import not_found
from concordat_rpc.peer import Peer, Role
from concordat_store import meters

ALARM_DAYS = 31
"""Alarms of so many days, today's included, are shown."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MemberUsage:
    """What one member used, and what is noticed about it."""

    member_id: str
    counts: Counts
    quota: Quota
    """Of lookups."""
    alarms: Sequence[Alarm]
    """Of the last ALARM_DAYS days, newest first."""


def list_usage(
    journal: Journal, caller: Peer, member_id: str, configured: Quota, now: int, timeout: float
) -> list[MemberUsage]:
    """The usage of one member, or of all by id; today's alarms are raised before.

    A member sees itself, whoever it asks for: of others it does not learn whether they exist.
    Raises Refusal NOT_FOUND (MEMBER_NOT_FOUND).
    """
    wanted = member_id
    if caller.role is Role.MEMBER:
        wanted = caller.name
    if member_id not in ("", wanted):
        raise not_found("MEMBER_NOT_FOUND", "there is no member with this id")
    _raise_alarms(journal, wanted, now, timeout)
    with journal.read() as connection:
        found = _usage(connection, wanted, configured, now)
    if wanted and not found:
        raise not_found("MEMBER_NOT_FOUND", "there is no member with this id")
    return found


def watch(journal: Journal, now: int, timeout: float = 30.0) -> Mapping[AlarmKind, int]:
    """Raise the alarms of all members; how many members have one today, of each kind."""
    _raise_alarms(journal, "", now, timeout)
    with journal.read() as connection:
        rows = connection.execute(_TODAYS, {"today": day_number(now)}).all()
    today: dict[AlarmKind, int] = dict.fromkeys(AlarmKind, 0)
    today.update((AlarmKind(kind), members) for kind, members in rows)
    return today


def _raise_alarms(journal: Journal, member_id: str, now: int, timeout: float) -> None:
    """Keep and log the alarms of one member, or all, that were not raised today before."""
    with journal.read() as connection:
        known = {
            (row.member_id, row.kind)
            for row in connection.execute(_SINCE, {"first": day_number(now)})
        }
        counted = _counts(connection, now)
    new = [
        (member, alarm)
        for member, counts in counted.items()
        if member_id in ("", member)
        for alarm in alarms_of(counts)
        if (member, alarm.kind) not in known
    ]
    if not new:
        return

    def keep(transaction: Transaction) -> list[tuple[str, Alarm]]:
        # Another process may have seen it meanwhile: whoever keeps it tells of it.
        return [found for found in new if keep_alarm(transaction.connection, *found)]

    log_alarms(journal.write(keep, timeout).value)


def log_alarms(raised: Iterable[tuple[str, Alarm]]) -> None:
    """Log alarms of members that `keep_alarm` kept, once its transaction is durable."""
    for member, alarm in raised:
        _log.warning(
            "alarm %s: %s",
            alarm.kind.name,
            alarm.description,
            extra={"member": member, "alarm": alarm.kind.name},
        )


def keep_alarm(connection: sa.Connection, member_id: str, alarm: Alarm) -> bool:
    """Keep an alarm of a member; whether it is the day's first of its kind: then log it."""
    row = connection.execute(
        _KEEP,
        {
            "member_id": member_id,
            "day": alarm.day,
            "kind": alarm.kind,
            "description": alarm.description,
        },
    )
    return row.one_or_none() is not None


def _usage(
    connection: sa.Connection, member_id: str, configured: Quota, now: int
) -> list[MemberUsage]:
    counted = _counts(connection, now)
    alarms: dict[str, list[Alarm]] = {}
    first = day_number(now) - ALARM_DAYS + 1
    for row in connection.execute(_SINCE, {"first": first}):
        alarm = Alarm(AlarmKind(row.kind), row.day, row.description)
        alarms.setdefault(row.member_id, []).append(alarm)
    return [
        MemberUsage(
            row.member_id,
            counted.get(row.member_id) or _counts_of({}, now),
            quota_of(configured, row.daily, row.monthly),
            alarms.get(row.member_id, ()),
        )
        for row in connection.execute(_MEMBERS)
        if member_id in ("", row.member_id)
    ]


def _counts(connection: sa.Connection, now: int) -> dict[str, Counts]:
    days: dict[str, dict[tuple[UsageKind, int], int]] = {}
    history = meters.history(connection, list(UsageKind), day_number(now) - HORIZON_DAYS)
    for (member_id, kind, day), amount in history.items():
        days.setdefault(member_id, {})[UsageKind(kind), day] = amount
    return {member_id: _counts_of(found, now) for member_id, found in days.items()}


def _counts_of(days: Mapping[tuple[UsageKind, int], int], now: int) -> Counts:
    return Counts(days, day_number(now), first_day_of_month(now))


_MEMBERS = (
    sa.select(member_table.c.member_id, quota_table.c.daily, quota_table.c.monthly)
    .outerjoin(quota_table, quota_table.c.member_id == member_table.c.member_id)
    .order_by(member_table.c.member_id)
)
_SINCE = (
    sa.select(alarm_table)
    .where(alarm_table.c.day >= sa.bindparam("first"))
    .order_by(alarm_table.c.day.desc(), alarm_table.c.kind)
)
_TODAYS = (
    sa.select(alarm_table.c.kind, sa.func.count())
    .where(alarm_table.c.day == sa.bindparam("today"))
    .group_by(alarm_table.c.kind)
)
_KEEP = sa.text(
    "INSERT INTO alarm (member_id, day, kind, description)"
    " VALUES (:member_id, :day, :kind, :description) ON CONFLICT DO NOTHING RETURNING kind"
)
