"""Recording, reading and withdrawing consents."""

from collections.abc import Iterable

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
from concordat._methods import GET_CONSENT, GRANT_CONSENTS, LIST_CONSENTS, WITHDRAW_CONSENT
from concordat._steps import Operation
from concordat.enums import ConsentState, DataCategory, Purpose
from concordat.errors import ProtocolViolation
from concordat.requests import (
    CONSENT_ID_BYTES,
    ConsentDraft,
    ConsentId,
    checked_bytes,
    checked_epoch,
    checked_integer,
    checked_items,
    checked_token,
    checked_type,
)
from concordat.results import Consent, GrantedConsent, GrantResult, ItemRefusal, Receipt, Withdrawal
from concordat.v1 import common_pb2, consent_pb2
from concordat_privacy.log.leaf import Json
from concordat_privacy.oprf import Token

CONSENTS_PER_REQUEST = 1_000
MAX_PAGE_SIZE = 1_000


def grant_consents(
    context: Context,
    drafts: Iterable[ConsentDraft],
    request_id: bytes | None,
    timeout: float | None,
) -> Operation[GrantResult]:
    """Record consents, in requests of up to 1,000."""
    own_id = context.request_id(request_id)
    checked_items(drafts, "consents", "ConsentDraft")
    granted: list[GrantedConsent] = []
    refused: list[ItemRefusal] = []
    receipts: list[Receipt] = []

    def result() -> GrantResult:
        return GrantResult(own_id, tuple(granted), tuple(refused), tuple(receipts))

    first = 0
    epoch = 0
    with keeping_partial(result, resume_advice("consents", own_id)):
        for number, batch in enumerate(batches_of(drafts, CONSENTS_PER_REQUEST)):
            batch_id = numbered_request_id(own_id, number)
            for at, draft in enumerate(batch, start=first):
                checked_type(draft, ConsentDraft, f"consents[{at}]")
                epoch = checked_epoch(draft.token, epoch, f"consents[{at}].token")
            request = consent_pb2.GrantConsentsRequest(
                request_id=batch_id, consents=map(_draft_message, batch), epoch=epoch
            )
            reply = yield from context.send(GRANT_CONSENTS, request, timeout)
            positions = range(first, first + len(batch))
            if len(reply.granted) + len({refusal.item for refusal in reply.refused}) != len(batch):
                raise ProtocolViolation(
                    f"the gateway answered for another number of items than {len(batch)}",
                )
            granted += [_granted(item, positions) for item in reply.granted]
            refused += refusals_of(reply.refused, positions)
            if reply.granted:
                recorded: dict[str, Json] = {"request": batch_id.hex()}
                receipts.append(
                    context.ledger.receipt(reply.receipt, {"consent.granted"}, recorded)
                )
            first += len(batch)
    return result()


def withdraw_consent(
    context: Context, consent_id: bytes, timeout: float | None
) -> Operation[Withdrawal]:
    """Withdraw a consent; effective when this returns."""
    request = consent_pb2.WithdrawConsentRequest(consent_id=_checked_id(consent_id))
    reply = yield from context.send(WITHDRAW_CONSENT, request, timeout)
    receipt = None
    if reply.HasField("receipt"):
        receipt = context.ledger.receipt(reply.receipt, {"consent.withdrawn"})
    return Withdrawal(_consent(reply.consent), receipt)


def get_consent(context: Context, consent_id: bytes, timeout: float | None) -> Operation[Consent]:
    """Read one consent."""
    request = consent_pb2.GetConsentRequest(consent_id=_checked_id(consent_id))
    reply = yield from context.send(GET_CONSENT, request, timeout)
    return _consent(reply.consent)


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
        return Page([_consent(consent) for consent in reply.consents], reply.next_page_token)

    return fetch


def _checked_id(consent_id: bytes) -> bytes:
    return checked_bytes(consent_id, "consent_id", CONSENT_ID_BYTES)


def _draft_message(draft: ConsentDraft) -> consent_pb2.ConsentDraft:
    starts_at = None if draft.starts_at is None else timestamp_of(draft.starts_at)
    return consent_pb2.ConsentDraft(
        token=draft.token.value,
        purposes=[common_pb2.Purpose.ValueType(purpose) for purpose in sorted(draft.purposes)],
        categories=[
            common_pb2.DataCategory.ValueType(category) for category in sorted(draft.categories)
        ],
        validity=common_pb2.Validity(start=starts_at, expiry=timestamp_of(draft.expires_at)),
        notice_version=draft.notice_version,
        evidence_sha256=bytes(draft.evidence_sha256),
    )


def _granted(item: consent_pb2.GrantedConsent, positions: range) -> GrantedConsent:
    if item.item >= len(positions) or len(item.consent_id) != CONSENT_ID_BYTES:
        raise ProtocolViolation(
            f"the gateway granted item {item.item} of {len(positions)} with an id of "
            f"{len(item.consent_id)} bytes",
        )
    return GrantedConsent(positions[item.item], ConsentId(item.consent_id), item.entry_index)


def _consent(consent: consent_pb2.Consent) -> Consent:
    return Consent(
        consent_id=ConsentId(consent.consent_id),
        purposes=frozenset(member_of(Purpose, number, "purposes") for number in consent.purposes),
        categories=frozenset(
            member_of(DataCategory, number, "categories") for number in consent.categories
        ),
        starts_at=time_of(consent.validity.start, "validity.start"),
        expires_at=time_of(consent.validity.expiry, "validity.expiry"),
        notice_version=consent.notice_version,
        evidence_sha256=consent.evidence_sha256,
        state=member_of(ConsentState, consent.state, "state"),
        granted_at=time_of(consent.granted_at, "granted_at"),
        withdrawn_at=(
            time_of(consent.withdrawn_at, "withdrawn_at")
            if consent.HasField("withdrawn_at")
            else None
        ),
        grant_entry_index=consent.grant_entry_index,
    )
