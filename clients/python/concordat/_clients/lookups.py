"""Lookups of subjects, and the signals that answer them."""

from collections.abc import Iterable

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import lookups
from concordat.enums import Purpose
from concordat.results import LookupResult, SignalCatalogue
from concordat_privacy.oprf import Token


class LookupMethods(BlockingMethods):
    """Methods of `Client`."""

    def lookup(
        self,
        token: Token,
        purpose: Purpose,
        *,
        signals: Iterable[str] | None = None,
        max_age_months: int | None = None,
        timeout: float | None = None,
    ) -> LookupResult:
        """What all members together know of a consenting subject.

        A result exists only if the gateway answered. Each answer, a refusal too, has its entry in
        the ledger: this is a recorded use of data. It is sent again if the gateway was
        unavailable before it replied (an attempt that had arrived keeps its own entry), or asked to
        come back in a moment (LOOKUPS_EXHAUSTED, CARRIED_EXHAUSTED: nothing was recorded).

        Args:
            purpose: UNDERWRITING, PORTFOLIO_REVIEW or DISPUTE; the consent must cover it.
            signals: names of wanted signals; None for all.
            max_age_months: 1 to 120; signals older than that come back STALE. None: as the
                catalogue has it for each, which holds beside any other too.
        """
        return self._runner.run(
            "lookup",
            lookups.lookup(self._context, token, purpose, signals, max_age_months, timeout),
        )

    def lookup_batch(
        self,
        tokens: Iterable[Token],
        purpose: Purpose,
        *,
        signals: Iterable[str] | None = None,
        max_age_months: int | None = None,
        timeout: float | None = None,
    ) -> list[LookupResult]:
        """As `lookup`, for any number of subjects; one result for each, in order.

        Sent 10,000 at a time, each under one ledger entry (1,000 where the quota lets no more
        through at once). All tokens must be of one epoch. Without a `timeout` each request may take
        2 ms a subject longer than others. If a later request fails, `error.partial` (a tuple of
        LookupResult) holds the results before it.
        """
        return self._runner.run(
            "lookup_batch",
            lookups.lookup_batch(self._context, tokens, purpose, signals, max_age_months, timeout),
        )

    def list_signals(self, *, timeout: float | None = None) -> SignalCatalogue:
        """The signals that the gateway releases, with bands and reasons."""
        return self._runner.run("list_signals", lookups.list_signals(self._context, timeout))


class AwaitingLookupMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def lookup(
        self,
        token: Token,
        purpose: Purpose,
        *,
        signals: Iterable[str] | None = None,
        max_age_months: int | None = None,
        timeout: float | None = None,
    ) -> LookupResult:
        """See `Client.lookup`."""
        return await self._runner.run(
            "lookup",
            lookups.lookup(self._context, token, purpose, signals, max_age_months, timeout),
        )

    async def lookup_batch(
        self,
        tokens: Iterable[Token],
        purpose: Purpose,
        *,
        signals: Iterable[str] | None = None,
        max_age_months: int | None = None,
        timeout: float | None = None,
    ) -> list[LookupResult]:
        """See `Client.lookup_batch`."""
        return await self._runner.run(
            "lookup_batch",
            lookups.lookup_batch(self._context, tokens, purpose, signals, max_age_months, timeout),
        )

    async def list_signals(self, *, timeout: float | None = None) -> SignalCatalogue:
        """See `Client.list_signals`."""
        return await self._runner.run("list_signals", lookups.list_signals(self._context, timeout))
