"""Uploads: contributions of any length, taken part by part, each part once.

A part is a batch of its own: staged, recorded in one control transaction with its ledger entry,
published. The same transaction moves the upload's sequence on, so that a part is taken once
however often it comes and over however many connections: a repeat finds the record and is
answered from it. A part is acknowledged when it is durable and published.

While a part is recorded, the one before it is published, in another thread: the two need different
stores, and most of the time neither needs Python. Parts are published in their order all the same,
see `publication`. So the pool is the same after an upload that broke anywhere as after one that did
not, also where two parts report one month of one account and the later counts.

An upload may be ended: an entry says how many parts and rows it has, and the transaction that
writes it closes the upload, so that no part can come after it. A repeat is answered from the
record. Of an upload that has expired (`upload_ages`) that record is gone, and nothing is taken or
answered any more.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa

from concordat_gateway.config import UploadAges
from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules.contributions import Accepted, Origin, record, stage
from concordat_gateway.rules.intake import MAX_ROWS_A_PART, Header, Intake, check_header
from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.pages import Listing, page_size
from concordat_gateway.rules.publication import (
    RECORDED_BATCHES,
    RecordedBatch,
    publish,
    recorded_batch,
)
from concordat_gateway.rules.refusals import unpack_refusals
from concordat_gateway.rules.replacing import Held, held_of
from concordat_gateway.rules.requests import Fingerprint, check_request_id
from concordat_gateway.rules.standing import require_active
from concordat_gateway.rules.upload_ages import UploadState, answered_until, state_of
from concordat_gateway.store.control_tables import batch as batch_table
from concordat_gateway.store.control_tables import ledger_entry
from concordat_gateway.store.control_tables import upload as upload_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.jurisdictions import UNNAMED
from concordat_rpc.errors import (
    FieldViolation,
    Kind,
    Refusal,
    already_exists,
    invalid,
    not_found,
)
from concordat_rpc.peer import Peer
from concordat_store.direct import Asked, rows_of

DEFAULT_REFUSED_ROWS = 1_000
MAX_REFUSED_ROWS = 10_000
_ITEM_BITS = (MAX_ROWS_A_PART - 1).bit_length()
"""Of a row's position in its part."""
_BATCHES_A_READ = 16

_log = logging.getLogger(__name__)

