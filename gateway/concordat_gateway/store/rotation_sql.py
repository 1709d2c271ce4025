"""Statements of a rotation on the control store: what is to be moved, and the moving of it.

A chunk is a span of old names. Whatever moves a chunk does so for the pairs that are still there,
so it can be done again after a crash.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

import sqlalchemy as sa

from concordat_gateway.store.bulk import insert_rows
from concordat_gateway.store.control_tables import (
    batch,
    consent,
    rotation,
    rotation_pair,
    subject_alias,
    subject_element,
)
from concordat_gateway.store.subjects import SUBJECT_BYTES, SubjectKey


class State(IntEnum):
    """How far a rotation is. The numbers are stored."""

    PREPARING = 1
    """New names are being made; the stores serve."""
    SWITCHING = 2
    """The stores serve nothing that names subjects. Nothing is moved yet: there is a way back."""
    MOVING = 3
    """The stores are being moved; there is no way back."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation that is under way."""

    from_epoch: int
    to_epoch: int
    state: State
    moved: int
    """Subjects that control has moved."""
    owner: bytes
    """Random number, 16 bytes, of the process that works on it: the last one that began to."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A subject's name now and next, and its element sealed for the next."""

    subject: SubjectKey
    new_subject: SubjectKey
    sealed: bytes


def read(connection: sa.Connection) -> Rotation | None:
    """The rotation under way, if one is."""
    row = connection.execute(_SELECT).one_or_none()
    if row is None:
        return None
    return Rotation(row.from_epoch, row.to_epoch, State(row.state), row.moved, row.owner)


def begin(connection: sa.Connection, from_epoch: int, to_epoch: int, owner: bytes) -> Rotation:
    """Record that a rotation begins."""
    begun = Rotation(from_epoch, to_epoch, State.PREPARING, 0, owner)
    connection.execute(sa.insert(rotation).values(id=1, **asdict(begun)))
    return begun


def set_owner(connection: sa.Connection, owner: bytes) -> None:
    """Record that another process works on the rotation from now on."""
    connection.execute(sa.update(rotation).values(owner=owner))


def set_state(connection: sa.Connection, state: State) -> None:
    """Record how far the rotation is."""
    connection.execute(sa.update(rotation).values(state=state))


def end(connection: sa.Connection) -> None:
    """Record that no rotation is under way."""
    connection.execute(sa.delete(rotation))


def is_empty(connection: sa.Connection) -> bool:
    """Whether the store knows no subject yet."""
    tables = (consent, batch, subject_element, rotation)
    return all(
        connection.execute(sa.select(1).select_from(t).limit(1)).first() is None for t in tables
    )


def count_elements(connection: sa.Connection, epoch: int) -> int:
    """Number of elements sealed under an epoch's pepper."""
    return int(connection.execute(_COUNT_ELEMENTS, {"epoch": epoch}).scalar_one())


def count_pairs(connection: sa.Connection) -> int:
    """Number of subjects whose next name is ready and that control has not moved."""
    return int(connection.execute(_COUNT_PAIRS).scalar_one())


def count_unsealed(connection: sa.Connection) -> int:
    """Number of subjects with a consent of which no element is kept."""
    return int(connection.execute(_COUNT_UNSEALED).scalar_one())


def sealed_for(connection: sa.Connection, epoch: int) -> list[tuple[SubjectKey, bytes]]:
    """(subject, sealed element) of a few that are sealed under an epoch's pepper.

    Of the names in use, and of those that a rotation has prepared.
    """
    return [
        (SubjectKey(subject), sealed)
        for statement in (_SOME_ELEMENTS, _SOME_PAIRS)
        for subject, sealed in connection.execute(statement, {"epoch": epoch})
    ]


def delete_elements(connection: sa.Connection, epoch: int) -> int:
    """Forget the elements sealed under an epoch's pepper; how many there were."""
    found = count_elements(connection, epoch)
    connection.execute(_DELETE_ELEMENTS, {"epoch": epoch})
    return found


