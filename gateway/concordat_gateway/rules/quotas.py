"""What a member may have: lookups, charged in the transaction that records them, and older tokens
carried over, charged before the key-holders are asked.

The journal runs such transactions one after another, in all processes, so what is read here is
what is charged to. Nothing here depends on a subject: a quota is met by how many are asked for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules.counters import UsageKind
from concordat_gateway.rules.requests import Fingerprint, Reply, Request, check_request_id, once
from concordat_gateway.rules.standing import check_standing
from concordat_gateway.store.control_tables import member as member_table
from concordat_privacy.metering import (
    Exhausted,
    Meter,
    Quota,
    Scope,
    arrival_after,
    check,
    day_number,
    first_day_of_month,
)
from concordat_rpc.errors import Refusal, again_in, exhausted, invalid, not_found
from concordat_rpc.peer import Peer
from concordat_store import meters

MAX_DAILY = 1_000_000_000
MAX_MONTHLY = 31 * MAX_DAILY

_UNITS = {Scope.DAY: "a day", Scope.MONTH: "a month", Scope.RATE: "at once"}


@dataclass(frozen=True, slots=True)
class LookupMeter:
    """What a member has used of its lookups, and may."""

    member_id: str
    meter: Meter
    quota: Quota
    exhausted_today: bool
    """Whether a quota refused a call today."""

    @classmethod
    def of(
        cls, transaction: Transaction, member_id: str, configured: Quota, now: int
    ) -> "LookupMeter":
        """A member's, which must be active. One statement: every lookup runs it.

        Raises Refusal PERMISSION_DENIED (NOT_A_MEMBER, MEMBER_SUSPENDED).
        """
        rows = transaction.query(
            _METER,
            {
                "member_id": member_id,
                "lookups": UsageKind.LOOKUPS,
                "exhausted": UsageKind.QUOTA_EXHAUSTED,
                "today": day_number(now),
                "first": first_day_of_month(now),
            },
        )
        check_standing(member_id, rows[0][0] if rows else None)
        [(_, daily, monthly, arrival, today, this_month, exhausted)] = rows
        return cls(
            member_id,
            Meter(today, this_month, arrival),
            quota_of(configured, daily, monthly),
            bool(exhausted),
        )

    def check(self, connection: sa.Connection, amount: int, now: int) -> Exhausted | None:
        """Whether a limit forbids `amount` more; the first time on a day it is noted.

        The caller commits the note and then refuses. Later refusals write nothing and are raised
        here: who is over its quota must not make the store work. Raises Refusal
        RESOURCE_EXHAUSTED (LOOKUPS_EXHAUSTED).
        """
        met = check(self.meter, self.quota, amount, now)
        if met is None:
            return None
        # Too fast is no alarm: a good client waits as long as it is told to.
        if self.exhausted_today or met.scope is Scope.RATE:
            raise lookups_exhausted(self.member_id, met)
        meters.count(connection, self.member_id, UsageKind.QUOTA_EXHAUSTED, 1, now)
        return met

    def charge(self, transaction: Transaction, amount: int, refused: int, now: int) -> None:
        """Charge `amount` lookups that `check` let through, of which so many were refused."""
        amounts: dict[int, int] = {UsageKind.LOOKUPS: amount, UsageKind.LOOKUPS_REFUSED: refused}
        arrival = arrival_after(self.meter, self.quota, amount, now)
        transaction.execute(
            [
                meters.counting(self.member_id, amounts, now),
                meters.advancing(self.member_id, UsageKind.LOOKUPS, arrival),
            ]
        )


def lookups_exhausted(member_id: str, met: Exhausted) -> Refusal:
    """The refusal of a call that a limit forbids. Nothing was looked up, recorded or charged."""
    wait = _wait_seconds(met)
    advice = "ask for fewer subjects" if wait is None else again_in(wait)
    return exhausted(
        "LOOKUPS_EXHAUSTED",
        f"at most {met.limit} lookups {_UNITS[met.scope]} are allowed; nothing was looked up; "
        f"{advice}",
        f"member:{member_id}/lookups/{met.scope.value}",
        wait,
    )


def charge_carried(
    journal: Journal, member_id: str, elements: int, quota: Quota, timeout_seconds: float
) -> None:
    """Charge a member elements that are to be carried to a later epoch, durably; all or none.

    A day that a limit refused is noted once, as for lookups. Raises Refusal RESOURCE_EXHAUSTED
    (CARRIED_EXHAUSTED), UNAVAILABLE, DEADLINE_EXCEEDED.
    """

    def charge(transaction: Transaction) -> Exhausted | None:
        connection, now = transaction.connection, transaction.now
        meter = meters.read(connection, member_id, UsageKind.CARRIED, now)
        # None pass whatever a limit that was lowered since says.
        met = check(meter, quota, elements, now) if elements else None
        if met is None:
            meters.count(connection, member_id, UsageKind.CARRIED, elements, now)
            arrival = arrival_after(meter, quota, elements, now)
            meters.advance(connection, member_id, UsageKind.CARRIED, arrival)
            return None
        noted = meters.read(connection, member_id, UsageKind.QUOTA_EXHAUSTED, now).today
        if noted or met.scope is Scope.RATE:
            raise _carried_exhausted(member_id, met)
        meters.count(connection, member_id, UsageKind.QUOTA_EXHAUSTED, 1, now)
        return met

    met = journal.write(charge, timeout_seconds).value
    if met is not None:
        raise _carried_exhausted(member_id, met)


def _carried_exhausted(member_id: str, met: Exhausted) -> Refusal:
    wait = _wait_seconds(met)
    advice = "send fewer" if wait is None else again_in(wait)
    return exhausted(
        "CARRIED_EXHAUSTED",
        f"at most {met.limit} tokens of earlier epochs {_UNITS[met.scope]} are carried over; "
        f"make tokens of the newest epoch, or {advice}",
        f"member:{member_id}/carried/{met.scope.value}",
        wait,
    )


def _wait_seconds(met: Exhausted) -> float | None:
    """In whole milliseconds, which a status carries.

    Rounded up, so that who comes back then is let through.
    """
    return None if met.retry_seconds is None else math.ceil(met.retry_seconds * 1000) / 1000


def quota_of(configured: Quota, daily: int | None, monthly: int | None) -> Quota:
    """The configured quota, with the limits that the operator set for the member, if any."""
    if daily is None or monthly is None:
        return configured
    return replace(configured, daily=daily, monthly=monthly)


def set_lookup_quota(
    journal: Journal,
    operator: Peer,
    request_id: bytes,
    member_id: str,
    daily: int,
    monthly: int,
    to_reply: Callable[[Entry], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Set a member's limits; rate and burst stay as configured. Counts stay as they are.

    Returns the bytes that `to_reply` made, now or when the same request came first.
    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (MEMBER_NOT_FOUND), ALREADY_EXISTS
    (REQUEST_ID_REUSED).
    """
    check_request_id(request_id)
    if not 1 <= daily <= MAX_DAILY:
        raise invalid("daily_limit", f"1 to {MAX_DAILY} wanted, {daily} given")
    if not daily <= monthly <= MAX_MONTHLY:
        raise invalid("monthly_limit", f"daily_limit to {MAX_MONTHLY} wanted, {monthly} given")
    content = Fingerprint("SetLookupQuota")
    content.add(member_id, daily, monthly)
    request = Request(operator.spiffe_id, "SetLookupQuota", request_id, content.digest())

    def record(transaction: Transaction) -> Reply:
        require_member(transaction.connection, member_id)
        transaction.connection.execute(
            _SET, {"member_id": member_id, "daily": daily, "monthly": monthly}
        )
        entry = transaction.append(
            "quota.set",
            operator.spiffe_id,
            {"member": member_id, "lookups_daily": daily, "lookups_monthly": monthly},
        )
        return Reply(to_reply(entry), entry.index)

    return journal.write(
        lambda transaction: once(transaction, request, lambda: record(transaction)),
        timeout_seconds,
    )


