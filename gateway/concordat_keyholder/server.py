"""The key-holder's process: its server, who may call it, how it ends."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import concordat_rpc  # noqa: F401  first: it shuts TLS 1.2 out before gRPC is imported
from concordat.v1 import keyholder_pb2_grpc
from concordat_keyholder.config import KeyholderConfig, load_config
from concordat_keyholder.keys import HeldKeys
from concordat_keyholder.service import KeyholderServicer
from concordat_privacy.oprf import OprfError
from concordat_rpc import logs
from concordat_rpc.limits import Limits
from concordat_rpc.metrics import CallMetrics
from concordat_rpc.peer import Peer, Role, Serial
from concordat_rpc.process import serve_until_stopped
from concordat_rpc.server import PortTaken, RpcServer, build_server
from concordat_rpc.settings import SettingsError
from concordat_rpc.tls import load_identity

_SERVICE = "/concordat.v1.KeyholderService"
POLICY = {
    f"{_SERVICE}/EvaluateBlinded": frozenset({Role.GATEWAY}),
    f"{_SERVICE}/UpdateBlinded": frozenset({Role.GATEWAY}),
    f"{_SERVICE}/ListHeldKeys": frozenset({Role.GATEWAY}),
}


def build(config: KeyholderConfig, port: int) -> RpcServer:
    """The key-holder's server, listening on `port` of the configured host."""
    service = KeyholderServicer(HeldKeys.load(config.keys))
    return build_server(
        [lambda server: keyholder_pb2_grpc.add_KeyholderServiceServicer_to_server(service, server)],
        address=str(config.listen.with_port(port)),
        tls=load_identity(config.certificate, config.private_key, config.ca),
        trust_domain=config.trust_domain,
        policy=POLICY,
        limits=Limits(),
        identity_check=_admit,
        observer=CallMetrics(),
    )


def _admit(_peer: Peer, _serial: Serial) -> None:
    """The role says it all: whom the gateway serves is the gateway's to check."""


def main(arguments: list[str] | None = None) -> int:
    """Run the key-holder; returns the exit code."""
    parser = argparse.ArgumentParser(prog="concordat_keyholder")
    parser.add_argument("--config", type=Path, required=True, help="keyholder.toml")
    parser.add_argument("--port", type=int, help="listen here instead of the configured port")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when the pipe on stdin is closed"
    )
    options = parser.parse_args(arguments)
    logs.configure("keyholder")
    try:
        config = load_config(options.config)
        port = config.listen.port if options.port is None else options.port
        server = build(config, port)
    except (SettingsError, PortTaken, OprfError) as error:
        print(f"concordat key-holder: {error}", file=sys.stderr)  # noqa: T201  for the operator
        return 1
    serve_until_stopped(server, with_parent=options.with_parent)
    return 0
