"""Subjects by their tokens: what the stores call whoever a token stands for.

The stores name all subjects under one key epoch at a time, the *stores' epoch*. A token of that
epoch gives its subject's name at once. A token of an earlier epoch that is still in use goes by the
caller's own aliases, which its consents left when keys were rotated; where there is none it is
carried to the stores' epoch through the key-holders, so that it meets the same person's newer
tokens; that is charged to the member first, whatever the tokens are for. Neither way looks at what
other members know of a subject.

Names are made before the transaction that uses them. It compares the stores' epoch, under the
lock of the ledger's head, with the one that the names are of: `store.subjects.require_epoch`.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import sqlalchemy as sa

from concordat_gateway.keyholder import UPDATES_EXHAUSTED
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.carrying import Update, carried
from concordat_gateway.rules.epochs import check_active, check_taken, taken_epoch
from concordat_gateway.rules.quotas import charge_carried
from concordat_gateway.store.control_tables import subject_alias
from concordat_gateway.store.subject_keys import SubjectKeys
from concordat_gateway.store.subjects import (
    ROTATING,
    ElementSeal,
    SubjectKey,
    subject_key,
    tokens_rotating,
)
from concordat_privacy.keylog import EpochKey, KeyLog
from concordat_privacy.metering import Quota
from concordat_privacy.oprf import is_element
from concordat_rpc.errors import Refusal, unavailable
from concordat_store.chunks import in_chunks
from concordat_store.clock import Clock

T = TypeVar("T")

_ALIASES_A_QUERY = 1_000
# What work is refused with where another process has moved the stores meanwhile.
_OF_A_PASSED_EPOCH = frozenset({"TOKENS_ROTATING", "EPOCH_NOT_ACTIVE", "EPOCH_REQUIRED"})


@dataclass(frozen=True, slots=True)
class Named:
    """The names of some subjects."""

    epoch: int
    """The stores' epoch that the names are of."""
    keys: Sequence[SubjectKey]
    """In the order of the tokens."""
    elements: Sequence[bytes | None] = field(repr=False)
    """What each is made of, in the same order; None where only an alias is known of it."""
    older: Sequence[Sequence[SubjectKey]] = field(repr=False)
    """Each one's names under earlier epochs, as far as they came to light."""
    asked: Callable[[str, str, SubjectKey, bytes, int], str] = field(repr=False)
    """`SubjectKeys.asked`: how an entry about what is asked names a subject."""


