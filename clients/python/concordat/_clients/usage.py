"""What members have asked, and their quotas."""

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import usage as usage_operations
from concordat.results import MemberUsage, Receipt


class UsageMethods(BlockingMethods):
    """Methods of `Client`."""

    def usage(
        self, member_id: str | None = None, *, timeout: float | None = None
    ) -> tuple[MemberUsage, ...]:
        """What members have asked, their quotas, and alarms.

        Members read their own; operators and auditors everybody's, or one member's; to a
        member all others are not found. The counts name no subject. Raises NotFound.
        """
        return self._runner.run("usage", usage_operations.usage(self._context, member_id, timeout))

    def set_lookup_quota(
        self,
        member_id: str,
        daily: int,
        monthly: int,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Set a member's quota of lookups, in subjects a day and a month (UTC). Operators only.

        Returns the receipt of its ledger entry.

        Args:
            daily: 1 to 1,000,000,000. Rate and burst stay as the gateway configures them.
            monthly: `daily` to 31,000,000,000.

        Raises:
            NotFound: no such member.
        """
        return self._runner.run(
            "set_lookup_quota",
            usage_operations.set_lookup_quota(
                self._context, member_id, daily, monthly, request_id, timeout
            ),
        )


class AwaitingUsageMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def usage(
        self, member_id: str | None = None, *, timeout: float | None = None
    ) -> tuple[MemberUsage, ...]:
        """See `Client.usage`."""
        return await self._runner.run(
            "usage", usage_operations.usage(self._context, member_id, timeout)
        )

    async def set_lookup_quota(
        self,
        member_id: str,
        daily: int,
        monthly: int,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """See `Client.set_lookup_quota`."""
        return await self._runner.run(
            "set_lookup_quota",
            usage_operations.set_lookup_quota(
                self._context, member_id, daily, monthly, request_id, timeout
            ),
        )
