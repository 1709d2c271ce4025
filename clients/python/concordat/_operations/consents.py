"""Recording and reading consents, and what happens to them."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias, TypeVar

from concordat._checks import (
    checked_bytes,
    checked_epoch,
    checked_integer,
    checked_items,
    checked_text,
    checked_time,
    checked_token,
    checked_type,
)
from concordat._context import Context, numbered_request_id, resume_advice
from concordat._convert import (
    FetchPage,
    Page,
    batches_of,
    keeping_partial,
    member_of,
    refusals_of,
    time_of,
    timestamp_of,
)
from concordat._methods import (
    ACTIVATE_CONSENT,
    GET_CONSENT,
    GRANT_CONSENTS,
    LIST_CONSENTS,
    PAUSE_CONSENT,
    REQUEST_CONSENTS,
    RESUME_CONSENT,
    REVOKE_CONSENT,
    WITHDRAW_CONSENT,
)
from concordat._steps import Operation
from concordat.enums import ConsentState, DataCategory, Purpose, TimeUnit
from concordat.errors import InvalidInput, ProtocolViolation
from concordat.requests import (
    CONSENT_ID_BYTES,
    MAX_JWS_CHARACTERS,
    SHA256_BYTES,
    ConsentDraft,
    ConsentId,
    RequestId,
)
from concordat.results import (
    Consent,
    ConsentChange,
    GrantedConsent,
    GrantResult,
    ItemRefusal,
    Receipt,
    RequestResult,
    Withdrawal,
)
from concordat.v1 import common_pb2, consent_pb2
from concordat_privacy.log.leaf import Json
from concordat_privacy.oprf import Token
from concordat_privacy.periods import Frequency, Period

CONSENTS_PER_REQUEST = 1_000
MAX_PAGE_SIZE = 1_000
MAX_REASON_CHARACTERS = 500
MAX_MANAGER_ID_CHARACTERS = 40


def grant_consents(
    context: Context,
    drafts: Iterable[ConsentDraft],
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[GrantResult]:
    """Record consents, in requests of up to 1,000."""

    def recorded(batch: Sequence[ConsentDraft], batch_id: RequestId, epoch: int) -> _Recording:
        request = consent_pb2.GrantConsentsRequest(
            request_id=batch_id, consents=map(draft_message, batch), epoch=epoch
        )
        reply = yield from context.send(GRANT_CONSENTS, request, timeout)
        return _Recorded(reply.granted, reply.refused, reply.receipt)

    result = yield from _record(
        context, drafts, request_id, recorded, "consent.granted", GrantResult, _given_fault
    )
    return result


def request_consents(
    context: Context,
    drafts: Iterable[ConsentDraft],
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[RequestResult]:
    """Record consents that subjects are asked for, in requests of up to 1,000."""

    def recorded(batch: Sequence[ConsentDraft], batch_id: RequestId, epoch: int) -> _Recording:
        request = consent_pb2.RequestConsentsRequest(
            request_id=batch_id, consents=map(draft_message, batch), epoch=epoch
        )
        reply = yield from context.send(REQUEST_CONSENTS, request, timeout)
        return _Recorded(reply.requested, reply.refused, reply.receipt)

    result = yield from _record(
        context, drafts, request_id, recorded, "consent.requested", RequestResult, _asked_fault
    )
    return result


class _Recorded(NamedTuple):
    """What became of one request's items."""

    granted: Sequence[consent_pb2.GrantedConsent]
    refused: Sequence[common_pb2.ItemRefusal]
    receipt: common_pb2.Receipt


_ChangeReply: TypeAlias = (
    consent_pb2.ActivateConsentResponse
    | consent_pb2.PauseConsentResponse
    | consent_pb2.ResumeConsentResponse
    | consent_pb2.WithdrawConsentResponse
    | consent_pb2.RevokeConsentResponse
)
_Recording: TypeAlias = Operation[_Recorded]
_Result = TypeVar("_Result", GrantResult, RequestResult)


