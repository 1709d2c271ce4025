"""Reviewing a portfolio: any number of subjects, chunk by chunk."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from concordat._checks import checked_epoch, checked_items, checked_token
from concordat._context import Context
from concordat._methods import REVIEW_PORTFOLIO
from concordat._operations.lookups import (
    lookup_receipt,
    max_age_on_wire,
    result_of,
    signal_names,
)
from concordat._retry import backoff_seconds, unavailable_where_broken
from concordat._steps import (
    Conversation,
    Finish,
    Flow,
    Hear,
    Open,
    Operation,
    Repeat,
    Say,
    Sleep,
)
from concordat.enums import Purpose
from concordat.errors import ConcordatError, ProtocolViolation
from concordat.requests import REQUEST_ID_BYTES
from concordat.results import LookupResult
from concordat.v1 import signal_pb2
from concordat_privacy.log.leaf import Json
from concordat_privacy.oprf import Token

SUBJECTS_PER_CHUNK = 1_000
CHUNKS_UNDER_WAY = 2
"""Sent and not yet answered: the gateway never waits for the next. No more, since each that was on
its way when a connection broke may have been recorded, and is a use of data again."""


@dataclass(slots=True)
class _Chunk:
    """Some tokens on their way."""

    sequence: int
    tokens: list[bytes]
    request_id: bytes = b""
    """New each time that it is sent: each is a use of data of its own."""


class Review:
    """One call of `review_portfolio`: gives the results, one after another."""

    def __init__(
        self,
        context: Context,
        tokens: Iterable[Token],
        signals: Iterable[str] | None,
        max_age_months: int | None,
        timeout: float | None,
    ) -> None:
        """Raises InvalidInput."""
        self._context = context
        self._tokens = iter(checked_items(tokens, "tokens", "Token"))
        self._names = signal_names(signals)
        self._max_age = max_age_on_wire(max_age_months)
        self._timeout = context.timeout_seconds(Flow.CONVERSATION, timeout)
        self._id = context.environment.random_bytes(REQUEST_ID_BYTES)
        self._conversation: Conversation | None = None
        self._under_way: deque[_Chunk] = deque()
        self._results: deque[LookupResult] = deque()
        """Answered, and not yet given."""
        self._given = 0
        self._read = 0
        """Tokens read."""
        self._chunks = 0
        """Chunks made of them."""
        self._epoch = 0

    def next(self) -> Operation[LookupResult | None]:
        """The next result; None after the last.

        Goes on after breaks until the timeout has passed without an answer.
        """
        if not self._results:
            try:
                yield from self._next_chunk()
            except Exception as error:
                self.close()
                error.add_note(
                    f"{self._given} results were given, in the tokens' order: to go on, call again "
                    "with the tokens after them"
                )
                raise
        if not self._results:
            return None
        self._given += 1
        return self._results.popleft()

    def close(self) -> None:
        """Leave the conversation, if one is under way."""
        if self._conversation is not None:
            self._conversation.cancel()
            self._conversation = None

    def _next_chunk(self) -> Operation[None]:
        environment = self._context.environment
        started = environment.monotonic()
        attempt = 1
        while True:
            left = self._timeout - (environment.monotonic() - started)
            fresh = self._conversation is None
            try:
                yield from self._advance(left)
            except ConcordatError as error:
                self.close()
                # A conversation that had lasted may have reached its own deadline: no failure.
                wait = self._backoff(error, attempt if fresh else 1)
                tried = environment.monotonic() - started
                if wait is None or wait >= self._timeout - tried:
                    raise
                attempt += fresh
            else:
                return
            yield Sleep(wait)

    def _backoff(self, error: ConcordatError, attempt: int) -> float | None:
        """How long to wait before another connection; None: the error is final."""
        policy, random = self._context.options.retry, self._context.environment.random
        broken = unavailable_where_broken(error)
        return backoff_seconds(policy, Repeat.RECORDED, broken, attempt, random)

    def _advance(self, seconds: float) -> Operation[None]:
        if not self._under_way and not self._read_chunk():
            if self._conversation is not None:
                yield Finish(self._conversation)
                self.close()
            return
        conversation = self._conversation
        if conversation is None:
            conversation = yield from self._connect(seconds)
        while len(self._under_way) < CHUNKS_UNDER_WAY and self._read_chunk():
            yield self._say(conversation, self._under_way[-1])
        reply: signal_pb2.ReviewPortfolioResponse | None = yield Hear(conversation)
        if reply is None:
            raise ProtocolViolation("the gateway ended the stream before its answer")
        self._results.extend(self._checked(self._under_way[0], reply))
        self._under_way.popleft()

    def _connect(self, seconds: float) -> Operation[Conversation]:
        conversation: Conversation = yield Open(REVIEW_PORTFOLIO, max(seconds, 0.0))
        self._conversation = conversation
        header = signal_pb2.ReviewHeader(
            review_id=self._id,
            signals=self._names,
            max_age_months=self._max_age,
            epoch=self._epoch,
        )
        yield Say(conversation, signal_pb2.ReviewPortfolioRequest(header=header))
        for chunk in self._under_way:
            yield self._say(conversation, chunk)
        return conversation

    def _say(self, conversation: Conversation, chunk: _Chunk) -> Say:
        chunk.request_id = self._context.request_id(None)
        message = signal_pb2.ReviewChunk(
            sequence=chunk.sequence, request_id=chunk.request_id, tokens=b"".join(chunk.tokens)
        )
        return Say(conversation, signal_pb2.ReviewPortfolioRequest(chunk=message))

    def _read_chunk(self) -> bool:
        """Put the next tokens on their way; False where there are none."""
        packed: list[bytes] = []
        for token in islice(self._tokens, SUBJECTS_PER_CHUNK):
            place = f"tokens[{self._read}]"
            packed.append(checked_token(token, place))
            self._epoch = checked_epoch(token, self._epoch, place)
            self._read += 1
        if not packed:
            return False
        self._chunks += 1
        self._under_way.append(_Chunk(self._chunks, packed))
        return True

    def _checked(
        self, chunk: _Chunk, reply: signal_pb2.ReviewPortfolioResponse
    ) -> list[LookupResult]:
        """The results of a chunk. Raises ProtocolViolation, ReceiptInvalid."""
        if reply.sequence != chunk.sequence or len(reply.results) != len(chunk.tokens):
            raise ProtocolViolation(
                f"chunk {chunk.sequence} of {len(chunk.tokens)} subjects was to be answered, "
                f"{reply.sequence} of {len(reply.results)} was"
            )
        purpose = Purpose.PORTFOLIO_REVIEW
        recorded: dict[str, Json] = {
            "request": chunk.request_id.hex(),
            "purpose": purpose.name.lower(),
            "items": len(chunk.tokens),
            "max_age_months": self._max_age or None,
            "review": self._id.hex(),
            "sequence": chunk.sequence,
        }
        receipt = lookup_receipt(self._context, reply.receipt, recorded, self._names)
        return [result_of(result, purpose, receipt, self._names) for result in reply.results]
