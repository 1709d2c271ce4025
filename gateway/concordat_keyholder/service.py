"""KeyholderService: evaluates blinded elements under the held keys."""

from __future__ import annotations

import grpc

from concordat.v1 import keyholder_pb2, keyholder_pb2_grpc
from concordat_keyholder.keys import HeldKeys
from concordat_privacy import oprf
from concordat_rpc.errors import failed_precondition, invalid


class KeyholderServicer(keyholder_pb2_grpc.KeyholderServiceServicer):
    """Serves gateways; see proto/concordat/v1/keyholder.proto."""

    def __init__(self, keys: HeldKeys) -> None:
        self._keys = keys

    def EvaluateBlinded(
        self, request: keyholder_pb2.EvaluateBlindedRequest, _context: grpc.ServicerContext
    ) -> keyholder_pb2.EvaluateBlindedResponse:
        pair = self._keys.pairs.get(request.epoch)
        if pair is None:
            raise failed_precondition(
                "EPOCH_NOT_ACTIVE", f"no key is held for epoch {request.epoch}"
            )
        try:
            evaluated, proof = oprf.evaluate_batch(pair.secret, request.blinded_elements)
        except oprf.ElementInvalid as error:
            raise invalid(f"blinded_elements[{error.index}]", error.reason) from None
        except (oprf.BatchInvalid, oprf.LengthInvalid) as error:
            raise invalid("blinded_elements", str(error)) from None
        return keyholder_pb2.EvaluateBlindedResponse(evaluated_elements=evaluated, proof=proof)

    def UpdateBlinded(
        self, request: keyholder_pb2.UpdateBlindedRequest, _context: grpc.ServicerContext
    ) -> keyholder_pb2.UpdateBlindedResponse:
        raise failed_precondition(
            "EPOCH_NOT_ACTIVE",
            f"no ratio from epoch {request.from_epoch} to {request.to_epoch} is held",
        )

    def ListHeldKeys(
        self, _request: keyholder_pb2.ListHeldKeysRequest, _context: grpc.ServicerContext
    ) -> keyholder_pb2.ListHeldKeysResponse:
        return keyholder_pb2.ListHeldKeysResponse(
            keys=[
                keyholder_pb2.HeldKey(epoch=epoch, public_key=bytes(pair.public))
                for epoch, pair in sorted(self._keys.pairs.items())
            ]
        )