def _record(
    context: Context,
    drafts: Iterable[ConsentDraft],
    request_id: bytes | None,
    send: Callable[[Sequence[ConsentDraft], RequestId, int], _Recording],
    entry_type: str,
    kind: type[_Result],
    fault_of: Callable[[ConsentDraft], str | None],
) -> Operation[_Result]:
    own_id = context.request_id(request_id)
    checked_items(drafts, "consents", "ConsentDraft")
    granted: list[GrantedConsent] = []
    refused: list[ItemRefusal] = []
    receipts: list[Receipt] = []

    def result() -> _Result:
        return kind(own_id, tuple(granted), tuple(refused), tuple(receipts))

    first = 0
    epoch = 0
    with keeping_partial(result, resume_advice("consents", own_id)):
        for number, batch in enumerate(batches_of(drafts, CONSENTS_PER_REQUEST)):
            batch_id = numbered_request_id(own_id, number)
            for at, draft in enumerate(batch, start=first):
                checked_type(draft, ConsentDraft, f"consents[{at}]")
                epoch = checked_epoch(draft.token, epoch, f"consents[{at}].token")
                fault = fault_of(draft)
                if fault is not None:
                    raise InvalidInput.field(f"consents[{at}].evidence_sha256", fault)
            reply = yield from send(batch, batch_id, epoch)
            positions = range(first, first + len(batch))
            if len(reply.granted) + len({refusal.item for refusal in reply.refused}) != len(batch):
                raise ProtocolViolation(
                    f"the gateway answered for another number of items than {len(batch)}",
                )
            granted += [_granted(item, positions) for item in reply.granted]
            refused += refusals_of(reply.refused, positions)
            if reply.granted:
                recorded: dict[str, Json] = {"request": batch_id.hex()}
                receipts.append(context.ledger.receipt(reply.receipt, {entry_type}, recorded))
            first += len(batch)
    return result()


def _given_fault(draft: ConsentDraft) -> str | None:
    if draft.evidence_sha256 is None and draft.evidence_jws is None:
        return "evidence_sha256 or evidence_jws wanted; to ask for a consent, request_consents"
    return None


def _asked_fault(draft: ConsentDraft) -> str | None:
    if draft.evidence_sha256 is not None or draft.evidence_jws is not None:
        return "no evidence wanted yet: activate_consent takes it; to record both, grant_consents"
    return None


def activate_consent(
    context: Context,
    consent_id: bytes,
    evidence_sha256: bytes | None,
    evidence_jws: str | None,
    timeout: float | None,
) -> Operation[ConsentChange]:
    """Record that the subject has given a requested consent."""
    if (evidence_sha256 is None) == (evidence_jws is None):
        raise InvalidInput.field("evidence_sha256", "exactly one of it and evidence_jws wanted")
    request = consent_pb2.ActivateConsentRequest(consent_id=_checked_id(consent_id))
    if evidence_sha256 is not None:
        request.evidence_sha256 = checked_bytes(evidence_sha256, "evidence_sha256", SHA256_BYTES)
    if evidence_jws is not None:
        request.evidence_jws = checked_text(evidence_jws, "evidence_jws", MAX_JWS_CHARACTERS)
    reply = yield from context.send(ACTIVATE_CONSENT, request, timeout)
    return _change(context, reply, "consent.activated", consent_id)


def pause_consent(
    context: Context, consent_id: bytes, reason: str, timeout: float | None
) -> Operation[ConsentChange]:
    """Pause an active consent."""
    request = consent_pb2.PauseConsentRequest(
        consent_id=_checked_id(consent_id), reason=_checked_reason(reason)
    )
    reply = yield from context.send(PAUSE_CONSENT, request, timeout)
    return _change(context, reply, "consent.paused", consent_id)