class Subjects:
    """Names subjects. Thread-safe; make one a process."""

    def __init__(
        self,
        journal: Journal,
        key_log: Callable[[], KeyLog],
        pepper: Callable[[int], bytes],
        update: Update,
        clock: Clock,
        quota: Quota,
        keys: SubjectKeys,
    ) -> None:
        """Make what names subjects.

        `pepper` gives an epoch's pepper; `update` asks the key-holders; `quota` is of the elements
        that a member may have carried over; `keys` are the subjects' own.
        """
        self.keys = keys
        self._journal = journal
        self._key_log = key_log
        self._pepper = pepper
        self._update = update
        self._clock = clock
        self._quota = quota
        self._lock = threading.Lock()
        self._epoch: int | None = None

    def settled(self, work: Callable[[int], T]) -> T:
        """Do work on subjects, given the stores' epoch; once more if that has just passed.

        Raises Refusal UNAVAILABLE (TOKENS_ROTATING) while the stores are moved.
        """
        with self._lock:
            remembered = self._epoch
        if remembered is not None:
            try:
                return work(remembered)
            except Refusal as refusal:
                if refusal.reason not in _OF_A_PASSED_EPOCH:
                    raise
        return work(self.current_epoch())

    def current_epoch(self) -> int:
        """The stores' epoch, read now. Raises Refusal UNAVAILABLE (TOKENS_ROTATING)."""
        epoch = self._journal.tokens_epoch
        with self._lock:
            self._epoch = None if epoch == ROTATING else epoch
        if epoch == ROTATING:
            raise tokens_rotating()
        return epoch

    def check_taken(self, epoch: int, store_epoch: int) -> None:
        """Refuse an epoch whose tokens are not taken.

        Raises Refusal FAILED_PRECONDITION (EPOCH_NOT_ACTIVE).
        """
        check_taken(self._key_log(), epoch, store_epoch, self._clock())

    def key_to_make(self, epoch: int) -> EpochKey:
        """The key of an epoch whose tokens can be made and used.

        An epoch that is in use before the stores are moved to it is not active yet: who is told so
        takes the one before, and notices nothing of a rotation.
        Raises Refusal FAILED_PRECONDITION (EPOCH_NOT_ACTIVE).
        """
        key = check_active(self._key_log(), epoch, self._clock())
        with self._lock:
            remembered = self._epoch
        if remembered is None or epoch > remembered:
            present = self._journal.tokens_epoch
            if present not in (ROTATING, remembered):
                with self._lock:
                    self._epoch = present
            if present != ROTATING:
                check_taken(self._key_log(), epoch, present, self._clock())
        return key

    def named(
        self,
        caller: str,
        tokens: Sequence[bytes],
        epoch: int,
        store_epoch: int,
        timeout_seconds: float,
    ) -> Named:
        """The names of the subjects of a member's tokens, which are all of one epoch.

        Raises Refusal FAILED_PRECONDITION (EPOCH_NOT_ACTIVE, EPOCH_REQUIRED), UNAVAILABLE,
        RESOURCE_EXHAUSTED (CARRIED_EXHAUSTED).
        """
        log = self._key_log()
        epoch = taken_epoch(log, epoch, store_epoch, self._clock())
        keys = self._keys(tokens, epoch)
        if epoch == store_epoch:
            return Named(epoch, keys, tokens, [()] * len(tokens), self.keys.asked)
        return self._carried_names(log, caller, tokens, keys, epoch, store_epoch, timeout_seconds)

    def seal(self, store_epoch: int) -> ElementSeal:
        """What seals elements under the stores' epoch."""
        return ElementSeal(self._pepper(store_epoch))

    def _keys(self, tokens: Sequence[bytes], epoch: int) -> list[SubjectKey]:
        pepper = self._pepper(epoch)
        return [subject_key(pepper, token) for token in tokens]

    def _carried_names(
        self,
        log: KeyLog,
        caller: str,
        tokens: Sequence[bytes],
        keys: Sequence[SubjectKey],
        epoch: int,
        store_epoch: int,
        timeout_seconds: float,
    ) -> Named:
        """Names of tokens of an earlier epoch."""
        present = self._aliases(caller, keys)
        # What is no element is nobody's token, and stays unknown under its own name.
        unknown = {
            key: token
            for key, token in zip(keys, tokens, strict=True)
            if key not in present and is_element(token)
        }
        # Once, over however many epochs: few are in use at a time. None are charged as well: the
        # same statements run whether an alias was found or not.
        charge_carried(self._journal, caller, len(unknown), self._quota, timeout_seconds)
        elements = dict(unknown)
        older: dict[SubjectKey, list[SubjectKey]] = {key: [] for key in unknown}
        names = {key: key for key in unknown}
        for before, after in pairwise(_keys_of(log, epoch, store_epoch)):
            moved = self._carried(before, after, list(elements.values()), timeout_seconds)
            for key, name in names.items():
                older[key].append(name)
            elements = dict(zip(elements, moved, strict=True))
            names = dict(zip(elements, self._keys(moved, after.epoch), strict=True))
        return Named(
            store_epoch,
            [present.get(key) or names.get(key, key) for key in keys],
            [elements.get(key) for key in keys],
            [older.get(key, ()) for key in keys],
            self.keys.asked,
        )

    def _carried(
        self, before: EpochKey, after: EpochKey, elements: Sequence[bytes], timeout_seconds: float
    ) -> list[bytes]:
        """As `carried`; to a member it is an outage that no more updates are made today."""
        try:
            return carried(self._update, before, after, elements, timeout_seconds)
        except Refusal as refusal:
            if refusal.reason != UPDATES_EXHAUSTED:
                raise
            raise unavailable(
                "KEYHOLDER_UNAVAILABLE",
                f"tokens of epoch {before.epoch} cannot be carried to {after.epoch} for now",
                refusal.retry_after_seconds,
            ) from None

    def _aliases(self, caller: str, keys: Sequence[SubjectKey]) -> dict[SubjectKey, SubjectKey]:
        found: dict[SubjectKey, SubjectKey] = {}
        with self._journal.read() as connection:
            for chunk in in_chunks(sorted(set(keys)), _ALIASES_A_QUERY):
                rows = connection.execute(_OF_CALLER, {"caller": caller, "keys": chunk})
                found.update((old, subject) for old, subject in rows)
        return found


def _keys_of(log: KeyLog, first: int, last: int) -> list[EpochKey]:
    return [key for key in log.keys if first <= key.epoch <= last]


_OF_CALLER = sa.select(subject_alias.c.old_subject, subject_alias.c.subject).where(
    subject_alias.c.recipient == sa.bindparam("caller"),
    subject_alias.c.old_subject.in_(sa.bindparam("keys", expanding=True)),
)
