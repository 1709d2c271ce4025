"""Witnesses' cosignatures: taken from whoever brings them, counted against the policy, handed out.

Two counts. An entry is *witnessed* once as many witnesses as the policy wants have each cosigned
some tree that holds it: a witness that saw a tree saw that it extends all before. That decides
whether the gateway serves. A checkpoint is *fully cosigned* once as many have cosigned that very
tree: its note proves it to others. So that a busy ledger has fully cosigned checkpoints too, all
witnesses are asked for the same tree until enough have signed it (`to_cosign`).
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.ledger.tree import read_head
from concordat_gateway.store.control_tables import cosignature as cosignature_table
from concordat_gateway.store.control_tables import ledger_entry
from concordat_privacy.log import leaf
from concordat_privacy.log.cosignature import (
    Quorum,
    WitnessKey,
    parse_line,
    with_cosignatures,
)
from concordat_privacy.log.errors import CheckpointError
from concordat_privacy.log.signed_note import parse_note
from concordat_privacy.moments import micros_of
from concordat_rpc.errors import invalid, not_found, out_of_range

MAX_LINE_CHARACTERS = 1_000
_HOUR = 3_600 * 1_000_000
_MEETING = 60 * 1_000_000
"""How long witnesses are asked for one tree that too few have signed, while others are appended."""
_NEWEST_ROWS = 512
"""More than there can be from the newest fully cosigned tree on: each witness has one row beyond
it, and a hundred witnesses can be configured."""


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
    key = _signer(quorum, line, journal, size)
    witness = _identity(key)
    names = _names(quorum)

    def change(transaction: Transaction) -> int:
        connection = transaction.connection
        before = _Stand.read(connection, quorum)
        superseded = size < before.full and not _kept(connection, size)
        if not superseded:
            row = {"size": size, "witness": witness, "line": line, "now": transaction.now}
            connection.execute(_KEEP, row)
            stand = _Stand.read(connection, quorum)
            _forget(connection, before.full, stand.full, size, witness)
            if quorum.needed and stand.seen > transaction.witnessed_size:
                transaction.witnessed(stand.seen, _time_of(connection, stand.seen))
        return len(names & _cosigners(connection, size))

    return journal.write(change, timeout_seconds).value


def adopt(journal: Journal, quorum: Quorum) -> None:
    """Count what is there against the configured policy. At start: another may have counted before.

    Raises Refusal UNAVAILABLE.
    """
    if not quorum.needed:
        return

    def change(transaction: Transaction) -> None:
        seen = _Stand.read(transaction.connection, quorum).seen
        if seen != transaction.witnessed_size:
            transaction.witnessed(seen, _time_of(transaction.connection, seen))

    journal.write(change)


def to_cosign(journal: Journal, quorum: Quorum) -> str:
    """The checkpoint that witnesses are asked for now, as signed by the ledger."""
    with journal.read() as connection:
        head = read_head(connection)
        stand = _Stand.read(connection, quorum)
    if stand.meeting is None or stand.meeting_since + _MEETING < head.time:
        return head.checkpoint
    return journal.checkpoint_of(stand.meeting)


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
        size = _Stand.read(connection, quorum).full
        if not size and not quorum.needed:
            size = read_head(connection).frontier.size
    if quorum.needed and not size:
        raise not_found("NOT_WITNESSED", "no checkpoint has been cosigned by enough witnesses yet")
    return with_known_cosignatures(journal, journal.checkpoint_of(size), size)


def unwitnessed_seconds(journal: Journal, now: int) -> float:
    """How long the oldest entry that is not witnessed has waited; 0 where all are."""
    with journal.read() as connection:
        since = read_head(connection).unwitnessed_since
    return 0.0 if since is None else max(0.0, (now - since) / 1_000_000)


@dataclass(frozen=True, slots=True)
class _Stand:
    """Which trees the configured witnesses have come to. Sizes; 0 where there is none."""

    full: int
    """The newest that as many as are wanted cosigned; where none is wanted, that any did."""
    seen: int
    """Up to which as many as are wanted have each seen the ledger."""
    meeting: int | None
    """The newest beyond `full` that any cosigned: the others can come to it."""
    meeting_since: int
    """When it was first cosigned, in microseconds."""

    @classmethod
    def read(cls, connection: sa.Connection, quorum: Quorum) -> "_Stand":
        names, wanted = _names(quorum), max(1, quorum.needed)
        of_size: dict[int, list[int]] = defaultdict(list)
        newest: dict[str, int] = {}
        for size, witness, received_at in connection.execute(_NEWEST):
            if witness in names:
                newest.setdefault(witness, size)
                of_size[size].append(received_at)
        full = max((size for size, times in of_size.items() if len(times) >= wanted), default=0)
        # Those behind `full` do not matter: it is seen by enough.
        seen = sorted(newest.values(), reverse=True)[wanted - 1 : wanted]
        meeting = max((size for size in of_size if size > full), default=None)
        since = 0 if meeting is None else min(of_size[meeting])
        return cls(full, max([full, *seen]), meeting, since)


def _signer(quorum: Quorum, line: str, journal: Journal, size: int) -> WitnessKey:
    """The configured witness whose cosignature of the ledger's own checkpoint the line is."""
    if len(line) > MAX_LINE_CHARACTERS:
        raise invalid("cosignature", f"at most {MAX_LINE_CHARACTERS} characters")
    try:
        signature = parse_line(line)
    except CheckpointError as error:
        raise invalid("cosignature", str(error)) from None
    keys = {(key.name, key.key_id): key for key in quorum.witnesses}
    key = keys.get((signature.name, signature.key_id))
    if key is None:
        raise not_found(
            "WITNESS_UNKNOWN",
            "no witness of this name and key is configured: ask the operator to list this key in "
            "[witnesses] of gateway.toml and to restart the gateway",
        )
    if size < 1:
        raise out_of_range("tree_size", "an empty ledger needs no witness")
    try:
        key.verify(parse_note(journal.checkpoint_of(size)).text, signature.signature)
    except CheckpointError as error:
        raise invalid("cosignature", f"not over this ledger's checkpoint: {error}") from None
    return key


