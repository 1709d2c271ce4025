"""TokenService: passes blinded elements on to the key-holders, which alone have the keys."""

import grpc

from concordat.v1 import keyholder_pb2, token_pb2, token_pb2_grpc
from concordat_gateway.keyholder import WHOLE, Evaluation, KeyholderClient
from concordat_gateway.keylog import KeyLogFile
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.counters import count_evaluations
from concordat_gateway.rules.evaluations import check_certificate
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.services._translate import seconds_left, timestamp_of
from concordat_privacy.keylog import EpochKey
from concordat_privacy.oprf import ELEMENT_BYTES, SUITE
from concordat_rpc import call
from concordat_rpc.elements import check_elements


class TokenServicer(token_pb2_grpc.TokenServiceServicer):
    """See proto/concordat/v1/token.proto."""

    def __init__(
        self,
        journal: Journal,
        keyholders: KeyholderClient,
        key_log: KeyLogFile,
        subjects: Subjects,
    ) -> None:
        self._journal = journal
        self._keyholders = keyholders
        self._key_log = key_log
        self._subjects = subjects

    def ListTokenKeys(
        self, _request: token_pb2.ListTokenKeysRequest, _context: grpc.ServicerContext
    ) -> token_pb2.ListTokenKeysResponse:
        log = self._key_log.current()
        return token_pb2.ListTokenKeysResponse(keys=map(_token_key, log.keys), key_log=log.text)

    def Evaluate(
        self, request: token_pb2.EvaluateRequest, _context: grpc.ServicerContext
    ) -> token_pb2.EvaluateResponse:
        # What was evaluated for whom is the key-holder's to meter; here it is counted for alarms.
        key = self._subjects.key_to_make(request.epoch)
        check_elements(request.blinded_elements)
        check_certificate(request.certificate, call.current())
        elements = len(request.blinded_elements) // ELEMENT_BYTES
        count_evaluations(self._journal, call.current().peer.name, elements, seconds_left())
        answers = self._keyholders.evaluate(
            key,
            keyholder_pb2.EvaluateBlindedRequest(
                epoch=request.epoch,
                blinded_elements=request.blinded_elements,
                nonce=request.nonce,
                signed_at=request.signed_at if request.HasField("signed_at") else None,
                quota=request.quota,
                certificate=request.certificate,
                signature=request.signature,
            ),
            frozenset(request.avoid_holders),
            seconds_left(),
        )
        if answers[0].holder == WHOLE:
            [whole] = answers
            return token_pb2.EvaluateResponse(evaluated_elements=whole.elements, proof=whole.proof)
        return token_pb2.EvaluateResponse(shares=map(_share, answers))


def _share(answer: Evaluation) -> token_pb2.ShareEvaluation:
    return token_pb2.ShareEvaluation(
        holder=answer.holder, evaluated_elements=answer.elements, proof=answer.proof
    )


def _token_key(key: EpochKey) -> token_pb2.TokenKey:
    return token_pb2.TokenKey(
        epoch=key.epoch,
        suite=SUITE,
        public_key=bytes(key.public_key),
        valid_from=timestamp_of(key.valid_from),
        valid_to=None if key.valid_to is None else timestamp_of(key.valid_to),
    )
