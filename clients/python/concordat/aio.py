"""The awaiting client: `Client` on asyncio."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from concordat._awaiting import AwaitingRunner
from concordat._clients.aggregates import AwaitingAggregateMethods
from concordat._clients.audits import AwaitingAuditMethods
from concordat._clients.consents import AwaitingConsentMethods
from concordat._clients.contributions import AwaitingContributionMethods
from concordat._clients.disputes import AwaitingDisputeMethods
from concordat._clients.erasures import AwaitingErasureMethods
from concordat._clients.ledger import AwaitingLedgerMethods
from concordat._clients.lookups import AwaitingLookupMethods
from concordat._clients.managers import AwaitingManagerMethods
from concordat._clients.members import AwaitingMemberMethods
from concordat._clients.notices import AwaitingNoticeMethods
from concordat._clients.reviews import AwaitingReviewMethods
from concordat._clients.tokens import AwaitingTokenMethods
from concordat._clients.uploads import AwaitingUploadMethods
from concordat._clients.usage import AwaitingUsageMethods
from concordat.options import Environment, Options
from concordat.profile import Profile


class AsyncClient(
    AwaitingTokenMethods,
    AwaitingConsentMethods,
    AwaitingManagerMethods,
    AwaitingNoticeMethods,
    AwaitingDisputeMethods,
    AwaitingContributionMethods,
    AwaitingUploadMethods,
    AwaitingLookupMethods,
    AwaitingReviewMethods,
    AwaitingAggregateMethods,
    AwaitingLedgerMethods,
    AwaitingMemberMethods,
    AwaitingUsageMethods,
    AwaitingErasureMethods,
    AwaitingAuditMethods,
):
    """As `Client`, method for method, with `await` and `async for`.

    All tasks of one event loop may share it. Blinding and verification run in threads of the
    client's own, so they do not hold up the loop. An iterable of rows or drafts that is passed in
    is read within the loop: it should not block.
    """

    def __init__(
        self,
        profile: Profile,
        options: Options | None = None,
        *,
        environment: Environment | None = None,
        known_checkpoint: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """See `Client`; `sleep` is awaited."""
        super().__init__(
            profile, options, environment=environment, known_checkpoint=known_checkpoint
        )
        self._runner = AwaitingRunner(profile, self._context.options, sleep)

    async def close(self) -> None:
        """End all calls and connections. A second time does nothing."""
        await self._runner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
