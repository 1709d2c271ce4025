"""Erasures of subjects."""

from collections.abc import AsyncIterator, Iterator

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import erasures
from concordat.results import Erasure, ErasureChange
from concordat_privacy.oprf import Token


class ErasureMethods(BlockingMethods):
    """Methods of `Client`."""

    def request_erasure(
        self,
        token: Token,
        ground: str,
        evidence_sha256: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> ErasureChange:
        """Pass a subject's request to be erased on; the operator decides.

        The reply is the same whether the pool knows the subject or not.

        Args:
            ground: why the subject may ask for it, 1 to 500 characters. It goes into the ledger:
                nothing that names a person.
            evidence_sha256: SHA-256 of the subject's request, which the member keeps.
        """
        return self._runner.run(
            "request_erasure",
            erasures.request_erasure(
                self._context, token, ground, evidence_sha256, request_id, timeout
            ),
        )

    def list_erasures(
        self,
        *,
        case: str = "",
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> Iterator[Erasure]:
        """The calling member's requests of erasure, oldest first; to operator and auditors all.

        That staff reads them is recorded, with `case`, the reader's own reference.
        """
        return self._runner.pages(
            "list_erasures", erasures.list_erasures(self._context, case, page_size, timeout)
        )

    def execute_erasure(
        self, erasure_id: bytes, basis: str, *, timeout: float | None = None
    ) -> ErasureChange:
        """Erase the subject of a request: all its consents end, what names it is destroyed.

        For the operator. `basis` (1 to 500 characters) goes into the ledger. Executed again it
        changes nothing and has no receipt. Where the state is EXECUTED, a store could not be
        reached; the gateway goes on by itself. Raises NotFound, FailedPrecondition
        (ERASURE_REFUSED).
        """
        return self._runner.run(
            "execute_erasure",
            erasures.execute_erasure(self._context, erasure_id, basis, timeout),
        )

    def refuse_erasure(
        self, erasure_id: bytes, basis: str, *, timeout: float | None = None
    ) -> ErasureChange:
        """Record that a request of erasure is not followed, and why. For the operator.

        Raises NotFound, FailedPrecondition (ERASURE_EXECUTED).
        """
        return self._runner.run(
            "refuse_erasure", erasures.refuse_erasure(self._context, erasure_id, basis, timeout)
        )


class AwaitingErasureMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def request_erasure(
        self,
        token: Token,
        ground: str,
        evidence_sha256: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> ErasureChange:
        """See `Client.request_erasure`."""
        return await self._runner.run(
            "request_erasure",
            erasures.request_erasure(
                self._context, token, ground, evidence_sha256, request_id, timeout
            ),
        )

    def list_erasures(
        self,
        *,
        case: str = "",
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> AsyncIterator[Erasure]:
        """See `Client.list_erasures`."""
        return self._runner.pages(
            "list_erasures", erasures.list_erasures(self._context, case, page_size, timeout)
        )

    async def execute_erasure(
        self, erasure_id: bytes, basis: str, *, timeout: float | None = None
    ) -> ErasureChange:
        """See `Client.execute_erasure`."""
        return await self._runner.run(
            "execute_erasure",
            erasures.execute_erasure(self._context, erasure_id, basis, timeout),
        )

    async def refuse_erasure(
        self, erasure_id: bytes, basis: str, *, timeout: float | None = None
    ) -> ErasureChange:
        """See `Client.refuse_erasure`."""
        return await self._runner.run(
            "refuse_erasure", erasures.refuse_erasure(self._context, erasure_id, basis, timeout)
        )
