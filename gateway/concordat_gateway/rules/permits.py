"""Which consents permit a use at a moment: the question every use of data asks first.

Asked inside the transaction that records the use, and nowhere else: an answer kept for later
would outlive a withdrawal.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from concordat_gateway.rules.scopes import (
    ConsentId,
    Mask,
    Purpose,
    categories_in,
    covers,
    mask_of,
)
from concordat_gateway.store.control_tables import consent, member
from concordat_gateway.store.subjects import SubjectKey, bucket_bounds
from concordat_privacy.catalogue.bands import DataCategory

# Sorted keys in one statement are read in index order; more than this gains nothing.
_SUBJECTS_A_QUERY = 1_000

_T = TypeVar("_T")


class Ground(NamedTuple):
    """A consent as the store has it, for `rules.uses` to look at again before an entry names it."""

    subject: SubjectKey
    consent_id: ConsentId
    recipient: str
    purposes: Mask
    categories: Mask
    starts_at: int
    expires_at: int
    withdrawn_at: int | None


@dataclass(frozen=True, slots=True)
class Permit:
    """What a recipient may use of one subject, and the consent that each category rests on."""

    consents: Mapping[DataCategory, ConsentId] = field(default_factory=dict)

    @property
    def granted(self) -> bool:
        """Whether any category is permitted."""
        return bool(self.consents)


class Permits(dict[SubjectKey, Permit]):
    """Permits by subject, and all consents that were found."""

    grounds: list[Ground]


NO_PERMIT = Permit()
_NONE: frozenset[DataCategory] = frozenset()
COUNTED_PURPOSES = frozenset({Purpose.CONTRIBUTION, Purpose.AGGREGATE_STATISTICS})
"""What a subject must have consented to with a furnisher for its rows to be counted."""
COUNTED_CATEGORY = DataCategory.CREDIT_ACCOUNTS
_COUNTED = mask_of(COUNTED_PURPOSES)


def permits(
    connection: sa.Connection,
    recipient: str,
    purpose: Purpose,
    subjects: Collection[SubjectKey],
    now: int,
) -> Permits:
    """What `recipient` may use of each subject for `purpose` at `now`.

    A subject without a permit is left out. Where several live consents cover a category, the one
    recorded first counts, so a use names the same consent however often it is repeated.
    """
    found: dict[SubjectKey, dict[DataCategory, ConsentId]] = defaultdict(dict)
    grounds: list[Ground] = []
    for chunk in _chunks(sorted(subjects)):
        rows = connection.execute(
            _LIVE_OF_RECIPIENT,
            {
                "subjects": chunk,
                "recipient": recipient,
                "purpose": mask_of([purpose]),
                "now": now,
            },
        )
        read = list(map(Ground._make, rows))
        grounds += read
        for ground in read:
            consents = found[ground.subject]
            for category in categories_in(ground.categories):
                consents.setdefault(category, ground.consent_id)
    permitted = Permits((subject, Permit(consents)) for subject, consents in found.items())
    permitted.grounds = grounds
    return permitted


def contributors(
    connection: sa.Connection, subjects: Sequence[SubjectKey], now: int
) -> dict[SubjectKey, dict[int, frozenset[DataCategory]]]:
    """For each subject the members whose contributions may be used now, with their categories.

    A member's rows count while the subject's consent to contribute them is live: withdrawing it
    hides them at once. Keys of the inner mapping are member numbers.
    """
    found: dict[SubjectKey, dict[int, frozenset[DataCategory]]] = defaultdict(dict)
    for chunk in _chunks(sorted(subjects)):
        rows = connection.execute(_LIVE_OF_SUBJECTS, {"subjects": chunk, "now": now})
        for subject, member_no, purposes, categories in rows:
            if covers(purposes, Purpose.CONTRIBUTION):
                allowed = found[subject]
                allowed[member_no] = allowed.get(member_no, _NONE) | categories_in(categories)
    return dict(found)


@dataclass(frozen=True, slots=True)
class Standing:
    """Which consents of some subjects are live."""

    consents: frozenset[ConsentId]
    """Whoever holds them."""
    contributors: Mapping[SubjectKey, Mapping[int, frozenset[DataCategory]]]
    """As `contributors` gives them."""


def standing(connection: sa.Connection, subjects: Sequence[SubjectKey], now: int) -> Standing:
    """All live consents of subjects, by whoever they were given to: one question for all of it."""
    live: set[ConsentId] = set()
    found: dict[SubjectKey, dict[int, frozenset[DataCategory]]] = defaultdict(dict)
    for chunk in _chunks(sorted(subjects)):
        rows = connection.execute(_STANDING, {"subjects": chunk, "now": now})
        for subject, member_no, purposes, categories, consent_id in rows:
            live.add(consent_id)
            if covers(purposes, Purpose.CONTRIBUTION):
                allowed = found[subject]
                allowed[member_no] = allowed.get(member_no, _NONE) | categories_in(categories)
    return Standing(frozenset(live), found)


def countable(connection: sa.Connection, bucket: int, now: int) -> set[tuple[SubjectKey, int]]:
    """(subject, member number) of a bucket whose accounts may be contributed and counted now."""
    allowed: dict[tuple[SubjectKey, int], int] = defaultdict(int)
    first, last = bucket_bounds(bucket)
    rows = connection.execute(_LIVE_IN_SPAN, {"first": first, "last": last, "now": now})
    for subject, member_no, purposes, categories in rows:
        if covers(categories, COUNTED_CATEGORY):
            allowed[subject, member_no] |= purposes
    return {key for key, purposes in allowed.items() if purposes & _COUNTED == _COUNTED}


def unended(
    connection: sa.Connection, recipient: str, subjects: Collection[SubjectKey], now: int
) -> dict[SubjectKey, int]:
    """How many consents of each subject `recipient` holds that are live or still to begin."""
    found: dict[SubjectKey, int] = dict.fromkeys(subjects, 0)
    for chunk in _chunks(sorted(found)):
        rows = connection.execute(
            _UNENDED_OF_RECIPIENT, {"subjects": chunk, "recipient": recipient, "now": now}
        )
        found.update((subject, count) for subject, count in rows)
    return found


def _chunks(values: Sequence[_T], size: int = _SUBJECTS_A_QUERY) -> Iterator[list[_T]]:
    remaining = iter(values)
    while chunk := list(islice(remaining, size)):
        yield chunk


_UNENDED = sa.and_(consent.c.withdrawn_at.is_(None), consent.c.expires_at > sa.bindparam("now"))
_LIVE = sa.and_(_UNENDED, consent.c.starts_at <= sa.bindparam("now"))
_OF_SUBJECTS = consent.c.subject.in_(sa.bindparam("subjects", expanding=True))
_OF_RECIPIENT = consent.c.recipient == sa.bindparam("recipient")
# The purpose is asked for here and not sorted out later, so that no refusal fetches a row.
_FOR_PURPOSE = consent.c.purposes.bitwise_and(sa.bindparam("purpose")) != 0
_LIVE_OF_RECIPIENT = (
    sa.select(*(consent.c[name] for name in Ground._fields))
    .where(_OF_SUBJECTS, _OF_RECIPIENT, _LIVE, _FOR_PURPOSE)
    .order_by(consent.c.subject, consent.c.grant_entry)
)
_UNENDED_OF_RECIPIENT = (
    sa.select(consent.c.subject, sa.func.count())
    .where(_OF_SUBJECTS, _OF_RECIPIENT, _UNENDED)
    .group_by(consent.c.subject)
)
_LIVE_OF_MEMBERS = (
    sa.select(consent.c.subject, member.c.member_no, consent.c.purposes, consent.c.categories)
    .join(member, member.c.member_id == consent.c.recipient)
    .where(_LIVE)
)
_LIVE_OF_SUBJECTS = _LIVE_OF_MEMBERS.where(_OF_SUBJECTS)
_STANDING = _LIVE_OF_SUBJECTS.add_columns(consent.c.consent_id)
_LIVE_IN_SPAN = _LIVE_OF_MEMBERS.where(
    consent.c.subject >= sa.bindparam("first"), consent.c.subject <= sa.bindparam("last")
)
