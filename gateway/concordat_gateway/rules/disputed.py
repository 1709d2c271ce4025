"""What a lookup must know before its answer leaves: the consents that stand, and open disputes.

A dispute is about a category, not about a row or a member: what is held back or marked is all of
the category, whoever contributed it, until the last member has answered. So its end tells nothing
of who had to answer, nor how many.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from concordat_gateway.rules.permits import LIVE_OF_MEMBERS, SUBJECTS_A_QUERY
from concordat_gateway.rules.scopes import ConsentId, Purpose, categories_in, covers
from concordat_gateway.store.control_tables import consent, dispute
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import DataCategory
from concordat_store.chunks import in_chunks
from concordat_store.direct import Among, Asked, rows_of

UnderDispute = Mapping[SubjectKey, frozenset[DataCategory]]
"""The categories of each subject that an open dispute is about; subjects without one are left out.
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Which consents of some subjects are live, and what of the subjects is disputed."""

    consents: frozenset[ConsentId]
    """Whoever holds them."""
    contributors: Mapping[SubjectKey, Mapping[int, frozenset[DataCategory]]]
    """As `permits.contributors` gives them, by the consents recorded before the entry."""
    under_dispute: UnderDispute
    """Whoever opened the disputes."""


def standing(
    connection: sa.Connection | Asked, subjects: Sequence[SubjectKey], now: int, before_entry: int
) -> Standing:
    """All live consents of subjects, by whoever they were given to, and all open disputes.

    One question for all of it, a statement a chunk.
    """
    live: set[ConsentId] = set()
    contributors: dict[SubjectKey, dict[int, frozenset[DataCategory]]] = defaultdict(dict)
    disputed: dict[SubjectKey, frozenset[DataCategory]] = defaultdict(frozenset)
    for chunk in in_chunks(sorted(subjects), SUBJECTS_A_QUERY):
        rows = rows_of(connection, _STANDING, {"subjects": chunk, "now": now})
        for subject, member_no, purposes, categories, consent_id, grant_entry in rows:
            if consent_id is None:
                disputed[subject] |= {DataCategory(categories)}
                continue
            live.add(consent_id)
            if covers(purposes, Purpose.CONTRIBUTION) and grant_entry < before_entry:
                allowed = contributors[subject]
                allowed[member_no] = allowed.get(member_no, _NONE) | categories_in(categories)
    return Standing(frozenset(live), contributors, dict(disputed))


_NONE: frozenset[DataCategory] = frozenset()
# A dispute has a category where a consent has its categories, and no consent.
_STANDING = sa.union_all(
    LIVE_OF_MEMBERS.add_columns(consent.c.consent_id, consent.c.grant_entry).where(
        Among(consent.c.subject, "subjects")
    ),
    sa.select(
        dispute.c.subject, sa.null(), sa.null(), dispute.c.category, sa.null(), sa.null()
    ).where(
        Among(dispute.c.subject, "subjects"),
        dispute.c.resolved_at.is_(None),
    ),
)
