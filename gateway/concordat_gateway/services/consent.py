"""ConsentService: translates, decides nothing; see rules.consents."""

import grpc

from concordat.v1 import common_pb2, consent_pb2, consent_pb2_grpc
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import consents
from concordat_gateway.rules.consents import Consent, Grants
from concordat_gateway.rules.drafts import ConsentDraft
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


class ConsentServicer(consent_pb2_grpc.ConsentServiceServicer):
    """Serves the calling member's consents."""

    def __init__(self, journal: Journal, subjects: Subjects, clock: Clock) -> None:
        self._journal = journal
        self._subjects = subjects
        self._clock = clock

    def GrantConsents(
        self, request: consent_pb2.GrantConsentsRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.GrantConsentsResponse:
        committed = consents.grant(
            self._journal,
            call.current().peer,
            request.request_id,
            [_draft_of(draft) for draft in request.consents],
            request.epoch,
            self._subjects,
            _grants_reply,
            seconds_left(),
        )
        return stored_reply(consent_pb2.GrantConsentsResponse, committed)

    def WithdrawConsent(
        self, request: consent_pb2.WithdrawConsentRequest, _context: grpc.ServicerContext
    ) -> consent_pb2.WithdrawConsentResponse:
        committed = consents.withdraw(
            self._journal, call.current().peer, request.consent_id, seconds_left()
        )
        withdrawal, entry = committed.value, committed.value.entry
        return consent_pb2.WithdrawConsentResponse(
            consent=_message_of(withdrawal.consent, self._clock()),
            receipt=receipt_of(entry, committed) if entry is not None else None,
        )

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


def _draft_of(draft: consent_pb2.ConsentDraft) -> ConsentDraft:
    validity = draft.validity
    return ConsentDraft(
        token=draft.token,
        purposes=tuple(draft.purposes),
        categories=tuple(draft.categories),
        starts_at=micros_of(validity.start) if validity.HasField("start") else None,
        expires_at=micros_of(validity.expiry) if validity.HasField("expiry") else None,
        notice_version=draft.notice_version,
        evidence_sha256=draft.evidence_sha256,
    )


def _grants_reply(grants: Grants) -> bytes:
    response = consent_pb2.GrantConsentsResponse(
        granted=[
            consent_pb2.GrantedConsent(
                item=granted.item,
                consent_id=granted.consent_id,
                entry_index=granted.entry.index,
            )
            for granted in grants.granted
        ],
        refused=refusals_of(grants.refused),
    )
    if grants.granted:
        response.receipt.CopyFrom(unsigned_receipt(grants.granted[-1].entry))
    return response.SerializeToString()


def _message_of(consent: Consent, now: int) -> consent_pb2.Consent:
    withdrawn_at = consent.withdrawn_at
    return consent_pb2.Consent(
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
        evidence_sha256=consent.evidence_sha256,
        state=consent_pb2.ConsentState.ValueType(consent.state(now)),
        granted_at=timestamp_of(consent.granted_at),
        withdrawn_at=None if withdrawn_at is None else timestamp_of(withdrawn_at),
        grant_entry_index=consent.grant_entry,
    )