def require_member(connection: sa.Connection, member_id: str) -> None:
    """Raises Refusal NOT_FOUND (MEMBER_NOT_FOUND) unless somebody of this name was invited."""
    if connection.execute(_MEMBER, {"member_id": member_id}).scalar() is None:
        raise not_found("MEMBER_NOT_FOUND", "there is no member with this id")


_MEMBER = sa.select(member_table.c.member_no).where(
    member_table.c.member_id == sa.bindparam("member_id")
)
_SET = sa.text(
    "INSERT INTO lookup_quota (member_id, daily, monthly) VALUES (:member_id, :daily, :monthly)"
    " ON CONFLICT (member_id) DO UPDATE SET daily = excluded.daily, monthly = excluded.monthly"
)
# PostgreSQL's sum of BIGINT is a NUMERIC.
_METER = (
    "SELECT m.state, q.daily, q.monthly, coalesce(r.arrival, 0) AS arrival,"
    " coalesce((SELECT amount FROM usage WHERE member_id = m.member_id AND kind = :lookups"
    " AND day = :today), 0) AS today,"
    " CAST(coalesce((SELECT sum(amount) FROM usage WHERE member_id = m.member_id"
    " AND kind = :lookups AND day BETWEEN :first AND :today), 0) AS BIGINT) AS this_month,"
    " coalesce((SELECT amount FROM usage WHERE member_id = m.member_id AND kind = :exhausted"
    " AND day = :today), 0) AS exhausted"
    " FROM member m"
    " LEFT JOIN lookup_quota q ON q.member_id = m.member_id"
    " LEFT JOIN usage_rate r ON r.member_id = m.member_id AND r.kind = :lookups"
    " WHERE m.member_id = :member_id"
)
