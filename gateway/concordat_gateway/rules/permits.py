"""Which consents permit a use at a moment: the question every use of data asks first.

Asked inside the transaction that records the use, and nowhere else: an answer kept for later
would outlive a withdrawal.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
from concordat_privacy.periods import TimeUnit, span_number
from concordat_store.chunks import in_chunks
from concordat_store.direct import Among, rows_of

# Sorted keys in one statement are read in index order; more than this gains nothing.
SUBJECTS_A_QUERY = 250

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
    activated_at: int | None
    paused_at: int | None
    withdrawn_at: int | None
    revoked_at: int | None
    jurisdiction: str | None
    """Null for consents that were recorded before there were policies."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What a recipient may use of one subject, and the consent that each category rests on."""

    consents: Mapping[DataCategory, ConsentId] = field(default_factory=dict)

    @property
    def granted(self) -> bool:
        """Whether any category is permitted."""
        return bool(self.consents)

    def behind(self, needs: Sequence[DataCategory]) -> tuple[ConsentId, ...] | None:
        """The consent behind each of the categories; None unless all of them are permitted."""
        try:
            return tuple(map(self.consents.__getitem__, needs))
        except KeyError:
            return None


class Permits(dict[SubjectKey, Permit]):
    """Permits by subject, and all consents that were found."""

    grounds: list[Ground]


class SpentPermits(list[Permit]):
    """Permits by position, and all consents that were found."""

    grounds: list[Ground]


