"""Recording consents: given ones with their evidence, and requested ones, which permit nothing yet.

Law behind the rules: a consent is per recipient and purpose (PIPL 23, GDPR 7), and what a place
asks beyond that is its policy's, see `rules.policies`.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from concordat_gateway.ledger.journal import Committed, Entry, Journal, Transaction
from concordat_gateway.rules import consent_records
from concordat_gateway.rules.consent_records import Consent, Evidence
from concordat_gateway.rules.counters import count_consents
from concordat_gateway.rules.drafts import ConsentDraft, form_problem, time_problem
from concordat_gateway.rules.evidence import (
    EvidenceInvalid,
    evidence_problems,
    signatories_of,
    verified,
)
from concordat_gateway.rules.items import ItemRefusal
from concordat_gateway.rules.permits import unended
from concordat_gateway.rules.policies import Jurisdictions
from concordat_gateway.rules.requests import Fingerprint, Reply, Request, check_request_id, once
from concordat_gateway.rules.scopes import CONSENT_ID_BYTES, ConsentId
from concordat_gateway.rules.standing import require_active
from concordat_gateway.rules.subject_records import Numbering, Prepared, prepare, until_unchanged
from concordat_gateway.rules.subjects import Named, Subjects
from concordat_gateway.store.subjects import SubjectKey, require_epoch
from concordat_privacy.catalogue.rows import FieldProblem
from concordat_privacy.consent_terms import Terms, subject_binding, terms_bytes
from concordat_privacy.periods import Frequency, Period, TimeUnit
from concordat_rpc.errors import invalid
from concordat_rpc.peer import Peer

MAX_CONSENTS = 1_000
"""Of one call."""
MAX_OF_SUBJECT = 16
"""Not ended, of one subject to one recipient: every use of the subject's data reads them all."""


def check_count(drafts: int) -> None:
    """Whether a call may have so many, before anything is made of them.

    Raises Refusal INVALID_ARGUMENT.
    """
    if not 1 <= drafts <= MAX_CONSENTS:
        raise invalid("consents", f"1 to {MAX_CONSENTS} items wanted, {drafts} given")


@dataclass(frozen=True, slots=True)
class Granted:
    """One recorded item of a call."""

    item: int
    consent_id: ConsentId
    entry: Entry


