"""Rotation: the stores' subjects get the names of the next key epoch. No member is asked again.

    prepare   while the stores serve: open each sealed element, carry it to the next epoch through
              the key-holders, keep the next name and the newly sealed element beside the old
    switch    the stores answer TOKENS_ROTATING: catch up, publish what was accepted. If that fails
              the stores go back to serving, and to preparing
    move      the signals bucket by bucket, then control chunk by chunk
    end       one transaction: the stores' epoch, the entry `tokens.rotated`, a new snapshot

Each step can be done again: whoever starts a rotation that was killed goes on with it, and owns it
from then on. Whoever has lost it and lives, on another host say, is told so at the next change:
each looks for its process's own number in the rotation's row, under the lock of the ledger's head.

What keeps callers out meanwhile is the stores' epoch: 0 in the head of the ledger, whose lock every
change takes, and in the signals store's own snapshot; see `store.subjects.require_epoch`.

Commitments in the ledger stay as they are. A subject's evidence key stays its own; the asking key
of its old name is kept, sealed under its live key, for whoever audits what was asked before.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.carrying import Update, carried
from concordat_gateway.rules.publication import publish_accepted
from concordat_gateway.rules.stores_epoch import is_pepper_of, settle
from concordat_gateway.rules.subject_records import (
    keep_asking_keys,
    records,
    sealed_asking_keys,
)
from concordat_gateway.store import rotation_sql as sql
from concordat_gateway.store.rotation_sql import Pair, Rotation, State
from concordat_gateway.store.signal_store import BUCKETS, SignalStore
from concordat_gateway.store.subject_keys import SubjectKeys
from concordat_gateway.store.subjects import (
    ROTATING,
    ElementSeal,
    SealBroken,
    SubjectKey,
    bucket_bounds,
    subject_key,
)
from concordat_privacy.keylog import EpochKey, KeyLog
from concordat_rpc.errors import Refusal

T = TypeVar("T")

OWNER_BYTES: Final = 16
CHUNK: Final = 4_096
"""Subjects a request to the key-holders, and a transaction of control."""
_SIGNALS_CHUNK: Final = 500
_CHANGE_SECONDS: Final = 600.0
_UPDATE_SECONDS: Final = 120.0

_log = logging.getLogger(__name__)


class RotationError(Exception):
    """A rotation that cannot begin, or cannot go on; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is."""

    step: str
    """"prepare", "signals" or "control"."""
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """A rotation that has ended."""

    from_epoch: int
    to_epoch: int
    subjects: int


@dataclass(frozen=True, slots=True)
class Status:
    """Where the stores are."""

    epoch: int
    """Key epoch of the subjects' names; 0 while they are moved."""
    signals_epoch: int
    rotation: Rotation | None
    sealed: int
    """Subjects that can be carried on from this epoch, or from the one being left."""
    prepared: int
    """Subjects whose next name is ready and that have not been moved."""
    unsealed: int
    """Subjects of which no element is kept."""

    @property
    def is_moving(self) -> bool:
        """Whether a rotation has begun to move subjects."""
        return self.rotation is not None and self.rotation.state is State.MOVING


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a rotation works with."""

    journal: Journal
    signals: SignalStore
    keys: SubjectKeys
    key_log: KeyLog
    pepper: Callable[[int], bytes]
    update: Update
    actor: str
    """SPIFFE id, for the ledger."""
    owner: bytes
    """Random number, OWNER_BYTES long, of this very call of `rotate`."""
    report: Callable[[Progress], None]


def status(journal: Journal, signals: SignalStore) -> Status:
    """Where the stores are, read now. Raises Refusal UNAVAILABLE where a store fails."""
    epoch = journal.tokens_epoch
    with journal.read() as connection:
        under_way = sql.read(connection)
        named = under_way.from_epoch if under_way else epoch
        return Status(
            epoch,
            signals.epoch(),
            under_way,
            sql.count_elements(connection, named),
            sql.count_pairs(connection),
            sql.count_unsealed(connection),
        )


def rotate(
    means: Means,
    to_epoch: int | None,
    *,
    leave_unsealed: bool = False,
    prepare_anew: bool = False,
) -> Rotated:
    """Move the stores to the next epoch, or go on with a rotation that was interrupted.

    Args:
        to_epoch: None: the epoch after the stores', or that of the rotation under way.
        leave_unsealed: subjects of which no element is kept stay under their old names, where no
            token of the next epoch finds them; without, they keep a rotation from beginning.
        prepare_anew: forget what an interrupted rotation has prepared, as where the pepper that it
            was made with is lost.

    Raises:
        RotationError: it cannot begin; a sealed element does not open, or not with this pepper;
            another process has taken the rotation over.
        Refusal: UNAVAILABLE: a store or the key-holders fail, or a key-holder's proof does not
            hold. Nothing is lost: rotate again.
    """
    settle(means.journal, means.signals)
    under_way = _begun(means, to_epoch, leave_unsealed, prepare_anew)
    old, new = _key(means, under_way.from_epoch), _key(means, under_way.to_epoch)
    if under_way.state is State.PREPARING:
        _prepare(means, old, new)
        _write(means, _begin_switch)
    if under_way.state is State.MOVING:
        _close_signals(means)
    else:
        _catch_up(means, old, new)
    _move_signals(means)
    _move_control(means, old.epoch, new.epoch)
    return _end(means)


def _begun(
    means: Means, to_epoch: int | None, leave_unsealed: bool, prepare_anew: bool
) -> Rotation:
    """The rotation under way, or a new one."""

    def change(transaction: Transaction) -> Rotation:
        connection = transaction.connection
        under_way = sql.read(connection)
        if under_way is not None:
            if to_epoch not in (None, under_way.to_epoch):
                raise RotationError(
                    f"a rotation to epoch {under_way.to_epoch} is under way: end it first"
                )
            if prepare_anew:
                under_way = _unprepared(means, transaction, under_way)
            _check_peppers(means, connection, under_way.from_epoch, under_way.to_epoch)
            sql.set_owner(connection, means.owner)
            return under_way
        epoch = transaction.tokens_epoch
        if to_epoch not in (None, epoch + 1):
            raise RotationError(
                f"the stores are at epoch {epoch}: the next is {epoch + 1}, not {to_epoch}"
            )
        for wanted in (epoch, epoch + 1):
            _key(means, wanted)
        _check_peppers(means, connection, epoch, epoch + 1)
        unsealed = sql.count_unsealed(connection)
        if unsealed and not leave_unsealed:
            raise RotationError(
                f"{unsealed} subjects have no sealed element, as of before elements were kept, and "
                "cannot be moved; they are found again only by new consents. Rotate with "
                "--leave-unsealed to leave them behind"
            )
        return sql.begin(connection, epoch, epoch + 1, means.owner)

    return means.journal.write(change, _CHANGE_SECONDS).value


def _unprepared(means: Means, transaction: Transaction, under_way: Rotation) -> Rotation:
    if under_way.state is State.MOVING:
        raise RotationError("the stores are being moved: what was prepared is in use")
    sql.delete_pairs(transaction.connection)
    _give_up_switch(means, transaction, under_way)
    return replace(under_way, state=State.PREPARING)


def _check_peppers(means: Means, connection: sa.Connection, *epochs: int) -> None:
    for epoch in epochs:
        if not is_pepper_of(connection, epoch, means.pepper(epoch)):
            raise RotationError(
                f"[peppers]: that of epoch {epoch} is not the one that the stores were sealed "
                "with; bring that one back"
            )


def _write(means: Means, change: Callable[[Transaction, Rotation], T]) -> T:
    """Make a change of the rotation. Raises RotationError where it is not this process's own."""

    def owned(transaction: Transaction) -> T:
        return change(transaction, _owned(means, transaction.connection))

    return means.journal.write(owned, _CHANGE_SECONDS).value


