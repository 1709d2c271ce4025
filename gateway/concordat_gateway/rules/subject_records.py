"""Subjects' records: which keys a subject has, how many consents were counted under them.

    name in the stores --[control: subject_record]--> live key's id, sealed id of the evidence key
    live key's id      --[live-key store]-----------> live key, which opens that id
    evidence key's id  --[evidence store]-----------> evidence key, which names the consents

Keys are made before the transaction that counts consents under them, since they lie in stores of
their own. Another call may make a record of the same subject meanwhile, or an erasure end one: the
transaction finds that out, and the caller begins again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Journal
from concordat_gateway.store.control_tables import subject_asking, subject_record
from concordat_gateway.store.subject_keys import (
    KeyLost,
    SubjectKeys,
    new_id,
    new_key,
    seal,
    unseal,
)
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.log.subjects import consent_commitment
from concordat_store.database import store_unavailable

T = TypeVar("T")

_ATTEMPTS: Final = 5
_SUBJECTS_A_QUERY: Final = 1_000
_RECORD: Final = b"concordat/subject-record/v1"


class RecordsChanged(Exception):
    """A subject's record was made or ended between its preparation and the transaction."""


@dataclass(frozen=True, slots=True)
class SubjectRecord:
    """What control keeps of a subject's keys."""

    live_id: bytes
    sealed_record: bytes
    next_consent: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """Keys of a subject, durable, before a consent is counted under them."""

    live_id: bytes
    sealed_record: bytes
    evidence_key: bytes = field(repr=False)
    is_new: bool


class Numbering:
    """Numbers new consents of some subjects, in one transaction, and gives their commitments."""

    def __init__(
        self,
        connection: sa.Connection,
        prepared: Mapping[SubjectKey, Prepared],
    ) -> None:
        """Raises RecordsChanged."""
        self._connection = connection
        self._prepared = prepared
        found = records(connection, prepared)
        for subject, ready in prepared.items():
            record = found.get(subject)
            if (record is None) != ready.is_new or (record and record.live_id != ready.live_id):
                raise RecordsChanged
        self._first = {subject: record.next_consent for subject, record in found.items()}
        self._taken: Counter[SubjectKey] = Counter()

    def commitment(self, subject: SubjectKey) -> bytes:
        """The commitment of the subject's next consent."""
        number = self._first.get(subject, 0) + self._taken[subject]
        self._taken[subject] += 1
        return bytes.fromhex(consent_commitment(self._prepared[subject].evidence_key, number))

    def record(self) -> None:
        """Keep how many consents were numbered: the same statement for old and new subjects."""
        rows = [
            {
                "subject": subject,
                "live_id": self._prepared[subject].live_id,
                "sealed_record": self._prepared[subject].sealed_record,
                "next_consent": self._first.get(subject, 0) + taken,
            }
            for subject, taken in sorted(self._taken.items())
        ]
        if rows:
            self._connection.execute(_KEEP_RECORD, rows)


def prepare(
    journal: Journal, keys: SubjectKeys, subjects: Iterable[SubjectKey]
) -> Mapping[SubjectKey, Prepared]:
    """Keys of all these subjects, for `Numbering`: what is missing is made, durably.

    The same statements run for each, whether the pool knows it or not. Raises KeyLost,
    RecordsChanged, Refusal UNAVAILABLE where a store fails.
    """
    distinct = sorted(set(subjects))
    if not distinct:
        return {}
    with journal.read() as connection:
        found = records(connection, distinct)
    live_ids = {s: found[s].live_id if s in found else new_id() for s in distinct}
    evidence_ids = {s: new_id() for s in distinct}
    live = keys.live.keep(
        {live_id: new_key() for live_id in live_ids.values()},
        {record.live_id for record in found.values()},
    )
    sealed = {s: seal(live[live_ids[s]], evidence_ids[s], _RECORD) for s in distinct}
    sealed |= {s: record.sealed_record for s, record in found.items()}
    evidence_ids = {s: unseal(live[live_ids[s]], sealed[s], _RECORD) for s in distinct}
    evidence = keys.evidence.keep(
        {evidence_id: new_key() for evidence_id in evidence_ids.values()},
        {evidence_ids[s] for s in found},
    )
    return {
        s: Prepared(live_ids[s], sealed[s], evidence[evidence_ids[s]], s not in found)
        for s in distinct
    }


