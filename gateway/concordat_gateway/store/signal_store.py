"""Contributed rows, from staging to the state that lookups read.

A batch is staged, then accepted in the control store, then published here. Publishing is
idempotent: the mark that it happened commits with the rows, so after a crash it is simply done
again. Readers see published batches only. Withdrawn consents are not this module's business: what
may leave is decided on the control store, and filtered by furnisher after reading.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from concordat_gateway.store import signal_sql as sql
from concordat_gateway.store.merging import merge_rows
from concordat_gateway.store.signal_tables import inquiry, relation
from concordat_gateway.store.staging import (
    StagedRow,
    decode_rows,
    encode_rows,
    without_subjects,
)
from concordat_gateway.store.subjects import (
    ROTATING,
    SubjectKey,
    bucket_of,
    require_epoch,
    tokens_rotating,
)
from concordat_privacy.catalogue.relations import (
    History,
    Inquiry,
    Relation,
    packed_relation,
)
from concordat_privacy.catalogue.retention import Cutoffs, kept
from concordat_privacy.catalogue.rows import RowRef
from concordat_privacy.epochs import FIRST_EPOCH
from concordat_store.chunks import in_chunks
from concordat_store.clock import Clock
from concordat_store.database import Database
from concordat_store.direct import Asked, rows_of

BUCKETS = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """What the pool holds of one account or application, and the row it came from."""

    source: RowRef
    """Entry 0: from before it was kept."""
    as_of_month: int | None = None
    """The account's newest month, of which `source` is; None for an application."""


@dataclass(frozen=True, slots=True)
class PastRetention:
    """How many rows are past their retention."""

    adverse: int = 0
    """Adverse endings, and histories that reach too far back."""
    positive: int = 0
    inquiries: int = 0

    def __add__(self, other: "PastRetention") -> "PastRetention":
        return PastRetention(
            self.adverse + other.adverse,
            self.positive + other.positive,
            self.inquiries + other.inquiries,
        )


class BatchNotStagedError(LookupError):
    """A batch that is neither staged nor published cannot be published."""