def _owned(means: Means, connection: sa.Connection) -> Rotation:
    under_way = sql.read(connection)
    if under_way is None or under_way.owner != means.owner:
        raise RotationError(
            "another process has taken this rotation over, or ended it; see `concordat keys status`"
        )
    return under_way


def _key(means: Means, epoch: int) -> EpochKey:
    key = means.key_log.key(epoch)
    if key is None:
        raise RotationError(f"the key log has no epoch {epoch}")
    return key


def _prepare(means: Means, old: EpochKey, new: EpochKey) -> None:
    """Next names for all subjects that have none. Newer ones lie anywhere: until none is left."""
    carry = _Carry(means, old, new)
    while carry.everything():
        pass


class _Carry:
    """Carries subjects' elements to the next epoch, chunk by chunk."""

    def __init__(self, means: Means, old: EpochKey, new: EpochKey) -> None:
        self._means = means
        self._old, self._new = old, new
        self._pepper = means.pepper(new.epoch)
        self._opening, self._closing = (
            ElementSeal(means.pepper(old.epoch)),
            ElementSeal(self._pepper),
        )

    def everything(self) -> int:
        """One way through all subjects without a next name; how many there were."""
        journal, epoch = self._means.journal, self._old.epoch
        with journal.read() as connection:
            done = sql.count_pairs(connection)
            total = sql.count_elements(connection, epoch)
        carried_now, after = 0, b""
        while True:
            self._means.report(Progress("prepare", done + carried_now, total))
            with journal.read() as connection:
                found = sql.unpaired(connection, epoch, after, CHUNK)
            if not found:
                return carried_now
            self._keep(self._pairs(found))
            carried_now += len(found)
            after = found[-1][0]

    def _pairs(self, found: Sequence[tuple[SubjectKey, bytes]]) -> list[Pair]:
        elements = carried(
            self._means.update,
            self._old,
            self._new,
            [_opened(self._opening, subject, sealed) for subject, sealed in found],
            _UPDATE_SECONDS,
        )
        pairs: list[Pair] = []
        for (subject, _), element in zip(found, elements, strict=True):
            new_subject = subject_key(self._pepper, element)
            pairs.append(Pair(subject, new_subject, self._closing.close(new_subject, element)))
        return pairs

    def _keep(self, pairs: Sequence[Pair]) -> None:
        _write(
            self._means,
            lambda transaction, _rotation: sql.insert_pairs(transaction.connection, pairs),
        )


