"""What auditors are shown beyond the ledger itself."""

from concordat._checks import checked_bytes, checked_text, checked_token
from concordat._context import Context
from concordat._methods import OPEN_SUBJECT
from concordat._steps import Operation
from concordat.errors import InvalidInput, ProtocolViolation
from concordat.requests import CONSENT_ID_BYTES, SHA256_BYTES
from concordat.results import AskingKey, EvidenceKey, OpenedSubject
from concordat.v1 import audit_pb2
from concordat_privacy.log.leaf import Json
from concordat_privacy.log.subjects import KEY_BYTES
from concordat_privacy.oprf import Token

MAX_CASE_CHARACTERS = 200


def open_subject(
    context: Context,
    consent_id: bytes | None,
    token: Token | None,
    case: str,
    permission_sha256: bytes,
    timeout: float | None,
) -> Operation[OpenedSubject]:
    """Open a subject's keys."""
    if (consent_id is None) == (token is None):
        raise InvalidInput.field("consent_id", "exactly one wanted of consent_id and token")
    request = audit_pb2.OpenSubjectRequest(
        case=checked_text(case, "case", MAX_CASE_CHARACTERS),
        permission_sha256=checked_bytes(permission_sha256, "permission_sha256", SHA256_BYTES),
    )
    recorded: dict[str, Json] = {
        "view": "subject.open",
        "case": case,
        "permission_sha256": bytes(permission_sha256).hex(),
    }
    if consent_id is not None:
        request.consent_id = checked_bytes(consent_id, "consent_id", CONSENT_ID_BYTES)
        recorded["consent"] = bytes(consent_id).hex()
    if token is not None:
        request.token = checked_token(token)
        request.epoch = token.epoch
    reply = yield from context.send(OPEN_SUBJECT, request, timeout)
    receipt = context.ledger.receipt(reply.receipt, {"staff.viewed"}, recorded)
    return OpenedSubject(
        ledger=context.ledger.origin,
        evidence_keys=tuple(
            EvidenceKey(_key(one.key, "evidence_keys"), one.consents) for one in reply.evidence_keys
        ),
        asking_keys=tuple(
            AskingKey(one.epoch, _key(one.key, "asking_keys")) for one in reply.asking_keys
        ),
        receipt=receipt,
    )


def _key(key: bytes, what: str) -> bytes:
    if len(key) != KEY_BYTES:
        raise ProtocolViolation(f"{what}: the gateway sent a key of {len(key)} bytes")
    return key
