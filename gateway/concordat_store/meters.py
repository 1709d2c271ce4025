"""Meters in a store: counted and limited in the transaction that does what is counted.

Counts are kept a day, so that a month is a sum and the past can be looked at. The row with the
rate's state is also what is locked: processes that charge one member wait for each other, on
PostgreSQL too.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

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
    arrival = connection.execute(_LOCK, key).scalar_one()
    # Only now, under the lock: on PostgreSQL a statement sees what committed before it began.
    meter = _meter(connection.execute(_OF_DAYS, {**key, **_span(now)}).one(), arrival)
    exhausted = check(meter, quota, amount, now)
    if exhausted is None:
        advance(connection, member_id, kind, arrival_after(meter, quota, amount, now))
        count(connection, member_id, kind, amount, now)
    return exhausted


def advance(connection: sa.Connection, member_id: str, kind: int, arrival: int) -> None:
    """Set the rate's state: for a caller that keeps others away by a lock of its own.

    `arrival` as `metering.arrival_after` gives it.
    """
    statement, values = advancing(member_id, kind, arrival)
    connection.execute(_text(statement), values)


def advancing(member_id: str, kind: int, arrival: int) -> tuple[str, dict[str, object]]:
    """What `advance` runs, with `:name` for the parameters."""
    return _ADVANCE, {"member_id": member_id, "kind": kind, "arrival": arrival}


def count(
    connection: sa.Connection,
    member_id: str,
    kind: int,
    amount: int,
    now: int,
) -> None:
    """Count without a limit, on the day of `now`, in microseconds since 1970."""
    count_all(connection, member_id, {kind: amount}, now)


def count_all(
    connection: sa.Connection, member_id: str, amounts: Mapping[int, int], now: int
) -> None:
    """Count several kinds, of which there is at least one, in one statement."""
    statement, values = counting(member_id, amounts, now)
    connection.execute(_text(statement), values)


def counting(member_id: str, amounts: Mapping[int, int], now: int) -> tuple[str, dict[str, object]]:
    """What `count_all` runs, with `:name` for the parameters."""
    values: dict[str, object] = {"member_id": member_id, "day": day_number(now)}
    # Sorted: two transactions that count the same kinds must not wait for each other crosswise.
    for position, kind in enumerate(sorted(amounts)):
        values[f"kind_{position}"] = kind
        values[f"amount_{position}"] = amounts[kind]
    return _count_of(len(amounts)), values


def read(connection: sa.Connection, member_id: str, kind: int, now: int) -> Meter:
    """What a member has used of one kind. `now` is microseconds since 1970."""
    key = {"member_id": member_id, "kind": kind}
    arrival = connection.execute(_ARRIVAL, key).scalar()
    return _meter(connection.execute(_OF_DAYS, {**key, **_span(now)}).one(), arrival or 0)


def history(
    connection: sa.Connection, kinds: Collection[int], first_day: int
) -> Mapping[tuple[str, int, int], int]:
    """(member_id, kind, day) -> amount, from a day on; days are counted from 1970-01-01."""
    rows = connection.execute(_HISTORY, {"kinds": sorted(kinds), "first": first_day})
    return {(member, kind, day): amount for member, kind, day, amount in rows}


def _span(now: int) -> dict[str, int]:
    return {"first": first_day_of_month(now), "today": day_number(now)}


def _meter(row: sa.Row[*tuple[Any, ...]], arrival: int) -> Meter:
    today, this_month = row
    return Meter(today, this_month, arrival)


_text = functools.cache(sa.text)


@functools.cache
def _count_of(kinds: int) -> str:
    rows = ", ".join(f"(:member_id, :kind_{n}, :day, :amount_{n})" for n in range(kinds))
    return (
        f"INSERT INTO usage (member_id, kind, day, amount) VALUES {rows}"  # noqa: S608  fixed text
        " ON CONFLICT (member_id, kind, day) DO UPDATE SET amount = usage.amount + excluded.amount"
    )


# PostgreSQL's sum of BIGINT is a NUMERIC.
_OF_DAYS = sa.text(
    "SELECT CAST(coalesce(sum(CASE WHEN day = :today THEN amount END), 0) AS BIGINT),"
    " CAST(coalesce(sum(amount), 0) AS BIGINT)"
    " FROM usage WHERE member_id = :member_id AND kind = :kind AND day BETWEEN :first AND :today"
)
_ARRIVAL = sa.text("SELECT arrival FROM usage_rate WHERE member_id = :member_id AND kind = :kind")
_HISTORY = sa.text(
    "SELECT member_id, kind, day, amount FROM usage WHERE day >= :first AND kind IN :kinds"
).bindparams(sa.bindparam("kinds", expanding=True))
# The same text on both kinds of database; the lock is the row that the conflict touches.
_LOCK = sa.text(
    "INSERT INTO usage_rate (member_id, kind, arrival) VALUES (:member_id, :kind, 0)"
    " ON CONFLICT (member_id, kind) DO UPDATE SET arrival = usage_rate.arrival RETURNING arrival"
)
_ADVANCE = (
    "INSERT INTO usage_rate (member_id, kind, arrival) VALUES (:member_id, :kind, :arrival)"
    " ON CONFLICT (member_id, kind) DO UPDATE SET arrival = excluded.arrival"
)
