"""The key-holder's process: its server, who may call it, how it ends."""

from __future__ import annotations

from cryptography import x509

import concordat_rpc  # noqa: F401  first: it shuts TLS 1.2 out before gRPC is imported
from concordat.v1 import keyholder_pb2_grpc
from concordat_keyholder.config import Admission, KeyholderConfig
from concordat_keyholder.holdings import CurrentHoldings
from concordat_keyholder.service import KeyholderServicer
from concordat_keyholder.store.migrate import opened_store
from concordat_rpc.interceptors import CallObserver
from concordat_rpc.limits import Limits
from concordat_rpc.metrics import CallMetrics
from concordat_rpc.peer import Peer, Role, Serial
from concordat_rpc.process import serve_until_stopped
from concordat_rpc.server import RpcServer, build_server
from concordat_rpc.tls import load_identity
from concordat_store.clock import Clock, system_clock
from concordat_store.database import Database

_SERVICE = "/concordat.v1.KeyholderService"
POLICY = {
    f"{_SERVICE}/EvaluateBlinded": frozenset({Role.GATEWAY}),
    f"{_SERVICE}/UpdateBlinded": frozenset({Role.GATEWAY}),
    f"{_SERVICE}/ListHeldKeys": frozenset({Role.GATEWAY}),
}


def serve(config: KeyholderConfig, port: int, *, with_parent: bool) -> None:
    """Serve on `port` of the configured host until told to stop.

    Raises SettingsError, StoreError, PortTaken, OprfError where serving cannot start.
    """
    # First: it may ask for a passphrase.
    holdings = CurrentHoldings(config)
    with opened_store(config.store_url) as database:
        server = build(config, holdings, database, port, clock=system_clock, observer=CallMetrics())
        serve_until_stopped(server, with_parent=with_parent)


def build(
    config: KeyholderConfig,
    holdings: CurrentHoldings,
    database: Database,
    port: int,
    *,
    clock: Clock,
    observer: CallObserver,
) -> RpcServer:
    """The key-holder's server, listening and not yet serving."""
    tls = load_identity(config.certificate, config.private_key, config.ca)
    authority = None
    if config.admission is Admission.AUTHORITY:
        authority = x509.load_pem_x509_certificate(tls.ca_pem)
    service = KeyholderServicer(
        holdings,
        database,
        trust_domain=config.trust_domain,
        quota=config.quota,
        updates_daily=config.updates_daily,
        authority=authority,
        clock=clock,
    )
    return build_server(
        [lambda server: keyholder_pb2_grpc.add_KeyholderServiceServicer_to_server(service, server)],
        address=str(config.listen.with_port(port)),
        tls=tls,
        trust_domain=config.trust_domain,
        policy=POLICY,
        limits=Limits(),
        identity_check=_admit,
        observer=observer,
    )


def _admit(_peer: Peer, _serial: Serial, _method: str) -> None:
    """The role says it all: a gateway can only bring what members signed."""
