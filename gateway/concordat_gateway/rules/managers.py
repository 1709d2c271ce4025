"""Consent managers: whose signatures, beside a subject's own, are evidence of consents."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules.drafts import text_problems
from concordat_gateway.store.control_tables import consent_manager as manager_table
from concordat_privacy.jwk import JwkError, PublicJwk, parse_jwk
from concordat_rpc.errors import Refusal, already_exists, invalid, not_found
from concordat_rpc.peer import Peer

_MANAGER_ID = re.compile(r"[a-z][a-z0-9-]{1,39}")
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Manager:
    """A consent manager. Times in microseconds since the epoch; fields as in the store."""

    manager_id: str
    name: str
    jwk: str
    """The members that make its key, as RFC 7638 writes them."""
    thumbprint: bytes
    registered_at: int
    disabled_at: int | None = None

    @property
    def key(self) -> PublicJwk:
        """Its public key."""
        return parse_jwk(self.jwk)


@dataclass(frozen=True, slots=True)
class ManagerChange:
    """A manager after a change, and its entry; None where nothing changed."""

    manager: Manager
    entry: Entry | None


def register(
    journal: Journal,
    operator: Peer,
    manager_id: str,
    name: str,
    jwk: str,
    timeout_seconds: float,
) -> Committed[ManagerChange]:
    """Register a manager. The same once more changes nothing.

    Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS (MANAGER_EXISTS, MANAGER_KEY_EXISTS).
    """
    if _MANAGER_ID.fullmatch(manager_id) is None:
        raise invalid("manager_id", "2 to 40 of a-z, 0-9 and -, a letter first, wanted")
    if not name:
        raise invalid("name", f"1 to {_MAX_NAME} characters wanted")
    for problem in text_problems("name", name, _MAX_NAME):
        raise invalid("name", problem.description)
    try:
        key = parse_jwk(jwk)
    except JwkError as error:
        raise invalid("jwk", str(error)) from None

    def change(transaction: Transaction) -> ManagerChange:
        known = {one.manager_id: one for one in read_all(transaction.connection)}
        manager = Manager(manager_id, name, key.text, key.thumbprint, transaction.now)
        existing = known.get(manager_id)
        if existing is not None:
            if replace(existing, registered_at=transaction.now) == manager:
                return ManagerChange(existing, None)
            raise already_exists("MANAGER_EXISTS", f"{manager_id} is registered or was")
        if any(one.thumbprint == key.thumbprint for one in known.values()):
            raise already_exists("MANAGER_KEY_EXISTS", "the key is, or was, another manager's")
        transaction.connection.execute(
            _INSERT, {name: getattr(manager, name) for name in Manager.__dataclass_fields__}
        )
        entry = transaction.append(
            "manager.registered",
            operator.spiffe_id,
            {"manager": manager_id, "name": name, "key": key.thumbprint.hex()},
        )
        return ManagerChange(manager, entry)

    return journal.write(change, timeout_seconds)


def disable(
    journal: Journal, operator: Peer, manager_id: str, timeout_seconds: float
) -> Committed[ManagerChange]:
    """Take no more evidence of a manager. A second time changes nothing.

    Raises Refusal NOT_FOUND (MANAGER_NOT_FOUND).
    """

    def change(transaction: Transaction) -> ManagerChange:
        manager = read_one(transaction.connection, manager_id)
        if manager.disabled_at is not None:
            return ManagerChange(manager, None)
        transaction.connection.execute(_DISABLE, {"id": manager_id, "disabled_at": transaction.now})
        entry = transaction.append(
            "manager.disabled",
            operator.spiffe_id,
            {
                "manager": manager_id,
                "name": manager.name,
                "key": manager.thumbprint.hex(),
            },
        )
        return ManagerChange(replace(manager, disabled_at=transaction.now), entry)

    return journal.write(change, timeout_seconds)


def read_all(connection: sa.Connection) -> Sequence[Manager]:
    """All managers by id, disabled ones too."""
    return [Manager(*row) for row in connection.execute(_ALL)]


def read_one(connection: sa.Connection, manager_id: str) -> Manager:
    """One manager. Raises Refusal NOT_FOUND (MANAGER_NOT_FOUND)."""
    row = connection.execute(_ONE, {"id": manager_id}).one_or_none()
    if row is None:
        raise _no_such_manager()
    return Manager(*row)


def _no_such_manager() -> Refusal:
    return not_found("MANAGER_NOT_FOUND", "no consent manager of this id is registered")


_COLUMNS = [manager_table.c[name] for name in Manager.__dataclass_fields__]
_ALL = sa.select(*_COLUMNS).order_by(manager_table.c.manager_id)
_ONE = sa.select(*_COLUMNS).where(manager_table.c.manager_id == sa.bindparam("id"))
_INSERT = sa.insert(manager_table)
_DISABLE = (
    sa.update(manager_table)
    .where(manager_table.c.manager_id == sa.bindparam("id"))
    .values(disabled_at=sa.bindparam("disabled_at"))
)
