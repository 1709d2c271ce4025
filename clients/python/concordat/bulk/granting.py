"""Consents that the persons of a file gave, in a job that goes on after any failure.

Every person once, at the first row that names them. The gateway records consents one by one, in
requests of up to 1,000 whose ids follow from the job's: what it has recorded it does not record
again.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from concordat._checks import checked_bytes, checked_type
from concordat._operations.consents import CONSENTS_PER_REQUEST, draft_message
from concordat.bulk._items import Position, SourceRow, UnreadableRow
from concordat.bulk._journal import Journal, Reject, Span
from concordat.bulk._lists import Lists
from concordat.bulk._paths import checked_path
from concordat.bulk._progress import Progress, Tell
from concordat.bulk._pseudonyms import key_in
from concordat.bulk._reading import open_mapped
from concordat.bulk._sending import Delivery, Parcel, request_id
from concordat.bulk._tokens import Tokeniser, TokenStore
from concordat.bulk._values import ValueFault, text_of
from concordat.bulk.mapping import Mapping, load_mapping
from concordat.bulk.sources import Source, no_rows
from concordat.client import Client
from concordat.errors import Conflict, FailedPrecondition, InvalidInput
from concordat.requests import SHA256_BYTES, ConsentDraft
from concordat.results import ItemRefusal
from concordat_privacy.identifiers import Identifier, oprf_input
from concordat_privacy.oprf import Token

_JOB_ID_BYTES: Final = 16
_SEEN_BYTES: Final = 16
_ATTEMPTS: Final = 4
_NOBODY: Final = Token(bytes(32), 1)
_START: Final = Position(0, 0)

Drafting: TypeAlias = Callable[[Token, bytes | None], ConsentDraft]
"""A person's token and the SHA-256 of what they signed -> the consent that they gave."""


@dataclass(frozen=True, slots=True)
class GrantReport:
    """What became of a file's persons, over all runs of the job."""

    job_id: bytes
    rows_read: int
    consents_recorded: int
    rows_refused: int
    """Here, as they name nobody or no evidence, or by the gateway."""
    rows_repeated: int
    """Of persons whom an earlier row named."""
    identifiers_blinded: int
    """In this run; the others' tokens were in the cache."""
    rejects: Path | None
    """The file that says why rows were refused; None where none was asked for."""
    was_done: bool
    """Whether the job had ended before this run, which then sent nothing."""


def grant(
    client: Client,
    source: object,
    mapping: str | os.PathLike[str] | Mapping,
    draft: Drafting,
    *,
    journal: str | os.PathLike[str],
    evidence_sha256: bytes | None = None,
    evidence_column: str | None = None,
    rejects: str | os.PathLike[str] | None = None,
    encoding: str | None = None,
    portfolio: bool = False,
    progress: Tell | None = None,
    timeout: float | None = None,
) -> GrantReport:
    """Record a consent of each person of a file or a frame.

    The same call again goes on at the first request that was not answered; a finished job is not
    sent again. Of the source only identifiers and evidence are read; each person gets one consent,
    by the first row that names them. Another job records others beside these: give it the persons
    who agreed since. Takes about 100 bytes of memory a person.

    Args:
        source, mapping: as in `upload`; of the mapping the subject counts.
        draft: makes the consent from a token and the evidence. What else it says, times too, must
            be the same with every call, or it is another job.
        journal: the job's file, made on first use, in the folder of the other jobs'.
        evidence_sha256: of one document for all persons; or
        evidence_column: where each row has the SHA-256 of its own, 64 hexadecimal digits. One of
            the two, or none where `draft` has evidence of its own.
        rejects, encoding, portfolio, progress, timeout: as in `upload`.

    Raises:
        MappingError, SourceError, InvalidInput: nothing was sent of what is wrong.
        JobChanged: the journal is of another source, mapping, consent or member.
        JobBusy, JournalError, QuotaExhausted, TechnicalFault and others, as `upload`.
    """
    checked_type(client, Client, "client", "of an AsyncClient's profile, open a Client")
    if evidence_sha256 is not None:
        checked_bytes(evidence_sha256, "evidence_sha256", SHA256_BYTES)
        if evidence_column is not None:
            raise InvalidInput.field("evidence_column", "beside evidence_sha256; one is wanted")
    checked = load_mapping(mapping)
    opened = open_mapped(source, checked, encoding)
    file = checked_path(journal, "journal")
    folder = file.parent
    written = Lists(rejects, None)
    written.check(
        [
            ("the source", getattr(source, "path", source)),
            ("the mapping", mapping),
            ("the journal", file),
            *(("the tokens' cache", folder / name) for name in ("tokens.cache", "cache.key")),
        ],
        own_folder=folder,
    )
    written.clear()
    persons = _Persons(opened, checked, evidence_sha256, evidence_column)
    with (
        Journal(file) as book,
        TokenStore(folder / "tokens.cache", key_in(folder / "cache.key")) as store,
    ):
        facts = {
            "member": client.profile.spiffe_id.encode(),
            "mapping": checked.digest,
            "source": opened.digest(persons.columns),
            "consent": _terms_digest(draft, evidence_sha256, evidence_column),
        }
        job_id = book.begin(facts, secrets.token_bytes(_JOB_ID_BYTES))
        tokeniser = Tokeniser(client, store, portfolio, timeout)
        was_done = book.is_done
        try:
            if not was_done:
                job = _Granting(client, draft, persons, book, job_id, tokeniser, timeout, progress)
                job.run()
        finally:
            written.write(book)
        totals = book.totals()
        return GrantReport(
            job_id,
            totals.rows_read,
            totals.rows_accepted,
            totals.rows_refused,
            totals.rows_read - totals.rows_accepted - totals.rows_refused,
            tokeniser.blinded,
            None if rejects is None else Path(rejects),
            was_done,
        )


