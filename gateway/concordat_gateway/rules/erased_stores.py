"""What other stores hold of erased subjects: destroyed, again where a backup brings it back.

The control store says who is erased, in one transaction with the entry. What lies elsewhere, the
live key and the rows of signals, goes afterwards: at once, else at the next start or by the
resumption, as often as it takes. Each step can be done again.

A signals store marks each erasure that was carried out in it. Where a mark is missing, the store is
from before: whatever it holds of that subject is what was erased, and nothing newer, since nothing
is published while an erasure is open. So it goes, all of it, before anything is served.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from enum import IntEnum
from typing import Final

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.anchors import set_anchors
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_gateway.store.control_tables import erased_name, subject_record
from concordat_gateway.store.control_tables import erasure as erasure_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subject_keys import SubjectKeys
from concordat_gateway.store.subjects import SubjectKey
from concordat_store.clock import Clock
from concordat_store.direct import rows_of

ORPHAN_AGE_MICROSECONDS: Final = 15 * 60 * 1_000_000
"""Age at which a live key that no subject has is given up: longer than any call lasts."""
_CHANGE_SECONDS: Final = 600.0
_IDS_A_QUERY: Final = 500

_log = logging.getLogger(__name__)


class ErasureState(IntEnum):
    """How far an erasure is. Numbers as in `concordat.v1` (erasure.proto)."""

    REQUESTED = 1
    EXECUTED = 2
    """Control has forgotten the subject; other stores may still hold something."""
    ERASED = 3
    REFUSED = 4


def erase_signals(journal: Journal, signals: SignalStore) -> None:
    """Delete the rows of all subjects whose erasure is open. Raises Refusal UNAVAILABLE."""
    # Asked before whatever is published.
    with journal.ask() as connection:
        found = rows_of(connection, _OPEN, {})
    for erasure_id, subject, _, decided_entry in found:
        signals.erase(erasure_id, [SubjectKey(subject)], _accepted_before(journal, decided_entry))


def finish_erasures(journal: Journal, signals: SignalStore, keys: SubjectKeys) -> None:
    """Destroy what other stores hold of subjects whose erasure is open, and close the erasures.

    Idempotent, and safe beside whoever else does it. Raises Refusal UNAVAILABLE where a store
    fails: then they stay open.
    """
    with journal.read() as connection:
        found = connection.execute(_OPEN).all()
    if not found:
        return
    live_ids = [row.live_id for row in found if row.live_id is not None]
    gone = keys.live.destroy(live_ids)
    erase_signals(journal, signals)
    set_anchors(journal, keys)
    if not gone:
        _log.warning("a reader kept the live-key store's log from being emptied: tried again later")
        return

    def close(transaction: Transaction) -> None:
        transaction.connection.execute(
            _CLOSE, [{"id": row.erasure_id, "now": transaction.now} for row in found]
        )

    journal.write(close, _CHANGE_SECONDS)
    for row in found:
        _log.info("erasure %s is complete", row.erasure_id.hex())


def erase_again(journal: Journal, signals: SignalStore, keys: SubjectKeys) -> None:
    """Finish what was interrupted, and destroy what backups have brought back.

    Run before anything serves or is published. Raises Refusal UNAVAILABLE where a store fails.
    """
    finish_erasures(journal, signals, keys)
    _erase_restored_signals(journal, signals, keys)
    with journal.read() as connection:
        live_ids = list(connection.execute(_LIVE_IDS).scalars())
    back = keys.live.present(live_ids)
    if back:
        keys.live.destroy(back)
        _log.warning("destroyed %d live keys of erased subjects that had come back", len(back))
    set_anchors(journal, keys)


def _erase_restored_signals(journal: Journal, signals: SignalStore, keys: SubjectKeys) -> None:
    carried_out = signals.erasures()
    with journal.read() as connection:
        missing = {
            row.erasure_id: row.decided_entry
            for row in connection.execute(_DONE)
            if row.erasure_id not in carried_out
        }
        if not missing:
            return
        erasures = defaultdict(set)
        for mark, erasure_id in connection.execute(_MARKS):
            if erasure_id in missing:
                erasures[mark].add(erasure_id)
    subjects: dict[bytes, set[SubjectKey]] = {erasure_id: set() for erasure_id in missing}
    for found in signals.subjects_by_bucket():
        for subject in found:
            for erasure_id in erasures.get(keys.erased_mark(subject), ()):
                subjects[erasure_id].add(subject)
    for erasure_id, names in subjects.items():
        signals.erase(erasure_id, names, _accepted_before(journal, missing[erasure_id]))
    _log.warning(
        "the signals store was restored from before %d erasures: what it held of %d of these "
        "subjects is deleted again",
        len(missing),
        sum(map(bool, subjects.values())),
    )


def destroy_orphans(journal: Journal, keys: SubjectKeys, clock: Clock) -> None:
    """Destroy live keys that no subject has: of calls that came to nothing, or from a backup.

    They open nothing, so there is no haste; it looks at every live key. Raises Refusal UNAVAILABLE.
    """
    before, after = clock() - ORPHAN_AGE_MICROSECONDS, b""
    while ids := keys.live.old(before, after):
        with journal.read() as connection:
            had = set(connection.execute(_HAD, {"ids": ids}).scalars())
        if orphans := [key_id for key_id in ids if key_id not in had]:
            keys.live.destroy(orphans)
        after = ids[-1]


def _accepted_before(
    journal: Journal, entry: int
) -> Callable[[Sequence[bytes]], Collection[bytes]]:
    """Tells which of some batches were accepted before an entry."""

    def accepted(batch_ids: Sequence[bytes]) -> Collection[bytes]:
        found: list[bytes] = []
        with journal.read() as connection:
            for start in range(0, len(batch_ids), _IDS_A_QUERY):
                chunk = batch_ids[start : start + _IDS_A_QUERY]
                rows = connection.execute(_ACCEPTED, {"ids": chunk, "entry": entry})
                found += rows.scalars()
        return found

    return accepted


_OPEN = (
    sa.select(
        erasure_table.c.erasure_id,
        erasure_table.c.subject,
        erasure_table.c.live_id,
        erasure_table.c.decided_entry,
    )
    .where(erasure_table.c.state == int(ErasureState.EXECUTED))
    .order_by(erasure_table.c.decided_entry)
)
_CLOSE = (
    sa.update(erasure_table)
    .where(
        erasure_table.c.erasure_id == sa.bindparam("id"),
        erasure_table.c.state == int(ErasureState.EXECUTED),
    )
    .values(state=int(ErasureState.ERASED), subject=None, erased_at=sa.bindparam("now"))
)
_DONE = sa.select(erasure_table.c.erasure_id, erasure_table.c.decided_entry).where(
    erasure_table.c.state == int(ErasureState.ERASED)
)
_LIVE_IDS = sa.select(erasure_table.c.live_id).where(erasure_table.c.live_id.is_not(None))
_MARKS = sa.select(erased_name.c.mark, erased_name.c.erasure_id)
_HAD = sa.select(subject_record.c.live_id).where(
    subject_record.c.live_id.in_(sa.bindparam("ids", expanding=True))
)
_ACCEPTED = sa.select(batch_table.c.batch_id).where(
    batch_table.c.batch_id.in_(sa.bindparam("ids", expanding=True)),
    batch_table.c.entry < sa.bindparam("entry"),
)