class SignalStore:
    """The signals store. Thread-safe; make one a process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def stage(self, batch_id: bytes, rows: Sequence[StagedRow]) -> None:
        """Keep the rows of a batch, durably, where no reader sees them.

        Raises Refusal UNAVAILABLE where the store fails; nothing is staged then.
        """
        content = encode_rows(rows)
        with self._database.write() as connection:
            connection.execute(
                sql.INSERT_STAGED_BATCH,
                {"batch_id": batch_id, "staged_at": self._clock(), "content": content},
            )

    def publish(
        self, batch_id: bytes, member_no: int, refused_rows: Collection[int], entry: int = 0
    ) -> None:
        """Let readers see a staged batch, without its refused rows. Idempotent, one transaction.

        `entry` is the batch's in the ledger: its rows are known by it. A member's batches must be
        published in the order of their entries. Raises BatchNotStagedError, or Refusal UNAVAILABLE
        where the store fails: publish again.
        """
        refused = frozenset(refused_rows)
        with self._database.write() as connection:
            # The lock comes first: what is read below stays true until the commit.
            connection.execute(
                sql.LOCK_PUBLISHER, {"member_no": member_no, "published_at": self._clock()}
            )
            if _is_published(connection, batch_id):
                return
            content = _staged_content(connection, batch_id)
            if content is None:
                raise BatchNotStagedError(f"batch {batch_id.hex()} is not staged")
            staged = [row for row in decode_rows(content) if row.row_no not in refused]
            merge_rows(connection, member_no, entry, staged)
            connection.execute(
                sql.INSERT_PUBLISHED, {"batch_id": batch_id, "published_at": self._clock()}
            )
            _delete_staged(connection, batch_id)

    def discard(self, batch_id: bytes) -> None:
        """Forget a staged batch. Nothing happens where there is none."""
        with self._database.write() as connection:
            _delete_staged(connection, batch_id)

    def is_published(self, batch_id: bytes) -> bool:
        """Whether readers see the batch."""
        with self._database.ask() as connection:
            return _is_published(connection, batch_id)

    def staged(self) -> list[bytes]:
        """Batches neither published nor discarded so far, oldest first."""
        with self._database.ask() as connection:
            return [batch_id for [batch_id] in rows_of(connection, sql.SELECT_STAGED, {})]

    def staged_before(self, microseconds: int) -> list[bytes]:
        """Batches staged before a time and neither published nor discarded since, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(sql.SELECT_STAGED_BEFORE, {"staged_at": microseconds})
            return list(rows.scalars())

    def histories(self, subjects: Sequence[SubjectKey], epoch: int) -> dict[SubjectKey, History]:
        """What all members published about each subject; an empty History where nothing.

        All subjects are read from one snapshot of the store, in which they must be named under
        `epoch`. Raises Refusal UNAVAILABLE (TOKENS_ROTATING) where they are not.
        """
        relations: dict[SubjectKey, list[tuple[int, Relation]]] = {key: [] for key in subjects}
        inquiries: dict[SubjectKey, list[tuple[int, Inquiry]]] = defaultdict(list)
        chunks = list(in_chunks(sorted(relations), sql.SUBJECTS_A_STATEMENT))
        with self._database.ask() if len(chunks) == 1 else self._database.read() as connection:
            for chunk in chunks:
                found = FIRST_EPOCH
                for row in rows_of(connection, sql.SELECT_HISTORIES, sql.subject_span(chunk)):
                    part = row[-1]
                    if part == sql.RELATION_PART:
                        account = Relation.from_numbers(*row[2:-1])
                        relations[row[0]].append((row[1], account))
                    elif part == sql.INQUIRY_PART:
                        application = Inquiry.from_numbers(*row[3:6])
                        inquiries[row[0]].append((row[1], application))
                    else:
                        found = row[1]
                require_epoch(found, epoch)
        return {
            key: History(tuple(accounts), tuple(inquiries.get(key, ())))
            for key, accounts in relations.items()
        }

    def standing(
        self, member_no: int, subjects: Collection[SubjectKey], epoch: int
    ) -> dict[tuple[SubjectKey, bool, bytes], Standing]:
        """What the pool holds of one member about subjects.

        By (subject, whether it is an account, its reference). Raises as `histories`.
        """
        found: dict[tuple[SubjectKey, bool, bytes], Standing] = {}
        with self._database.read() as connection:
            require_epoch(sql.read_epoch(connection), epoch)
            for chunk in in_chunks(sorted(subjects), sql.SUBJECTS_A_STATEMENT):
                of_member = {"member_no": member_no, **sql.subject_span(chunk)}
                for subject, _, entry, item, ref, month, *_ in rows_of(
                    connection, sql.SELECT_RELATIONS_OF, of_member
                ):
                    found[subject, True, ref] = Standing(RowRef(entry, item), month)
                for subject, _, entry, item, ref in rows_of(
                    connection, sql.SELECT_INQUIRIES_OF, of_member
                ):
                    found[subject, False, ref] = Standing(RowRef(entry, item))
        return found

    def relations_by_bucket(
        self, columns: Sequence[str], epoch: int
    ) -> Iterator[tuple[int, Sequence[sa.Row[*tuple[Any, ...]]]]]:
        """Every published relation: each bucket with its rows in order of subject, empty ones too.

        Args:
            columns: names of the relation's columns, such as "subject" or "product".

        Each bucket is read in a transaction of its own: the rows of one subject are from one
        snapshot, those of two subjects may not be. Raises as `histories`.
        """
        statement = sql.in_bucket(sa.select(*(relation.c[name] for name in columns)))
        for bucket in range(BUCKETS):
            with self._database.read() as connection:
                require_epoch(sql.read_epoch(connection), epoch)
                rows = connection.execute(statement, sql.bucket_span(bucket)).all()
            yield bucket, rows

    def count_past(self, cutoffs: Cutoffs) -> PastRetention:
        """How much is past its retention. Each bucket is read in a transaction of its own."""
        total = PastRetention()
        for bucket in range(BUCKETS):
            span = sql.retention_span(bucket, cutoffs)
            with self._database.read() as connection:
                total += PastRetention(
                    _count(connection, relation, sql.PAST_ADVERSE, span)
                    + len(_trimmed(connection, span, cutoffs)),
                    _count(connection, relation, sql.PAST_POSITIVE, span),
                    _count(connection, inquiry, sql.PAST_INQUIRY, span),
                )
        return total

    def drop_past(self, cutoffs: Cutoffs) -> None:
        """Delete what is past its retention, and cut histories, bucket by bucket. Idempotent.

        Each bucket is one transaction, in which nothing is published, erased or moved: a history
        that is cut is read and written back. Raises Refusal UNAVAILABLE where the store fails, or
        (TOKENS_ROTATING) is being moved; some buckets may be done then.
        """
        for bucket in range(BUCKETS):
            span = sql.retention_span(bucket, cutoffs)
            with self._alone() as connection:
                if sql.read_epoch(connection) == ROTATING:
                    raise tokens_rotating()
                trimmed = _trimmed(connection, span, cutoffs)
                for table, past in (
                    (relation, sql.PAST_ADVERSE),
                    (relation, sql.PAST_POSITIVE),
                    (inquiry, sql.PAST_INQUIRY),
                ):
                    connection.execute(sa.delete(table).where(past), span)
                sql.upsert_relations(connection, trimmed)

    def count(self, subject: SubjectKey) -> int:
        """Number of published rows of a subject."""
        with self._database.read() as connection:
            return sum(
                connection.execute(counting, sql.one_subject(subject)).scalar_one()
                for counting in sql.COUNT_OF_SUBJECT
            )

    def erase(
        self,
        erasure_id: bytes,
        subjects: Collection[SubjectKey],
        accepted_before: Callable[[Sequence[bytes]], Collection[bytes]],
    ) -> None:
        """Delete all that is held of subjects, unless this erasure was carried out here before.

        `accepted_before` says which of some staged batches were accepted before the erasure: the
        subjects' rows of those go too, and will never be published. One transaction, in which
        nothing is published. Raises Refusal UNAVAILABLE where the store fails.
        """
        with self._alone() as connection:
            mark = {"erasure_id": erasure_id, "erased_at": self._clock()}
            if connection.execute(sql.SELECT_IS_ERASED, mark).first() is not None:
                return
            staged = list(connection.execute(sql.SELECT_STAGED).scalars())
            for batch_id in accepted_before(staged) if staged else ():
                _erase_staged(connection, batch_id, subjects)
            for subject in subjects:
                for deleting in sql.DELETE_OF_SUBJECT:
                    connection.execute(deleting, sql.one_subject(subject))
            connection.execute(sql.INSERT_ERASED, mark)

    def erasures(self) -> set[bytes]:
        """The ids of all erasures that were carried out here."""
        with self._database.read() as connection:
            return set(connection.execute(sql.SELECT_ERASED).scalars())

    def subjects_by_bucket(self) -> Iterator[set[SubjectKey]]:
        """All subjects that have a row, published or staged, bucket by bucket."""
        # First: what is published meanwhile is found where it was, or where it is.
        staged = self._staged_subjects()
        for bucket in range(BUCKETS):
            with self._database.read() as connection:
                yield staged[bucket].union(
                    *(
                        connection.execute(selecting, sql.bucket_span(bucket)).scalars()
                        for selecting in sql.SUBJECTS_IN_BUCKET
                    )
                )

    def epoch(self) -> int:
        """The key epoch under which this store names subjects; 0 while they are moved."""
        with self._database.read() as connection:
            return sql.read_epoch(connection)

    def set_epoch(self, epoch: int) -> None:
        """Say under which key epoch this store names subjects from now on; 0: it is being moved.

        Waits for what reads rows and writes them back: that must not meet rows that have moved.
        """
        with self._alone() as connection:
            connection.execute(sql.SET_EPOCH, {"epoch": epoch})

    def move(self, bucket: int, names: Mapping[SubjectKey, SubjectKey]) -> None:
        """Give subjects of one bucket their next names, in one transaction. Idempotent.

        Rows are written under the new name and deleted under the old: a key is never changed in
        place, as it says where a row lies. Only for whoever has set the epoch to 0.
        """
        with self._database.write() as connection:
            for moving in sql.MOVING:
                found = connection.execute(moving.select, moving.span(bucket, names))
                sql.upsert_moved(connection, moving, found, names)
                connection.execute(moving.delete, moving.span(bucket, names))

    def _staged_subjects(self) -> list[set[SubjectKey]]:
        """By bucket."""
        found: list[set[SubjectKey]] = [set() for _ in range(BUCKETS)]
        for batch_id in self.staged():
            with self._database.read() as connection:
                content = _staged_content(connection, batch_id)
            for row in decode_rows(content or b""):
                found[bucket_of(row.subject)].add(row.subject)
        return found

    @contextmanager
    def _alone(self) -> Iterator[sa.Connection]:
        """A durable transaction in which nobody else publishes, erases or deletes."""
        with self._database.write() as connection:
            # On SQLite whoever writes is alone.
            if not self._database.is_sqlite:
                connection.execute(sql.LOCK_PUBLISHING)
            yield connection


