"""Portfolio reviews: any number of subjects, chunk by chunk on one stream.

Each chunk is a lookup of its own: decided, charged and recorded in one transaction, under its own
ledger entry, and answered before the next is read. So a review holds no more than a chunk in
memory, and one that breaks, or meets a quota, has charged and recorded what was answered, and at
most the chunk in hand beside it. A chunk that is asked for again is a new use of data, and recorded
as one: what a member may look up does not depend on what it says that it has lost.
"""

from collections.abc import Sequence

from concordat_gateway.rules.lookups import Part, Question
from concordat_gateway.rules.requests import REQUEST_ID_BYTES, check_request_id
from concordat_gateway.rules.scopes import Purpose
from concordat_rpc.errors import invalid

CHUNK_SUBJECTS = 1_000


class Review:
    """One stream's way through a review. Not thread-safe."""

    def __init__(self, review_id: bytes, signals: Sequence[str], max_age_months: int) -> None:
        """Raises Refusal INVALID_ARGUMENT."""
        self._id = check_request_id(review_id, "header.review_id")
        self._signals = signals
        self._max_age_months = max_age_months
        self._before = 0
        """Sequence of the chunk before; 0: none on this stream."""
        # What is wrong with the question is told before any chunk comes.
        self._question(bytes(REQUEST_ID_BYTES), 0)

    def question(self, sequence: int, request_id: bytes) -> Question:
        """The question of the next chunk. A stream may begin with any; then each comes after each.

        Raises Refusal INVALID_ARGUMENT.
        """
        wanted = self._before + 1 if self._before else max(sequence, 1)
        if sequence != wanted:
            raise invalid("chunk.sequence", f"{wanted} wanted, {sequence} given")
        question = self._question(check_request_id(request_id, "chunk.request_id"), sequence)
        self._before = sequence
        return question

    def _question(self, request_id: bytes, sequence: int) -> Question:
        return Question.of(
            Purpose.PORTFOLIO_REVIEW,
            self._signals,
            request_id,
            self._max_age_months,
            Part(self._id, sequence),
        )
