"""Disputes of what the pool says about a subject."""

from collections.abc import AsyncIterator, Iterator

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import disputes
from concordat.enums import DataCategory, DisputeOutcome, DisputeReason
from concordat.results import Dispute, DisputeChange
from concordat_privacy.oprf import Token


class DisputeMethods(BlockingMethods):
    """Methods of `Client`."""

    def open_dispute(
        self,
        token: Token,
        category: DataCategory,
        reason: DisputeReason,
        statement_sha256: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> DisputeChange:
        """Pass on that a subject says what is held about it is wrong.

        Needs the subject's live consent for Purpose.DISPUTE that covers the category. Whoever
        contributes such data answers in time; of them you learn the outcome only. It is charged as
        one lookup, also where it is refused.

        Args:
            statement_sha256: SHA-256 of the subject's own words, 32 bytes.

        Raises:
            NotPermitted: NO_CONSENT.
            QuotaExhausted: LOOKUPS_EXHAUSTED.
        """
        return self._runner.run(
            "open_dispute",
            disputes.open_dispute(
                self._context, token, category, reason, statement_sha256, request_id, timeout
            ),
        )

    def list_disputes(
        self,
        *,
        with_resolved: bool = False,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> Iterator[Dispute]:
        """Disputes that the calling member opened or is to answer, oldest first; all for oversight.

        Without resolved ones, unless `with_resolved`. What operator and auditors read is recorded.
        Pages are read as the iterator advances; `timeout` is a page's.
        """
        return self._runner.pages(
            "list_disputes",
            disputes.list_disputes(self._context, with_resolved, page_size, timeout),
        )

    def answer_dispute(
        self,
        dispute_id: bytes,
        outcome: DisputeOutcome,
        statement_sha256: bytes,
        *,
        timeout: float | None = None,
    ) -> DisputeChange:
        """Answer a dispute for your own data: CORRECTED, DELETED or UPHELD.

        `statement_sha256` is that of your own words to the subject. The last answer resolves it.
        Raises NotFound.
        """
        return self._runner.run(
            "answer_dispute",
            disputes.answer_dispute(self._context, dispute_id, outcome, statement_sha256, timeout),
        )

    def extend_dispute(self, dispute_id: bytes, *, timeout: float | None = None) -> DisputeChange:
        """Put a dispute's deadline off, once, by what its policy allows.

        For the member that opened it, and for the operator.
        Raises NotFound, FailedPrecondition (NOT_EXTENSIBLE).
        """
        return self._runner.run(
            "extend_dispute", disputes.extend_dispute(self._context, dispute_id, timeout)
        )


class AwaitingDisputeMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def open_dispute(
        self,
        token: Token,
        category: DataCategory,
        reason: DisputeReason,
        statement_sha256: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> DisputeChange:
        """See `Client.open_dispute`."""
        return await self._runner.run(
            "open_dispute",
            disputes.open_dispute(
                self._context, token, category, reason, statement_sha256, request_id, timeout
            ),
        )

    def list_disputes(
        self,
        *,
        with_resolved: bool = False,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> AsyncIterator[Dispute]:
        """See `Client.list_disputes`."""
        return self._runner.pages(
            "list_disputes",
            disputes.list_disputes(self._context, with_resolved, page_size, timeout),
        )

    async def answer_dispute(
        self,
        dispute_id: bytes,
        outcome: DisputeOutcome,
        statement_sha256: bytes,
        *,
        timeout: float | None = None,
    ) -> DisputeChange:
        """See `Client.answer_dispute`."""
        return await self._runner.run(
            "answer_dispute",
            disputes.answer_dispute(self._context, dispute_id, outcome, statement_sha256, timeout),
        )

    async def extend_dispute(
        self, dispute_id: bytes, *, timeout: float | None = None
    ) -> DisputeChange:
        """See `Client.extend_dispute`."""
        return await self._runner.run(
            "extend_dispute", disputes.extend_dispute(self._context, dispute_id, timeout)
        )
