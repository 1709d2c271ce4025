"""ConsentService: translates, decides nothing.

See `rules.consents` (reading), `consent_grants`, `consent_changes` and `managers`.
"""

from typing import TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from concordat.v1 import common_pb2, consent_pb2, consent_pb2_grpc
from concordat_gateway.ledger.journal import Committed, Journal
from concordat_gateway.rules import consent_changes, consent_grants, consents, managers
from concordat_gateway.rules.consent_changes import Changed
from concordat_gateway.rules.consent_grants import Grants
from concordat_gateway.rules.consent_records import Consent
from concordat_gateway.rules.drafts import ConsentDraft
from concordat_gateway.rules.managers import Manager, ManagerChange
from concordat_gateway.rules.policies import Jurisdictions
from concordat_gateway.rules.scopes import categories_in, purposes_in
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.services._translate import (
    receipt_of,
    refusals_of,
    seconds_left,
    stored_reply,
    timestamp_of,
    unsigned_receipt,
)
from concordat_rpc import call
from concordat_rpc.timestamps import micros_of
from concordat_store.clock import Clock

_ChangeReply = TypeVar(
    "_ChangeReply",
    consent_pb2.ActivateConsentResponse,
    consent_pb2.PauseConsentResponse,
    consent_pb2.ResumeConsentResponse,
    consent_pb2.WithdrawConsentResponse,
    consent_pb2.RevokeConsentResponse,
)
_ManagerReply = TypeVar(
    "_ManagerReply",
    consent_pb2.RegisterConsentManagerResponse,
    consent_pb2.DisableConsentManagerResponse,
)


