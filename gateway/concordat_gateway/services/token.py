"""TokenService: passes blinded elements on to the key-holder, which alone has the keys."""

from collections.abc import Sequence
from datetime import datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from concordat.v1 import keyholder_pb2, token_pb2, token_pb2_grpc
from concordat_gateway.config import TokenKeyEpoch
from concordat_gateway.keyholder import KeyholderClient
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules.counters import count_evaluations
from concordat_gateway.rules.epochs import check_active
from concordat_gateway.services._translate import seconds_left
from concordat_privacy.oprf import ELEMENT_BYTES, MAX_BATCH, SUITE
from concordat_rpc import call
from concordat_rpc.errors import invalid
from concordat_store.clock import Clock


class TokenServicer(token_pb2_grpc.TokenServiceServicer):
    """See proto/concordat/v1/token.proto."""

    def __init__(
        self,
        journal: Journal,
        keyholder: KeyholderClient,
        keys: Sequence[TokenKeyEpoch],
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._keyholder = keyholder
        self._keys = keys
        self._clock = clock

    def ListTokenKeys(
        self, _request: token_pb2.ListTokenKeysRequest, _context: grpc.ServicerContext
    ) -> token_pb2.ListTokenKeysResponse:
        return token_pb2.ListTokenKeysResponse(keys=map(_token_key, self._keys))

    def Evaluate(
        self, request: token_pb2.EvaluateRequest, _context: grpc.ServicerContext
    ) -> token_pb2.EvaluateResponse:
        check_active(self._keys, request.epoch, self._clock())
        elements = _checked_elements(request.blinded_elements)
        count_evaluations(self._journal, call.current().peer.name, elements, seconds_left())
        evaluated = self._keyholder.evaluate(
            keyholder_pb2.EvaluateBlindedRequest(
                epoch=request.epoch,
                blinded_elements=request.blinded_elements,
                member_id=call.current().peer.name,
            ),
            seconds_left(),
        )
        return token_pb2.EvaluateResponse(
            evaluated_elements=evaluated.evaluated_elements, proof=evaluated.proof
        )


def _checked_elements(blinded_elements: bytes) -> int:
    """How many elements a batch has. Raises Refusal INVALID_ARGUMENT."""
    count, rest = divmod(len(blinded_elements), ELEMENT_BYTES)
    if rest or not 1 <= count <= MAX_BATCH:
        raise invalid(
            "blinded_elements",
            f"1 to {MAX_BATCH} elements of {ELEMENT_BYTES} bytes wanted, "
            f"{len(blinded_elements)} bytes given",
        )
    return count


def _token_key(key: TokenKeyEpoch) -> token_pb2.TokenKey:
    return token_pb2.TokenKey(
        epoch=key.epoch,
        suite=SUITE,
        public_key=key.public_key,
        valid_from=_timestamp(key.valid_from),
        valid_to=None if key.valid_to is None else _timestamp(key.valid_to),
    )


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
