"""The blocking client."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from concordat._blocking import BlockingRunner
from concordat._clients.aggregates import AggregateMethods
from concordat._clients.audits import AuditMethods
from concordat._clients.consents import ConsentMethods
from concordat._clients.contributions import ContributionMethods
from concordat._clients.disputes import DisputeMethods
from concordat._clients.erasures import ErasureMethods
from concordat._clients.ledger import LedgerMethods
from concordat._clients.lookups import LookupMethods
from concordat._clients.managers import ManagerMethods
from concordat._clients.members import MemberMethods
from concordat._clients.notices import NoticeMethods
from concordat._clients.reviews import ReviewMethods
from concordat._clients.tokens import TokenMethods
from concordat._clients.uploads import UploadMethods
from concordat._clients.usage import UsageMethods
from concordat.options import Environment, Options
from concordat.profile import Profile


class Client(
    TokenMethods,
    ConsentMethods,
    ManagerMethods,
    NoticeMethods,
    DisputeMethods,
    ContributionMethods,
    UploadMethods,
    LookupMethods,
    ReviewMethods,
    AggregateMethods,
    LedgerMethods,
    MemberMethods,
    UsageMethods,
    ErasureMethods,
    AuditMethods,
):
    """A member's, operator's or auditor's connection to the gateway.

    Safe to use from several threads; not after a fork. Close it, or use it as a context manager.

    What holds for all methods:
      * `timeout` is in seconds, for each request with its retries; None takes the default of the
        options (10 s; 120 s for contributions and exports).
      * All errors of the methods are ConcordatError (see `concordat.errors`). A TechnicalFault
        means that nothing was answered; it never stands for a decline.
      * `request_id` (16 bytes) names a write: the same id with the same content returns the first
        answer. None takes a fresh one. A call that failed can be repeated with the id that
        `error.partial.request_id` holds. What an iterable of yours raises passes through as it
        is, with a note (PEP 678) that holds the id; pass an id of your own where it may raise.
      * Receipts in results are signed by the pinned ledger key; checked before they are returned.
    """

    def __init__(
        self,
        profile: Profile,
        options: Options | None = None,
        *,
        environment: Environment | None = None,
        known_checkpoint: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connects with the first call, not here.

        Args:
            known_checkpoint: signed checkpoint (text) kept from an earlier client, see
                `last_checkpoint`: the ledger must extend it.
            sleep: waits between attempts, for tests.

        Raises:
            InvalidInput: an argument is of another type.
            ProfileError: the certificate is not valid now.
            ReceiptInvalid: known_checkpoint is not signed by the ledger's key.
        """
        super().__init__(
            profile, options, environment=environment, known_checkpoint=known_checkpoint
        )
        self._runner = BlockingRunner(profile, self._context.options, sleep)

    def close(self) -> None:
        """End all calls and connections. A second time does nothing."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
