"""Prebuilt statements of the signals store, and the way from rows to the catalogue's types."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from concordat_gateway.store.bulk import Rows, upsert_rows
from concordat_gateway.store.signal_tables import (
    erased,
    inquiry,
    published_batch,
    relation,
    staged_batch,
    subject_epoch,
)
from concordat_gateway.store.subjects import bucket_bounds, bucket_of
from concordat_privacy.catalogue.packing import PackedAccount
from concordat_privacy.catalogue.relations import PROFILE_MONTHS
from concordat_privacy.catalogue.retention import BEHAVIOUR, Cutoffs
from concordat_privacy.catalogue.rows import ADVERSE_STATUSES
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_store.direct import Among

SUBJECTS_A_STATEMENT = 1_000

# In the order of Relation's fields after account_ref.
_RELATION_STATE = (
    "as_of_month",
    "status",
    "product",
    "opened_quarter",
    "first_delinquency_month",
    "bands",
    "profile",
)

_BATCH_ID: sa.BindParameter[bytes] = sa.bindparam("batch_id")
SET_EPOCH = sa.text(
    "INSERT INTO subject_epoch (id, epoch) VALUES (1, :epoch)"
    " ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch"
)
_SELECT_EPOCH = sa.select(subject_epoch.c.epoch)
INSERT_STAGED_BATCH = sa.insert(staged_batch)
SELECT_STAGED_CONTENT = sa.select(staged_batch.c.content).where(
    staged_batch.c.batch_id == _BATCH_ID
)
UPDATE_STAGED_CONTENT = (
    sa.update(staged_batch)
    .where(staged_batch.c.batch_id == sa.bindparam("staged_id"))
    .values(content=sa.bindparam("remaining"))
)
SELECT_STAGED = sa.select(staged_batch.c.batch_id).order_by(
    staged_batch.c.staged_at, staged_batch.c.batch_id
)
SELECT_STAGED_BEFORE = SELECT_STAGED.where(staged_batch.c.staged_at < sa.bindparam("staged_at"))
DELETE_STAGED_BATCH = sa.delete(staged_batch).where(staged_batch.c.batch_id == _BATCH_ID)
INSERT_PUBLISHED = sa.insert(published_batch)
SELECT_PUBLISHED = sa.select(published_batch.c.batch_id).where(
    published_batch.c.batch_id == _BATCH_ID
)
# Locks the member's row on PostgreSQL; on SQLite the transaction is alone anyway.
LOCK_PUBLISHER = sa.text(
    "INSERT INTO publisher (member_no, published_at) VALUES (:member_no, :published_at)"
    " ON CONFLICT (member_no) DO UPDATE SET published_at = excluded.published_at"
)


# Keeps out whoever publishes, as that locks a row first, and whoever else takes this lock.
LOCK_PUBLISHING = sa.text("LOCK TABLE publisher IN EXCLUSIVE MODE")
INSERT_ERASED = sa.text(
    "INSERT INTO erased (erasure_id, erased_at) VALUES (:erasure_id, :erased_at)"
    " ON CONFLICT (erasure_id) DO NOTHING"
)
SELECT_ERASED = sa.select(erased.c.erasure_id)
SELECT_IS_ERASED = SELECT_ERASED.where(erased.c.erasure_id == sa.bindparam("erasure_id"))


def _is_subject(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.subject == sa.bindparam("subject"), table.c.bucket == sa.bindparam("bucket")
    )


_PUBLISHED = (relation, inquiry)
COUNT_OF_SUBJECT = tuple(
    sa.select(sa.func.count()).select_from(table).where(_is_subject(table)) for table in _PUBLISHED
)
DELETE_OF_SUBJECT = tuple(sa.delete(table).where(_is_subject(table)) for table in _PUBLISHED)
DELETE_RELATION = sa.delete(relation).where(
    _is_subject(relation),
    relation.c.member_no == sa.bindparam("member_no"),
    relation.c.account_ref == sa.bindparam("ref"),
)
DELETE_INQUIRY = sa.delete(inquiry).where(
    _is_subject(inquiry),
    inquiry.c.member_no == sa.bindparam("member_no"),
    inquiry.c.application_ref == sa.bindparam("ref"),
)
SUBJECTS_IN_BUCKET = tuple(
    sa.select(table.c.subject)
    .where(
        table.c.bucket == sa.bindparam("bucket"),
        table.c.subject >= sa.bindparam("first"),
        table.c.subject <= sa.bindparam("last"),
    )
    .distinct()
    for table in _PUBLISHED
)


def _of_subjects(table: sa.Table, columns: Sequence[str]) -> sa.Select[Any]:
    """For `direct.rows_of`."""
    chosen = sa.select(table.c.subject, table.c.member_no, *(table.c[name] for name in columns))
    # With the bucket, PostgreSQL opens only the partitions that can hold the subjects.
    return chosen.where(Among(table.c.subject, "subjects"), Among(table.c.bucket, "buckets"))


_SOURCE = ("source_entry", "source_item")
SELECT_RELATIONS_OF = _of_subjects(relation, (*_SOURCE, "account_ref", *_RELATION_STATE)).where(
    relation.c.member_no == sa.bindparam("member_no")
)
SELECT_INQUIRIES_OF = _of_subjects(inquiry, (*_SOURCE, "application_ref")).where(
    inquiry.c.member_no == sa.bindparam("member_no")
)
_INQUIRY = ("application_ref", "day", "product", "outcome")
_NOTHING = [sa.null()] * (len(_RELATION_STATE) + 1 - len(_INQUIRY))


def _part(kind: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(kind), sa.Integer).label("part")


EPOCH_PART, RELATION_PART, INQUIRY_PART = range(3)
# All of a lookup in one snapshot without a transaction. Rows of subjects have their subject, the
# member's number and the columns of `relation` or `inquiry`; the epoch stands for the number.
SELECT_HISTORIES = sa.union_all(
    _of_subjects(relation, ("account_ref", *_RELATION_STATE)).add_columns(_part(RELATION_PART)),
    _of_subjects(inquiry, _INQUIRY).add_columns(*_NOTHING, _part(INQUIRY_PART)),
    sa.select(
        sa.null(),
        subject_epoch.c.epoch,
        *([sa.null()] * len(_RELATION_STATE)),
        sa.null(),
        _part(EPOCH_PART),
    ),
).order_by("subject", "member_no", "account_ref")


def _in_bucket(table: sa.Table) -> sa.ColumnElement[bool]:
    # As in `in_bucket`: the range is for SQLite's tree, the bucket for PostgreSQL's partitions.
    return sa.and_(
        table.c.bucket == sa.bindparam("in_bucket"),
        table.c.subject >= sa.bindparam("first"),
        table.c.subject <= sa.bindparam("last"),
    )


_ADVERSE = relation.c.status.in_(sorted(ADVERSE_STATUSES))
_BEGAN = relation.c.first_delinquency_month
_OLDEST_DELINQUENCY: sa.BindParameter[int] = sa.bindparam("delinquency_month", type_=sa.Integer)
# As `retention.kept` decides; 0 is a month, or a cutoff, that is not known.
PAST_ADVERSE = sa.and_(
    _in_bucket(relation),
    _ADVERSE,
    sa.or_(
        sa.and_(_BEGAN > 0, _BEGAN < _OLDEST_DELINQUENCY),
        sa.and_(
            sa.or_(_BEGAN == 0, _OLDEST_DELINQUENCY == 0),
            relation.c.as_of_month < sa.bindparam("adverse_month"),
        ),
    ),
)
PAST_POSITIVE = sa.and_(
    _in_bucket(relation), ~_ADVERSE, relation.c.as_of_month < sa.bindparam("positive_month")
)
PAST_INQUIRY = sa.and_(_in_bucket(inquiry), inquiry.c.day < sa.bindparam("inquiry_day"))
_HAS_BEHAVIOUR = sa.or_(
    # A byte that is not stored is shorter than one that is, and so before it.
    *(sa.func.substr(relation.c.bands, at + 1, 1) > sa.literal(b"\0") for at in BEHAVIOUR)
)
SELECT_TO_TRIM = sa.select(
    relation.c.subject,
    relation.c.member_no,
    *(relation.c[name] for name in (*_SOURCE, "account_ref", *_RELATION_STATE)),
).where(
    _in_bucket(relation),
    sa.or_(
        relation.c.as_of_month < sa.bindparam("adverse_month") + PROFILE_MONTHS,
        sa.and_(relation.c.as_of_month < sa.bindparam("behaviour_month"), _HAS_BEHAVIOUR),
    ),
)


def retention_span(bucket: int, cutoffs: Cutoffs) -> dict[str, Any]:
    """Parameters of the statements about retention."""
    first, last = bucket_bounds(bucket)
    return {
        "in_bucket": bucket,
        "first": first,
        "last": last,
        "adverse_month": cutoffs.adverse_month,
        "positive_month": cutoffs.positive_month,
        "inquiry_day": cutoffs.inquiry_day,
        "behaviour_month": cutoffs.behaviour_month,
        "delinquency_month": cutoffs.delinquency_month,
    }


def read_epoch(connection: sa.Connection) -> int:
    """The key epoch under which the store names subjects; 0 while they are moved."""
    found = connection.execute(_SELECT_EPOCH).scalar()
    return FIRST_EPOCH if found is None else int(found)


@dataclass(frozen=True)
class Moving:
    """How the rows of a table get other subjects."""

    table: sa.Table
    select: sa.Select[Any]
    delete: sa.Delete

    @classmethod
    def of(cls, table: sa.Table) -> "Moving":
        """The statements of a table with subject and bucket."""
        chosen = sa.and_(
            table.c.bucket == sa.bindparam("bucket"),
            table.c.subject.in_(sa.bindparam("subjects", expanding=True)),
        )
        return cls(table, sa.select(table).where(chosen), sa.delete(table).where(chosen))

    def span(self, bucket: int, subjects: Iterable[bytes]) -> dict[str, Any]:
        """Parameters of both statements."""
        return {"bucket": bucket, "subjects": list(subjects)}


MOVING = (Moving.of(relation), Moving.of(inquiry))


def upsert_moved(
    connection: sa.Connection,
    moving: Moving,
    rows: Iterable[sa.Row[Any]],
    names: Mapping[Any, bytes],
) -> None:
    """Store rows under the names that their subjects get."""
    columns = list(moving.table.c.keys())
    subject_at, bucket_at = columns.index("subject"), columns.index("bucket")
    moved = []
    for row in rows:
        values = list(row)
        values[subject_at] = names[bytes(row[subject_at])]
        values[bucket_at] = bucket_of(values[subject_at])
        moved.append(tuple(values))
    # In key order, which begins with the subject: neighbours share a page.
    upsert_rows(connection, moving.table, sorted(moved))


def subject_span(subjects: Sequence[bytes]) -> dict[str, list[Any]]:
    """Parameters of the statements that read some subjects."""
    return {"subjects": list(subjects), "buckets": sorted({bucket_of(key) for key in subjects})}


def one_subject(subject: bytes) -> dict[str, Any]:
    """Parameters of the statements about one subject."""
    return {"subject": subject, "bucket": bucket_of(subject)}


def in_bucket(statement: sa.Select[Any]) -> sa.Select[Any]:
    """A statement on relations, narrowed to one bucket and ordered by subject."""
    # The range on subject is what SQLite's tree can seek; the bucket picks the partition.
    return statement.where(
        relation.c.bucket == sa.bindparam("bucket"),
        relation.c.subject >= sa.bindparam("first"),
        relation.c.subject <= sa.bindparam("last"),
    ).order_by(relation.c.subject, relation.c.member_no, relation.c.account_ref)


def bucket_span(bucket: int) -> dict[str, Any]:
    """Parameters of a statement of `in_bucket`."""
    first, last = bucket_bounds(bucket)
    return {"bucket": bucket, "first": first, "last": last}


def relation_row(
    subject: bytes, member_no: int, account: PackedAccount, entry: int, item: int
) -> tuple[Any, ...]:
    """The values of `relation`, of an account whose newest month came from a row of an entry."""
    ref, month, status, product, opened, first, bands, profile = account
    return (
        *(subject, member_no, ref, bucket_of(subject), month, status, product, opened, first),
        *(bands, profile.ljust(PROFILE_MONTHS, b"\0"), entry, item),
    )


def upsert_relations(connection: sa.Connection, rows: Rows) -> None:
    """Store what `relation_row` made, in key order, replacing what has the same key."""
    upsert_rows(connection, relation, rows)


def upsert_inquiries(connection: sa.Connection, rows: Rows) -> None:
    """Store the values of `inquiry`, in key order, replacing what has the same key."""
    upsert_rows(connection, inquiry, rows)
