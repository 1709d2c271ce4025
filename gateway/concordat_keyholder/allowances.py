"""Allowances: evaluations granted for a portfolio, beside a member's quota and only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Allowance:
    """What was granted to a member, and what it has used of it."""

    member_id: str
    granted: int
    used: int
    granted_at: int
    """Microseconds since 1970."""
    expires_at: int
    """Microseconds since 1970; excluded."""

    def left(self, now: int) -> int:
        """Evaluations that may still be had."""
        return self.granted - self.used if now < self.expires_at else 0


def grant(
    connection: sa.Connection, member_id: str, evaluations: int, expires_at: int, now: int
) -> None:
    """Grant an allowance, in the place of what is left of an older one."""
    connection.execute(
        _GRANT,
        {
            "member_id": member_id,
            "granted": evaluations,
            "granted_at": now,
            "expires_at": expires_at,
        },
    )


def charge(connection: sa.Connection, member_id: str, amount: int, now: int) -> bool:
    """Charge a member's allowance, if it has that much of one left."""
    row = {"member_id": member_id, "amount": amount, "now": now}
    return connection.execute(_CHARGE, row).first() is not None


def allowances(connection: sa.Connection) -> Sequence[Allowance]:
    """All allowances, also those that are over, by member id."""
    return [Allowance(*row) for row in connection.execute(_ALL)]


_COLUMNS: Final = "member_id, granted, used, granted_at, expires_at"
_GRANT = sa.text(
    f"INSERT INTO allowance ({_COLUMNS})"  # noqa: S608
    " VALUES (:member_id, :granted, 0, :granted_at, :expires_at)"
    " ON CONFLICT (member_id) DO UPDATE SET granted = excluded.granted, used = 0,"
    " granted_at = excluded.granted_at, expires_at = excluded.expires_at"
)
# One statement: two processes cannot both see the last evaluations left.
_CHARGE = sa.text(
    "UPDATE allowance SET used = used + :amount"
    " WHERE member_id = :member_id AND used + :amount <= granted AND :now < expires_at"
    " RETURNING used"
)
_ALL = sa.text(f"SELECT {_COLUMNS} FROM allowance ORDER BY member_id")  # noqa: S608
