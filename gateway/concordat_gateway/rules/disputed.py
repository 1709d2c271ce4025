"""What a lookup must know of disputes: which categories of which subjects are under an open one.

A dispute is about a category, not about a row or a member: what is held back or marked is all of
the category, whoever contributed it, until the last member has answered. So its end tells nothing
of who had to answer, nor how many.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from concordat_gateway.rules.permits import in_chunks
from concordat_gateway.store.control_tables import dispute
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import DataCategory

UnderDispute = Mapping[SubjectKey, frozenset[DataCategory]]
"""The categories of each subject that an open dispute is about; subjects without one are left out.
"""


def under_dispute(connection: sa.Connection, subjects: Sequence[SubjectKey]) -> UnderDispute:
    """What open disputes are about, whoever opened them."""
    found: dict[SubjectKey, frozenset[DataCategory]] = defaultdict(frozenset)
    for chunk in in_chunks(subjects):
        for subject, category in connection.execute(_OPEN, {"subjects": chunk}):
            found[subject] |= {DataCategory(category)}
    return dict(found)


_OPEN = sa.select(dispute.c.subject, dispute.c.category).where(
    dispute.c.subject.in_(sa.bindparam("subjects", expanding=True)),
    dispute.c.resolved_at.is_(None),
)