def resume_consent(
    context: Context, consent_id: bytes, reason: str, timeout: float | None
) -> Operation[ConsentChange]:
    """Lift a pause."""
    request = consent_pb2.ResumeConsentRequest(
        consent_id=_checked_id(consent_id), reason=_checked_reason(reason)
    )
    reply = yield from context.send(RESUME_CONSENT, request, timeout)
    return _change(context, reply, "consent.resumed", consent_id)


def withdraw_consent(
    context: Context,
    consent_id: bytes,
    asked_at: datetime | None,
    evidence_sha256: bytes | None,
    timeout: float | None,
) -> Operation[Withdrawal]:
    """Withdraw a consent; effective when this returns."""
    asked = checked_time(asked_at, "asked_at")
    request = consent_pb2.WithdrawConsentRequest(
        consent_id=_checked_id(consent_id),
        asked_at=None if asked is None else timestamp_of(asked),
    )
    if evidence_sha256 is not None:
        request.evidence_sha256 = checked_bytes(evidence_sha256, "evidence_sha256", SHA256_BYTES)
    reply = yield from context.send(WITHDRAW_CONSENT, request, timeout)
    change = _change(context, reply, "consent.withdrawn", consent_id)
    return Withdrawal(change.consent, change.receipt)


def revoke_consent(
    context: Context,
    consent_id: bytes,
    reason: str,
    manager_id: str | None,
    timeout: float | None,
) -> Operation[ConsentChange]:
    """End a consent by another than its subject; effective when this returns."""
    request = consent_pb2.RevokeConsentRequest(
        consent_id=_checked_id(consent_id), reason=_checked_reason(reason)
    )
    if manager_id is not None:
        request.manager_id = checked_text(manager_id, "manager_id", MAX_MANAGER_ID_CHARACTERS)
    reply = yield from context.send(REVOKE_CONSENT, request, timeout)
    return _change(context, reply, "consent.revoked", consent_id)


def get_consent(context: Context, consent_id: bytes, timeout: float | None) -> Operation[Consent]:
    """Read one consent."""
    request = consent_pb2.GetConsentRequest(consent_id=_checked_id(consent_id))
    reply = yield from context.send(GET_CONSENT, request, timeout)
    return consent_of(reply.consent)


def list_consents(
    context: Context, token: Token | None, page_size: int, timeout: float | None
) -> FetchPage[Consent]:
    """Read consents page by page. Raises InvalidInput at once."""
    checked_integer(page_size, "page_size", 1, MAX_PAGE_SIZE)
    only = b"" if token is None else checked_token(token)
    epoch = 0 if token is None else token.epoch

    def fetch(page_token: str) -> Operation[Page[Consent]]:
        request = consent_pb2.ListConsentsRequest(
            page_size=page_size, page_token=page_token, token=only, epoch=epoch
        )
        reply = yield from context.send(LIST_CONSENTS, request, timeout)
        return Page([consent_of(consent) for consent in reply.consents], reply.next_page_token)

    return fetch


def _checked_id(consent_id: bytes) -> bytes:
    return checked_bytes(consent_id, "consent_id", CONSENT_ID_BYTES)


def _checked_reason(reason: str) -> str:
    return checked_text(reason, "reason", MAX_REASON_CHARACTERS)


def _change(
    context: Context,
    reply: _ChangeReply,
    entry_type: str,
    consent_id: bytes,
) -> ConsentChange:
    receipt = None
    if reply.HasField("receipt"):
        recorded: dict[str, Json] = {"consent": bytes(consent_id).hex()}
        receipt = context.ledger.receipt(reply.receipt, {entry_type}, recorded)
    return ConsentChange(consent_of(reply.consent), receipt)


