"""Rotation: the stores' subjects get the names of the next key epoch. No member is asked again.

    prepare   while the stores serve: open each sealed element, carry it to the next epoch through
              the key-holders, keep the next name and the newly sealed element beside the old
    switch    the stores answer TOKENS_ROTATING: catch up, publish what was accepted, move the
              signals bucket by bucket, then control chunk by chunk
    end       one transaction: the stores' epoch, the entry `tokens.rotated`, a new snapshot

Each step can be done again: whoever starts a rotation that was killed goes on with it. What keeps
callers out meanwhile is the stores' epoch: 0 in the head of the ledger, whose lock every change
takes, and in the signals store's own snapshot; see `store.subjects.require_epoch`.

What was recorded under the old names stays: items of the ledger, and commitments. Aliases lead
from them to the new ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.rules.carrying import Update, carried
from concordat_gateway.rules.contributions import publish_accepted
from concordat_gateway.store import rotation_sql as sql
from concordat_gateway.store.rotation_sql import Pair, Rotation, State
from concordat_gateway.store.signal_store import BUCKETS, SignalStore
from concordat_gateway.store.subjects import (
    ROTATING,
    ElementSeal,
    SealBroken,
    SubjectKey,
    bucket_bounds,
    subject_key,
)
from concordat_privacy.keylog import EpochKey, KeyLog

CHUNK: Final = 4_096
"""Subjects a request to the key-holders, and a transaction of control."""
_SIGNALS_CHUNK: Final = 500
_CHANGE_SECONDS: Final = 600.0
_UPDATE_SECONDS: Final = 120.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a rotation works with."""

    journal: Journal
    signals: SignalStore
    key_log: KeyLog
    pepper: Callable[[int], bytes]
    update: Update
    actor: str
    """SPIFFE id, for the ledger."""
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


def adopt_epoch(journal: Journal, signals: SignalStore, key_log: KeyLog, now: int) -> None:
    """Put stores that know no subject yet at the newest epoch in use.

    Run before anything serves. Raises Refusal UNAVAILABLE where a store fails.
    """
    newest = max((key.epoch for key in key_log.in_use(now)), default=None)
    if newest is None or journal.tokens_epoch in (newest, ROTATING):
        return

    def change(transaction: Transaction) -> bool:
        if not sql.is_empty(transaction.connection):
            return False
        transaction.tokens_epoch = newest
        return True

    if journal.write(change, _CHANGE_SECONDS).value:
        signals.set_epoch(newest)


def rotate(means: Means, to_epoch: int | None, *, leave_unsealed: bool = False) -> Rotated:
    """Move the stores to the next epoch, or go on with a rotation that was interrupted.

    Args:
        to_epoch: None: the epoch after the stores', or that of the rotation under way.
        leave_unsealed: subjects of which no element is kept stay under their old names, where no
            token of the next epoch finds them; without, they keep a rotation from beginning.

    Raises:
        RotationError: it cannot begin; a sealed element does not open.
        Refusal: UNAVAILABLE: a store or the key-holders fail, or a key-holder's proof does not
            hold. Nothing is lost: rotate again.
    """
    under_way = _begun(means, to_epoch, leave_unsealed)
    old, new = _key(means, under_way.from_epoch), _key(means, under_way.to_epoch)
    if under_way.state is State.PREPARING:
        _prepare(means, old, new)
        means.journal.write(_begin_switch, _CHANGE_SECONDS)
    means.signals.set_epoch(ROTATING)
    # Subjects that came while the last ones were prepared. Now none can come.
    _prepare(means, old, new)
    publish_accepted(means.journal, means.signals)
    _move_signals(means)
    _move_control(means, new.epoch)
    means.signals.set_epoch(new.epoch)
    return _end(means, under_way)


def check_forgettable(journal: Journal, key_log: KeyLog, epoch: int, now: int) -> None:
    """Raises RotationError where an epoch has not ended or the stores are still at it."""
    key = key_log.key(epoch)
    if key is None:
        raise RotationError(f"the key log has no epoch {epoch}")
    if key.valid_to is None or now < key.valid_to:
        raise RotationError(f"epoch {epoch} has not ended: its tokens are in use")
    with journal.read() as connection:
        under_way = sql.read(connection)
    if under_way is not None or journal.tokens_epoch <= epoch:
        raise RotationError(f"the stores have not left epoch {epoch}: rotate them first")


