"""Witnesses' cosignatures: taken from whoever brings them, counted against the policy.

A cosignature counts for the tree that it names and for all before it, because the witness saw that
the tree extends them. So an entry is witnessed as soon as any later tree is.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.ledger.tree import read_head
from concordat_gateway.store.control_tables import cosignature as cosignature_table
from concordat_gateway.store.control_tables import ledger_entry
from concordat_privacy.log import leaf
from concordat_privacy.log.checkpoint import CheckpointError, parse_note
from concordat_privacy.log.cosignature import Quorum, parse_line, with_cosignatures
from concordat_privacy.moments import micros_of
from concordat_rpc.errors import invalid, not_found, out_of_range

MAX_LINE_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class Policy:
    """Who must have seen the ledger, and for how long they may be missing."""

    quorum: Quorum
    grace_microseconds: int

    @property
    def grace(self) -> int | None:
        """What a journal is given: None where no witness is wanted."""
        return self.grace_microseconds if self.quorum.needed else None


def add(journal: Journal, quorum: Quorum, size: int, line: str, timeout_seconds: float) -> int:
    """Keep a cosignature of the checkpoint of `size` entries; returns how many that one has.

    Raises Refusal INVALID_ARGUMENT (not over the ledger's checkpoint), OUT_OF_RANGE, NOT_FOUND
    (WITNESS_UNKNOWN), UNAVAILABLE.
    """
    if len(line) > MAX_LINE_CHARACTERS:
        raise invalid("cosignature", f"at most {MAX_LINE_CHARACTERS} characters")
    try:
        signature = parse_line(line)
    except CheckpointError as error:
        raise invalid("cosignature", str(error)) from None
    keys = {(key.name, key.key_id): key for key in quorum.witnesses}
    key = keys.get((signature.name, signature.key_id))
    if key is None:
        raise not_found("WITNESS_UNKNOWN", "no witness of this name and key is configured")
    if size < 1:
        raise out_of_range("tree_size", "an empty ledger needs no witness")
    try:
        key.verify(parse_note(journal.checkpoint_of(size)).text, signature.signature)
    except CheckpointError as error:
        raise invalid("cosignature", f"not over this ledger's checkpoint: {error}") from None
    names = {_identity(one.name, one.key_id) for one in quorum.witnesses}

    def change(transaction: Transaction) -> int:
        connection = transaction.connection
        connection.execute(
            _KEEP,
            {"size": size, "witness": _identity(key.name, key.key_id), "line": line},
        )
        found = names & set(connection.execute(_WITNESSES, {"size": size}).scalars())
        if len(found) >= quorum.needed > 0 and size > transaction.witnessed_size:
            transaction.witnessed(size, _time_of(connection, size))
        return len(found)

    return journal.write(change, timeout_seconds).value


def with_known_cosignatures(journal: Journal, note: str, size: int) -> str:
    """The note of the checkpoint of `size` entries, with the cosignatures that there are for it."""
    with journal.read() as connection:
        lines = connection.execute(_LINES, {"size": size}).scalars().all()
    return with_cosignatures(note, lines)


def newest(journal: Journal, quorum: Quorum) -> str:
    """The newest checkpoint that meets the policy, with its cosignatures.

    Where no witness is wanted: the newest that any cosigned, else the newest.
    Raises Refusal NOT_FOUND (NOT_WITNESSED).
    """
    with journal.read() as connection:
        head = read_head(connection)
        size = head.witnessed_size
        if not quorum.needed:
            size = connection.execute(_NEWEST_SIZE).scalar() or head.frontier.size
    if quorum.needed and not size:
        raise not_found("NOT_WITNESSED", "no checkpoint has been cosigned by enough witnesses yet")
    return with_known_cosignatures(journal, journal.checkpoint_of(size), size)


def unwitnessed_seconds(journal: Journal, now: int) -> float:
    """How long the oldest entry that is not witnessed has waited; 0 where all are."""
    with journal.read() as connection:
        since = read_head(connection).unwitnessed_since
    return 0.0 if since is None else max(0.0, (now - since) / 1_000_000)


def _time_of(connection: sa.Connection, index: int) -> int | None:
    """The time of an entry that is durable; None where there is none yet."""
    data = connection.execute(_LEAF, {"index": index}).scalar()
    if data is None:
        return None
    return micros_of(datetime.fromisoformat(str(leaf.check(data)["time"])))


def _identity(name: str, key_id: bytes) -> str:
    return f"{name}+{key_id.hex()}"


# The same text on both kinds of database. A later cosignature of the same tree replaces the first.
_KEEP = sa.text(
    "INSERT INTO cosignature (tree_size, witness, line) VALUES (:size, :witness, :line)"
    " ON CONFLICT (tree_size, witness) DO UPDATE SET line = excluded.line"
)
_OF_SIZE = cosignature_table.c.tree_size == sa.bindparam("size")
_WITNESSES = sa.select(cosignature_table.c.witness).where(_OF_SIZE)
_LINES = sa.select(cosignature_table.c.line).where(_OF_SIZE).order_by(cosignature_table.c.witness)
_NEWEST_SIZE = sa.select(sa.func.max(cosignature_table.c.tree_size))
_LEAF = sa.select(ledger_entry.c.leaf).where(ledger_entry.c.entry_index == sa.bindparam("index"))
