"""Membership: invited, joined, suspended."""

from collections.abc import AsyncIterator, Iterator

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import members
from concordat.results import InvitedMember, JoinedMember, Member, MembershipChange


class MemberMethods(BlockingMethods):
    """Methods of `Client`."""

    def invite_member(
        self,
        member_id: str,
        display_name: str,
        csr_pem: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> InvitedMember:
        """Invite an institution. Operators only.

        Args:
            member_id: lower-case letters, digits and hyphens, 2 to 40 characters, a letter first.
            display_name: 1 to 200 characters.
            csr_pem: certificate request for the invitation's own short-lived key.

        Raises:
            Conflict: the id is taken.
        """
        return self._runner.run(
            "invite_member",
            members.invite_member(
                self._context, member_id, display_name, csr_pem, request_id, timeout
            ),
        )

    def accept_invitation(
        self,
        csr_pem: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> JoinedMember:
        """Join, with a client whose profile holds an invitation's certificate.

        Args:
            csr_pem: certificate request of the member's new key, which stays where it was made.

        Raises:
            NotPermitted: the invitation was used, or has expired.
        """
        return self._runner.run(
            "accept_invitation",
            members.accept_invitation(self._context, csr_pem, request_id, timeout),
        )

    def suspend_member(
        self, member_id: str, reason: str, *, timeout: float | None = None
    ) -> MembershipChange:
        """Refuse every further call of a member. Operators only. Raises NotFound.

        Args:
            reason: 1 to 500 characters; goes into the ledger.
        """
        return self._runner.run(
            "suspend_member", members.suspend_member(self._context, member_id, reason, timeout)
        )

    def reinstate_member(
        self, member_id: str, reason: str, *, timeout: float | None = None
    ) -> MembershipChange:
        """Lift a suspension. Operators only. Raises NotFound. `reason` as for suspend_member."""
        return self._runner.run(
            "reinstate_member",
            members.reinstate_member(self._context, member_id, reason, timeout),
        )

    def list_members(
        self, *, page_size: int = 1_000, timeout: float | None = None
    ) -> Iterator[Member]:
        """All members by id, page by page. Operators and auditors only."""
        return self._runner.pages(
            "list_members", members.list_members(self._context, page_size, timeout)
        )


class AwaitingMemberMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def invite_member(
        self,
        member_id: str,
        display_name: str,
        csr_pem: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> InvitedMember:
        """See `Client.invite_member`."""
        return await self._runner.run(
            "invite_member",
            members.invite_member(
                self._context, member_id, display_name, csr_pem, request_id, timeout
            ),
        )

    async def accept_invitation(
        self,
        csr_pem: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> JoinedMember:
        """See `Client.accept_invitation`."""
        return await self._runner.run(
            "accept_invitation",
            members.accept_invitation(self._context, csr_pem, request_id, timeout),
        )

    async def suspend_member(
        self, member_id: str, reason: str, *, timeout: float | None = None
    ) -> MembershipChange:
        """See `Client.suspend_member`."""
        return await self._runner.run(
            "suspend_member", members.suspend_member(self._context, member_id, reason, timeout)
        )

    async def reinstate_member(
        self, member_id: str, reason: str, *, timeout: float | None = None
    ) -> MembershipChange:
        """See `Client.reinstate_member`."""
        return await self._runner.run(
            "reinstate_member",
            members.reinstate_member(self._context, member_id, reason, timeout),
        )

    def list_members(
        self, *, page_size: int = 1_000, timeout: float | None = None
    ) -> AsyncIterator[Member]:
        """See `Client.list_members`."""
        return self._runner.pages(
            "list_members", members.list_members(self._context, page_size, timeout)
        )
