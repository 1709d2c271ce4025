"""A member's standing: whether it may use data at this moment.

The identity check looks at it when a call begins. A call may last; so every change that a member
causes asks again, in the transaction that would commit it.
"""

from enum import IntEnum

import sqlalchemy as sa

from concordat_gateway.store.control_tables import member
from concordat_rpc.errors import permission_denied


class MemberState(IntEnum):
    """Numbers as in `concordat.v1` (member.proto)."""

    INVITED = 1
    ACTIVE = 2
    SUSPENDED = 3


def require_active(connection: sa.Connection, member_id: str) -> None:
    """Raises Refusal PERMISSION_DENIED (NOT_A_MEMBER, MEMBER_SUSPENDED)."""
    check_standing(member_id, connection.execute(_STATE, {"member_id": member_id}).scalar())


def check_standing(member_id: str, state: int | None) -> None:
    """Refuse by the stored state, None for who is unknown. Raises as `require_active`."""
    if state is None or state == MemberState.INVITED:
        raise permission_denied("NOT_A_MEMBER", f"{member_id} is not a member of this consortium")
    if state == MemberState.SUSPENDED:
        raise permission_denied("MEMBER_SUSPENDED", f"{member_id} is suspended")


_STATE = sa.select(member.c.state).where(member.c.member_id == sa.bindparam("member_id"))