@dataclass(frozen=True, slots=True)
class Grants:
    """What became of the items of one call, each in the request's order."""

    granted: Sequence[Granted]
    refused: Sequence[ItemRefusal]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What recording given consents and requested ones differ in."""

    method: str
    entry_type: str
    given: bool


_GRANT = _Kind("GrantConsents", "consent.granted", given=True)
_REQUEST = _Kind("RequestConsents", "consent.requested", given=False)


def grant(
    journal: Journal,
    recipient: Peer,
    request_id: bytes,
    drafts: Sequence[ConsentDraft],
    epoch: int,
    subjects: Subjects,
    jurisdictions: Jurisdictions,
    to_reply: Callable[[Grants], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """Record consents, each in an entry of its own, all in one transaction.

    Items are independent: good ones are recorded, bad ones are listed. Returns the bytes that
    `to_reply` made, now or when the same request came first. With a subject's first consent its
    element is kept, sealed. `epoch` is that of the drafts' tokens.
    Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS (REQUEST_ID_REUSED), FAILED_PRECONDITION
    (EPOCH_NOT_ACTIVE, EPOCH_REQUIRED), UNAVAILABLE, RESOURCE_EXHAUSTED (CARRIED_EXHAUSTED).
    """
    call = _Call(_GRANT, journal, recipient, request_id, subjects, jurisdictions, timeout_seconds)
    return call.record(drafts, epoch, to_reply)


def request(
    journal: Journal,
    recipient: Peer,
    request_id: bytes,
    drafts: Sequence[ConsentDraft],
    epoch: int,
    subjects: Subjects,
    jurisdictions: Jurisdictions,
    to_reply: Callable[[Grants], bytes],
    timeout_seconds: float,
) -> Committed[bytes]:
    """As `grant`, of consents that the subjects were asked for and have not given."""
    call = _Call(_REQUEST, journal, recipient, request_id, subjects, jurisdictions, timeout_seconds)
    return call.record(drafts, epoch, to_reply)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of either kind."""

    kind: _Kind
    journal: Journal
    recipient: Peer
    request_id: bytes
    subjects: Subjects
    jurisdictions: Jurisdictions
    timeout_seconds: float

    def record(
        self, drafts: Sequence[ConsentDraft], epoch: int, to_reply: Callable[[Grants], bytes]
    ) -> Committed[bytes]:
        check_request_id(self.request_id)
        check_count(len(drafts))
        problems = _form_problems(drafts, self.jurisdictions, given=self.kind.given)
        evidence = self._evidence(drafts, problems)
        good = [item for item in range(len(drafts)) if item not in problems]
        request = Request(
            self.recipient.spiffe_id,
            self.kind.method,
            self.request_id,
            _digest(self.kind.method, drafts, epoch),
        )

        def work(store_epoch: int) -> Committed[bytes]:
            named = self.subjects.named(
                self.recipient.name,
                [drafts[item].token for item in good],
                epoch,
                store_epoch,
                self.timeout_seconds,
            )
            kept = _Kept.of(self.recipient, named, self.subjects)
            items = _Items(drafts, good, problems, evidence, named, kept)
            return until_unchanged(lambda: write(items))

        def write(items: _Items) -> Committed[bytes]:
            ready = prepare(self.journal, self.subjects.keys, items.named.keys)
            return self.journal.write(
                lambda transaction: once(
                    transaction, request, lambda: self._reply(transaction, items, ready, to_reply)
                ),
                self.timeout_seconds,
            )

        return self.subjects.settled(work)

    def _evidence(
        self, drafts: Sequence[ConsentDraft], problems: dict[int, FieldProblem]
    ) -> Mapping[int, Evidence]:
        """The evidence of good drafts; those whose signature is wrong get a problem."""
        evidence: dict[int, Evidence] = {}
        signed = [
            item for item, one in enumerate(drafts) if one.evidence_jws and item not in problems
        ]
        if signed:
            with self.journal.read() as connection:
                signatories = signatories_of(connection)
        for item, draft in enumerate(drafts):
            if item in problems or not self.kind.given:
                continue
            if not draft.evidence_jws:
                evidence[item] = Evidence(evidence_sha256=draft.evidence_sha256)
                continue
            assert draft.starts_at is not None  # form_problem has seen to it
            binding = subject_binding(draft.evidence_nonce, draft.token)
            terms = _terms_of(draft, draft.starts_at, draft.jurisdiction)
            data = terms_bytes(terms.fields(), self.recipient.name, binding)
            try:
                evidence[item] = verified(draft.evidence_jws, data, signatories)
            except EvidenceInvalid as error:
                problems[item] = error.problem()
        return evidence

    def _reply(
        self,
        transaction: Transaction,
        items: "_Items",
        ready: Mapping[SubjectKey, Prepared],
        to_reply: Callable[[Grants], bytes],
    ) -> Reply:
        transaction.require_witnessed()
        require_epoch(transaction.tokens_epoch, items.named.epoch)
        require_active(transaction.connection, self.recipient.name)
        connection, now = transaction.connection, transaction.now
        numbering = Numbering(connection, ready)
        refused = dict(items.problems)
        refused.update(evidence_problems(connection, items.evidence))
        consents: list[Consent] = []
        granted: list[Granted] = []
        held = unended(connection, self.recipient.name, set(items.named.keys), now)
        for item, subject in items.subjects():
            draft = items.drafts[item]
            problem = (
                refused.get(item)
                or time_problem(draft, now)
                or self.jurisdictions.time_problem(draft, now)
                or _crowd_problem(held[subject])
            )
            if problem is not None:
                refused[item] = problem
                continue
            held[subject] += 1
            consent, entry = self._recorded(
                transaction,
                draft,
                subject,
                numbering.commitment(subject),
                items.evidence.get(item),
            )
            consents.append(consent)
            granted.append(Granted(item, consent.consent_id, entry))
        if consents:
            consent_records.insert(connection, consents)
            numbering.record()
            items.kept.record(connection, {consent.subject for consent in consents})
            count_consents(connection, self.recipient.name, len(consents), now)
        refusals = [ItemRefusal.of(item, refused[item]) for item in sorted(refused)]
        last = granted[-1].entry.index if granted else None
        return Reply(to_reply(Grants(granted, refusals)), last)

    def _recorded(
        self,
        transaction: Transaction,
        draft: ConsentDraft,
        subject: SubjectKey,
        commitment: bytes,
        evidence: Evidence | None,
    ) -> tuple[Consent, Entry]:
        """The consent that a good draft becomes, and its ledger entry."""
        assert draft.expires_at is not None  # time_problem has seen to it
        now = transaction.now
        nonce = draft.evidence_nonce
        consent = Consent(
            consent_id=ConsentId(os.urandom(CONSENT_ID_BYTES)),
            subject=subject,
            recipient=self.recipient.name,
            purposes=draft.purpose_mask,
            categories=draft.category_mask,
            starts_at=now if draft.starts_at is None else draft.starts_at,
            expires_at=draft.expires_at,
            notice_version=draft.notice_version,
            granted_at=now,
            grant_entry=0,
            commitment=commitment,
            notice_sha256=draft.notice_sha256 or None,
            language=draft.language or None,
            withdrawal_method=draft.withdrawal_method or None,
            jurisdiction=self.jurisdictions.code_of(draft),
            policies=self.jurisdictions.version,
            data_life_unit=draft.data_life[0] if draft.data_life else None,
            data_life_value=draft.data_life[1] if draft.data_life else None,
            frequency_unit=draft.frequency[0] if draft.frequency else None,
            frequency_uses=draft.frequency[1] if draft.frequency else None,
            evidence_subject=subject_binding(nonce, draft.token) if nonce else None,
            requested_at=None if self.kind.given else now,
            activated_at=now if self.kind.given else None,
            **(evidence.columns() if evidence is not None else {}),  # type: ignore[arg-type]  # its own fields
        )
        entry = transaction.append(
            self.kind.entry_type,
            self.recipient.spiffe_id,
            {
                **consent.naming_fields(),
                **consent.terms.fields(),
                "request": self.request_id.hex(),
                "policies": consent.policies,
                **(evidence.fields() if evidence is not None else {}),
            },
            changes_pool=self.kind.given and consent.concerns_pool,
        )
        return replace(consent, grant_entry=entry.index), entry


