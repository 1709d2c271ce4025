"""The epoch that the stores are at: how new stores get one, and what must fit it.

Control says which epoch it is; 0 while a rotation moves the stores. The signals store keeps a copy,
because it is read in snapshots of its own. The two are no one transaction: a process that dies in
between leaves the copy behind, and `settle` brings it up to date.
"""

from collections.abc import Collection

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.store import rotation_sql as sql
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subjects import ROTATING, ElementSeal, SealBroken, SubjectKey
from concordat_privacy.keylog import KeyLog

_CHANGE_SECONDS = 600.0


def adopt_epoch(
    journal: Journal, signals: SignalStore, key_log: KeyLog, peppers: Collection[int], now: int
) -> None:
    """Put stores that know no subject yet at the newest epoch in use; settle the two stores.

    Run before anything serves. `peppers` are the epochs of which there is a pepper: stores can be
    at no other. Raises Refusal UNAVAILABLE where a store fails.
    """
    usable = [key.epoch for key in key_log.in_use(now) if key.epoch in peppers]
    if usable and journal.tokens_epoch not in (max(usable), ROTATING):

        def change(transaction: Transaction) -> None:
            if sql.is_empty(transaction.connection):
                transaction.tokens_epoch = max(usable)

        journal.write(change, _CHANGE_SECONDS)
    settle(journal, signals)


def settle(journal: Journal, signals: SignalStore) -> None:
    """Bring the signals store's epoch up to control's, unless the stores are being moved.

    Idempotent. Raises Refusal UNAVAILABLE where a store fails.
    """

    def change(transaction: Transaction) -> None:
        # Under the ledger's lock, as everything that changes either: what is read stays true.
        epoch = transaction.tokens_epoch
        if epoch not in (ROTATING, signals.epoch()):
            signals.set_epoch(epoch)

    if signals.epoch() != journal.tokens_epoch:
        journal.write(change, _CHANGE_SECONDS)


def is_pepper_of(connection: sa.Connection, epoch: int, pepper: bytes) -> bool:
    """Whether what control keeps sealed for an epoch opens with a pepper, tried on a few elements.

    True where nothing is sealed.
    """
    seal = ElementSeal(pepper)
    found = sql.sealed_for(connection, epoch)
    return not found or any(_opens(seal, *one) for one in found)


def _opens(seal: ElementSeal, subject: SubjectKey, sealed: bytes) -> bool:
    try:
        seal.open(subject, sealed)
    except SealBroken:
        return False
    return True