def until_unchanged(work: Callable[[], T]) -> T:
    """Do work again while records change meanwhile, or seem lost because they just ended.

    Raises Refusal UNAVAILABLE where a key stays lost.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except (RecordsChanged, KeyLost):
            continue
    try:
        return work()
    except (RecordsChanged, KeyLost) as error:
        raise store_unavailable() from error


def records(
    connection: sa.Connection, subjects: Iterable[SubjectKey]
) -> dict[SubjectKey, SubjectRecord]:
    """The records of those subjects that have one."""
    ordered = sorted(subjects)
    found: dict[SubjectKey, SubjectRecord] = {}
    for start in range(0, len(ordered), _SUBJECTS_A_QUERY):
        chunk = ordered[start : start + _SUBJECTS_A_QUERY]
        for subject, *record in connection.execute(_RECORDS, {"subjects": chunk}):
            found[subject] = SubjectRecord(*record)
    return found


def evidence_id_of(keys: SubjectKeys, record: SubjectRecord) -> bytes:
    """The id of a subject's evidence key. Raises KeyLost, Refusal UNAVAILABLE."""
    return unseal(live_key_of(keys, record.live_id), record.sealed_record, _RECORD)


def live_key_of(keys: SubjectKeys, live_id: bytes) -> bytes:
    """A live key. Raises KeyLost, Refusal UNAVAILABLE."""
    found = keys.live.read([live_id])
    if live_id not in found:
        raise KeyLost("a live key that must be there is not")
    return found[live_id]


def sealed_asking_keys(
    keys: SubjectKeys, found: Mapping[SubjectKey, SubjectRecord], epoch: int
) -> list[Mapping[str, object]]:
    """Rows that keep subjects' asking keys of an epoch that is being left.

    A subject of which the live key is lost is left out: nothing could open it.
    """
    live = keys.live.read(record.live_id for record in found.values())
    return [
        {
            "live_id": record.live_id,
            "epoch": epoch,
            "sealed": seal(live[record.live_id], keys.asking_key(subject), _label(epoch)),
        }
        for subject, record in sorted(found.items())
        if record.live_id in live
    ]


def keep_asking_keys(connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Keep what `sealed_asking_keys` made."""
    if rows:
        connection.execute(_KEEP_ASKING, rows)


def older_asking_keys(
    connection: sa.Connection, keys: SubjectKeys, live_id: bytes
) -> dict[int, bytes]:
    """A subject's asking keys of earlier epochs. Raises KeyLost, Refusal UNAVAILABLE."""
    rows = connection.execute(_ASKING, {"live_id": live_id}).all()
    if not rows:
        return {}
    live_key = live_key_of(keys, live_id)
    return {epoch: unseal(live_key, sealed, _label(epoch)) for epoch, sealed in rows}


def forget(connection: sa.Connection, subject: SubjectKey, live_id: bytes) -> None:
    """Take a subject's record out of control."""
    connection.execute(_FORGET_ASKING, {"live_id": live_id})
    connection.execute(_FORGET, {"subject": subject})


def _label(epoch: int) -> bytes:
    return b"concordat/asking-key/v1/%d" % epoch


_RECORDS = sa.select(
    subject_record.c.subject,
    subject_record.c.live_id,
    subject_record.c.sealed_record,
    subject_record.c.next_consent,
).where(subject_record.c.subject.in_(sa.bindparam("subjects", expanding=True)))
# The same texts on both kinds of database.
_KEEP_RECORD = sa.text(
    "INSERT INTO subject_record (subject, live_id, sealed_record, next_consent)"
    " VALUES (:subject, :live_id, :sealed_record, :next_consent)"
    " ON CONFLICT (subject) DO UPDATE SET next_consent = excluded.next_consent"
)
_KEEP_ASKING = sa.text(
    "INSERT INTO subject_asking (live_id, epoch, sealed) VALUES (:live_id, :epoch, :sealed)"
    " ON CONFLICT (live_id, epoch) DO NOTHING"
)
_ASKING = (
    sa.select(subject_asking.c.epoch, subject_asking.c.sealed)
    .where(subject_asking.c.live_id == sa.bindparam("live_id"))
    .order_by(subject_asking.c.epoch)
)
_FORGET_ASKING = sa.delete(subject_asking).where(
    subject_asking.c.live_id == sa.bindparam("live_id")
)
_FORGET = sa.delete(subject_record).where(subject_record.c.subject == sa.bindparam("subject"))