def unpaired(
    connection: sa.Connection, epoch: int, after: bytes, most: int
) -> list[tuple[SubjectKey, bytes]]:
    """(subject, sealed element) of an epoch without a next name, in order, from `after` on."""
    rows = connection.execute(_UNPAIRED, {"epoch": epoch, "after": after, "most": most})
    return [(SubjectKey(subject), sealed) for subject, sealed in rows]


def insert_pairs(connection: sa.Connection, pairs: Sequence[Pair]) -> None:
    """Keep the next names of subjects that had none, and that have not been erased since."""
    left = set(
        connection.execute(_PRESENT, {"subjects": [pair.subject for pair in pairs]}).scalars()
    )
    rows = [
        (pair.subject, pair.new_subject, pair.sealed)
        for pair in sorted(pairs, key=_by_name)
        if pair.subject in left
    ]
    insert_rows(connection, rotation_pair, rows)


def delete_pairs(connection: sa.Connection) -> None:
    """Forget all names that are ready."""
    connection.execute(sa.delete(rotation_pair))


def names(
    connection: sa.Connection, first: bytes, last: bytes, after: bytes, most: int
) -> dict[SubjectKey, SubjectKey]:
    """Names now and next of the subjects from `first` to `last`, beyond `after`, in order."""
    span = {"first": first, "last": last, "after": after, "most": most}
    rows = connection.execute(_NAMES, span)
    return {SubjectKey(subject): SubjectKey(new) for subject, new in rows}


def next_chunk(connection: sa.Connection, most: int) -> list[SubjectKey]:
    """The subjects that `move_chunk` would move now."""
    return list(connection.execute(_CHUNK, {"most": most}).scalars())


def forget_subject(connection: sa.Connection, subject: SubjectKey) -> set[SubjectKey]:
    """Take whatever names a subject out of control, but its consents; all names that it had."""
    names = connection.execute(_OLD_NAMES, {"subject": subject}).scalars()
    known = {subject, *map(SubjectKey, names)}
    for statement in _FORGET_SUBJECT:
        connection.execute(statement, {"subject": subject})
    connection.execute(_FORGET_IN_DISPUTES, {"subject": subject, "nobody": bytes(SUBJECT_BYTES)})
    return known


def move_chunk(connection: sa.Connection, to_epoch: int, most: int) -> int:
    """Move the first `most` subjects that are still to be moved; how many there were.

    Their consents, elements, aliases, records, disputes and requests of erasure get the next name.
    Each recipient of a consent gets an alias, by which it finds the subject by its older tokens.
    """
    subjects = connection.execute(_CHUNK, {"most": most}).scalars().all()
    if not subjects:
        return 0
    bounds = {"first": subjects[0], "last": subjects[-1]}
    for statement in _MOVES:
        connection.execute(statement, bounds)
    connection.execute(_KEEP_ELEMENTS, {**bounds, "epoch": to_epoch})
    connection.execute(_DELETE_PAIRS, bounds)
    connection.execute(_COUNT_MOVED, {"pairs": len(subjects)})
    return len(subjects)


def _by_name(pair: Pair) -> bytes:
    return pair.subject


