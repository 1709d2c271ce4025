"""The blocking client."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

from concordat._blocking import BlockingRunner
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
from concordat_privacy.identifiers import Identifier
from concordat_privacy.log.proof import TlogProof
from concordat_privacy.oprf import Token


class Client:
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
        self._context = Context.of(profile, options, environment, known_checkpoint)
        self._runner = BlockingRunner(profile, self._context.options, sleep)

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

    def tokenise(
        self,
        identifiers: Iterable[Identifier],
        *,
        epoch: int | None = None,
        portfolio: bool = False,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> list[Token]:
        """Turn identifiers into tokens without showing them to anybody.

        Blinds in this process, signs each batch of up to 2,000 blinded points with the profile's
        key, has it evaluated, verifies each key-holder's proof under the pinned key log, unblinds.
        Equal identifiers are sent once. Returns one token for each identifier, in order, all of
        one epoch.

        If a later batch fails, `error.partial` holds one entry for each identifier, in order: its
        Token, or None. With `Options(cached_tokens=...)` repeating the call goes on from there.

        Args:
            epoch: key epoch; None for the newest one in use. The gateway's key log is read where
                the pinned one has none in use, or the gateway says that the epoch is not active.
            portfolio: charge the allowance that the key-holder granted for a portfolio, not the
                member's daily and monthly quota.
            progress: called with (done, in all), counting different identifiers; from the
                beginning again if the epoch changed.

        Raises:
            ProofInvalid: a key-holder did not use the pinned key. Of a split key, `holder` names
                it, and others were asked before, where there are enough.
            QuotaExhausted: EVALUATIONS_EXHAUSTED or PORTFOLIO_EXHAUSTED.
            KeyLogForked, KeyLogInvalid: the gateway's key log is not a later one of the pinned.
            ProfileError: no key log is pinned, or it has no such epoch.
        """
        return self._runner.run(
            "tokenise",
            token_operations.tokenise(
                self._context, identifiers, epoch, portfolio, progress, timeout
            ),
        )

    def list_token_keys(self, *, timeout: float | None = None) -> tuple[TokenKeyInfo, ...]:
        """The key epochs, oldest first, after the gateway's key log was verified.

        The client uses that log from now on; `key_log` gives its text, to be kept.

        Raises:
            KeyLogForked: it does not extend the log that was seen before. The error holds both
                signed logs as evidence.
            KeyLogInvalid: it is not signed by the pinned key.
            ProfileError: no key log is pinned.
        """
        return self._runner.run(
            "list_token_keys", token_keys.list_token_keys(self._context, timeout)
        )

    # Consents

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

    # Notices

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

    # Disputes

    def open_dispute(
        self,
        token: Token,
        category: DataCategory,
        reason: DisputeReason,
        statement_sha256: bytes,
        *,
        request_id: bytes | None = None,
        timeout: float | None = None,
    ) -> DisputeChange:
        """Pass on that a subject says what is held about it is wrong.

        Needs the subject's live consent for Purpose.DISPUTE that covers the category. Whoever
        contributes such data answers in time; of them you learn the outcome only. It is charged as
        one lookup, also where it is refused.

        Args:
            statement_sha256: SHA-256 of the subject's own words, 32 bytes.

        Raises:
            NotPermitted: NO_CONSENT.
            QuotaExhausted: LOOKUPS_EXHAUSTED.
        """
        return self._runner.run(
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
    ) -> Iterator[Dispute]:
        """Disputes that the calling member opened or is to answer, oldest first; all for oversight.

        Without resolved ones, unless `with_resolved`. What operator and auditors read is recorded.
        Pages are read as the iterator advances; `timeout` is a page's.
        """
        return self._runner.pages(
            "list_disputes",
            disputes.list_disputes(self._context, with_resolved, page_size, timeout),
        )

    def answer_dispute(
        self,
        dispute_id: bytes,
        outcome: DisputeOutcome,
        statement_sha256: bytes,
        *,
        timeout: float | None = None,
    ) -> DisputeChange:
        """Answer a dispute for your own data: CORRECTED, DELETED or UPHELD.

        `statement_sha256` is that of your own words to the subject. The last answer resolves it.
        Raises NotFound.
        """
        return self._runner.run(
            "answer_dispute",
            disputes.answer_dispute(self._context, dispute_id, outcome, statement_sha256, timeout),
        )

    def extend_dispute(self, dispute_id: bytes, *, timeout: float | None = None) -> DisputeChange:
        """Put a dispute's deadline off, once, by what its policy allows.

        For the member that opened it, and for the operator.
        Raises NotFound, FailedPrecondition (NOT_EXTENSIBLE).
        """
        return self._runner.run(
            "extend_dispute", disputes.extend_dispute(self._context, dispute_id, timeout)
        )

    # Contributions

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

    # Lookups

    def lookup(
        self,
        token: Token,
        purpose: Purpose,
        *,
        signals: Iterable[str] | None = None,
        timeout: float | None = None,
    ) -> LookupResult:
        """What all members together know of a consenting subject.

        A result exists only if the gateway answered. Each answer, a refusal too, has its entry in
        the ledger: this is a recorded use of data. It is sent again if the gateway was
        unavailable before it replied (an attempt that had arrived keeps its own entry), or asked to
        come back in a moment (LOOKUPS_EXHAUSTED, CARRIED_EXHAUSTED: nothing was recorded).

        Args:
            purpose: UNDERWRITING, PORTFOLIO_REVIEW or DISPUTE; the consent must cover it.
            signals: names of wanted signals; None for all.
        """
        return self._runner.run(
            "lookup", lookups.lookup(self._context, token, purpose, signals, timeout)
        )

    def lookup_batch(
        self,
        tokens: Iterable[Token],
        purpose: Purpose,
        *,
        signals: Iterable[str] | None = None,
        timeout: float | None = None,
    ) -> list[LookupResult]:
        """As `lookup`, for any number of subjects; one result for each, in order.

        Sent 1,000 at a time, each under one ledger entry. All tokens must be of one epoch. If a
        later request fails, `error.partial` (a tuple of LookupResult) holds the results before it.
        """
        return self._runner.run(
            "lookup_batch", lookups.lookup_batch(self._context, tokens, purpose, signals, timeout)
        )

    def list_signals(self, *, timeout: float | None = None) -> SignalCatalogue:
        """The signals that the gateway releases, with bands and reasons."""
        return self._runner.run("list_signals", lookups.list_signals(self._context, timeout))

    # Aggregates

    def count(
        self,
        where: Mapping[Dimension, Collection[int]] | None = None,
        group_by: Dimension | None = None,
        *,
        epsilon: float = 1.0,
        cells_per_person: int = 1,
        timeout: float | None = None,
    ) -> CountResult:
        """Count the persons of a cohort, or of each of its cells, with differential privacy.

        The protected unit is the person. The budget is charged durably before data is read; a
        repeated question about the same snapshot of the pool costs nothing. Never sent again by
        itself, because a repeat can be charged again.

        Args:
            where: accepted bands by dimension, as members of the dimension's enumeration or by
                their numbers (never amounts, days or percent); a person counts when one account
                meets all.
                None: everybody with an account.
            group_by: one count for each band of this dimension; None: one count.
            epsilon: privacy loss to spend, 0.001 to 3.
            cells_per_person: cells that a person may count in, 1 to 4 (with group_by).

        Raises:
            QuotaExhausted: the budget named by `subject` does not suffice.
        """
        return self._runner.run(
            "count",
            aggregates.count(self._context, where, group_by, epsilon, cells_per_person, timeout),
        )

    def budget(self, *, timeout: float | None = None) -> tuple[Budget, ...]:
        """The pool's privacy budget and the calling member's."""
        return self._runner.run("budget", aggregates.budget(self._context, timeout))

    # Ledger

    def checkpoint(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """The ledger's newest checkpoint, shown to extend every one this client has verified.

        Raises:
            LedgerForked: it does not. The error holds both signed checkpoints as evidence.
            ReceiptInvalid: it is not signed by the pinned key.
        """
        return self._runner.run("checkpoint", ledger.checkpoint(self._context, timeout))

    def verify_receipt(self, receipt: Receipt, *, timeout: float | None = None) -> VerifiedReceipt:
        """Show that a receipt's entry is in the ledger today.

        Checks the receipt's signature, that the newest checkpoint extends the receipt's and the
        last one seen, and the entry's inclusion in it. Raises LedgerForked, ReceiptInvalid.
        """
        return self._runner.run(
            "verify_receipt", ledger.verify_receipt(self._context, receipt, timeout)
        )

    def cosigned_checkpoint(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """The newest checkpoint that as many witnesses cosigned as the gateway wants.

        Its note carries the cosignatures; check them against the witnesses that *you* trust, with
        `concordat_privacy.log.cosignature.Quorum`. Raises NotFound where there is none yet,
        LedgerForked, ReceiptInvalid.
        """
        return self._runner.run(
            "cosigned_checkpoint", ledger.cosigned_checkpoint(self._context, timeout)
        )

    def add_cosignature(
        self, size: int, cosignature: str, *, timeout: float | None = None
    ) -> tuple[int, int]:
        """Bring a witness's cosignature of the checkpoint of `size` entries to the gateway.

        Returns how many witnesses have cosigned it, and how many are wanted. Raises NotFound
        (WITNESS_UNKNOWN), InvalidInput.
        """
        return self._runner.run(
            "add_cosignature",
            ledger.add_cosignature(self._context, size, cosignature, timeout),
        )

    def prove(self, receipt: Receipt, *, timeout: float | None = None) -> TlogProof:
        """A receipt's entry as a C2SP tlog-proof, which verifies offline with the ledger's key.

        Its checkpoint carries the cosignatures that there are. Raises as `verify_receipt`.
        """
        return self._runner.run("prove", ledger.prove(self._context, receipt, timeout))

    def checkpoint_to_cosign(self, *, timeout: float | None = None) -> SignedCheckpoint:
        """The checkpoint that the gateway asks its witnesses to cosign now.

        Shown to agree with every one this client has verified; it may be older than the newest,
        so that all witnesses cosign the same. Raises as `checkpoint`.
        """
        return self._runner.run(
            "checkpoint_to_cosign", ledger.checkpoint_to_cosign(self._context, timeout)
        )

    def consistency_proof(
        self, old_size: int, new_size: int, *, timeout: float | None = None
    ) -> tuple[bytes, ...]:
        """The gateway's proof (RFC 9162, 2.1.4) that one of its trees extends another.

        Not verified here: `concordat_privacy.log.merkle.verify_consistency` does, with both roots.
        Raises InvalidInput for sizes that the ledger does not have.
        """
        return self._runner.run(
            "consistency_proof",
            ledger.consistency_proof(self._context, old_size, new_size, timeout),
        )

    def prove_entry(self, index: int, *, timeout: float | None = None) -> TlogProof:
        """As `prove`, for an entry that is known by its index alone.

        The proof is not verified here, since that takes the entry: `TlogProof.verify` does. Raises
        InvalidInput for an entry beyond the ledger.
        """
        return self._runner.run("prove_entry", ledger.prove_entry(self._context, index, timeout))

    def timestamps(
        self, after_size: int = 0, *, timeout: float | None = None
    ) -> tuple[LedgerTimestamp, ...]:
        """Time-stamps of checkpoints of more than `after_size` entries, by ascending size.

        Some at a time: ask again with the last one's size, until there are none. They are not
        verified here, which takes the authority's certificates and the library of the extra
        `timestamps`: `concordat ledger verify --tsa-ca` does.
        """
        return self._runner.run("timestamps", ledger.timestamps(self._context, after_size, timeout))

    def export_entries(
        self,
        start_index: int = 0,
        *,
        case: str = "",
        cosigned: bool = False,
        timeout: float | None = None,
    ) -> Iterator[LedgerEntry]:
        """The ledger's entries from an index on. Auditors and operators only.

        Who reads them, and for which `case` (a reference of your own), is recorded in the ledger
        before they come, in an entry that the next export holds. Every entry carries the export's
        checkpoint. When the last one has been read, the export is checked to be whole and, if it
        began at 0, to have the signed root.

        Args:
            cosigned: end where `cosigned_checkpoint` does, and carry that one, instead of the
                newest.

        Raises:
            ReceiptInvalid: it does not. What was read before is then not trustworthy.
        """
        request, reader = ledger.export(self._context, start_index, case, cosigned)
        seconds = self._context.timeout_seconds(Flow.DOWNLOAD, timeout)
        return self._runner.download("export_entries", EXPORT_ENTRIES, request, seconds, reader)

    # Membership

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

    # Usage

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

    # Erasures and audits

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
