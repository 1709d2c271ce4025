"""Retiring an epoch: what is still sealed for it is forgotten, once nothing can need it.

The ledger says so in the same transaction, before the pepper is destroyed.
"""

from typing import Final

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.adopting import retire_key
from concordat_gateway.rules.rotation import RotationError
from concordat_gateway.store import rotation_sql as sql
from concordat_privacy.keylog import KeyLog

_CHANGE_SECONDS: Final = 600.0


def check_forgettable(journal: Journal, key_log: KeyLog, epoch: int, now: int) -> None:
    """Raises RotationError where an epoch has not ended or the stores are still at it."""
    key = key_log.key(epoch)
    if key is None:
        raise RotationError(f"the key log has no epoch {epoch}")
    if key.valid_to is None or now < key.valid_to:
        raise RotationError(f"epoch {epoch} has not ended: its tokens are in use")
    with journal.read() as connection:
        under_way = sql.read(connection)
    if under_way is not None or journal.tokens_epoch <= epoch:
        raise RotationError(f"the stores have not left epoch {epoch}: rotate them first")


def forget_elements(journal: Journal, key_log: KeyLog, epoch: int, now: int, actor: str) -> int:
    """Forget whatever is still sealed under the pepper of an epoch that has ended; how much it was.

    `actor` is the SPIFFE id of whoever retires it. Raises RotationError as `check_forgettable`.
    """
    check_forgettable(journal, key_log, epoch, now)

    def change(transaction: Transaction) -> int:
        retire_key(transaction, epoch, actor)
        return sql.delete_elements(transaction.connection, epoch)

    return journal.write(change, _CHANGE_SECONDS).value
