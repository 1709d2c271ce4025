"""Notices of what a member must delete or correct."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import notices
from concordat.results import Notice, NoticeChange


class NoticeMethods(BlockingMethods):
    """Methods of `Client`."""

    def list_notices(
        self,
        *,
        with_settled: bool = False,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> Iterator[Notice]:
        """Notices of consents that ended, oldest first: a member's own, or all for oversight.

        Without those whose deletion was confirmed, unless `with_settled`. What operator and
        auditors read is recorded in the ledger. Pages are read as the iterator advances; `timeout`
        is a page's.
        """
        return self._runner.pages(
            "list_notices", notices.list_notices(self._context, with_settled, page_size, timeout)
        )

    def acknowledge_notice(self, notice_id: bytes, *, timeout: float | None = None) -> NoticeChange:
        """Acknowledge a notice of the calling member. Raises NotFound."""
        return self._runner.run(
            "acknowledge_notice", notices.acknowledge_notice(self._context, notice_id, timeout)
        )

    def confirm_deletion(
        self,
        notice_id: bytes,
        deleted_at: datetime,
        record_sha256: bytes,
        *,
        timeout: float | None = None,
    ) -> NoticeChange:
        """The deletion receipt: what was learned under the consent is deleted wherever it was.

        Args:
            deleted_at: when that was done.
            record_sha256: SHA-256 of your own record of the deletion, 32 bytes.

        Raises:
            NotFound: the calling member has no such notice.
            FailedPrecondition: NOTICE_NOT_ACKNOWLEDGED.
        """
        return self._runner.run(
            "confirm_deletion",
            notices.confirm_deletion(self._context, notice_id, deleted_at, record_sha256, timeout),
        )


class AwaitingNoticeMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    def list_notices(
        self,
        *,
        with_settled: bool = False,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> AsyncIterator[Notice]:
        """See `Client.list_notices`."""
        return self._runner.pages(
            "list_notices", notices.list_notices(self._context, with_settled, page_size, timeout)
        )

    async def acknowledge_notice(
        self, notice_id: bytes, *, timeout: float | None = None
    ) -> NoticeChange:
        """See `Client.acknowledge_notice`."""
        return await self._runner.run(
            "acknowledge_notice", notices.acknowledge_notice(self._context, notice_id, timeout)
        )

    async def confirm_deletion(
        self,
        notice_id: bytes,
        deleted_at: datetime,
        record_sha256: bytes,
        *,
        timeout: float | None = None,
    ) -> NoticeChange:
        """See `Client.confirm_deletion`."""
        return await self._runner.run(
            "confirm_deletion",
            notices.confirm_deletion(self._context, notice_id, deleted_at, record_sha256, timeout),
        )