def _opened(seal: ElementSeal, subject: SubjectKey, sealed: bytes) -> bytes:
    try:
        return seal.open(subject, sealed)
    except SealBroken as error:
        raise RotationError(
            f"{error}: it was changed, or [peppers] names another file than it was sealed with"
        ) from None


def _begin_switch(transaction: Transaction, _rotation: Rotation) -> None:
    sql.set_state(transaction.connection, State.SWITCHING)
    transaction.tokens_epoch = ROTATING


def _close_signals(means: Means) -> None:
    # Only once control has closed for good, and only in this process's own rotation.
    _write(means, lambda _transaction, _rotation: means.signals.set_epoch(ROTATING))


def _catch_up(means: Means, old: EpochKey, new: EpochKey) -> None:
    """Carry the last newcomers, publish under the old names; go back to serving if that fails."""
    try:
        _close_signals(means)
        # Subjects that came while the last ones were prepared. Now none can come.
        _prepare(means, old, new)
        publish_accepted(means.journal, means.signals)
    except BaseException:
        # What stopped it is what the operator must read, not what stopped the way back too.
        with suppress(RotationError, Refusal):
            _write(
                means, lambda transaction, rotation: _give_up_switch(means, transaction, rotation)
            )
            _log.warning("the switch was given up; the stores serve on under epoch %d", old.epoch)
        raise
    _write(
        means,
        lambda transaction, _rotation: sql.set_state(transaction.connection, State.MOVING),
    )


def _give_up_switch(means: Means, transaction: Transaction, rotation: Rotation) -> None:
    sql.set_state(transaction.connection, State.PREPARING)
    # Before control: it serves nothing until it says so itself.
    means.signals.set_epoch(rotation.from_epoch)
    transaction.tokens_epoch = rotation.from_epoch


def _move_signals(means: Means) -> None:
    for bucket in range(BUCKETS):
        first, last = bucket_bounds(bucket)
        after = b""
        while True:
            with means.journal.read() as connection:
                # In the same snapshot: a later rotation's names are not this one's to move.
                _owned(means, connection)
                names = sql.names(connection, first, last, after, _SIGNALS_CHUNK)
            if not names:
                break
            means.signals.move(bucket, names)
            after = max(names)
        means.report(Progress("signals", bucket + 1, BUCKETS))


def _move_control(means: Means, from_epoch: int, to_epoch: int) -> None:
    with means.journal.read() as connection:
        left = sql.count_pairs(connection)
    total = left
    while left:
        # Nothing makes or ends a record while the stores are moved.
        with means.journal.read() as connection:
            _owned(means, connection)
            found = records(connection, sql.next_chunk(connection, CHUNK))
        asking = sealed_asking_keys(means.keys, found, from_epoch)
        left -= _move_chunk(means, to_epoch, asking)
        means.report(Progress("control", total - left, total))


def _move_chunk(means: Means, to_epoch: int, asking: Sequence[Mapping[str, object]]) -> int:
    def change(transaction: Transaction, _rotation: Rotation) -> int:
        keep_asking_keys(transaction.connection, asking)
        return sql.move_chunk(transaction.connection, to_epoch, CHUNK)

    return _write(means, change)


def _end(means: Means) -> Rotated:
    def change(transaction: Transaction, rotation: Rotation) -> Rotated:
        means.signals.set_epoch(rotation.to_epoch)
        sql.end(transaction.connection)
        transaction.tokens_epoch = rotation.to_epoch
        rotated = Rotated(rotation.from_epoch, rotation.to_epoch, rotation.moved)
        # Who is chosen where a person's cells are bounded depends on the names: a new snapshot.
        entry = {
            "from_epoch": rotated.from_epoch,
            "to_epoch": rotated.to_epoch,
            "subjects": rotated.subjects,
        }
        transaction.append("tokens.rotated", means.actor, entry, changes_pool=True)
        return rotated

    return _write(means, change)
