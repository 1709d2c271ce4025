"""The gateway's side of the key-holder: one channel, and what its faults mean to a member."""

import threading
from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concordat.v1 import keyholder_pb2, keyholder_pb2_grpc
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
        """Evaluate blinded elements.

        Raises Refusal INVALID_ARGUMENT (the element that is none), FAILED_PRECONDITION
        (EPOCH_NOT_ACTIVE), DEADLINE_EXCEEDED, UNAVAILABLE (KEYHOLDER_UNAVAILABLE).
        """
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
