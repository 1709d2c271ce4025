"""The gateway's server: which services there are, who may call what, and what they stand on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta

from concordat.v1 import (
    aggregate_pb2_grpc,
    audit_pb2_grpc,
    consent_pb2_grpc,
    contribution_pb2_grpc,
    dispute_pb2_grpc,
    erasure_pb2_grpc,
    ledger_pb2_grpc,
    member_pb2_grpc,
    notice_pb2_grpc,
    signal_pb2_grpc,
    token_pb2_grpc,
    usage_pb2_grpc,
)
from concordat_gateway.config import GatewayConfig, PrivacyBudgets, load_config
from concordat_gateway.keyfiles import (
    PepperFiles,
    load_authority,
    load_ledger_key,
    load_subject_secret,
)
from concordat_gateway.keyholder import Endpoint, KeyholderClient
from concordat_gateway.keylog import KeyLogFile, unanswerable
from concordat_gateway.ledger.journal import Journal
from concordat_gateway.rules import members
from concordat_gateway.rules.adopting import adopt_keys
from concordat_gateway.rules.anchors import check_anchors
from concordat_gateway.rules.budgets import Caps
from concordat_gateway.rules.members import Registrar
from concordat_gateway.rules.policies import Jurisdictions
from concordat_gateway.rules.stores_epoch import is_pepper_of
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.rules.witnesses import Policy
from concordat_gateway.services.aggregate import AggregateServicer
from concordat_gateway.services.audit import AuditServicer
from concordat_gateway.services.consent import ConsentServicer
from concordat_gateway.services.contribution import ContributionServicer
from concordat_gateway.services.dispute import DisputeServicer
from concordat_gateway.services.erasure import ErasureServicer
from concordat_gateway.services.ledger import LedgerServicer
from concordat_gateway.services.membership import MembershipServicer
from concordat_gateway.services.notice import NoticeServicer
from concordat_gateway.services.signal import SignalServicer
from concordat_gateway.services.token import TokenServicer
from concordat_gateway.services.usage import UsageServicer
from concordat_gateway.store.migrate import check_stores
from concordat_gateway.store.signal_store import SignalStore
from concordat_gateway.store.subject_keys import SubjectKeys
from concordat_gateway.store.subjects import ROTATING
from concordat_privacy.dp.rho import MicroEpsilon, cap
from concordat_privacy.jurisdictions import policies
from concordat_privacy.keylog import KeyLog
from concordat_rpc.address import Address
from concordat_rpc.metrics import CallMetrics
from concordat_rpc.peer import Peer, Role, Serial, read_certificate
from concordat_rpc.server import RpcServer, build_server
from concordat_rpc.settings import SettingsError
from concordat_rpc.tls import Identity, load_identity
from concordat_store.clock import system_clock
from concordat_store.database import Database

_log = logging.getLogger(__name__)

_MEMBER = frozenset({Role.MEMBER})
_OPERATOR = frozenset({Role.OPERATOR})
_OVERSIGHT = frozenset({Role.OPERATOR, Role.AUDITOR})
_ALL = _MEMBER | _OVERSIGHT

_SERVICES = {
    "TokenService": {"ListTokenKeys": _ALL, "Evaluate": _MEMBER},
    "ConsentService": {
        "GrantConsents": _MEMBER,
        "RequestConsents": _MEMBER,
        "ActivateConsent": _MEMBER,
        "PauseConsent": _MEMBER,
        "ResumeConsent": _MEMBER,
        "WithdrawConsent": _MEMBER | _OPERATOR,
        "RevokeConsent": _MEMBER | _OPERATOR,
        "GetConsent": _MEMBER,
        "ListConsents": _MEMBER,
        "RegisterConsentManager": _OPERATOR,
        "DisableConsentManager": _OPERATOR,
        "ListConsentManagers": _ALL,
    },
    "ContributionService": {
        "Contribute": _MEMBER,
        "GetBatch": _MEMBER,
        "ContributeStream": _MEMBER,
        "GetUpload": _MEMBER,
        "ListRefusedRows": _MEMBER,
        "WithdrawRows": _MEMBER,
    },
    "SignalService": {
        "Lookup": _MEMBER,
        "BatchLookup": _MEMBER,
        "ReviewPortfolio": _MEMBER,
        "ListSignals": _ALL,
    },
    "AggregateService": {"Count": _MEMBER, "GetBudget": _ALL},
    "LedgerService": {
        "GetCheckpoint": _ALL,
        "GetInclusionProof": _ALL,
        "GetConsistencyProof": _ALL,
        "AddCosignature": _MEMBER | _OVERSIGHT,
        "GetCosignedCheckpoint": _ALL,
        "ListTimestamps": _ALL,
        "ExportEntries": _OVERSIGHT,
    },
    "MembershipService": {
        "InviteMember": _OPERATOR,
        "AcceptInvitation": frozenset({Role.INVITATION}),
        "SuspendMember": _OPERATOR,
        "ReinstateMember": _OPERATOR,
        "ListMembers": _OVERSIGHT,
    },
    "DisputeService": {
        "OpenDispute": _MEMBER,
        "ListDisputes": _ALL,
        "AnswerDispute": _MEMBER,
        "ExtendDispute": _MEMBER | _OPERATOR,
    },
    "NoticeService": {
        "ListNotices": _ALL,
        "AcknowledgeNotice": _MEMBER,
        "ConfirmDeletion": _MEMBER,
    },
    "ErasureService": {
        "RequestErasure": _MEMBER,
        "ListErasures": _ALL,
        "ExecuteErasure": _OPERATOR,
        "RefuseErasure": _OPERATOR,
    },
    "AuditService": {"OpenSubject": frozenset({Role.AUDITOR})},
    "UsageService": {"ListUsage": _ALL, "SetLookupQuota": _OPERATOR},
}

POLICY = {
    f"/concordat.v1.{service}/{method}": roles
    for service, methods in _SERVICES.items()
    for method, roles in methods.items()
}
"""Who may call what. A method that is missing here cannot be served."""


WHILE_SUSPENDED = frozenset(
    {
        "/concordat.v1.NoticeService/ListNotices",
        "/concordat.v1.NoticeService/AcknowledgeNotice",
        "/concordat.v1.NoticeService/ConfirmDeletion",
        "/concordat.v1.DisputeService/ListDisputes",
        "/concordat.v1.DisputeService/AnswerDispute",
    }
)
"""What a suspended member may call: what it owes to subjects by law. It uses no data of the pool,
and the data that it holds, or contributed, must be deleted and answered for all the same."""


def admit(journal: Journal, peer: Peer, serial: Serial, method: str) -> None:
    """The identity check of the gateway's server. Raises as `rules.members.check_admitted`."""
    members.check_admitted(journal, peer, serial, method in WHILE_SUSPENDED)