def _forget(connection: sa.Connection, before: int, full: int, size: int, witness: str) -> None:
    """Delete what nobody will ask for, now that `witness` cosigned `size`.

    `before` and `full` are the newest fully cosigned trees before it and after. Of those that were
    so, the first of each hour stays: it says that the witnesses had seen its entries by then.
    """
    if full == before:
        outdated = {"above": full, "below": size, "witness": witness}
        connection.execute(_FORGET_OWN, outdated)
        return
    connection.execute(_FORGET_BETWEEN, {"above": before, "below": full})
    earlier = connection.execute(_FIRST_RECEIVED, {"below": before + 1, "rows": 2}).all()
    if len(earlier) == 2 and earlier[0].first // _HOUR == earlier[1].first // _HOUR:
        connection.execute(_FORGET_BETWEEN, {"above": before - 1, "below": before + 1})


def _kept(connection: sa.Connection, size: int) -> bool:
    return bool(_cosigners(connection, size))


def _cosigners(connection: sa.Connection, size: int) -> set[str]:
    return set(connection.execute(_WITNESSES, {"size": size}).scalars())


def _time_of(connection: sa.Connection, index: int) -> int | None:
    """The time of an entry that is durable; None where there is none yet."""
    data = connection.execute(_LEAF, {"index": index}).scalar()
    if data is None:
        return None
    return micros_of(datetime.fromisoformat(str(leaf.check(data)["time"])))


def _names(quorum: Quorum) -> set[str]:
    return {_identity(key) for key in quorum.witnesses}


def _identity(key: WitnessKey) -> str:
    return f"{key.name}+{key.key_id.hex()}"


# The same text on both kinds of database. A later cosignature of the same tree replaces the first.
_KEEP = sa.text(
    "INSERT INTO cosignature (tree_size, witness, line, received_at)"
    " VALUES (:size, :witness, :line, :now)"
    " ON CONFLICT (tree_size, witness) DO UPDATE SET line = excluded.line"
)
_TABLE = cosignature_table.c
_OF_SIZE = _TABLE.tree_size == sa.bindparam("size")
_WITNESSES = sa.select(_TABLE.witness).where(_OF_SIZE)
_LINES = sa.select(_TABLE.line).where(_OF_SIZE).order_by(_TABLE.witness)
_NEWEST = (
    sa.select(_TABLE.tree_size, _TABLE.witness, _TABLE.received_at)
    .order_by(_TABLE.tree_size.desc())
    .limit(_NEWEST_ROWS)
)
_BETWEEN = sa.and_(
    _TABLE.tree_size > sa.bindparam("above"), _TABLE.tree_size < sa.bindparam("below")
)
_FORGET_BETWEEN = sa.delete(cosignature_table).where(_BETWEEN)
_FORGET_OWN = _FORGET_BETWEEN.where(_TABLE.witness == sa.bindparam("witness"))
_FIRST_RECEIVED = (
    sa.select(sa.func.min(_TABLE.received_at).label("first"))
    .where(_TABLE.tree_size < sa.bindparam("below"))
    .group_by(_TABLE.tree_size)
    .order_by(_TABLE.tree_size.desc())
    .limit(sa.bindparam("rows"))
)
_LEAF = sa.select(ledger_entry.c.leaf).where(ledger_entry.c.entry_index == sa.bindparam("index"))