class ConsentServicer(consent_pb2_grpc.ConsentServiceServicer):
    """Serves the calling member's consents."""

    def __init__(
        self, journal: Journal, subjects: Subjects, jurisdictions: Jurisdictions, clock: Clock
    ) -> None:
        self._journal = journal
        self._subjects = subjects
        self._jurisdictions = jurisdictions
        self._clock = clock

    def GrantConsents(
        self, request: consent_pb2.GrantConsentsRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.GrantConsentsResponse:
        consent_grants.check_count(len(request.consents))
        committed = consent_grants.grant(
            self._journal,
            call.current().peer,
            request.request_id,
            [_draft_of(draft) for draft in request.consents],
            request.epoch,
            self._subjects,
            self._jurisdictions,
            _grants_reply,
            seconds_left(),
        )
        return stored_reply(consent_pb2.GrantConsentsResponse, committed)

    def RequestConsents(
        self, request: consent_pb2.RequestConsentsRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.RequestConsentsResponse:
        consent_grants.check_count(len(request.consents))
        committed = consent_grants.request(
            self._journal,
            call.current().peer,
            request.request_id,
            [_draft_of(draft) for draft in request.consents],
            request.epoch,
            self._subjects,
            self._jurisdictions,
            _requests_reply,
            seconds_left(),
        )
        return stored_reply(consent_pb2.RequestConsentsResponse, committed)

    def ActivateConsent(
        self, request: consent_pb2.ActivateConsentRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.ActivateConsentResponse:
        committed = consent_changes.activate(
            self._journal,
            call.current().peer,
            request.consent_id,
            request.evidence_sha256,
            request.evidence_jws,
            seconds_left(),
        )
        return self._changed(consent_pb2.ActivateConsentResponse, committed)

    def PauseConsent(
        self, request: consent_pb2.PauseConsentRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.PauseConsentResponse:
        committed = consent_changes.pause(
            self._journal, call.current().peer, request.consent_id, request.reason, seconds_left()
        )
        return self._changed(consent_pb2.PauseConsentResponse, committed)

    def ResumeConsent(
        self, request: consent_pb2.ResumeConsentRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.ResumeConsentResponse:
        committed = consent_changes.resume(
            self._journal, call.current().peer, request.consent_id, request.reason, seconds_left()
        )
        return self._changed(consent_pb2.ResumeConsentResponse, committed)

    def WithdrawConsent(
        self, request: consent_pb2.WithdrawConsentRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.WithdrawConsentResponse:
        committed = consent_changes.withdraw(
            self._journal,
            call.current().peer,
            request.consent_id,
            micros_of(request.asked_at) if request.HasField("asked_at") else None,
            request.evidence_sha256,
            seconds_left(),
        )
        return self._changed(consent_pb2.WithdrawConsentResponse, committed)

    def RevokeConsent(
        self, request: consent_pb2.RevokeConsentRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.RevokeConsentResponse:
        committed = consent_changes.revoke(
            self._journal,
            call.current().peer,
            request.consent_id,
            request.reason,
            request.manager_id,
            seconds_left(),
        )
        return self._changed(consent_pb2.RevokeConsentResponse, committed)

    def GetConsent(
        self, request: consent_pb2.GetConsentRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.GetConsentResponse:
        consent = consents.get(self._journal, call.current().peer, request.consent_id)
        return consent_pb2.GetConsentResponse(consent=_message_of(consent, self._clock()))

    def ListConsents(
        self, request: consent_pb2.ListConsentsRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.ListConsentsResponse:
        page = consents.list_page(
            self._journal,
            call.current().peer,
            request.token,
            request.page_size,
            request.page_token,
            request.epoch,
            self._subjects,
            seconds_left(),
        )
        now = self._clock()
        return consent_pb2.ListConsentsResponse(
            consents=[_message_of(consent, now) for consent in page.consents],
            next_page_token=page.next_page_token,
        )

    def RegisterConsentManager(
        self, request: consent_pb2.RegisterConsentManagerRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.RegisterConsentManagerResponse:
        committed = managers.register(
            self._journal,
            call.current().peer,
            request.manager_id,
            request.name,
            request.jwk,
            seconds_left(),
        )
        return _manager_changed(consent_pb2.RegisterConsentManagerResponse, committed)

    def DisableConsentManager(
        self, request: consent_pb2.DisableConsentManagerRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.DisableConsentManagerResponse:
        committed = managers.disable(
            self._journal, call.current().peer, request.manager_id, seconds_left()
        )
        return _manager_changed(consent_pb2.DisableConsentManagerResponse, committed)

    def ListConsentManagers(
        self, _request: consent_pb2.ListConsentManagersRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.ListConsentManagersResponse:
        with self._journal.read() as connection:
            found = managers.read_all(connection)
        return consent_pb2.ListConsentManagersResponse(managers=map(_manager_of, found))

    def _changed(self, message: type[_ChangeReply], committed: Committed[Changed]) -> _ChangeReply:
        changed, entry = committed.value, committed.value.entry
        return message(
            consent=_message_of(changed.consent, self._clock()),
            receipt=receipt_of(entry, committed) if entry is not None else None,
        )


def _draft_of(draft: consent_pb2.ConsentDraft) -> ConsentDraft:
    validity, life, frequency = draft.validity, draft.data_life, draft.frequency
    return ConsentDraft(
        token=draft.token,
        purposes=tuple(draft.purposes),
        categories=tuple(draft.categories),
        starts_at=micros_of(validity.start) if validity.HasField("start") else None,
        expires_at=micros_of(validity.expiry) if validity.HasField("expiry") else None,
        notice_version=draft.notice_version,
        evidence_sha256=draft.evidence_sha256,
        notice_sha256=draft.notice_sha256,
        language=draft.language,
        withdrawal_method=draft.withdrawal_method,
        jurisdiction=draft.jurisdiction,
        data_life=(life.unit, life.value) if draft.HasField("data_life") else None,
        frequency=(frequency.unit, frequency.uses) if draft.HasField("frequency") else None,
        evidence_jws=draft.evidence_jws,
        evidence_nonce=draft.evidence_nonce,
    )


def _grants_reply(grants: Grants) -> bytes:
    response = consent_pb2.GrantConsentsResponse(
        granted=_recorded(grants), refused=refusals_of(grants.refused)
    )
    if grants.granted:
        response.receipt.CopyFrom(unsigned_receipt(grants.granted[-1].entry))
    return response.SerializeToString()


def _requests_reply(grants: Grants) -> bytes:
    response = consent_pb2.RequestConsentsResponse(
        requested=_recorded(grants), refused=refusals_of(grants.refused)
    )
    if grants.granted:
        response.receipt.CopyFrom(unsigned_receipt(grants.granted[-1].entry))
    return response.SerializeToString()


def _recorded(grants: Grants) -> list[consent_pb2.GrantedConsent]:
    return [
        consent_pb2.GrantedConsent(
            item=granted.item,
            consent_id=granted.consent_id,
            entry_index=granted.entry.index,
        )
        for granted in grants.granted
    ]


def _manager_changed(
    message: type[_ManagerReply], committed: Committed[ManagerChange]
) -> _ManagerReply:
    entry = committed.value.entry
    return message(
        manager=_manager_of(committed.value.manager),
        receipt=receipt_of(entry, committed) if entry is not None else None,
    )


def _manager_of(manager: Manager) -> consent_pb2.ConsentManager:
    return consent_pb2.ConsentManager(
        manager_id=manager.manager_id,
        name=manager.name,
        jwk=manager.jwk,
        key=manager.thumbprint,
        registered_at=timestamp_of(manager.registered_at),
        disabled_at=_optional(manager.disabled_at),
    )


def _message_of(consent: Consent, now: int) -> consent_pb2.Consent:
    message = consent_pb2.Consent(
        consent_id=consent.consent_id,
        purposes=[
            common_pb2.Purpose.ValueType(purpose)
            for purpose in sorted(purposes_in(consent.purposes))
        ],
        categories=[
            common_pb2.DataCategory.ValueType(category)
            for category in sorted(categories_in(consent.categories))
        ],
        validity=common_pb2.Validity(
            start=timestamp_of(consent.starts_at), expiry=timestamp_of(consent.expires_at)
        ),
        notice_version=consent.notice_version,
        evidence_sha256=consent.evidence_sha256 or b"",
        state=consent_pb2.ConsentState.ValueType(consent.state(now)),
        granted_at=timestamp_of(consent.granted_at),
        withdrawn_at=_optional(consent.withdrawn_at),
        grant_entry_index=consent.grant_entry,
        notice_sha256=consent.notice_sha256 or b"",
        language=consent.language or "",
        withdrawal_method=consent.withdrawal_method or "",
        jurisdiction=consent.jurisdiction or "",
        policies=consent.policies,
        evidence_jws=consent.evidence_jws or "",
        evidence_signer=consent.evidence_signer or "",
        evidence_key=consent.evidence_key or b"",
        evidence_subject=consent.evidence_subject or b"",
        requested_at=_optional(consent.requested_at),
        activated_at=_optional(consent.activated_at),
        paused_at=_optional(consent.paused_at),
        resumed_at=_optional(consent.resumed_at),
        revoked_at=_optional(consent.revoked_at),
        revoked_by=consent.revoked_by or "",
        reason=consent.reason or "",
        asked_at=_optional(consent.asked_at),
    )
    life, frequency = consent.data_life, consent.frequency
    if life is not None:
        unit = consent_pb2.TimeUnit.ValueType(life.unit)
        message.data_life.CopyFrom(consent_pb2.Period(unit=unit, value=life.value))
    if frequency is not None:
        unit = consent_pb2.TimeUnit.ValueType(frequency.unit)
        message.frequency.CopyFrom(consent_pb2.Frequency(unit=unit, uses=frequency.uses))
    return message


def _optional(moment: int | None) -> Timestamp | None:
    return None if moment is None else timestamp_of(moment)