def caps_of(budgets: PrivacyBudgets) -> Caps:
    """The configured caps, in the unit that the stores keep."""
    return Caps(
        pool=cap(MicroEpsilon(int(budgets.pool_epsilon * 1_000_000))),
        member=cap(MicroEpsilon(int(budgets.member_epsilon * 1_000_000))),
    )


def jurisdictions(config: GatewayConfig) -> Jurisdictions:
    """The policies that consents are taken under. The configuration names only known ones."""
    return Jurisdictions.of(config.consents.jurisdictions, config.consents.default)


def witness_policy(config: GatewayConfig) -> Policy:
    """Who must have seen the ledger, and for how long they may be missing."""
    witnesses = config.witnesses
    return Policy(witnesses.quorum, witnesses.grace // timedelta(microseconds=1))


def endpoints(config: GatewayConfig, addresses: Sequence[Address]) -> list[Endpoint]:
    """Where the configured key-holders are reached; `addresses` in the configuration's order."""
    return [
        Endpoint(one.holder, str(address), one.server_name)
        for one, address in zip(config.keyholders, addresses, strict=True)
    ]


def peppers(config: GatewayConfig) -> PepperFiles:
    """The stores' peppers, which a rotation may add to while the gateway serves."""
    return PepperFiles(config.peppers, lambda: load_config(config.file).peppers)


def check_epoch(config: GatewayConfig, journal: Journal, key_log: KeyLog) -> None:
    """Raises SettingsError where the pepper or the key of the stores' epoch is missing or wrong."""
    epoch = journal.tokens_epoch
    if epoch == ROTATING:
        return
    if key_log.key(epoch) is None:
        raise SettingsError(f"{config.key_log}: no key of epoch {epoch}, which the stores are at")
    pepper = peppers(config).pepper(epoch)
    with journal.read() as connection:
        if not is_pepper_of(connection, epoch, pepper):
            # With it the stores would know nobody, and say so of everybody.
            raise SettingsError(
                f"{config.file}: [peppers]: that of epoch {epoch} is not the one that the stores "
                "were sealed with; bring that one back"
            )


def check_holders(config: GatewayConfig, key_log: KeyLog, now: int) -> None:
    """Raises SettingsError where the configured key-holders cannot answer for an epoch in use."""
    lacking = unanswerable(key_log.in_use(now), [one.holder for one in config.keyholders])
    if lacking:
        raise SettingsError(f"{config.file}: {'; '.join(lacking)}")


def _tell_unanswerable(config: GatewayConfig, key_log: KeyLog) -> None:
    """Tell the operator of a key that was split, or is to come, and that nobody can answer for."""
    now = system_clock()
    coming = [key for key in key_log.keys if key.valid_to is None or now < key.valid_to]
    for what in unanswerable(coming, [one.holder for one in config.keyholders]):
        _log.error("the changed key log: %s: change it and restart", what)


@contextmanager
def opened_stores(config: GatewayConfig) -> Iterator[tuple[Journal, SignalStore]]:
    """The control store's journal and the signals store.

    Raises SettingsError (keys), StoreError (a store that cannot be served from).
    """
    ledger_key = load_ledger_key(config.ledger_key)
    with (
        closing(Database.open(config.stores.control)) as control,
        closing(Database.open(config.stores.signals)) as signals,
        closing(
            Journal(control, ledger_key, system_clock, witness_policy(config).grace)
        ) as journal,
    ):
        yield journal, SignalStore(signals, system_clock)


@contextmanager
def opened_subject_keys(config: GatewayConfig) -> Iterator[SubjectKeys]:
    """The stores of subjects' keys.

    Raises SettingsError (key files), StoreError (a store that cannot be served from).
    """
    evidence_secret = load_subject_secret(config.evidence_key)
    live_secret = load_subject_secret(config.live_key)
    with (
        closing(Database.open(config.stores.evidence)) as evidence,
        closing(Database.open(config.stores.live_keys, erasing=True)) as live,
    ):
        yield SubjectKeys.of(evidence, live, evidence_secret, live_secret, system_clock)


@contextmanager
def built_server(
    config: GatewayConfig, *, port: int, keyholders: Sequence[Address]
) -> Iterator[RpcServer]:
    """A worker's server on the gateway's port, which it shares with other workers.

    `keyholders` are the addresses of the configured key-holders, in their order.

    Raises SettingsError, StoreError (also for a schema that is not this build's), PortTaken.
    """
    check_stores(*config.stores.all)
    identity = load_identity(
        config.identity.certificate, config.identity.private_key, config.identity.ca
    )
    with ExitStack() as stack:
        journal, signals = stack.enter_context(opened_stores(config))
        keys = stack.enter_context(opened_subject_keys(config))
        check_anchors(journal, keys)
        yield _build(config, identity, journal, signals, keys, port, keyholders)


def _build(
    config: GatewayConfig,
    identity: Identity,
    journal: Journal,
    signals: SignalStore,
    keys: SubjectKeys,
    port: int,
    keyholders: Sequence[Address],
) -> RpcServer:
    gateway = read_certificate(identity.certificate_pem, config.trust_domain).peer

    def take(log: KeyLog) -> None:
        adopt_keys(journal, log, gateway.spiffe_id)
        _tell_unanswerable(config, log)

    key_log = KeyLogFile(config.key_log, config.key_log_vkey, take)
    check_epoch(config, journal, key_log.current())
    adopt_keys(journal, key_log.current(), gateway.spiffe_id)
    client = KeyholderClient(endpoints(config, keyholders), identity)
    subjects = Subjects(
        journal,
        key_log.current,
        peppers(config).pepper,
        client.update,
        system_clock,
        config.carried_quota,
        keys,
    )
    registrar = Registrar(
        load_authority(config.identity.ca, config.membership.ca_key),
        config.trust_domain,
        config.membership.invitation_lifetime,
        config.membership.certificate_lifetime,
        system_clock,
    )
    retention = policies()[config.retention]
    token = TokenServicer(journal, client, key_log, subjects)
    consent = ConsentServicer(journal, subjects, jurisdictions(config), system_clock)
    contribution = ContributionServicer(
        journal,
        signals,
        subjects,
        system_clock,
        jurisdictions(config).default,
        retention,
        config.upload_ages,
    )
    signal = SignalServicer(
        journal, signals, subjects, config.lookup_quota, config.disputed, retention
    )
    aggregate = AggregateServicer(journal, signals, caps_of(config.budgets), retention)
    ledger = LedgerServicer(journal, config.witnesses.quorum)
    membership = MembershipServicer(journal, registrar)
    notice = NoticeServicer(journal)
    dispute = DisputeServicer(journal, subjects, gateway.spiffe_id, config.lookup_quota)
    erasure = ErasureServicer(journal, signals, subjects)
    audit = AuditServicer(journal, subjects)
    usage = UsageServicer(journal, config.lookup_quota, config.carried_quota, system_clock)
    return build_server(
        [
            functools.partial(token_pb2_grpc.add_TokenServiceServicer_to_server, token),
            functools.partial(consent_pb2_grpc.add_ConsentServiceServicer_to_server, consent),
            functools.partial(
                contribution_pb2_grpc.add_ContributionServiceServicer_to_server, contribution
            ),
            functools.partial(signal_pb2_grpc.add_SignalServiceServicer_to_server, signal),
            functools.partial(aggregate_pb2_grpc.add_AggregateServiceServicer_to_server, aggregate),
            functools.partial(ledger_pb2_grpc.add_LedgerServiceServicer_to_server, ledger),
            functools.partial(member_pb2_grpc.add_MembershipServiceServicer_to_server, membership),
            functools.partial(dispute_pb2_grpc.add_DisputeServiceServicer_to_server, dispute),
            functools.partial(notice_pb2_grpc.add_NoticeServiceServicer_to_server, notice),
            functools.partial(erasure_pb2_grpc.add_ErasureServiceServicer_to_server, erasure),
            functools.partial(audit_pb2_grpc.add_AuditServiceServicer_to_server, audit),
            functools.partial(usage_pb2_grpc.add_UsageServiceServicer_to_server, usage),
        ],
        address=str(config.listen.with_port(port)),
        tls=identity,
        trust_domain=config.trust_domain,
        policy=POLICY,
        limits=config.limits,
        identity_check=functools.partial(admit, journal),
        observer=CallMetrics(),
        share_port=True,
    )
