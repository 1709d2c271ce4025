"""Privacy budgets: what each scope has spent, in zCDP, and a debit that cannot overrun a cap.

Two scopes carry every charge: the pool, whose cap bounds what all members together can learn of
one person, however they combine their answers; and the asking member, whose cap keeps one member
from spending everybody's budget. Budgets last for the pool's lifetime. Nothing is ever paid back:
a refund after a failure would itself tell something about the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NewType

import sqlalchemy as sa

from concordat_gateway.store.control_tables import budget
from concordat_privacy.dp.rho import NanoRho
from concordat_rpc.peer import Peer, Role

Scope = NewType("Scope", str)
"""Whose budget: "pool" or "member:<member_id>"."""

POOL: Final = Scope("pool")


@dataclass(frozen=True, slots=True)
class Caps:
    """What may ever be spent. Counts for a scope's first debit; from then on its row does."""

    pool: NanoRho
    member: NanoRho

    def of(self, scope: Scope) -> NanoRho:
        """The cap of a scope."""
        return self.pool if scope == POOL else self.member


@dataclass(frozen=True, slots=True)
class Account:
    """A scope's budget and what is spent of it."""

    scope: Scope
    cap: NanoRho
    spent: NanoRho


def scopes_of(caller: Peer) -> tuple[Scope, ...]:
    """The scopes that a caller's questions are charged to."""
    if caller.role is Role.MEMBER:
        return (POOL, Scope(f"member:{caller.name}"))
    return (POOL,)


def reserve(
    connection: sa.Connection, scopes: Sequence[Scope], caps: Caps, amount: NanoRho
) -> Scope | None:
    """Debit `amount` from all scopes, or from none: then the first that cannot bear it.

    Must run in a journal's change. Each debit is one conditional UPDATE, so that no order of
    transactions can take an account over its cap.
    """
    for scope in scopes:
        connection.execute(_OPEN, {"scope": scope, "cap": caps.of(scope)})
    # Of one name always: SQLAlchemy's own are numbered, and a statement a number fills caches.
    connection.exec_driver_sql("SAVEPOINT debits")
    empty = next((scope for scope in scopes if not _debit(connection, scope, amount)), None)
    if empty is not None:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT debits")
    connection.exec_driver_sql("RELEASE SAVEPOINT debits")
    return empty


def _debit(connection: sa.Connection, scope: Scope, amount: NanoRho) -> bool:
    return connection.execute(_DEBIT, {"debited": scope, "amount": amount}).rowcount == 1


def accounts(connection: sa.Connection, scopes: Sequence[Scope], caps: Caps) -> list[Account]:
    """The accounts of some scopes, in their order; one never debited has spent nothing."""
    rows = connection.execute(_SELECT, {"scopes": list(scopes)})
    opened = {scope: Account(scope, cap, spent) for scope, cap, spent in rows}
    return [opened.get(scope) or Account(scope, caps.of(scope), NanoRho(0)) for scope in scopes]


def differing(connection: sa.Connection, caps: Caps) -> list[Account]:
    """The accounts whose cap was fixed, by their first debit, at another value than `caps` has."""
    rows = connection.execute(_SELECT_ALL)
    found = [Account(scope, cap, spent) for scope, cap, spent in rows]
    return [account for account in found if account.cap != caps.of(account.scope)]


_OPEN = sa.text(
    "INSERT INTO budget (scope, cap_nano_rho, spent_nano_rho) VALUES (:scope, :cap, 0)"
    " ON CONFLICT (scope) DO NOTHING"
)
_AMOUNT = sa.bindparam("amount", type_=sa.BigInteger)
_DEBIT = (
    sa.update(budget)
    .where(
        budget.c.scope == sa.bindparam("debited"),
        budget.c.spent_nano_rho + _AMOUNT <= budget.c.cap_nano_rho,
    )
    .values(spent_nano_rho=budget.c.spent_nano_rho + _AMOUNT)
)
_SELECT_ALL = sa.select(budget.c.scope, budget.c.cap_nano_rho, budget.c.spent_nano_rho)
_SELECT = _SELECT_ALL.where(budget.c.scope.in_(sa.bindparam("scopes", expanding=True)))
