"""What auditors may open."""

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import audits
from concordat.results import OpenedSubject
from concordat_privacy.oprf import Token


class AuditMethods(BlockingMethods):
    """Methods of `Client`."""

    def open_subject(
        self,
        *,
        consent_id: bytes | None = None,
        token: Token | None = None,
        case: str,
        permission_sha256: bytes,
        timeout: float | None = None,
    ) -> OpenedSubject:
        """The keys that find one subject's entries in the ledger. For auditors.

        The opening is an entry of the ledger before the keys are sent.

        Args:
            consent_id: a consent of the subject, also one that an erasure ended; or
            token: the subject's token.
            case: the auditor's own reference, 1 to 200 characters.
            permission_sha256: SHA-256 of the document by which the person or a court permits it.

        Raises:
            NotFound: CONSENT_NOT_FOUND.
        """
        return self._runner.run(
            "open_subject",
            audits.open_subject(self._context, consent_id, token, case, permission_sha256, timeout),
        )


class AwaitingAuditMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def open_subject(
        self,
        *,
        consent_id: bytes | None = None,
        token: Token | None = None,
        case: str,
        permission_sha256: bytes,
        timeout: float | None = None,
    ) -> OpenedSubject:
        """See `Client.open_subject`."""
        return await self._runner.run(
            "open_subject",
            audits.open_subject(self._context, consent_id, token, case, permission_sha256, timeout),
        )