NO_PERMIT = Permit()
_GROUND = len(Ground._fields)
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
    for chunk in in_chunks(sorted(subjects), SUBJECTS_A_QUERY):
        rows = rows_of(
            connection,
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


def ground_of(
    connection: sa.Connection,
    recipient: str,
    purpose: Purpose,
    category: DataCategory,
    subject: SubjectKey,
    now: int,
) -> Ground | None:
    """The consent by which `recipient` may use one category of one subject, as `permits` picks it.

    A refusal fetches no row, whatever other consents there are.
    """
    row = connection.execute(
        _LIVE_FOR_CATEGORY,
        {
            "subjects": [subject],
            "recipient": recipient,
            "purpose": mask_of([purpose]),
            "category": mask_of([category]),
            "now": now,
        },
    ).first()
    return None if row is None else Ground._make(row)


def spent_permits(
    connection: sa.Connection,
    recipient: str,
    purpose: Purpose,
    subjects: Sequence[SubjectKey],
    now: int,
) -> SpentPermits:
    """As `permits`, for lookups: one permit for each position of `subjects`, its uses counted.

    A consent with a frequency permits as many uses a calendar unit as it says, and counts one for
    each position that rests on it; where it is exhausted, another that covers the category may
    permit. Within one transaction nothing else counts, so no race exceeds it. Only consents with a
    frequency cost a statement, after the question: a refusal takes the same as any other.
    """
    found: dict[SubjectKey, list[_Countable]] = {}
    unlimited: dict[SubjectKey, Permit] = {}
    grounds: list[Ground] = []
    spans = {f"span_{unit}": span_number(unit, now) for unit in TimeUnit}
    for chunk in in_chunks(sorted(set(subjects)), SUBJECTS_A_QUERY):
        rows = rows_of(
            connection,
            _UNSPENT_OF_RECIPIENT,
            {
                "subjects": chunk,
                "recipient": recipient,
                "purpose": mask_of([purpose]),
                "now": now,
                **spans,
            },
        )
        grounds += [Ground._make(row[:_GROUND]) for row in rows]
        often = Counter([row[0] for row in rows])
        for row in rows:
            subject: SubjectKey = row[0]
            consent_id: ConsentId = row[1]
            categories: Mask = row[4]
            unit, uses, span, used = row[_GROUND:]
            if uses is None and often[subject] == 1:
                # As nearly all are; of thousands at once, while others wait, the rest is dear.
                unlimited[subject] = Permit(dict.fromkeys(categories_in(categories), consent_id))
                continue
            current = None if unit is None else spans[f"span_{unit}"]
            left = None if uses is None else uses - (used if span == current else 0)
            found.setdefault(subject, []).append(
                _Countable(consent_id, categories_in(categories), current, uses, left)
            )
    permitted = SpentPermits(
        unlimited.get(subject) or (_spend(found[subject]) if subject in found else NO_PERMIT)
        for subject in subjects
    )
    permitted.grounds = grounds
    counted = [one for consents in found.values() for one in consents if one.spent]
    if counted:
        connection.execute(
            _COUNT_USES,
            [
                {"id": one.consent_id, "span": one.span, "used_now": one.used}
                for one in sorted(counted, key=lambda one: one.consent_id)
            ],
        )
    return permitted


@dataclass(slots=True)
class _Countable:
    """A live consent that covers the purpose, and how often it may still be used."""

    consent_id: ConsentId
    categories: frozenset[DataCategory]
    span: int | None
    uses: int | None
    left: int | None
    """None: without limit."""
    spent: bool = False

    @property
    def used(self) -> int:
        """Uses in the present calendar unit."""
        assert self.uses is not None
        assert self.left is not None
        return self.uses - self.left

    def spend(self) -> None:
        """Count one use."""
        if self.left is not None:
            self.left -= 1
            self.spent = True


def _spend(consents: Sequence[_Countable]) -> Permit:
    """What these consents permit once more; each that is used for it counts one use."""
    chosen: dict[DataCategory, ConsentId] = {}
    for one in consents:
        covered = one.categories - chosen.keys()
        if covered and one.left != 0:
            chosen.update(dict.fromkeys(sorted(covered), one.consent_id))
            one.spend()
    return Permit(chosen) if chosen else NO_PERMIT


def contributors(
    connection: sa.Connection, subjects: Sequence[SubjectKey], now: int
) -> dict[SubjectKey, dict[int, frozenset[DataCategory]]]:
    """For each subject the members whose contributions may be used now, with their categories.

    A member's rows count while the subject's consent to contribute them is live: withdrawing it
    hides them at once. Keys of the inner mapping are member numbers.
    """
    found: dict[SubjectKey, dict[int, frozenset[DataCategory]]] = defaultdict(dict)
    for chunk in in_chunks(sorted(subjects), SUBJECTS_A_QUERY):
        rows = rows_of(connection, _LIVE_OF_SUBJECTS, {"subjects": chunk, "now": now})
        for subject, member_no, purposes, categories in rows:
            if covers(purposes, Purpose.CONTRIBUTION):
                allowed = found[subject]
                allowed[member_no] = allowed.get(member_no, _NONE) | categories_in(categories)
    return dict(found)


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
    """How many consents of each subject `recipient` holds that may permit something yet.

    Requested, paused and future ones count.
    """
    found: dict[SubjectKey, int] = dict.fromkeys(subjects, 0)
    for chunk in in_chunks(sorted(found), SUBJECTS_A_QUERY):
        rows = connection.execute(
            _UNENDED_OF_RECIPIENT, {"subjects": chunk, "recipient": recipient, "now": now}
        )
        found.update((subject, count) for subject, count in rows)
    return found


# In SQL what `consent_states.permits_at` says of one consent; a test holds them together.
_UNENDED = sa.and_(
    consent.c.withdrawn_at.is_(None),
    consent.c.revoked_at.is_(None),
    consent.c.expires_at > sa.bindparam("now"),
)
_LIVE = sa.and_(
    _UNENDED,
    consent.c.activated_at.is_not(None),
    consent.c.paused_at.is_(None),
    consent.c.starts_at <= sa.bindparam("now"),
)
_OF_SUBJECTS = consent.c.subject.in_(sa.bindparam("subjects", expanding=True))
_AMONG_SUBJECTS = Among(consent.c.subject, "subjects")
_OF_RECIPIENT = consent.c.recipient == sa.bindparam("recipient")
# The purpose is asked for here and not sorted out later, so that no refusal fetches a row.
_FOR_PURPOSE = consent.c.purposes.bitwise_and(sa.bindparam("purpose")) != 0
# Not in the order of an index: SQLite, which knows no statistics, would rather read all consents of
# the recipient in that order than sort the few of one subject.
_FIRST_RECORDED = (consent.c.subject, consent.c.grant_entry + 0)
_OF_RECIPIENTS_LIVE = (
    sa.select(*(consent.c[name] for name in Ground._fields))
    .where(_OF_RECIPIENT, _LIVE, _FOR_PURPOSE)
    .order_by(*_FIRST_RECORDED)
)
_LIVE_OF_RECIPIENT = _OF_RECIPIENTS_LIVE.where(_AMONG_SUBJECTS)
_LIVE_FOR_CATEGORY = _OF_RECIPIENTS_LIVE.where(
    _OF_SUBJECTS, consent.c.categories.bitwise_and(sa.bindparam("category")) != 0
).limit(1)
# An exhausted consent is left out here, so that its refusal fetches as little as any other.
_SPAN = sa.case(
    {int(unit): sa.bindparam(f"span_{unit}", type_=sa.BigInteger) for unit in TimeUnit},
    value=consent.c.frequency_unit,
)
_UNSPENT = sa.or_(
    consent.c.frequency_uses.is_(None),
    consent.c.used_span.is_(None),
    consent.c.used_span != _SPAN,
    consent.c.used < consent.c.frequency_uses,
)
_UNSPENT_OF_RECIPIENT = (
    sa.select(
        *(consent.c[name] for name in Ground._fields),
        consent.c.frequency_unit,
        consent.c.frequency_uses,
        consent.c.used_span,
        consent.c.used,
    )
    .where(_AMONG_SUBJECTS, _OF_RECIPIENT, _LIVE, _FOR_PURPOSE, _UNSPENT)
    .order_by(*_FIRST_RECORDED)
)
_COUNT_USES = (
    sa.update(consent)
    .where(consent.c.consent_id == sa.bindparam("id"))
    .values(used_span=sa.bindparam("span"), used=sa.bindparam("used_now"))
)
_UNENDED_OF_RECIPIENT = (
    sa.select(consent.c.subject, sa.func.count())
    .where(_OF_SUBJECTS, _OF_RECIPIENT, _UNENDED)
    .group_by(consent.c.subject)
)
LIVE_OF_MEMBERS = (
    sa.select(consent.c.subject, member.c.member_no, consent.c.purposes, consent.c.categories)
    .join(member, member.c.member_id == consent.c.recipient)
    .where(_LIVE)
)
_LIVE_OF_SUBJECTS = LIVE_OF_MEMBERS.where(_AMONG_SUBJECTS)
_LIVE_IN_SPAN = LIVE_OF_MEMBERS.where(
    consent.c.subject >= sa.bindparam("first"), consent.c.subject <= sa.bindparam("last")
)