@dataclass(frozen=True, slots=True)
class _Items:
    """The items of a call as they come to the transaction."""

    drafts: Sequence[ConsentDraft]
    good: Sequence[int]
    problems: Mapping[int, FieldProblem]
    evidence: Mapping[int, Evidence]
    named: Named
    kept: "_Kept"

    def subjects(self) -> Iterator[tuple[int, SubjectKey]]:
        """Good items, each with its subject."""
        return zip(self.good, self.named.keys, strict=True)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of subjects beside their consents: sealed elements, and names they had."""

    elements: Sequence[Mapping[str, object]]
    aliases: Sequence[Mapping[str, object]]

    @classmethod
    def of(cls, recipient: Peer, named: Named, subjects: Subjects) -> "_Kept":
        """Made before the transaction, which everybody else waits for."""
        seal = subjects.seal(named.epoch)
        elements = {
            subject: element
            for subject, element in zip(named.keys, named.elements, strict=True)
            if element is not None
        }
        return cls(
            [
                {"subject": subject, "epoch": named.epoch, "sealed": seal.close(subject, element)}
                for subject, element in sorted(elements.items())
            ],
            [
                {"recipient": recipient.name, "old_subject": old, "subject": subject}
                for subject, older in zip(named.keys, named.older, strict=True)
                for old in older
            ],
        )

    def record(self, connection: sa.Connection, subjects: Collection[SubjectKey]) -> None:
        """Keep what is of these subjects."""
        for statement, rows in (
            (_KEEP_ELEMENT, self.elements),
            (_KEEP_ALIAS, self.aliases),
        ):
            chosen = [row for row in rows if row["subject"] in subjects]
            if chosen:
                connection.execute(statement, chosen)


def _form_problems(
    drafts: Sequence[ConsentDraft], jurisdictions: Jurisdictions, *, given: bool
) -> dict[int, FieldProblem]:
    problems: dict[int, FieldProblem] = {}
    first_with: dict[ConsentDraft, int] = {}
    for item, draft in enumerate(drafts):
        problem = form_problem(draft, given=given) or jurisdictions.problem(draft)
        if problem is None:
            first = first_with.setdefault(_in_order(draft), item)
            if first != item:
                problem = FieldProblem("", "DUPLICATE", f"the same consent as item {first}")
        if problem is not None:
            problems[item] = problem
    return problems


def _crowd_problem(held: int) -> FieldProblem | None:
    if held < MAX_OF_SUBJECT:
        return None
    return FieldProblem(
        "token",
        "TOO_MANY_CONSENTS",
        f"the calling member holds {held} consents of this subject that have not ended",
    )


def _in_order(draft: ConsentDraft) -> ConsentDraft:
    return replace(
        draft,
        purposes=tuple(sorted(draft.purposes)),
        categories=tuple(sorted(draft.categories)),
    )


def _terms_of(draft: ConsentDraft, starts_at: int, jurisdiction: str) -> Terms:
    """The terms of a draft without problems of form."""
    assert draft.expires_at is not None  # form_problem has seen to it
    life, frequency = draft.data_life, draft.frequency
    return Terms(
        purposes=consent_records.purpose_names(draft.purpose_mask),
        categories=consent_records.category_names(draft.category_mask),
        starts_at=starts_at,
        expires_at=draft.expires_at,
        notice_version=draft.notice_version,
        notice_sha256=draft.notice_sha256,
        language=draft.language,
        withdrawal_method=draft.withdrawal_method,
        jurisdiction=jurisdiction,
        data_life=Period(TimeUnit(life[0]), life[1]) if life else None,
        frequency=Frequency(TimeUnit(frequency[0]), frequency[1]) if frequency else None,
    )


def _digest(method: str, drafts: Sequence[ConsentDraft], epoch: int) -> bytes:
    fingerprint = Fingerprint(method)
    if epoch:
        fingerprint.add(epoch)
    for draft in drafts:
        fingerprint.add(draft.token, len(draft.purposes), *draft.purposes)
        fingerprint.add(len(draft.categories), *draft.categories)
        fingerprint.add(draft.starts_at, draft.expires_at)
        fingerprint.add(draft.notice_version, draft.evidence_sha256)
        texts = (draft.language, draft.withdrawal_method, draft.jurisdiction, draft.evidence_jws)
        hashes = (draft.notice_sha256, draft.evidence_nonce)
        counts = (draft.data_life, draft.frequency)
        # Drafts of before these fields keep their digest, so that a call that an earlier build
        # answered is known again. A token comes next otherwise: the text cannot be one.
        if any(texts) or any(hashes) or any(counts):
            fingerprint.add("terms", *texts, *hashes)
            for count in counts:
                fingerprint.add(*(count or (None, None)))
    return fingerprint.digest()


# The same texts on both kinds of database. An element is written whether it is kept already or
# not: time must not tell a member which subjects the pool knew before.
_KEEP_ELEMENT = sa.text(
    "INSERT INTO subject_element (subject, epoch, sealed) VALUES (:subject, :epoch, :sealed)"
    " ON CONFLICT (subject) DO UPDATE SET epoch = excluded.epoch, sealed = excluded.sealed"
)
_KEEP_ALIAS = sa.text(
    "INSERT INTO subject_alias (recipient, old_subject, subject)"
    " VALUES (:recipient, :old_subject, :subject) ON CONFLICT (recipient, old_subject) DO NOTHING"
)
