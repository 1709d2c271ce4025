"""The second question of a lookup: does what permitted it still stand, once the signals are read?

A lookup's entry is durable before signals are read, and a consent may end in between. Its end is
acknowledged to whoever ended it, so nothing may leave afterwards: the answer about a subject one of
whose consents has ended is kept back, and an entry says so. Rows of members whose consent to
contribute has ended are left out, as in a lookup that comes later.

Only permitted subjects are asked about, which the caller can tell from the others anyway. So
whatever the pool knows of a refused subject, and whatever changes about it, nothing more is run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from concordat_gateway.ledger.journal import Committed, Entry, Item, Journal
from concordat_gateway.ledger.tree import read_tokens_epoch
from concordat_gateway.rules.permits import Permit, standing
from concordat_gateway.store.subjects import SubjectKey, require_epoch
from concordat_privacy.catalogue.bands import DataCategory
from concordat_rpc.peer import Peer

Contributors = Mapping[SubjectKey, Mapping[int, Collection[DataCategory]]]
"""For each subject the numbers of the members whose rows may be used, with their categories."""


@dataclass(frozen=True, slots=True)
class Still:
    """What of a decision still stands."""

    ended: frozenset[SubjectKey]
    """Subjects one of whose consents, that permitted the lookup, has ended since."""
    contributors: Contributors
    """Of the others; at most what the decision had."""


def still_standing(
    journal: Journal,
    permitted: Mapping[SubjectKey, Permit],
    contributors: Contributors,
    epoch: int,
    decided_at: int,
) -> Still:
    """Ask again, in a snapshot that holds every end of a consent that was acknowledged before.

    A consent that was live at `decided_at` and has only expired since allowed the use. Raises
    Refusal UNAVAILABLE (TOKENS_ROTATING) where the stores have left the epoch of the names.
    """
    with journal.read() as connection:
        now = standing(connection, sorted(permitted), decided_at)
        ended = frozenset(
            subject
            for subject, permit in permitted.items()
            if not now.consents.issuperset(permit.consents.values())
        )
        left = {
            subject: {
                member_no: both
                for member_no, categories in contributors.get(subject, {}).items()
                if (both := now.contributors.get(subject, {}).get(member_no, _NONE) & {*categories})
            }
            for subject in permitted
        }
        if ended or any(left[subject] != contributors.get(subject, {}) for subject in permitted):
            # Consents that were only moved to other names have not ended.
            require_epoch(read_tokens_epoch(connection), epoch)
    return Still(ended, left)


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


_NONE: frozenset[DataCategory] = frozenset()
