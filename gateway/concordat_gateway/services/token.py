"""TokenService: passes blinded elements on to the key-holder, which alone has the keys."""

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concordat.v1 import keyholder_pb2, keyholder_pb2_grpc, token_pb2, token_pb2_grpc
from concordat_gateway.config import TokenKeyEpoch
from concordat_gateway.store.clock import Clock
from concordat_rpc import call
from concordat_rpc.errors import (
    FieldViolation,
    Refusal,
    deadline_exceeded,
    failed_precondition,
    invalid,
    invalid_fields,
    unavailable,
)
from concordat_rpc.tls import Identity, channel_credentials

SUITE = "ristretto255-SHA512"
ELEMENT_BYTES = 32
MAX_ELEMENTS = 4_096

_RETRY_SECONDS = 1.0
_CHANNEL_OPTIONS = [
    # A key-holder that was replaced is found again within a second, not in two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 60_000),
]


class KeyholderClient:
    """The gateway's one channel to the key-holder. Thread-safe; make one a process."""

    def __init__(self, address: str, server_name: str, identity: Identity) -> None:
        self._address = address
        self._server_name = server_name
        self._identity = identity
        self._lock = threading.Lock()
        self._stub: keyholder_pb2_grpc.KeyholderServiceStub | None = None

    def evaluate(
        self, request: keyholder_pb2.EvaluateBlindedRequest, timeout_seconds: float
    ) -> keyholder_pb2.EvaluateBlindedResponse:
        """Evaluate; raises Refusal as the contract of TokenService.Evaluate says."""
        try:
            return self._connected().EvaluateBlinded(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise _refusal(error) from error

    def _connected(self) -> keyholder_pb2_grpc.KeyholderServiceStub:
        with self._lock:
            if self._stub is None:
                channel = grpc.secure_channel(
                    self._address,
                    channel_credentials(self._identity),
                    [*_CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", self._server_name)],
                )
                self._stub = keyholder_pb2_grpc.KeyholderServiceStub(channel)
            return self._stub


class TokenServicer(token_pb2_grpc.TokenServiceServicer):
    """See proto/concordat/v1/token.proto."""

    def __init__(
        self, keyholder: KeyholderClient, keys: Sequence[TokenKeyEpoch], clock: Clock
    ) -> None:
        self._keyholder = keyholder
        self._keys = {key.epoch: key for key in keys}
        self._clock = clock

    def ListTokenKeys(
        self, _request: token_pb2.ListTokenKeysRequest, _context: grpc.ServicerContext
    ) -> token_pb2.ListTokenKeysResponse:
        return token_pb2.ListTokenKeysResponse(keys=map(_token_key, self._keys.values()))

    def Evaluate(
        self, request: token_pb2.EvaluateRequest, _context: grpc.ServicerContext
    ) -> token_pb2.EvaluateResponse:
        self._check_active(request.epoch)
        _check_elements(request.blinded_elements)
        current = call.current()
        evaluated = self._keyholder.evaluate(
            keyholder_pb2.EvaluateBlindedRequest(
                epoch=request.epoch,
                blinded_elements=request.blinded_elements,
                member_id=current.peer.name,
            ),
            current.deadline_seconds_left,
        )
        return token_pb2.EvaluateResponse(
            evaluated_elements=evaluated.evaluated_elements, proof=evaluated.proof
        )

    def _check_active(self, epoch: int) -> None:
        key = self._keys.get(epoch)
        now_seconds = self._clock() / 1_000_000
        if (
            key is None
            or now_seconds < key.valid_from.timestamp()
            or (key.valid_to is not None and now_seconds >= key.valid_to.timestamp())
        ):
            raise failed_precondition("EPOCH_NOT_ACTIVE", f"epoch {epoch} is not in use")


def _check_elements(blinded_elements: bytes) -> None:
    count, rest = divmod(len(blinded_elements), ELEMENT_BYTES)
    if rest or not 1 <= count <= MAX_ELEMENTS:
        raise invalid(
            "blinded_elements",
            f"1 to {MAX_ELEMENTS} elements of {ELEMENT_BYTES} bytes wanted, "
            f"{len(blinded_elements)} bytes given",
        )


def _refusal(error: grpc.RpcError) -> Refusal:
    """What a member is told; the key-holder's own words are passed on for bad elements only."""
    match error.code():
        case grpc.StatusCode.INVALID_ARGUMENT:
            violations = _violations(error)
            return invalid_fields(violations) if violations else invalid("blinded_elements", "bad")
        case grpc.StatusCode.FAILED_PRECONDITION:
            return failed_precondition("EPOCH_NOT_ACTIVE", "the key-holder has no such epoch")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return deadline_exceeded()
        case _:
            return unavailable(
                "KEYHOLDER_UNAVAILABLE", "the key-holder cannot be reached", _RETRY_SECONDS
            )


def _violations(error: grpc.RpcError) -> list[FieldViolation]:
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    details: Iterable[Any] = () if status is None else status.details
    for detail in details:
        bad_request = error_details_pb2.BadRequest()
        if detail.Unpack(bad_request):
            return [
                FieldViolation(violation.field, violation.description)
                for violation in bad_request.field_violations
            ]
    return []


def _token_key(key: TokenKeyEpoch) -> token_pb2.TokenKey:
    message = token_pb2.TokenKey(epoch=key.epoch, suite=SUITE, public_key=key.public_key)
    message.valid_from.CopyFrom(_timestamp(key.valid_from.timestamp()))
    if key.valid_to is not None:
        message.valid_to.CopyFrom(_timestamp(key.valid_to.timestamp()))
    return message


def _timestamp(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(seconds * 1_000_000))
    return timestamp