def _terms_digest(draft: Drafting, evidence: bytes | None, column: str | None) -> bytes:
    """SHA-256 of all that a consent says but whose it is. Raises what is wrong with its terms."""
    sample = bytes(SHA256_BYTES) if evidence is None and column is not None else evidence
    message = draft_message(draft(_NOBODY, sample)).SerializeToString(deterministic=True)
    return hashlib.sha256(repr(column).encode() + b"\0" + message).digest()


class _Person(NamedTuple):
    number: int
    identifier: Identifier
    evidence: bytes | None


@dataclass(slots=True)
class _Batch:
    """Consecutive rows, and the persons whom they name first."""

    persons: list[_Person] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    refused: int = 0
    rows_read: int = 0
    after: Position = _START


@dataclass(frozen=True, slots=True)
class _Persons:
    """The persons of a source, in the same batches whenever it is read."""

    source: Source
    mapping: Mapping
    evidence: bytes | None
    evidence_column: str | None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        more = () if self.evidence_column is None else (self.evidence_column,)
        return tuple(dict.fromkeys(self.mapping.subject_columns + more))

    def batches(self) -> Iterator[_Batch]:
        """Of up to CONSENTS_PER_REQUEST persons; the last may have none."""
        seen: set[bytes] = set()
        batch = _Batch()
        for item in self.source.rows(self.columns):
            if len(batch.persons) == CONSENTS_PER_REQUEST:
                yield batch
                batch = _Batch()
            batch.rows_read += 1
            batch.after = item.after
            found = self._person(item)
            if isinstance(found, _Person):
                name = hashlib.sha256(oprf_input(found.identifier)).digest()[:_SEEN_BYTES]
                if name not in seen:
                    seen.add(name)
                    batch.persons.append(found)
            else:
                batch.refused += 1
                batch.rejects += found
        if batch.rows_read:
            yield batch

    def _person(self, item: SourceRow | UnreadableRow) -> _Person | list[Reject]:
        if isinstance(item, UnreadableRow):
            return [Reject(item.number, "", item.reason, item.description)]
        found = self.mapping.identify(item.values)
        if isinstance(found, list):
            return [Reject(item.number, one.field, one.reason, one.description) for one in found]
        if self.evidence_column is None:
            return _Person(item.number, found, self.evidence)
        try:
            evidence = _hashed(item.values[self.evidence_column])
        except ValueFault as fault:
            text = f"{self.evidence_column}: {fault.description}"
            return [Reject(item.number, "evidence_sha256", fault.reason, text)]
        return _Person(item.number, found, evidence)


