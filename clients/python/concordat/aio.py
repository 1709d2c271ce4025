"""The awaiting client: `Client` on asyncio."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

from concordat._awaiting import AwaitingRunner
from concordat._context import Context
from concordat._methods import EXPORT_ENTRIES
from concordat._operations import (
    aggregates,
    audits,
    consents,
    contributions,
    disputes,
    erasures,
    ledger,
    lookups,
    managers,
    members,
    notices,
    token_keys,
    uploads,
)
from concordat._operations import tokens as token_operations
from concordat._operations import usage as usage_operations
from concordat._operations.tokens import Progress
from concordat._steps import Flow
from concordat.enums import (
    DataCategory,
    Dimension,
    DisputeOutcome,
    DisputeReason,
    Purpose,
)
from concordat.options import Environment, Options
from concordat.profile import Profile
from concordat.requests import ConsentDraft, Row
from concordat.results import (
    BatchStatus,
    Budget,
    Consent,
    ConsentChange,
    ConsentManager,
    ConsentManagerChange,
    ContributionResult,
    CountResult,
    Dispute,
    DisputeChange,
    Erasure,
    ErasureChange,
    GrantResult,
    InvitedMember,
    JoinedMember,
    LedgerEntry,
    LedgerTimestamp,
    LookupResult,
    Member,
    MembershipChange,
    MemberUsage,
    Notice,
    NoticeChange,
    OpenedSubject,
    Receipt,
    RequestResult,
    SignalCatalogue,
    SignedCheckpoint,
    TokenKeyInfo,
    VerifiedReceipt,
    Withdrawal,
)
from concordat.uploads import RefusedRow, UploadedPart, UploadStatus
from concordat_privacy.identifiers import Identifier
from concordat_privacy.log.proof import TlogProof
from concordat_privacy.oprf import Token


class AsyncClient:
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
        self._context = Context.of(profile, options, environment, known_checkpoint)
        self._runner = AwaitingRunner(profile, self._context.options, sleep)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        options: Options | None = None,
        *,
        known_checkpoint: str | None = None,
    ) -> Self:
        """A client of the profile in a folder. Raises ProfileError, ReceiptInvalid."""
        return cls(Profile.load(folder), options, known_checkpoint=known_checkpoint)

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

    def __repr__(self) -> str:
        profile = self._context.profile
        return f"{type(self).__name__}({profile.spiffe_id} at {profile.gateway})"

    @property
    def profile(self) -> Profile:
        """The profile that the client was opened with."""
        return self._context.profile

    @property
    def last_checkpoint(self) -> SignedCheckpoint | None:
        """The newest checkpoint verified so far; keep its `note` for the next client."""
        return self._context.ledger.seen

    @property
    def key_log(self) -> str | None:
        """The newest key log (text) verified so far; keep it as the profile's keys.log.

        None if the profile pins none. `concordat keys pin` keeps it.
        """
        return self._context.keys.text

    # Tokens

    async def tokenise(
        self,
        identifiers: Iterable[Identifier],
        *,
        epoch: int | None = None,
        portfolio: bool = False,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> list[Token]:
        """See `Client.tokenise`."""
        return await self._runner.run(
            "tokenise",
            token_operations.tokenise(
                self._context, identifiers, epoch, portfolio, progress, timeout
            ),
        )

    async def list_token_keys(self, *, timeout: float | None = None) -> tuple[TokenKeyInfo, ...]:
        """See `Client.list_token_keys`."""
        return await self._runner.run(
            "list_token_keys", token_keys.list_token_keys(self._context, timeout)
        )

    # Consents

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

    # Notices

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

    # Disputes

    async def open_dispute(
        self,
        token: Token,
        category: DataCategory,
        reason: DisputeReason,
        statement_sha256: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> DisputeChange:
        """See `Client.open_dispute`."""
        return await self._runner.run(
            "open_dispute",
            disputes.open_dispute(
                self._context, token, category, reason, statement_sha256, request_id, timeout
            ),
        )

    def list_disputes(
        self,
        *,
        with_resolved: bool = False,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> AsyncIterator[Dispute]:
        """See `Client.list_disputes`."""
        return self._runner.pages(
            "list_disputes",
            disputes.list_disputes(self._context, with_resolved, page_size, timeout),
        )

    async def answer_dispute(
        self,
        dispute_id: bytes,
        outcome: DisputeOutcome,
        statement_sha256: bytes,
        *,
        timeout: float | None = None,
    ) -> DisputeChange:
        """See `Client.answer_dispute`."""
        return await self._runner.run(
            "answer_dispute",
            disputes.answer_dispute(self._context, dispute_id, outcome, statement_sha256, timeout),
        )

    async def extend_dispute(
        self, dispute_id: bytes, *, timeout: float | None = None
    ) -> DisputeChange:
        """See `Client.extend_dispute`."""
        return await self._runner.run(
            "extend_dispute", disputes.extend_dispute(self._context, dispute_id, timeout)
        )

    # Contributions

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

    def contribute_stream(
        self,
        rows: Iterable[Row],
        *,
        upload_id: bytes | None = None,
        adverse_notice_sha256: bytes | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[UploadedPart]:
        """See `Client.contribute_stream`."""
        return self._runner.items(
            "contribute_stream",
            uploads.Upload(self._context, rows, upload_id, adverse_notice_sha256, timeout),
        )

    async def get_upload(self, upload_id: bytes, *, timeout: float | None = None) -> UploadStatus:
        """See `Client.get_upload`."""
        return await self._runner.run(
            "get_upload", uploads.get_upload(self._context, upload_id, timeout)
        )

    def list_refused_rows(
        self,
        upload_id: bytes,
        *,
        page_size: int = 1_000,
        timeout: float | None = None,
    ) -> AsyncIterator[RefusedRow]:
        """See `Client.list_refused_rows`."""
        return self._runner.pages(
            "list_refused_rows",
            uploads.list_refused_rows(self._context, upload_id, page_size, timeout),
        )

    # Lookups

    async def lookup(
        self,
        token: Token,
        purpose: Purpose,
        *,
        signals: Iterable[str] | None = None,
        timeout: float | None = None,
    ) -> LookupResult:
        """See `Client.lookup`."""
        return await self._runner.run(
            "lookup", lookups.lookup(self._context, token, purpose, signals, timeout)
        )

    async def lookup_batch(
        self,
        tokens: Iterable[Token],
        purpose: Purpose,
        *,
        signals: Iterable[str] | None = None,
        timeout: float | None = None,
    ) -> list[LookupResult]:
        """See `Client.lookup_batch`."""
        return await self._runner.run(
            "lookup_batch", lookups.lookup_batch(self._context, tokens, purpose, signals, timeout)
        )

    async def list_signals(self, *, timeout: float | None = None) -> SignalCatalogue:
        """See `Client.list_signals`."""
        return await self._runner.run("list_signals", lookups.list_signals(self._context, timeout))

    # Aggregates

    async def count(
        self,
        where: Mapping[Dimension, Collection[int]] | None = None,
        group_by: Dimension | None = None,
        *,
        epsilon: float = 1.0,
        cells_per_person: int = 1,
        timeout: float | None = None,
    ) -> CountResult:
        """See `Client.count`."""
        return await self._runner.run(
            "count",
            aggregates.count(self._context, where, group_by, epsilon, cells_per_person, timeout),
        )

    async def budget(self, *, timeout: float | None = None) -> tuple[Budget, ...]:
        """See `Client.budget`."""
        return await self._runner.run("budget", aggregates.budget(self._context, timeout))

    # Ledger

    async def checkpoint(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """See `Client.checkpoint`."""
        return await self._runner.run("checkpoint", ledger.checkpoint(self._context, timeout))

    async def verify_receipt(
        self, receipt: Receipt, *, timeout: float | None = None
    ) -> VerifiedReceipt:
        """See `Client.verify_receipt`."""
        return await self._runner.run(
            "verify_receipt", ledger.verify_receipt(self._context, receipt, timeout)
        )

    async def cosigned_checkpoint(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """See `Client.cosigned_checkpoint`."""
        return await self._runner.run(
            "cosigned_checkpoint", ledger.cosigned_checkpoint(self._context, timeout)
        )

    async def add_cosignature(
        self, size: int, cosignature: str, *, timeout: float | None = None
    ) -> tuple[int, int]:
        """See `Client.add_cosignature`."""
        return await self._runner.run(
            "add_cosignature",
            ledger.add_cosignature(self._context, size, cosignature, timeout),
        )

    async def prove(self, receipt: Receipt, *, timeout: float | None = None) -> TlogProof:
        """See `Client.prove`."""
        return await self._runner.run("prove", ledger.prove(self._context, receipt, timeout))

    async def checkpoint_to_cosign(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """See `Client.checkpoint_to_cosign`."""
        return await self._runner.run(
            "checkpoint_to_cosign", ledger.checkpoint_to_cosign(self._context, timeout)
        )

    async def consistency_proof(
        self, old_size: int, new_size: int, *, timeout: float | None = None
    ) -> tuple[bytes, ...]:
        """See `Client.consistency_proof`."""
        return await self._runner.run(
            "consistency_proof",
            ledger.consistency_proof(self._context, old_size, new_size, timeout),
        )

    async def prove_entry(self, index: int, *, timeout: float | None = None) -> TlogProof:
        """See `Client.prove_entry`."""
        return await self._runner.run(
            "prove_entry", ledger.prove_entry(self._context, index, timeout)
        )

    async def timestamps(
        self, after_size: int = 0, *, timeout: float | None = None
    ) -> tuple[LedgerTimestamp, ...]:
        """See `Client.timestamps`."""
        return await self._runner.run(
            "timestamps", ledger.timestamps(self._context, after_size, timeout)
        )

    def export_entries(
        self,
        start_index: int = 0,
        *,
        case: str = "",
        cosigned: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[LedgerEntry]:
        """See `Client.export_entries`."""
        request, reader = ledger.export(self._context, start_index, case, cosigned)
        seconds = self._context.timeout_seconds(Flow.DOWNLOAD, timeout)
        return self._runner.download("export_entries", EXPORT_ENTRIES, request, seconds, reader)

    # Membership

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

    # Usage

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

    # Erasures and audits

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