_Upload: TypeAlias = sa.Row[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """How far an upload has come."""

    acknowledged_sequence: int
    rows_accepted: int
    rows_refused: int
    first_entry: int
    last_entry: int
    last_accepted_at: int
    end_entry: int | None
    """None while it was not ended."""
    state: UploadState
    answered_until: int
    """From then on it may expire, unless another part comes."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What an upload came to, once it was ended."""

    parts: int
    rows_accepted: int
    rows_refused: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A refused row of an upload."""

    sequence: int
    refusal: ItemRefusal
    """Its item is the row's position in the part, from 0."""


@dataclass(frozen=True, slots=True)
class RefusedPage:
    """Some refused rows, in their order, and the token of the next ones; empty on the last page."""

    rows: Sequence[RefusedRow]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Published:
    """A part that is in the pool, and what is answered for it."""

    sequence: int
    committed: Committed[Accepted]


class UploadStream:
    """One connection's way through an upload. Not thread-safe. Close it."""

    def __init__(
        self,
        journal: Journal,
        signals: SignalStore,
        furnisher: Peer,
        header: Header,
        jurisdiction: str = UNNAMED,
    ) -> None:
        """Begin an upload or go on with one. `header.request_id` is the upload's id.

        `jurisdiction` as in `contributions.contribute`. Raises Refusal INVALID_ARGUMENT,
        FAILED_PRECONDITION (UPLOAD_EXPIRED), ALREADY_EXISTS (UPLOAD_ID_REUSED), UNAVAILABLE.
        """
        check_header(header, "header.upload_id")
        self._journal = journal
        self._signals = signals
        self._furnisher = furnisher
        self._id = header.request_id
        self._header_sha256 = _digest(header)
        self._jurisdiction = jurisdiction
        self._publisher = ThreadPoolExecutor(1, "publisher")
        self._recorded: tuple[RecordedBatch, bytes | None] | None = None
        """The newest part taken, whose publication is still to begin, and what was staged."""
        self._publishing: Future[Published] | None = None
        """The part before it."""
        self._published: list[Published] = []
        self._taken = self._opened()

    def close(self) -> None:
        """Let all that was taken be published, though nobody waits for the answer any more."""
        left = [self._publishing]
        self._publishing = None
        self._begin_publishing()
        left.append(self._publishing)
        self._publisher.shutdown()
        for one in left:
            error = one.exception() if one is not None else None
            # A refusal is a store that fails: the resumption goes on with it, as with the rest.
            if error is not None and not isinstance(error, Refusal):
                _log.error("publishing a part failed after its sender had gone", exc_info=error)

    @property
    def taken(self) -> int:
        """Sequence up to which this stream knows all parts as taken."""
        return self._taken

    def take(self, sequence: int, intake: Intake, timeout_seconds: float) -> None:
        """Take a part whose rows are all in `intake`: it is durable when this returns.

        It is in the pool once `published` gives it, or `settle` has returned. Raises Refusal
        INVALID_ARGUMENT, FAILED_PRECONDITION (SEQUENCE_GAP, UPLOAD_ENDED, UPLOAD_EXPIRED),
        ALREADY_EXISTS (SEQUENCE_REUSED, UPLOAD_ID_REUSED), PERMISSION_DENIED, UNAVAILABLE,
        DEADLINE_EXCEEDED. After the last two the part may have been taken; to send it again is
        safe.
        """
        self._check_next(sequence)
        digest = intake.finish()
        staged: bytes | None = None
        batch = self._find(sequence)
        if batch is not None:
            self._check_repeat(batch, intake)
        else:
            held = held_of(
                self._journal, self._signals, self._furnisher, intake.wanted, intake.store_epoch
            )
            # Before the next publication begins: SQLite lets one write at a time.
            staged = stage(self._signals, intake)
        try:
            self._await_published()
            self._begin_publishing()
        except Refusal:
            if staged is not None:
                self._give_up(staged)
            raise
        if staged is not None:
            self._write(staged, sequence, intake, digest, held, timeout_seconds)
            batch = self._find(sequence)
        assert batch is not None  # it was recorded now, or by somebody else a moment ago
        self._recorded = batch, staged
        self._taken = max(self._taken, sequence)

    def settle(self) -> None:
        """Wait until all that was taken is in the pool.

        Raises Refusal UNAVAILABLE: what is not is durable all the same, and will be. It is not
        answered over this stream any more, nor is what was taken after it.
        """
        self._await_published()
        self._begin_publishing()
        self._await_published()

    def published(self) -> Sequence[Published]:
        """The parts that got into the pool since this was last asked, in their order.

        Where one came before with the same rows, it says what was answered then.
        """
        published, self._published = self._published, []
        return published

    def _begin_publishing(self) -> None:
        if self._recorded is not None:
            self._publishing = self._publisher.submit(self._publish, *self._recorded)
            self._recorded = None

    def _await_published(self) -> None:
        publishing, self._publishing = self._publishing, None
        if publishing is None:
            return
        try:
            self._published.append(publishing.result())
        except BaseException:
            # Or it would be acknowledged, and the one before it not.
            self._recorded = None
            raise

    def _publish(self, batch: RecordedBatch, staged: bytes | None) -> Published:
        publish(self._journal, self._signals, batch, staged)
        assert batch.sequence is not None  # it is a part
        return Published(batch.sequence, _accepted(self._journal, batch))

    def end(self, parts: int, timeout_seconds: float) -> Committed[Ended]:
        """End the upload after so many parts; no part is taken once this was recorded.

        Where it was ended before, this is what was answered then. Raises Refusal
        INVALID_ARGUMENT, FAILED_PRECONDITION (PARTS_MISCOUNTED, UPLOAD_EXPIRED), PERMISSION_DENIED,
        UNAVAILABLE, DEADLINE_EXCEEDED. After the last two it may have been ended; to say it again
        is safe.
        """
        if parts < 1:
            raise invalid("end.parts", "an upload has at least one part")
        # Another connection may have sent the last parts: then they are in the pool before the end.
        self._taken = max(self._taken, self._opened())
        self._journal.write(
            lambda transaction: self._record_end(transaction, parts), timeout_seconds
        )
        with self._journal.read() as connection:
            upload = _upload(connection, self._furnisher, self._id)
            assert upload is not None  # it was ended a moment ago
            leaf = connection.execute(_LEAF, {"entry": upload.end_entry}).scalar_one()
        ended = Ended(
            upload.acknowledged,
            upload.rows_accepted,
            upload.rows_refused,
            Entry(upload.end_entry, leaf),
        )
        return Committed(ended, self._journal.checkpoint())

    def _record_end(self, transaction: Transaction, parts: int) -> None:
        connection = transaction.connection
        require_active(connection, self._furnisher.name)
        upload = _upload(connection, self._furnisher, self._id)
        if upload is not None:
            self._check_header(upload)
            _check_answered(upload, "header.upload_id")
        if upload is None or upload.acknowledged != parts:
            raise _miscounted(upload.acknowledged if upload else 0, parts)
        if upload.end_entry is not None:
            return
        entry = transaction.append(
            "contribution.ended",
            self._furnisher.spiffe_id,
            {
                "parts": parts,
                "refused": upload.rows_refused,
                "rows": upload.rows_accepted,
                "upload": self._id.hex(),
            },
        )
        connection.execute(
            _END,
            {
                "of_member": self._furnisher.name,
                "of_upload": self._id,
                "entry": entry.index,
                "now": transaction.now,
            },
        )

    def _opened(self) -> int:
        """The sequence up to which the upload was taken, once that part is published."""
        with self._journal.read() as connection:
            upload = _upload(connection, self._furnisher, self._id)
            if upload is None:
                return 0
            self._check_header(upload)
            _check_answered(upload, "header.upload_id")
            batch = _part(connection, self._furnisher, self._id, upload.acknowledged)
        assert batch is not None  # it committed together with the upload's sequence
        if not self._signals.is_published(batch.batch_id):
            publish(self._journal, self._signals, batch)
        return int(upload.acknowledged)

    def _check_next(self, sequence: int) -> None:
        if sequence < 1:
            raise invalid("part.sequence", "sequences are counted from 1")
        if sequence > self._taken + 1:
            with self._journal.read() as connection:
                upload = _upload(connection, self._furnisher, self._id)
            if upload is not None and upload.end_entry is not None:
                raise _ended(upload)
            raise _gap(self._taken + 1, sequence)

    def _check_header(self, upload: _Upload) -> None:
        if upload.header_sha256 != self._header_sha256:
            raise already_exists(
                "UPLOAD_ID_REUSED",
                "an upload with this upload_id was begun with another header",
            )

    def _find(self, sequence: int) -> RecordedBatch | None:
        """The part as it was recorded; None if it is new."""
        with self._journal.ask() as connection:
            return _part(connection, self._furnisher, self._id, sequence)

    def _check_repeat(self, batch: RecordedBatch, intake: Intake) -> None:
        with self._journal.read() as connection:
            require_active(connection, self._furnisher.name)
        _check_content(batch, intake)

    def _write(
        self,
        staged: bytes,
        sequence: int,
        intake: Intake,
        digest: bytes,
        held: Held,
        timeout_seconds: float,
    ) -> None:
        try:
            self._journal.write(
                lambda transaction: self._record(
                    transaction, staged, sequence, intake, digest, held
                ),
                timeout_seconds,
            )
        except Refusal as refusal:
            # After these the commit may have happened, or may still happen.
            if refusal.kind not in (Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED):
                self._give_up(staged)
            raise

    def _give_up(self, staged: bytes) -> None:
        # What is left staged is discarded when it is older than any call can be.
        with suppress(Refusal):
            self._signals.discard(staged)

    def _record(
        self,
        transaction: Transaction,
        staged: bytes,
        sequence: int,
        intake: Intake,
        digest: bytes,
        held: Held,
    ) -> None:
        connection = transaction.connection
        recorded = _part(connection, self._furnisher, self._id, sequence)
        if recorded is not None:
            _check_content(recorded, intake)
            return
        upload = _upload(connection, self._furnisher, self._id)
        if upload is not None:
            self._check_header(upload)
            _check_answered(upload, "header.upload_id")
            if upload.end_entry is not None:
                raise _ended(upload)
        expected = 1 if upload is None else upload.acknowledged + 1
        if sequence != expected:
            raise _gap(expected, sequence)
        origin = Origin(upload_id=self._id, sequence=sequence)
        accepted = record(
            transaction, self._furnisher, staged, intake, digest, origin, self._jurisdiction, held
        )
        connection.execute(
            _INSERT if upload is None else _ADVANCE,
            {
                "member_id": self._furnisher.name,
                "upload_id": self._id,
                "header_sha256": self._header_sha256,
                "acknowledged": sequence,
                "rows_accepted": accepted.rows_accepted,
                "rows_refused": len(accepted.refused),
                "first_entry": accepted.entry.index,
                "last_entry": accepted.entry.index,
                "last_accepted_at": transaction.now,
            }
            if upload is None
            else {
                "of_member": self._furnisher.name,
                "of_upload": self._id,
                "sequence": sequence,
                "more_accepted": accepted.rows_accepted,
                "more_refused": len(accepted.refused),
                "entry": accepted.entry.index,
                "now": transaction.now,
            },
        )


def get_upload(
    journal: Journal, furnisher: Peer, upload_id: bytes, ages: UploadAges, now: int
) -> UploadStatus:
    """How far an upload of the furnisher has come.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND (UPLOAD_NOT_FOUND).
    """
    check_request_id(upload_id, "upload_id")
    with journal.read() as connection:
        upload = _upload(connection, furnisher, upload_id)
    if upload is None:
        raise _unknown_upload()
    return UploadStatus(
        upload.acknowledged,
        upload.rows_accepted,
        upload.rows_refused,
        upload.first_entry,
        upload.last_entry,
        upload.last_accepted_at,
        upload.end_entry,
        state_of(upload, ages, now),
        answered_until(upload, ages),
    )


def get_part(
    journal: Journal, furnisher: Peer, upload_id: bytes, sequence: int
) -> Committed[Accepted] | None:
    """What a part of an upload of the furnisher was acknowledged with; None: it was not taken.

    It may be a moment from being in the pool; once the upload's next stream is opened it is.
    Raises Refusal NOT_FOUND (UPLOAD_NOT_FOUND), FAILED_PRECONDITION (UPLOAD_EXPIRED).
    """
    with journal.read() as connection:
        upload = _upload(connection, furnisher, upload_id)
        if upload is None:
            raise _unknown_upload()
        _check_answered(upload, "upload_id")
        batch = _part(connection, furnisher, upload_id, sequence)
    return None if batch is None else _accepted(journal, batch)


def list_refused_rows(
    journal: Journal, furnisher: Peer, upload_id: bytes, wanted: int, page_token: str
) -> RefusedPage:
    """One page of the refused rows of an upload of the furnisher.

    They are what the parts' records say, see `rules.refusals`. Raises Refusal INVALID_ARGUMENT,
    NOT_FOUND (UPLOAD_NOT_FOUND), FAILED_PRECONDITION (UPLOAD_EXPIRED).
    """
    check_request_id(upload_id, "upload_id")
    size = page_size(wanted, DEFAULT_REFUSED_ROWS, MAX_REFUSED_ROWS)
    listing = Listing.of(b"ListRefusedRows", furnisher.spiffe_id.encode(), upload_id)
    after = listing.position(page_token)
    with journal.read() as connection:
        upload = _upload(connection, furnisher, upload_id)
        if upload is None:
            raise _unknown_upload()
        _check_answered(upload, "upload_id")
        found: list[RefusedRow] = []
        for row in _refused_from(connection, furnisher, upload_id, max(after, 0) >> _ITEM_BITS):
            if _position(row) <= after:
                continue
            if len(found) == size:
                return RefusedPage(found, listing.token(_position(found[-1])))
            found.append(row)
    return RefusedPage(found, "")


def _refused_from(
    connection: sa.Connection, furnisher: Peer, upload_id: bytes, first: int
) -> Iterator[RefusedRow]:
    """The refused rows of the parts from sequence `first` on; a few parts in memory at a time."""
    while True:
        batches = connection.execute(
            _REFUSED_FROM,
            {"member_id": furnisher.name, "upload_id": upload_id, "first": first},
        ).all()
        for batch in batches:
            for refusal in unpack_refusals(batch.refusals):
                yield RefusedRow(batch.sequence, refusal)
        if len(batches) < _BATCHES_A_READ:
            return
        first = batches[-1].sequence + 1


def _position(row: RefusedRow) -> int:
    return row.sequence << _ITEM_BITS | row.refusal.item


def _digest(header: Header) -> bytes:
    fingerprint = Fingerprint("Upload")
    fingerprint.add(header.epoch, header.catalogue_version, header.adverse_notice_sha256)
    return fingerprint.digest()


def _upload(connection: sa.Connection, furnisher: Peer, upload_id: bytes) -> _Upload | None:
    parameters = {"member_id": furnisher.name, "upload_id": upload_id}
    return connection.execute(_SELECT, parameters).one_or_none()


def _part(
    connection: sa.Connection | Asked, furnisher: Peer, upload_id: bytes, sequence: int
) -> RecordedBatch | None:
    parameters = {"member_id": furnisher.name, "upload_id": upload_id, "sequence": sequence}
    return recorded_batch(connection, _SELECT_PART, parameters)


def _accepted(journal: Journal, batch: RecordedBatch) -> Committed[Accepted]:
    """What is answered for a part: from its record, the first time as every time."""
    with journal.ask() as connection:
        [[leaf]] = rows_of(connection, _LEAF, {"entry": batch.entry})
    refused = unpack_refusals(batch.refusals or b"")
    accepted = Accepted(batch.rows_accepted, refused, Entry(batch.entry, leaf))
    return Committed(accepted, journal.checkpoint())


def _check_content(batch: RecordedBatch, intake: Intake) -> None:
    if batch.content_sha256 is None:
        raise _expired("header.upload_id")
    if not intake.came_as(batch.content_sha256):
        raise already_exists(
            "SEQUENCE_REUSED", f"part {batch.sequence} of the upload came before with other rows"
        )


def _gap(expected: int, sequence: int) -> Refusal:
    return _out_of_turn("part.sequence", "SEQUENCE_GAP", f"{expected} is expected, {sequence} came")


def _check_answered(upload: _Upload, field: str) -> None:
    """Raise Refusal FAILED_PRECONDITION (UPLOAD_EXPIRED) for an upload that has expired."""
    if upload.expired_at is not None:
        raise _expired(field)


def _expired(field: str) -> Refusal:
    return _out_of_turn(
        field,
        "UPLOAD_EXPIRED",
        "the upload was ended or left long ago; GetUpload says how far it came, and further rows"
        " need another upload",
    )


def _ended(upload: _Upload) -> Refusal:
    return _out_of_turn(
        "part.sequence",
        "UPLOAD_ENDED",
        f"the upload was ended with its part {upload.acknowledged}",
    )


def _miscounted(taken: int, parts: int) -> Refusal:
    return _out_of_turn(
        "end.parts", "PARTS_MISCOUNTED", f"{taken} parts were taken, the end says {parts}"
    )


def _out_of_turn(field: str, reason: str, description: str) -> Refusal:
    """FAILED_PRECONDITION: the upload is not where the message takes it to be."""
    return Refusal(
        Kind.FAILED_PRECONDITION,
        reason,
        f"{field}: {description}",
        [FieldViolation(field, description)],
    )


def _unknown_upload() -> Refusal:
    return not_found("UPLOAD_NOT_FOUND", "the calling member has no upload with this upload_id")


_SELECT = sa.select(upload_table).where(
    upload_table.c.member_id == sa.bindparam("member_id"),
    upload_table.c.upload_id == sa.bindparam("upload_id"),
)
_INSERT = sa.insert(upload_table)
_ADVANCE = (
    sa.update(upload_table)
    .where(
        upload_table.c.member_id == sa.bindparam("of_member"),
        upload_table.c.upload_id == sa.bindparam("of_upload"),
    )
    .values(
        acknowledged=sa.bindparam("sequence"),
        rows_accepted=upload_table.c.rows_accepted + sa.bindparam("more_accepted"),
        rows_refused=upload_table.c.rows_refused + sa.bindparam("more_refused"),
        last_entry=sa.bindparam("entry"),
        last_accepted_at=sa.bindparam("now"),
    )
)
_END = (
    sa.update(upload_table)
    .where(
        upload_table.c.member_id == sa.bindparam("of_member"),
        upload_table.c.upload_id == sa.bindparam("of_upload"),
    )
    .values(end_entry=sa.bindparam("entry"), ended_at=sa.bindparam("now"))
)
_SELECT_PART = RECORDED_BATCHES.where(
    batch_table.c.member_id == sa.bindparam("member_id"),
    batch_table.c.upload_id == sa.bindparam("upload_id"),
    batch_table.c.sequence == sa.bindparam("sequence"),
)
_REFUSED_FROM = (
    sa.select(batch_table.c.sequence, batch_table.c.refusals)
    .where(
        batch_table.c.member_id == sa.bindparam("member_id"),
        batch_table.c.upload_id == sa.bindparam("upload_id"),
        batch_table.c.sequence >= sa.bindparam("first"),
        batch_table.c.rows_refused > 0,
    )
    .order_by(batch_table.c.sequence)
    .limit(_BATCHES_A_READ)
)
_LEAF = sa.select(ledger_entry.c.leaf).where(ledger_entry.c.entry_index == sa.bindparam("entry"))
