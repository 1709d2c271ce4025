"""AuditService: translates, decides nothing; see rules.openings."""

import grpc

from concordat.v1 import audit_pb2, audit_pb2_grpc
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.openings import Permission, open_consent, open_token
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.services._translate import receipt_of, seconds_left
from concordat_rpc import call
from concordat_rpc.errors import invalid


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """See proto/concordat/v1/audit.proto."""

    def __init__(self, journal: Journal, subjects: Subjects) -> None:
        self._journal = journal
        self._subjects = subjects

    def OpenSubject(
        self, request: audit_pb2.OpenSubjectRequest, _context: grpc.ServicerContext
    ) -> audit_pb2.OpenSubjectResponse:
        auditor = call.current().peer
        permission = Permission(request.case, request.permission_sha256)
        if request.consent_id and request.token:
            raise invalid("token", "a consent_id or a token is wanted, not both")
        if request.token:
            opened, recorded = open_token(
                self._journal,
                self._subjects,
                auditor,
                request.token,
                request.epoch,
                permission,
                seconds_left(),
            )
        else:
            opened, recorded = open_consent(
                self._journal,
                self._subjects,
                auditor,
                request.consent_id,
                permission,
                seconds_left(),
            )
        return audit_pb2.OpenSubjectResponse(
            evidence_keys=[
                audit_pb2.SubjectEvidenceKey(key=key, consents=consents)
                for key, consents in opened.evidence
            ],
            asking_keys=[
                audit_pb2.SubjectAskingKey(epoch=epoch, key=key) for epoch, key in opened.asking
            ],
            receipt=receipt_of(recorded.value, recorded),
        )
