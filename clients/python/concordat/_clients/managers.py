"""Consent managers."""

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import managers
from concordat.results import ConsentManager, ConsentManagerChange


class ManagerMethods(BlockingMethods):
    """Methods of `Client`."""

    def register_consent_manager(
        self,
        manager_id: str,
        name: str,
        jwk: str,
        *,
        timeout: float | None = None,
    ) -> ConsentManagerChange:
        """Register a consent manager, whose signatures are then evidence. For the operator.

        Args:
            manager_id: the `kid` of its signatures; never used again.
            jwk: its public key as a JSON Web Key, Ed25519 or P-256.

        Raises:
            Conflict: MANAGER_EXISTS, MANAGER_KEY_EXISTS.
        """
        return self._runner.run(
            "register_consent_manager",
            managers.register_consent_manager(self._context, manager_id, name, jwk, timeout),
        )

    def disable_consent_manager(
        self,
        manager_id: str,
        *,
        timeout: float | None = None,
    ) -> ConsentManagerChange:
        """Take no more evidence of a consent manager. For the operator. Raises NotFound."""
        return self._runner.run(
            "disable_consent_manager",
            managers.disable_consent_manager(self._context, manager_id, timeout),
        )

    def list_consent_managers(
        self,
        *,
        timeout: float | None = None,
    ) -> tuple[ConsentManager, ...]:
        """All consent managers by id, disabled ones too."""
        return self._runner.run(
            "list_consent_managers", managers.list_consent_managers(self._context, timeout)
        )


class AwaitingManagerMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def register_consent_manager(
        self,
        manager_id: str,
        name: str,
        jwk: str,
        *,
        timeout: float | None = None,
    ) -> ConsentManagerChange:
        """See `Client.register_consent_manager`."""
        return await self._runner.run(
            "register_consent_manager",
            managers.register_consent_manager(self._context, manager_id, name, jwk, timeout),
        )

    async def disable_consent_manager(
        self,
        manager_id: str,
        *,
        timeout: float | None = None,
    ) -> ConsentManagerChange:
        """See `Client.disable_consent_manager`."""
        return await self._runner.run(
            "disable_consent_manager",
            managers.disable_consent_manager(self._context, manager_id, timeout),
        )

    async def list_consent_managers(
        self,
        *,
        timeout: float | None = None,
    ) -> tuple[ConsentManager, ...]:
        """See `Client.list_consent_managers`."""
        return await self._runner.run(
            "list_consent_managers", managers.list_consent_managers(self._context, timeout)
        )
