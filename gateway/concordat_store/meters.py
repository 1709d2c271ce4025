"""Meters in a store: counted and limited in the transaction that does what is counted.

Counts are kept a day, so that a month is a sum and the past can be looked at. The row with the
rate's state is also what is locked: processes that charge one member wait for each other, on
PostgreSQL too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from concordat_privacy.metering import (
    Exhausted,
    Meter,
    Quota,
    arrival_after,
    check,
    day_number,
    first_day_of_month,
)
from concordat_store.schema import BigInt


def define_meters(metadata: sa.MetaData) -> None:
    """Define the tables `usage` and `usage_rate` in a store's metadata."""
    sa.Table(
        "usage",
        metadata,
        sa.Column("member_id", sa.String, primary_key=True),
        sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("amount", BigInt, nullable=False),
    )
    sa.Table(
        "usage_rate",
        metadata,
        sa.Column("member_id", sa.String, primary_key=True),
        sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("arrival", BigInt, nullable=False),
    )


def charge(
    connection: sa.Connection,
    member_id: str,
    kind: int,
    amount: int,
    quota: Quota,
    now: int,
) -> Exhausted | None:
    """Charge `amount`, or say which limit forbids it and charge nothing.

    Runs in the caller's writing transaction, with which the charge commits or is undone. `now` is
    microseconds since 1970.
    """
    key = {"member_id": member_id, "kind": kind}
    connection.execute(_LOCK, key)
    meter = read(connection, member_id, kind, now)
    exhausted = check(meter, quota, amount, now)
    if exhausted is None:
        arrival = arrival_after(meter, quota, amount, now)
        connection.execute(_ADVANCE, {**key, "arrival": arrival})
        count(connection, member_id, kind, amount, now)
    return exhausted


def count(
    connection: sa.Connection,
    member_id: str,
    kind: int,
    amount: int,
    now: int,
) -> None:
    """Count without a limit."""
    connection.execute(
        _COUNT,
        {"member_id": member_id, "kind": kind, "day": day_number(now), "amount": amount},
    )


def read(connection: sa.Connection, member_id: str, kind: int, now: int) -> Meter:
    """What a member has used of one kind."""
    today = day_number(now)
    key = {"member_id": member_id, "kind": kind}
    span = {"first": first_day_of_month(now), "last": today}
    days = connection.execute(_OF_DAYS, {**key, **span}).all()
    arrival = connection.execute(_ARRIVAL, key).scalar()
    return Meter(
        sum(amount for day, amount in days if day == today),
        sum(amount for _, amount in days),
        arrival or 0,
    )


def history(
    connection: sa.Connection, kinds: Collection[int], first_day: int
) -> Mapping[tuple[str, int, int], int]:
    """(member_id, kind, day) -> amount, from a day on."""
    rows = connection.execute(_HISTORY, {"kinds": sorted(kinds), "first": first_day})
    return {(member, kind, day): amount for member, kind, day, amount in rows}


_OF_DAYS = sa.text(
    "SELECT day, amount FROM usage WHERE member_id = :member_id AND kind = :kind"
    " AND day BETWEEN :first AND :last"
)
_ARRIVAL = sa.text("SELECT arrival FROM usage_rate WHERE member_id = :member_id AND kind = :kind")
_HISTORY = sa.text(
    "SELECT member_id, kind, day, amount FROM usage WHERE day >= :first AND kind IN :kinds"
).bindparams(sa.bindparam("kinds", expanding=True))
# The same text on both kinds of database; the lock is the row that the conflict touches.
_LOCK = sa.text(
    "INSERT INTO usage_rate (member_id, kind, arrival) VALUES (:member_id, :kind, 0)"
    " ON CONFLICT (member_id, kind) DO UPDATE SET arrival = usage_rate.arrival"
)
_ADVANCE = sa.text(
    "UPDATE usage_rate SET arrival = :arrival WHERE member_id = :member_id AND kind = :kind"
)
_COUNT = sa.text(
    "INSERT INTO usage (member_id, kind, day, amount) VALUES (:member_id, :kind, :day, :amount)"
    " ON CONFLICT (member_id, kind, day) DO UPDATE SET amount = usage.amount + excluded.amount"
)
