"""Contributions to the pool."""

from collections.abc import Iterable

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import contributions
from concordat.requests import Row, RowWithdrawal
from concordat.results import BatchStatus, ContributionResult, RowWithdrawalResult


class ContributionMethods(BlockingMethods):
    """Methods of `Client`."""

    def contribute(
        self,
        rows: Iterable[Row],
        *,
        adverse_notice_sha256: bytes | None = None,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> ContributionResult:
        """Contribute banded rows. Good ones are taken, bad ones are listed by row number.

        Any number, also from a generator: 20,000 rows are read, checked and sent at a time, and
        no more are kept in memory. Rows that break the catalogue's rules, or give a plain number
        for a band, are refused here and not sent. If a later batch fails or holds what is no Row,
        `error.partial` (a ContributionResult) says what was taken before; repeat the call with
        all rows and its request_id to go on. All tokens of one call must be of one epoch.
        `adverse_notice_sha256` is the hash of the notice that the subjects of adverse rows (see
        `concordat_privacy.catalogue.rows.is_adverse`) were given before: where the jurisdiction of
        a consent asks for one, such rows are refused without it (ADVERSE_NOTICE_REQUIRED).
        """
        return self._runner.run(
            "contribute",
            contributions.contribute(
                self._context, rows, adverse_notice_sha256, request_id, timeout
            ),
        )

    def get_batch(self, request_id: bytes, *, timeout: float | None = None) -> BatchStatus:
        """What became of a batch (its id is in BatchReceipt). Raises NotFound."""
        return self._runner.run(
            "get_batch", contributions.get_batch(self._context, request_id, timeout)
        )

    def withdraw_rows(
        self,
        rows: Iterable[RowWithdrawal],
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> RowWithdrawalResult:
        """Take accounts, with all their months, and applications out of the pool.

        Every lookup decided after it returns is without them. No consent is needed. Rows that
        cannot be withdrawn are listed by number: NO_SUCH_ROW, ALREADY_REPLACED, OTHER_ROW. If a
        later call of 1,000 fails, `error.partial` (a RowWithdrawalResult) says what was withdrawn
        before; repeat it with all rows and its request_id to go on. A month of an account is
        corrected, see `Row.replaces`.
        """
        return self._runner.run(
            "withdraw_rows", contributions.withdraw_rows(self._context, rows, request_id, timeout)
        )


class AwaitingContributionMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def contribute(
        self,
        rows: Iterable[Row],
        *,
        adverse_notice_sha256: bytes | None = None,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> ContributionResult:
        """See `Client.contribute`."""
        return await self._runner.run(
            "contribute",
            contributions.contribute(
                self._context, rows, adverse_notice_sha256, request_id, timeout
            ),
        )

    async def get_batch(self, request_id: bytes, *, timeout: float | None = None) -> BatchStatus:
        """See `Client.get_batch`."""
        return await self._runner.run(
            "get_batch", contributions.get_batch(self._context, request_id, timeout)
        )

    async def withdraw_rows(
        self,
        rows: Iterable[RowWithdrawal],
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> RowWithdrawalResult:
        """See `Client.withdraw_rows`."""
        return await self._runner.run(
            "withdraw_rows", contributions.withdraw_rows(self._context, rows, request_id, timeout)
        )
