"""Which rows may be replaced: a member's own, accepted, the ones that stand, each once.

What the pool holds is read before the control transaction, with everything published that the
member had accepted by then; in the transaction it is decided whether a row exists, is the member's
and stands, and it is marked. So of two that replace one row, wherever they come from, one is
refused. What the member itself reports of the same account between the two counts as what it is:
the later row, in the order of the entries.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.publication import settle, unpacked
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_gateway.store.control_tables import member as member_table
from concordat_gateway.store.control_tables import replaced_row
from concordat_gateway.store.signal_store import SignalStore, Standing
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.relations import PROFILE_MONTHS
from concordat_privacy.catalogue.rows import RowRef
from concordat_rpc.peer import Peer
from concordat_store.chunks import in_chunks

_KEYS_A_QUERY = 500
_MAX_INDEX = 2**63 - 1

Place = tuple[SubjectKey, bool, bytes]
"""Subject, whether it is an account, and its reference."""
Held = Mapping[Place, Standing]


class Wanted(NamedTuple):
    """A row that is to be replaced or withdrawn."""

    row: RowRef
    place: Place
    """Of what comes in its place, or is withdrawn: it must be the row's own."""
    month: int | None = None
    """The month described; None for an application, and for a whole account."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A row that is replaced, as the ledger names it."""

    item: int
    """Position of the replacing row in its call or part."""
    row: RowRef
    position: int
    """Of the replaced row among the accepted rows of its entry."""


def held_of(
    journal: Journal, signals: SignalStore, furnisher: Peer, wanted: Iterable[Wanted], epoch: int
) -> Held:
    """What the pool holds where rows are to be replaced; subjects are named under `epoch`.

    Raises Refusal UNAVAILABLE.
    """
    subjects = {one.place[0] for one in wanted}
    if not subjects:
        return {}
    settle(journal, signals, furnisher.name)
    with journal.read() as connection:
        member_no = connection.execute(_MEMBER_NO, {"member_id": furnisher.name}).scalar_one()
    return signals.standing(member_no, subjects, epoch)


class Replacing:
    """Decides, inside one transaction, which rows may be replaced."""

    def __init__(
        self, transaction: Transaction, furnisher: Peer, rows: Collection[RowRef], held: Held
    ) -> None:
        """`rows`: all that may be asked about. The same statements, whatever they are."""
        self._connection = transaction.connection
        self._member = furnisher.name
        self._held = held
        known = sorted({row for row in rows if row.entry_index <= _MAX_INDEX})
        entries = sorted({row.entry_index for row in known})
        self._batches = {
            batch.entry: batch
            for chunk in in_chunks(entries, _KEYS_A_QUERY)
            for batch in self._connection.execute(
                _BATCHES, {"member_id": self._member, "entries": chunk}
            )
        }
        self._replaced = {
            RowRef(*found)
            for chunk in in_chunks(known, _KEYS_A_QUERY)
            for found in self._connection.execute(_REPLACED, {"rows": list(map(tuple, chunk))})
        }
        self.taken: list[Replacement] = []

    def take(self, item: int, field: str, wanted: Wanted) -> ItemRefusal | None:
        """Replace a row by the item at hand; why not, where it cannot be."""
        row = wanted.row
        position = self._position(row)
        if position is None:
            # Rows of other members look like rows that never were.
            return ItemRefusal(item, field, "NO_SUCH_ROW", "no accepted row of the calling member")
        if row in self._replaced:
            return ItemRefusal(item, field, "ALREADY_REPLACED", "replaced or withdrawn before")
        standing = self._held.get(wanted.place)
        if not _stands(wanted, standing):
            return ItemRefusal(item, field, "OTHER_ROW", _what_stands(wanted, standing))
        self._replaced.add(row)
        self.taken.append(Replacement(item, row, position))
        return None

    def mark(self, by_entry: int) -> None:
        """Record what was taken, replaced by rows of an entry."""
        if self.taken:
            self._connection.execute(
                _INSERT,
                [
                    {
                        "entry": one.row.entry_index,
                        "item": one.row.item,
                        "member_id": self._member,
                        "by_entry": by_entry,
                        "by_item": one.item,
                    }
                    for one in self.taken
                ],
            )

    def _position(self, row: RowRef) -> int | None:
        batch = self._batches.get(row.entry_index)
        # A withdrawal has rows, but none that stands for anything.
        if batch is None or (batch.request_id is None and batch.upload_id is None):
            return None
        refused = unpacked(batch.refused_rows)
        if row.item >= batch.rows_accepted + len(refused) or row.item in refused:
            return None
        return row.item - sum(item < row.item for item in refused)


def _stands(wanted: Wanted, standing: Standing | None) -> bool:
    """Whether the pool holds, where the new row is to stand, the row that it names."""
    if standing is None:
        return False
    is_source = standing.source == wanted.row
    if wanted.month is not None and standing.as_of_month is not None:
        age = standing.as_of_month - wanted.month
        if age:
            # Of months before the newest the pool keeps the days past due, not the row.
            return 0 < age < PROFILE_MONTHS and not is_source
    return is_source or not standing.source.entry_index


def _what_stands(wanted: Wanted, standing: Standing | None) -> str:
    """What the pool holds in the place of a row that does not stand: the same member's own."""
    what = "account" if wanted.place[1] else "application"
    if standing is None:
        return f"the pool holds no row of the calling member of this {what}"
    source = standing.source
    row = f"item {source.item} of entry {source.entry_index}"
    if not source.entry_index:
        row = "a row of before rows had names"
    if wanted.month is not None and standing.as_of_month is not None:
        age = standing.as_of_month - wanted.month
        if age < 0:
            return f"the pool holds no such month of this account; its newest is {row}"
        if age >= PROFILE_MONTHS:
            return f"the pool holds this month of the account no more; its newest is {row}"
        if age:
            return f"{row} is of the account's newest month, not of this one"
    return f"the pool holds another row of this {what}: {row}"


_MEMBER_NO = sa.select(member_table.c.member_no).where(
    member_table.c.member_id == sa.bindparam("member_id")
)
_BATCHES = sa.select(
    batch_table.c.entry,
    batch_table.c.request_id,
    batch_table.c.upload_id,
    batch_table.c.rows_accepted,
    batch_table.c.refused_rows,
).where(
    batch_table.c.member_id == sa.bindparam("member_id"),
    batch_table.c.entry.in_(sa.bindparam("entries", expanding=True)),
)
_REPLACED = sa.select(replaced_row.c.entry, replaced_row.c.item).where(
    sa.tuple_(replaced_row.c.entry, replaced_row.c.item).in_(sa.bindparam("rows", expanding=True))
)
_INSERT = sa.insert(replaced_row)
