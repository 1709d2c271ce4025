"""Token keys in the ledger: which epoch's key the gateway serves, from when on.

A key of the pinned log is recorded before it is served, once for all processes, so that an auditor
who has the key log can tell under which key tokens were made at any time.
"""

from collections.abc import Mapping
from typing import Final

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.requests import (
    REQUEST_ID_BYTES,
    Fingerprint,
    Reply,
    Request,
    find,
    once,
)
from concordat_privacy.keylog import EpochKey, KeyLog
from concordat_privacy.log.leaf import Json

_CHANGE_SECONDS: Final = 10.0
# Stands for all processes: whichever comes first records a key for all of them.
_CALLER: Final = "key-log"


def adopt_keys(journal: Journal, log: KeyLog, actor: str) -> None:
    """Record the keys of a log that are not recorded yet, oldest first; `actor` is a SPIFFE id.

    Raises Refusal UNAVAILABLE, DEADLINE_EXCEEDED; then the log must not be served.
    """
    with journal.read() as connection:
        new = [key for key in log.keys if find(connection, _adoption(key)) is None]

    def change(transaction: Transaction) -> None:
        for key in new:
            fields: dict[str, Json] = {"epoch": key.epoch, "key": bytes(key.public_key).hex()}
            _record(transaction, _adoption(key), "key.adopted", actor, fields)

    if new:
        journal.write(change, _CHANGE_SECONDS)


def retire_key(transaction: Transaction, epoch: int, actor: str) -> None:
    """Record that an epoch's key is retired, unless it is recorded already."""

    _record(transaction, _request("RetireKey", epoch), "key.retired", actor, {"epoch": epoch})


def _record(
    transaction: Transaction, request: Request, type: str, actor: str, fields: Mapping[str, Json]
) -> None:
    """Append an entry, unless the request for it was made before."""

    def append() -> Reply:
        return Reply(b"", transaction.append(type, actor, fields).index)

    once(transaction, request, append)


def _adoption(key: EpochKey) -> Request:
    return _request("AdoptKey", key.epoch, bytes(key.public_key))


def _request(method: str, *values: int | bytes) -> Request:
    fingerprint = Fingerprint(method)
    fingerprint.add(*values)
    digest = fingerprint.digest()
    return Request(_CALLER, method, digest[:REQUEST_ID_BYTES], digest)