def draft_message(draft: ConsentDraft) -> consent_pb2.ConsentDraft:
    """A draft for the wire."""
    starts_at = None if draft.starts_at is None else timestamp_of(draft.starts_at)
    message = consent_pb2.ConsentDraft(
        token=draft.token.value,
        purposes=[common_pb2.Purpose.ValueType(purpose) for purpose in sorted(draft.purposes)],
        categories=[
            common_pb2.DataCategory.ValueType(category) for category in sorted(draft.categories)
        ],
        validity=common_pb2.Validity(start=starts_at, expiry=timestamp_of(draft.expires_at)),
        notice_version=draft.notice_version,
        evidence_sha256=bytes(draft.evidence_sha256 or b""),
        notice_sha256=bytes(draft.notice_sha256 or b""),
        language=draft.language or "",
        withdrawal_method=draft.withdrawal_method or "",
        jurisdiction=draft.jurisdiction or "",
        evidence_jws=draft.evidence_jws or "",
        evidence_nonce=bytes(draft.evidence_nonce or b""),
    )
    if draft.data_life is not None:
        unit = consent_pb2.TimeUnit.ValueType(draft.data_life.unit)
        message.data_life.CopyFrom(consent_pb2.Period(unit=unit, value=draft.data_life.value))
    if draft.frequency is not None:
        unit = consent_pb2.TimeUnit.ValueType(draft.frequency.unit)
        message.frequency.CopyFrom(consent_pb2.Frequency(unit=unit, uses=draft.frequency.uses))
    return message


def _granted(item: consent_pb2.GrantedConsent, positions: range) -> GrantedConsent:
    if item.item >= len(positions) or len(item.consent_id) != CONSENT_ID_BYTES:
        raise ProtocolViolation(
            f"the gateway granted item {item.item} of {len(positions)} with an id of "
            f"{len(item.consent_id)} bytes",
        )
    return GrantedConsent(positions[item.item], ConsentId(item.consent_id), item.entry_index)


def consent_of(consent: consent_pb2.Consent) -> Consent:
    """A consent as the SDK gives it. Raises ProtocolViolation."""

    def optional(field: str) -> datetime | None:
        if not consent.HasField(field):  # type: ignore[arg-type]  # names of this file
            return None
        return time_of(getattr(consent, field), field)

    data_life = frequency = None
    if consent.HasField("data_life"):
        unit = member_of(TimeUnit, consent.data_life.unit, "data_life")
        data_life = Period(unit, consent.data_life.value)
    if consent.HasField("frequency"):
        unit = member_of(TimeUnit, consent.frequency.unit, "frequency")
        frequency = Frequency(unit, consent.frequency.uses)
    return Consent(
        consent_id=ConsentId(consent.consent_id),
        purposes=frozenset(member_of(Purpose, number, "purposes") for number in consent.purposes),
        categories=frozenset(
            member_of(DataCategory, number, "categories") for number in consent.categories
        ),
        starts_at=time_of(consent.validity.start, "validity.start"),
        expires_at=time_of(consent.validity.expiry, "validity.expiry"),
        notice_version=consent.notice_version,
        evidence_sha256=consent.evidence_sha256 or None,
        state=member_of(ConsentState, consent.state, "state"),
        granted_at=time_of(consent.granted_at, "granted_at"),
        withdrawn_at=optional("withdrawn_at"),
        grant_entry_index=consent.grant_entry_index,
        notice_sha256=consent.notice_sha256 or None,
        language=consent.language or None,
        withdrawal_method=consent.withdrawal_method or None,
        jurisdiction=consent.jurisdiction or None,
        policies=consent.policies,
        data_life=data_life,
        frequency=frequency,
        evidence_jws=consent.evidence_jws or None,
        evidence_signer=consent.evidence_signer or None,
        evidence_key=consent.evidence_key or None,
        evidence_subject=consent.evidence_subject or None,
        requested_at=optional("requested_at"),
        activated_at=optional("activated_at"),
        paused_at=optional("paused_at"),
        resumed_at=optional("resumed_at"),
        revoked_at=optional("revoked_at"),
        revoked_by=consent.revoked_by or None,
        reason=consent.reason or None,
        asked_at=optional("asked_at"),
    )
