"""Reviews of portfolios, chunk by chunk."""

from collections.abc import AsyncIterator, Iterable, Iterator

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import reviews
from concordat.results import LookupResult
from concordat_privacy.oprf import Token


class ReviewMethods(BlockingMethods):
    """Methods of `Client`."""

    def review_portfolio(
        self,
        tokens: Iterable[Token],
        *,
        signals: Iterable[str] | None = None,
        max_age_months: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[LookupResult]:
        """Look any number of subjects up for PORTFOLIO_REVIEW; a result for each, in order.

        Consume the iterator: tokens are read and sent as it advances, 1,000 under one ledger entry
        and two such chunks ahead, and no more are kept in memory. All must be of one epoch. A
        connection that breaks is made anew, and what was not answered is asked for again, until
        `timeout` has passed without an answer; what had arrived was recorded, and is charged twice
        then. After a failure go on with the tokens after those whose results were given. A quota
        that is spent raises QuotaExhausted once what was answered has been given.
        """
        return self._runner.items(
            "review_portfolio",
            reviews.Review(self._context, tokens, signals, max_age_months, timeout),
        )


class AwaitingReviewMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    def review_portfolio(
        self,
        tokens: Iterable[Token],
        *,
        signals: Iterable[str] | None = None,
        max_age_months: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[LookupResult]:
        """See `Client.review_portfolio`."""
        return self._runner.items(
            "review_portfolio",
            reviews.Review(self._context, tokens, signals, max_age_months, timeout),
        )
