"""Repeated requests: the work is done once, the first reply is given again (AIP-155).

A caller that does not know whether its call arrived sends it again with the same request_id. The
record of the first call commits in the same transaction as the change it made, so a repeat finds
either both or neither. Writers are serialised by the journal: of two concurrent calls with one
request_id the second waits and then finds the first one's reply.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Transaction
from concordat_gateway.store.control_tables import request as request_table
from concordat_rpc.errors import invalid, request_id_reused

REQUEST_ID_BYTES = 16
SHA256_BYTES = 32


class Fingerprint:
    """A running SHA-256 over the values of a request, in the order they are added.

    Each value goes in as one letter for its type, its length (8 bytes, big-endian) and its bytes;
    integers as decimal digits. So two requests have one digest only if all values are equal,
    however a stream was cut into messages. The digest compares requests within this server: it is
    no identity of the protobuf message, whose serialisation is not canonical.
    """

    def __init__(self, method: str) -> None:
        self._hash = hashlib.sha256()
        self.add(method)

    def add(self, *values: bytes | str | int | None) -> None:
        """Append values."""
        self._hash.update(b"".join(map(_encoded, values)))

    def digest(self) -> bytes:
        """The SHA-256 of what was added so far, 32 bytes."""
        return self._hash.digest()


def _encoded(value: bytes | str | int | None) -> bytes:
    match value:
        case bytes():
            return _head(len(value)) + value
        case str():
            data = value.encode()
            return b"s" + len(data).to_bytes(8, "big") + data
        case int():
            data = b"%d" % value
            return b"i" + len(data).to_bytes(8, "big") + data
        case None:
            return b"n"


def _head(length: int) -> bytes:
    # Batches add millions of short values.
    return _HEADS[length] if length < len(_HEADS) else b"b" + length.to_bytes(8, "big")


_HEADS = [b"b" + length.to_bytes(8, "big") for length in range(256)]


@dataclass(frozen=True, slots=True)
class Request:
    """What makes two calls the same call."""

    caller: str
    """SPIFFE id of the caller: a request_id is the caller's own, nobody else can occupy it."""
    method: str
    """Name of the RPC, such as "GrantConsents"."""
    request_id: bytes
    """16 bytes chosen by the caller."""
    sha256: bytes
    """Digest of the content, see Fingerprint."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call answered, without what may change: the checkpoint of its receipt."""

    body: bytes
    entry_index: int | None
    """Its ledger entry, where it has one."""


def check_request_id(request_id: bytes, field: str = "request_id") -> bytes:
    """The id, if it has the right length. Raises Refusal INVALID_ARGUMENT."""
    if len(request_id) != REQUEST_ID_BYTES:
        raise invalid(field, f"{REQUEST_ID_BYTES} bytes wanted, {len(request_id)} given")
    return request_id


def check_sha256(value: bytes, field: str) -> bytes:
    """The hash, if it has the right length. Raises Refusal INVALID_ARGUMENT."""
    if len(value) != SHA256_BYTES:
        raise invalid(field, f"{SHA256_BYTES} bytes wanted, {len(value)} given")
    return value


def once(transaction: Transaction, request: Request, work: Callable[[], Reply]) -> bytes:
    """The reply to a request: the recorded one, else that of `work`, which is then recorded.

    Raises Refusal ALREADY_EXISTS, reason REQUEST_ID_REUSED, where the id was used with other
    content.
    """
    recorded = find(transaction.connection, request)
    if recorded is not None:
        return recorded.body
    return keep(transaction, request, work())


def keep(transaction: Transaction, request: Request, reply: Reply) -> bytes:
    """Record the first reply to a request, which `find` has not found; returns its body."""
    transaction.connection.execute(
        _INSERT,
        {
            "caller": request.caller,
            "method": request.method,
            "request_id": request.request_id,
            "request_sha256": request.sha256,
            "entry": reply.entry_index,
            "reply": reply.body,
            "created_at": transaction.now,
        },
    )
    return reply.body


def find(connection: sa.Connection, request: Request) -> Reply | None:
    """The recorded reply to a request, None if it is new. Raises as `once` does."""
    row = connection.execute(
        _SELECT,
        {
            "caller": request.caller,
            "method": request.method,
            "request_id": request.request_id,
        },
    ).one_or_none()
    if row is None:
        return None
    if row.request_sha256 != request.sha256:
        raise request_id_reused()
    return Reply(row.reply, row.entry)


_INSERT = sa.insert(request_table)
_SELECT = sa.select(
    request_table.c.request_sha256, request_table.c.reply, request_table.c.entry
).where(
    request_table.c.caller == sa.bindparam("caller"),
    request_table.c.method == sa.bindparam("method"),
    request_table.c.request_id == sa.bindparam("request_id"),
)