_PRESENT = sa.select(subject_element.c.subject).where(
    subject_element.c.subject.in_(sa.bindparam("subjects", expanding=True))
)
_OLD_NAMES = sa.select(subject_alias.c.old_subject).where(
    subject_alias.c.subject == sa.bindparam("subject")
)
_FORGET_SUBJECT = tuple(
    sa.delete(table).where(table.c.subject == sa.bindparam("subject"))
    for table in (subject_alias, subject_element, rotation_pair)
)
# More than one: a single damaged element is no proof of a wrong pepper.
_SOME = 3
_SELECT = sa.select(rotation)
_COUNT_ELEMENTS = sa.select(sa.func.count()).where(subject_element.c.epoch == sa.bindparam("epoch"))
_COUNT_PAIRS = sa.select(sa.func.count()).select_from(rotation_pair)
_COUNT_UNSEALED = sa.select(sa.func.count(consent.c.subject.distinct())).where(
    ~sa.exists().where(subject_element.c.subject == consent.c.subject)
)
_SOME_ELEMENTS = (
    sa.select(subject_element.c.subject, subject_element.c.sealed)
    .where(subject_element.c.epoch == sa.bindparam("epoch"))
    .limit(_SOME)
)
_SOME_PAIRS = (
    sa.select(rotation_pair.c.new_subject, rotation_pair.c.sealed)
    .where(sa.exists().where(rotation.c.to_epoch == sa.bindparam("epoch")))
    .limit(_SOME)
)
_DELETE_ELEMENTS = sa.delete(subject_element).where(
    subject_element.c.epoch == sa.bindparam("epoch")
)
_UNPAIRED = (
    sa.select(subject_element.c.subject, subject_element.c.sealed)
    .where(
        subject_element.c.epoch == sa.bindparam("epoch"),
        subject_element.c.subject > sa.bindparam("after"),
        ~sa.exists().where(rotation_pair.c.subject == subject_element.c.subject),
    )
    .order_by(subject_element.c.subject)
    .limit(sa.bindparam("most"))
)
_NAMES = (
    sa.select(rotation_pair.c.subject, rotation_pair.c.new_subject)
    .where(
        rotation_pair.c.subject >= sa.bindparam("first"),
        rotation_pair.c.subject <= sa.bindparam("last"),
        rotation_pair.c.subject > sa.bindparam("after"),
    )
    .order_by(rotation_pair.c.subject)
    .limit(sa.bindparam("most"))
)
_CHUNK = (
    sa.select(rotation_pair.c.subject).order_by(rotation_pair.c.subject).limit(sa.bindparam("most"))
)
_COUNT_MOVED = sa.text("UPDATE rotation SET moved = moved + :pairs")
# The same texts on both kinds of database. Each is bounded by the pairs of the span, so a subject
# that has its next name already, or never gets one, is left alone.
_MOVES = [
    sa.text(statement)
    for statement in (
        "UPDATE subject_alias SET subject = (SELECT p.new_subject FROM rotation_pair p"
        " WHERE p.subject = subject_alias.subject)"
        " WHERE subject IN"
        " (SELECT subject FROM rotation_pair WHERE subject BETWEEN :first AND :last)",
        "INSERT INTO subject_alias (recipient, old_subject, subject)"
        " SELECT DISTINCT c.recipient, p.subject, p.new_subject"
        " FROM consent c JOIN rotation_pair p ON p.subject = c.subject"
        " WHERE p.subject BETWEEN :first AND :last"
        " ON CONFLICT (recipient, old_subject) DO NOTHING",
        "UPDATE consent SET subject = (SELECT p.new_subject FROM rotation_pair p"
        " WHERE p.subject = consent.subject)"
        " WHERE subject IN"
        " (SELECT subject FROM rotation_pair WHERE subject BETWEEN :first AND :last)",
        *(
            f"UPDATE {table} SET subject = (SELECT p.new_subject FROM rotation_pair p"  # noqa: S608
            f" WHERE p.subject = {table}.subject)"
            " WHERE subject IN"
            " (SELECT subject FROM rotation_pair WHERE subject BETWEEN :first AND :last)"
            for table in ("subject_record", "erasure", "dispute")
        ),
        "DELETE FROM subject_element WHERE subject IN"
        " (SELECT subject FROM rotation_pair WHERE subject BETWEEN :first AND :last)",
    )
]
_KEEP_ELEMENTS = sa.text(
    "INSERT INTO subject_element (subject, epoch, sealed)"
    " SELECT new_subject, :epoch, sealed FROM rotation_pair"
    " WHERE subject BETWEEN :first AND :last"
)
# A dispute stays, as whoever opened it or answers it goes on: about nobody.
_FORGET_IN_DISPUTES = sa.text("UPDATE dispute SET subject = :nobody WHERE subject = :subject")
_DELETE_PAIRS = sa.text("DELETE FROM rotation_pair WHERE subject BETWEEN :first AND :last")
