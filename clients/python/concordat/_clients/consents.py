"""Consents: recorded, changed, read."""

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime

from concordat._clients.base import AwaitingMethods, BlockingMethods
from concordat._operations import consents
from concordat.requests import ConsentDraft
from concordat.results import Consent, ConsentChange, GrantResult, RequestResult, Withdrawal
from concordat_privacy.oprf import Token


class ConsentMethods(BlockingMethods):
    """Methods of `Client`."""

    def grant_consents(
        self,
        drafts: Iterable[ConsentDraft],
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> GrantResult:
        """Record consents that subjects gave. Good ones are recorded, bad ones are listed.

        Any number, with tokens of one epoch; sent 1,000 at a time. If a later request fails or a
        later item is no ConsentDraft, `error.partial` (a GrantResult) says what was recorded
        before.
        """
        return self._runner.run(
            "grant_consents", consents.grant_consents(self._context, drafts, request_id, timeout)
        )

    def request_consents(
        self,
        drafts: Iterable[ConsentDraft],
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> RequestResult:
        """Record consents that subjects are asked for; they permit nothing until activated.

        As `grant_consents`, with drafts without evidence; `error.partial` is a RequestResult.
        """
        return self._runner.run(
            "request_consents",
            consents.request_consents(self._context, drafts, request_id, timeout),
        )

    def activate_consent(
        self,
        consent_id: bytes,
        *,
        evidence_sha256: bytes | None = None,
        evidence_jws: str | None = None,
        timeout: float | None = None,
    ) -> ConsentChange:
        """Record that the subject has given a requested consent, with evidence of one kind.

        Args:
            evidence_sha256: SHA-256 of the signed document that the member keeps, 32 bytes.
            evidence_jws: detached JWS over `concordat.consent_terms` of the requested consent.

        Raises:
            NotFound, FailedPrecondition (EVIDENCE_INVALID, or CONSENT_ and a state).
        """
        return self._runner.run(
            "activate_consent",
            consents.activate_consent(
                self._context, consent_id, evidence_sha256, evidence_jws, timeout
            ),
        )

    def pause_consent(
        self,
        consent_id: bytes,
        reason: str,
        *,
        timeout: float | None = None,
    ) -> ConsentChange:
        """Pause a consent: it permits nothing from before this returns until it is resumed.

        `reason` (1 to 500 characters) goes into the ledger. Raises NotFound, FailedPrecondition.
        """
        return self._runner.run(
            "pause_consent", consents.pause_consent(self._context, consent_id, reason, timeout)
        )

    def resume_consent(
        self,
        consent_id: bytes,
        reason: str,
        *,
        timeout: float | None = None,
    ) -> ConsentChange:
        """Lift a pause. `reason` goes into the ledger. Raises NotFound, FailedPrecondition."""
        return self._runner.run(
            "resume_consent", consents.resume_consent(self._context, consent_id, reason, timeout)
        )

    def withdraw_consent(
        self,
        consent_id: bytes,
        *,
        asked_at: datetime | None = None,
        evidence_sha256: bytes | None = None,
        timeout: float | None = None,
    ) -> Withdrawal:
        """Withdraw a consent; effective when this returns. Raises NotFound, FailedPrecondition.

        Withdrawing a withdrawn consent changes nothing and has no receipt; so does a request
        that is sent again because the connection broke after the first attempt arrived. The
        operator may withdraw any, where the subject turned to the consortium.

        Args:
            asked_at: when the subject asked, with a time zone, not in the future.
            evidence_sha256: SHA-256 of the subject's own words, 32 bytes.
        """
        return self._runner.run(
            "withdraw_consent",
            consents.withdraw_consent(
                self._context, consent_id, asked_at, evidence_sha256, timeout
            ),
        )

    def revoke_consent(
        self,
        consent_id: bytes,
        reason: str,
        *,
        manager_id: str | None = None,
        timeout: float | None = None,
    ) -> ConsentChange:
        """End a consent by another than its subject; effective when this returns.

        A member ends its own; the operator any, also for the registered consent manager that
        `manager_id` names. What the subject ends is `withdraw_consent`. `reason` (1 to 500
        characters) goes into the ledger. Raises NotFound, NotPermitted, FailedPrecondition.
        """
        return self._runner.run(
            "revoke_consent",
            consents.revoke_consent(self._context, consent_id, reason, manager_id, timeout),
        )

    def get_consent(self, consent_id: bytes, *, timeout: float | None = None) -> Consent:
        """Read one of the calling member's consents. Raises NotFound."""
        return self._runner.run(
            "get_consent", consents.get_consent(self._context, consent_id, timeout)
        )

    def list_consents(
        self,
        token: Token | None = None,
        *,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> Iterator[Consent]:
        """The calling member's consents, oldest first; of one subject, or all.

        Pages of `page_size` (1 to 1,000) are read as the iterator advances; `timeout` is a page's.
        """
        return self._runner.pages(
            "list_consents", consents.list_consents(self._context, token, page_size, timeout)
        )


class AwaitingConsentMethods(AwaitingMethods):
    """Methods of `AsyncClient`."""

    async def grant_consents(
        self,
        drafts: Iterable[ConsentDraft],
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> GrantResult:
        """See `Client.grant_consents`."""
        return await self._runner.run(
            "grant_consents", consents.grant_consents(self._context, drafts, request_id, timeout)
        )

    async def request_consents(
        self,
        drafts: Iterable[ConsentDraft],
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> RequestResult:
        """See `Client.request_consents`."""
        return await self._runner.run(
            "request_consents",
            consents.request_consents(self._context, drafts, request_id, timeout),
        )

    async def activate_consent(
        self,
        consent_id: bytes,
        *,
        evidence_sha256: bytes | None = None,
        evidence_jws: str | None = None,
        timeout: float | None = None,
    ) -> ConsentChange:
        """See `Client.activate_consent`."""
        return await self._runner.run(
            "activate_consent",
            consents.activate_consent(
                self._context, consent_id, evidence_sha256, evidence_jws, timeout
            ),
        )

    async def pause_consent(
        self,
        consent_id: bytes,
        reason: str,
        *,
        timeout: float | None = None,
    ) -> ConsentChange:
        """See `Client.pause_consent`."""
        return await self._runner.run(
            "pause_consent", consents.pause_consent(self._context, consent_id, reason, timeout)
        )

    async def resume_consent(
        self,
        consent_id: bytes,
        reason: str,
        *,
        timeout: float | None = None,
    ) -> ConsentChange:
        """See `Client.resume_consent`."""
        return await self._runner.run(
            "resume_consent", consents.resume_consent(self._context, consent_id, reason, timeout)
        )

    async def withdraw_consent(
        self,
        consent_id: bytes,
        *,
        asked_at: datetime | None = None,
        evidence_sha256: bytes | None = None,
        timeout: float | None = None,
    ) -> Withdrawal:
        """See `Client.withdraw_consent`."""
        return await self._runner.run(
            "withdraw_consent",
            consents.withdraw_consent(
                self._context, consent_id, asked_at, evidence_sha256, timeout
            ),
        )

    async def revoke_consent(
        self,
        consent_id: bytes,
        reason: str,
        *,
        manager_id: str | None = None,
        timeout: float | None = None,
    ) -> ConsentChange:
        """See `Client.revoke_consent`."""
        return await self._runner.run(
            "revoke_consent",
            consents.revoke_consent(self._context, consent_id, reason, manager_id, timeout),
        )

    async def get_consent(self, consent_id: bytes, *, timeout: float | None = None) -> Consent:
        """See `Client.get_consent`."""
        return await self._runner.run(
            "get_consent", consents.get_consent(self._context, consent_id, timeout)
        )

    def list_consents(
        self,
        token: Token | None = None,
        *,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> AsyncIterator[Consent]:
        """See `Client.list_consents`."""
        return self._runner.pages(
            "list_consents", consents.list_consents(self._context, token, page_size, timeout)
        )