def _hashed(value: object) -> bytes:
    text = text_of(value)
    if text is None:
        raise ValueFault("REQUIRED", "empty")
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != SHA256_BYTES or len(text) != 2 * SHA256_BYTES:
        raise ValueFault("MALFORMED", "64 hexadecimal digits wanted, the SHA-256 of a document")
    return digest


@dataclass(frozen=True, slots=True)
class _Granting:
    client: Client
    draft: Drafting
    persons: _Persons
    book: Journal
    job_id: bytes
    tokeniser: Tokeniser
    timeout: float | None
    tell: Tell | None

    def run(self) -> None:
        began = time.monotonic()
        last = self.book.last()
        answered = 0 if last is None else last.sequence - (last.parcel is not None)
        first = self.book.totals().rows_read
        source, offset = self.persons.source, -1
        for sequence, batch in enumerate(self.persons.batches(), start=1):
            # Earlier ones are read to know whom they named.
            if sequence <= answered:
                continue
            source.check_unchanged()
            self._record(sequence, batch)
            offset = batch.after.offset
            self._told(offset, first, began)
        source.check_unchanged()
        if not self.book.totals().rows_read:
            raise no_rows(source)
        self.book.finish()
        if offset != source.size:
            self._told(source.size, first, began)

    def _record(self, sequence: int, batch: _Batch) -> None:
        """Send a batch, of whatever it holds, and write down what became of it."""
        numbers = [person.number for person in batch.persons]
        named = request_id(self.job_id, sequence, 0)
        for _ in range(_ATTEMPTS):
            tokens = self.tokeniser.tokens([person.identifier for person in batch.persons])
            epoch = tokens[0].epoch if tokens else 0
            parcel = Parcel(sequence, named, None, epoch, 0, b"", numbers) if tokens else None
            span = Span(sequence, parcel, batch.after, batch.rows_read, batch.refused)
            self.book.prepare(span, batch.rejects)
            if parcel is None:
                return
            try:
                delivery = self._delivered(named, batch.persons, tokens)
            except FailedPrecondition as error:
                if error.reason != "EPOCH_NOT_ACTIVE":
                    raise
                self.tokeniser.refuse(epoch)
                continue
            rejects = [
                Reject(one.item, one.field, one.reason, one.description, "gateway")
                for one in delivery.refused
            ]
            self.book.answer(span, parcel, delivery, rejects)
            return
        raise FailedPrecondition(
            "the gateway takes none of the key epochs that its key log has in use",
            reason="EPOCH_NOT_ACTIVE",
        )

    def _delivered(self, named: bytes, persons: list[_Person], tokens: list[Token]) -> Delivery:
        drafts = [
            self.draft(token, person.evidence)
            for person, token in zip(persons, tokens, strict=True)
        ]
        try:
            result = self.client.grant_consents(drafts, request_id=named, timeout=self.timeout)
        except Conflict as error:
            if error.reason != "REQUEST_ID_REUSED":
                raise
            # The id is this job's alone, and the same persons are the same drafts but for their
            # tokens: it was recorded, under a key epoch that another has followed since.
            text = (
                f"rows {persons[0].number} to {persons[-1].number} were recorded before; the "
                "reasons of those that were refused were lost with the connection, and a key "
                "epoch has begun since"
            )
            told = ItemRefusal(persons[0].number, "", "UNKNOWN", text)
            return Delivery(len(persons), 0, (told,), None)
        refused = [
            ItemRefusal(persons[one.item].number, one.field, one.reason, one.description)
            for one in result.refused
        ]
        return Delivery(len(result.granted), len({one.item for one in refused}), refused, None)

    def _told(self, offset: int, first: int, began: float) -> None:
        if self.tell is None:
            return
        totals, source = self.book.totals(), self.persons.source
        seconds = max(time.monotonic() - began, 1e-6)
        self.tell(
            Progress(
                totals.rows_read,
                totals.rows_accepted,
                totals.rows_refused,
                offset,
                source.size,
                source.unit,
                (totals.rows_read - first) / seconds,
            )
        )
