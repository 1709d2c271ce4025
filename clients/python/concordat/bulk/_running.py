"""One run of a job: what was prepared and not answered first, then the rest of the source."""

from collections import deque
from dataclasses import dataclass, field

from concordat.bulk._items import Position
from concordat.bulk._journal import Journal, Reject, Span
from concordat.bulk._progress import Teller
from concordat.bulk._reading import Read, Reader
from concordat.bulk._sending import Delivery, EpochEndedError, Line, PreparedRow, Way, Work
from concordat.bulk._tokens import Tokeniser
from concordat.bulk.errors import SourceError
from concordat.bulk.sources import no_rows
from concordat.errors import FailedPrecondition
from concordat_privacy.catalogue.rows import AccountSnapshot
from concordat_privacy.catalogue.rows import Row as Record


@dataclass(frozen=True, slots=True)
class Run:
    """A run. What it sends is in the journal first, so that another can go on anywhere."""

    work: Work
    reader: Reader
    line: Line
    book: Journal
    tokeniser: Tokeniser
    teller: Teller

    def to_the_end(self) -> None:
        """Send everything that was not answered, and note that the job is done."""
        self.teller.begin()
        if self.book.is_done:
            return
        refused: set[int] = set()
        while True:
            way = self.work.way(self.line, self.book.last_part())
            try:
                _Passage(self, way).make()
                break
            except EpochEndedError as ended:
                if ended.epoch in refused:
                    raise FailedPrecondition(
                        "the gateway takes none of the key epochs that its key log has in use",
                        reason="EPOCH_NOT_ACTIVE",
                    ) from None
                refused.add(ended.epoch)
                self.tokeniser.refuse(ended.epoch)
                # Their rows are read and tokenised again.
                self.book.forget_unanswered()
            finally:
                way.close()
        self._check_all_found()
        self.book.finish()
        self.teller.end()

    def _check_all_found(self) -> None:
        """Raise SourceError where there are no rows, or not those that were named."""
        found, awaited = self.book.totals().rows_read, self.work.awaited
        if not found and awaited is None:
            raise no_rows(self.reader.source)
        if awaited is not None and found != awaited:
            raise SourceError(
                f"{awaited - found} of the {awaited} named rows are not in the "
                "source; all others were sent: name rows by their numbers in the source that was "
                "contributed"
            )


@dataclass(frozen=True, slots=True)
class _Passage:
    """All of a run on one way."""

    run: Run
    way: Way
    under_way: deque[Span] = field(default_factory=deque)
    """Spans whose parcels were sent and not answered."""

    def make(self) -> None:
        """Raises EpochEndedError where the rows of what is under way need other tokens."""
        book = self.run.book
        for span in book.unanswered():
            self._send(span)
        last = book.last()
        sequence, after = (0, None) if last is None else (last.sequence, last.after)
        if after is not None:
            self._tell(after)
        for read in self.run.reader.read(after, self._tell):
            sequence += 1
            after = read.after
            self._send(self._prepared(sequence, read))
            self._tell(after)
        self._answer_all()
        self.way.end()
        if after is not None:
            self._tell(after)

    def _send(self, span: Span) -> None:
        if span.parcel is None:
            return
        self.under_way.append(span)
        self.way.send(span.parcel)
        while len(self.under_way) >= self.way.width:
            self._answer()

    def _answer_all(self) -> None:
        while self.under_way:
            self._answer()

    def _answer(self) -> None:
        delivery = self.way.answer()
        span = self.under_way[0]
        assert span.parcel is not None  # the others are not sent
        self.run.book.answer(span, span.parcel, delivery, _gateway_rejects(span, delivery))
        self.under_way.popleft()

    def _prepared(self, sequence: int, read: Read) -> Span:
        """A span with what is to be sent of it, written down."""
        tokens = self.run.tokeniser.tokens([mapped.identifier for _, mapped in read.rows])
        rows: list[PreparedRow] = []
        rejects = list(read.rejects)
        refused = read.refused
        seen: dict[tuple[object, ...], int] = {}
        for (number, mapped), token in zip(read.rows, tokens, strict=True):
            what, key = _identity(mapped.record)
            first = seen.setdefault((token.value, *key), number)
            if first == number:
                rows.append(self.run.work.row(number, token, mapped))
            else:
                refused += 1
                rejects.append(Reject(number, "", "DUPLICATE", f"the same {what} as row {first}"))
        parcel = None
        if rows:
            if not self.way.continues(rows[0][1].epoch):
                self._answer_all()
                self.way.end()
            parcel = self.way.parcel(sequence, rows)
        span = Span(sequence, parcel, read.after, read.rows_read, refused)
        self.run.book.prepare(span, rejects)
        return span

    def _tell(self, at: Position, read: int = 0, refused: int = 0) -> None:
        """Tell where the job is; rows under way were read, too."""
        read += sum(span.rows_read for span in self.under_way)
        refused += sum(span.refused_here for span in self.under_way)
        self.run.teller.at(at, read, refused)


def _identity(record: Record) -> tuple[str, tuple[object, ...]]:
    """What makes two rows of one subject the same, as the gateway has it."""
    if isinstance(record, AccountSnapshot):
        return "account and month", (record.account_ref, record.as_of_month)
    return "application", (record.application_ref,)


def _gateway_rejects(span: Span, delivery: Delivery) -> list[Reject]:
    found = [
        Reject(one.item, one.field, one.reason, one.description, "gateway")
        for one in delivery.refused
    ]
    if delivery.rows_refused and not found:
        assert span.parcel is not None
        first, last = span.parcel.numbers[0], span.parcel.numbers[-1]
        text = (
            f"{delivery.rows_refused} rows of {first} to {last}: the reasons were lost with the "
            "connection, and the key epoch has ended since"
        )
        found.append(Reject(first, "", "UNKNOWN", text, "gateway"))
    return found