def _count(
    connection: sa.Connection,
    table: sa.Table,
    past: sa.ColumnElement[bool],
    span: Mapping[str, Any],
) -> int:
    statement = sa.select(sa.func.count()).select_from(table).where(past)
    return int(connection.execute(statement, span).scalar_one())


def _trimmed(
    connection: sa.Connection, span: Mapping[str, Any], cutoffs: Cutoffs
) -> list[tuple[Any, ...]]:
    """What the relations of a bucket that say too much are to be, as `relation_row` makes them."""
    found = []
    for subject, member_no, entry, item, *numbers in connection.execute(sql.SELECT_TO_TRIM, span):
        stored = Relation.from_numbers(*numbers)
        remaining = kept(stored, cutoffs)
        if remaining is not None and remaining != stored:
            found.append(
                sql.relation_row(subject, member_no, packed_relation(remaining), entry, item)
            )
    return found


def _is_published(connection: sa.Connection | Asked, batch_id: bytes) -> bool:
    return bool(rows_of(connection, sql.SELECT_PUBLISHED, {"batch_id": batch_id}))


def _staged_content(connection: sa.Connection, batch_id: bytes) -> bytes | None:
    """None where it is not staged."""
    found = connection.execute(sql.SELECT_STAGED_CONTENT, {"batch_id": batch_id}).scalar()
    return None if found is None else bytes(found)


def _erase_staged(
    connection: sa.Connection, batch_id: bytes, subjects: Collection[SubjectKey]
) -> None:
    content = _staged_content(connection, batch_id) or b""
    remaining = without_subjects(content, subjects)
    if remaining != content:
        connection.execute(
            sql.UPDATE_STAGED_CONTENT, {"staged_id": batch_id, "remaining": remaining}
        )


def _delete_staged(connection: sa.Connection, batch_id: bytes) -> None:
    connection.execute(sql.DELETE_STAGED_BATCH, {"batch_id": batch_id})
