"""grpc.health.v1: whether this process takes calls. Any authenticated party may ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from concordat_rpc.errors import Kind, Refusal, not_found
from concordat_rpc.peer import ANY_ROLE

POLICY = {
    "/grpc.health.v1.Health/Check": ANY_ROLE,
    "/grpc.health.v1.Health/List": ANY_ROLE,
    "/grpc.health.v1.Health/Watch": ANY_ROLE,
}


@dataclass(slots=True)
class ServingState:
    """Whether the process serves."""

    serving: bool = False


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped package
    """Health of the process as a whole (service name "")."""

    def __init__(self, state: ServingState) -> None:
        self._state = state

    def Check(  # noqa: N802  name of the contract
        self, request: health_pb2.HealthCheckRequest, _context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service:
            raise not_found("SERVICE_UNKNOWN", "health is kept for the whole process only")
        return self._response()

    def List(  # noqa: N802  name of the contract
        self, _request: health_pb2.HealthListRequest, _context: grpc.ServicerContext
    ) -> health_pb2.HealthListResponse:
        return health_pb2.HealthListResponse(statuses={"": self._response()})

    def Watch(  # noqa: N802  name of the contract
        self, _request: health_pb2.HealthCheckRequest, _context: grpc.ServicerContext
    ) -> Any:
        # A watcher would hold a thread for as long as it likes; the protocol lets a server decline.
        raise Refusal(Kind.UNIMPLEMENTED, "WATCH_NOT_OFFERED", "poll Check instead")

    def _response(self) -> health_pb2.HealthCheckResponse:
        status = health_pb2.HealthCheckResponse.ServingStatus
        return health_pb2.HealthCheckResponse(
            status=status.SERVING if self._state.serving else status.NOT_SERVING
        )


def registration(state: ServingState) -> Callable[[Any], None]:
    """The health service as the builder takes services."""
    return lambda server: health_pb2_grpc.add_HealthServicer_to_server(
        HealthServicer(state), server
    )