def forget_elements(journal: Journal, key_log: KeyLog, epoch: int, now: int) -> int:
    """Forget whatever is still sealed under the pepper of an epoch that has ended; how much it was.

    Raises RotationError as `check_forgettable`.
    """
    check_forgettable(journal, key_log, epoch, now)

    def change(transaction: Transaction) -> int:
        return sql.delete_elements(transaction.connection, epoch)

    return journal.write(change, _CHANGE_SECONDS).value


def _begun(means: Means, to_epoch: int | None, leave_unsealed: bool) -> Rotation:
    """The rotation under way, or a new one."""

    def change(transaction: Transaction) -> Rotation:
        connection = transaction.connection
        under_way = sql.read(connection)
        if under_way is not None:
            if to_epoch not in (None, under_way.to_epoch):
                raise RotationError(
                    f"a rotation to epoch {under_way.to_epoch} is under way: end it first"
                )
            return under_way
        epoch = transaction.tokens_epoch
        if to_epoch not in (None, epoch + 1):
            raise RotationError(
                f"the stores are at epoch {epoch}: the next is {epoch + 1}, not {to_epoch}"
            )
        for wanted in (epoch, epoch + 1):
            _key(means, wanted)
            means.pepper(wanted)
        unsealed = sql.count_unsealed(connection)
        if unsealed and not leave_unsealed:
            raise RotationError(
                f"{unsealed} subjects have no sealed element, as of before elements were kept, and "
                "cannot be moved; they are found again only by new consents. Rotate with "
                "--leave-unsealed to leave them behind"
            )
        sql.begin(connection, epoch, epoch + 1)
        return Rotation(epoch, epoch + 1, State.PREPARING, 0)

    return means.journal.write(change, _CHANGE_SECONDS).value


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
        self._means.journal.write(
            lambda transaction: sql.insert_pairs(transaction.connection, pairs), _CHANGE_SECONDS
        )


def _opened(seal: ElementSeal, subject: SubjectKey, sealed: bytes) -> bytes:
    try:
        return seal.open(subject, sealed)
    except SealBroken as error:
        raise RotationError(
            f"{error}: it was changed, or [peppers] names another file than it was sealed with"
        ) from None


def _begin_switch(transaction: Transaction) -> None:
    sql.begin_switch(transaction.connection)
    transaction.tokens_epoch = ROTATING


def _move_signals(means: Means) -> None:
    for bucket in range(BUCKETS):
        first, last = bucket_bounds(bucket)
        after = b""
        while True:
            with means.journal.read() as connection:
                names = sql.names(connection, first, last, after, _SIGNALS_CHUNK)
            if not names:
                break
            means.signals.move(bucket, names)
            after = max(names)
        means.report(Progress("signals", bucket + 1, BUCKETS))


def _move_control(means: Means, to_epoch: int) -> None:
    with means.journal.read() as connection:
        left = sql.count_pairs(connection)
    total = left
    while left:
        moved = means.journal.write(
            lambda transaction: sql.move_chunk(transaction.connection, to_epoch, CHUNK),
            _CHANGE_SECONDS,
        ).value
        left -= moved
        means.report(Progress("control", total - left, total))


def _end(means: Means, begun: Rotation) -> Rotated:
    def change(transaction: Transaction) -> Rotated:
        under_way = sql.read(transaction.connection)
        assert under_way is not None  # only this ends it, and one process rotates at a time
        sql.end(transaction.connection)
        transaction.tokens_epoch = begun.to_epoch
        # Who is chosen where a person's cells are bounded depends on the names: a new snapshot.
        transaction.append(
            "tokens.rotated",
            means.actor,
            {
                "from_epoch": begun.from_epoch,
                "to_epoch": begun.to_epoch,
                "subjects": under_way.moved,
            },
            changes_pool=True,
        )
        return Rotated(begun.from_epoch, begun.to_epoch, under_way.moved)

    return means.journal.write(change, _CHANGE_SECONDS).value
