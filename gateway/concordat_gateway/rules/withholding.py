"""The second question of a lookup, once the signals are read: what of it may leave?

A lookup's entry is durable before signals are read, and a consent may end in between. Its end is
acknowledged to whoever ended it, so nothing may leave afterwards: the whole answer is kept back
that rests on a consent that has ended or is paused, and an entry says so. Rows count of members
whose consent to contribute was recorded before the lookup and still stands, so that one that has
ended hides them as in a lookup that comes later. What the subject disputes is asked for with it.

Only permitted subjects are asked about, which the caller can tell from the others anyway. So
whatever the pool knows of a refused subject, and whatever changes about it, nothing more is run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from concordat_gateway.ledger.journal import Committed, Entry, Item, Journal
from concordat_gateway.rules.disputed import UnderDispute, standing
from concordat_gateway.rules.permits import SUBJECTS_A_QUERY, Permit
from concordat_gateway.rules.scopes import ConsentId
from concordat_gateway.store.subjects import SubjectKey, require_epoch
from concordat_privacy.catalogue.bands import DataCategory
from concordat_rpc.peer import Peer


@dataclass(frozen=True, slots=True)
class Still:
    """What of a decision still stands, and what it lets through."""

    ended: frozenset[ConsentId]
    """Consents that permitted something and have ended since."""
    contributors: Mapping[SubjectKey, Mapping[int, Collection[DataCategory]]]
    """For each subject the numbers of the members whose rows may be used, with their categories;
    subjects without one are left out."""
    under_dispute: UnderDispute

    def is_ended(self, permit: Permit) -> bool:
        """Whether one of the consents that a permit rests on has ended."""
        return not self.ended.isdisjoint(permit.consents.values())


def still_standing(
    journal: Journal,
    subjects: Collection[SubjectKey],
    permits: Sequence[Permit],
    entry: Entry,
    epoch: int,
    decided_at: int,
) -> Still:
    """Ask again, in a snapshot that holds every end of a consent that was acknowledged before.

    `subjects` are those that anything was permitted of, `entry` the lookup's. A consent that was
    live at `decided_at` and has only expired since allowed the use. Raises Refusal UNAVAILABLE
    (TOKENS_ROTATING) where the stores have left the epoch of the names.
    """
    named = frozenset(consent for permit in permits for consent in permit.consents.values())
    ordered = sorted(subjects)
    with journal.ask() if len(ordered) <= SUBJECTS_A_QUERY else journal.read() as connection:
        now = standing(connection, ordered, decided_at, entry.index)
    ended = named - now.consents
    if ended:
        # Consents that were only moved to other names have not ended. Every subject has one that
        # was named, so a subject that was moved is noticed here: epochs never return.
        require_epoch(journal.tokens_epoch, epoch)
    return Still(ended, now.contributors, now.under_dispute)


def withhold(
    journal: Journal,
    caller: Peer,
    lookup: Entry,
    request_id: bytes,
    positions: Sequence[int],
    timeout_seconds: float,
) -> Committed[Entry]:
    """Record that the answers at `positions` of a lookup were kept back.

    Raises Refusal UNAVAILABLE, DEADLINE_EXCEEDED; then nothing is answered either.
    """
    return journal.write(
        lambda transaction: transaction.append(
            "lookup.withheld",
            caller.spiffe_id,
            {"lookup": lookup.index, "request": request_id.hex()},
            [Item({"item": position}) for position in positions],
        ),
        timeout_seconds,
    )
