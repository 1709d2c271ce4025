"""Consent, contribution, signal and ledger services on a real server, over mutual TLS.

The server is built by the one builder, in the test's process, on the test's stores and clock, so a
test can move time and look at the ledger while real clients call.
"""

import functools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concordat.v1 import (
    audit_pb2_grpc,
    bands_pb2,
    common_pb2,
    consent_pb2,
    consent_pb2_grpc,
    contribution_pb2,
    contribution_pb2_grpc,
    dispute_pb2_grpc,
    erasure_pb2_grpc,
    ledger_pb2_grpc,
    notice_pb2_grpc,
    signal_pb2_grpc,
    usage_pb2_grpc,
)
from concordat_gateway.ledger.journal import Journal, Transaction
from concordat_gateway.pki import Authority, Names, certificate_pem, key_pem, new_key
from concordat_gateway.rules.policies import Jurisdictions
from concordat_gateway.rules.subjects import Subjects
from concordat_gateway.server import POLICY
from concordat_gateway.services.audit import AuditServicer
from concordat_gateway.services.consent import ConsentServicer
from concordat_gateway.services.contribution import ContributionServicer
from concordat_gateway.services.dispute import DisputeServicer
from concordat_gateway.services.erasure import ErasureServicer
from concordat_gateway.services.ledger import LedgerServicer
from concordat_gateway.services.notice import NoticeServicer
from concordat_gateway.services.signal import SignalServicer
from concordat_gateway.services.usage import UsageServicer
from concordat_gateway.store.control_tables import member as member_table
from concordat_gateway.store.signal_store import SignalStore
from concordat_privacy.catalogue.signals import CATALOGUE_VERSION, Disputed
from concordat_privacy.jurisdictions import Policy
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.log.cosignature import Quorum
from concordat_privacy.metering import Quota
from concordat_rpc.limits import Limits
from concordat_rpc.peer import Peer, Role, Serial, spiffe_id
from concordat_rpc.server import RpcServer, build_server
from concordat_rpc.tls import Identity, channel_credentials
from tests.stores import ManualClock, subject_keys_of
from tests.tokenkeys import TokenKeys, peppers

TRUST_DOMAIN = "concordat.test"
EPOCH = 1
PEPPER = peppers(EPOCH)[EPOCH]
KEYS = TokenKeys.of_epochs(EPOCH)
"""The token keys of a consortium that has never rotated."""
_MAKER = TokenKeys.of_epochs(1, 2, 3)
MEMBERS = ("alpha", "beta", "gamma")
CALL_SECONDS = 60
YEAR_SECONDS = 365 * 86_400
NO_WITNESSES = Quorum((), 0)
AMPLE = Quota(daily=10**6, monthly=10**7, per_second=1e6, burst=10**6)
"""More lookups than any test makes."""
ALL_JURISDICTIONS = Jurisdictions.of(["CN", "EU", "US", "ZZ"], "ZZ")


@dataclass(frozen=True)
class Caller:
    """One party's stubs, all on one connection of its own."""

    consents: consent_pb2_grpc.ConsentServiceStub
    contributions: contribution_pb2_grpc.ContributionServiceStub
    signals: signal_pb2_grpc.SignalServiceStub
    ledger: ledger_pb2_grpc.LedgerServiceStub
    usage: usage_pb2_grpc.UsageServiceStub
    notices: notice_pb2_grpc.NoticeServiceStub
    disputes: dispute_pb2_grpc.DisputeServiceStub
    erasures: erasure_pb2_grpc.ErasureServiceStub
    audit: audit_pb2_grpc.AuditServiceStub

    @classmethod
    def on(cls, channel: grpc.Channel) -> "Caller":
        return cls(
            consent_pb2_grpc.ConsentServiceStub(channel),
            contribution_pb2_grpc.ContributionServiceStub(channel),
            signal_pb2_grpc.SignalServiceStub(channel),
            ledger_pb2_grpc.LedgerServiceStub(channel),
            usage_pb2_grpc.UsageServiceStub(channel),
            notice_pb2_grpc.NoticeServiceStub(channel),
            dispute_pb2_grpc.DisputeServiceStub(channel),
            erasure_pb2_grpc.ErasureServiceStub(channel),
            audit_pb2_grpc.AuditServiceStub(channel),
        )


@dataclass(frozen=True)
class Consortium:
    """A running gateway, its three members, auditor and operator, and what stands behind it."""

    journal: Journal
    signal_store: SignalStore
    clock: ManualClock
    alpha: Caller
    beta: Caller
    gamma: Caller
    auditor: Caller
    operator: Caller
    server: RpcServer


@contextmanager
def serving(
    journal: Journal,
    signal_store: SignalStore,
    clock: ManualClock,
    keys: TokenKeys = KEYS,
    quota: Quota = AMPLE,
    carried: Quota = AMPLE,
    jurisdictions: Jurisdictions = ALL_JURISDICTIONS,
    quorum: Quorum = NO_WITNESSES,
    disputed: Disputed = Disputed.HELD_BACK,
    limits: Limits | None = None,
    retention: Policy | None = None,
) -> Iterator[Consortium]:
    """A consortium for the length of the block.

    `quota` is what each member may look up, `carried` how many older tokens it may have carried,
    `jurisdictions` the policies that consents are taken under, `disputed` what becomes of what
    subjects dispute, `retention` the policy by which rows are deleted.
    """
    join_members(journal)
    subjects = subjects_of(journal, clock, keys, carried)
    consent = ConsentServicer(journal, subjects, jurisdictions, clock)
    contribution = ContributionServicer(
        journal, signal_store, subjects, clock, jurisdictions.default, retention
    )
    signal = SignalServicer(journal, signal_store, subjects, quota, disputed, retention)
    ledger = LedgerServicer(journal, quorum)
    usage = UsageServicer(journal, quota, carried, clock)
    notice = NoticeServicer(journal)
    dispute = DisputeServicer(
        journal, subjects, spiffe_id(TRUST_DOMAIN, Role.GATEWAY, "gateway"), quota
    )
    erasure = ErasureServicer(journal, signal_store, subjects)
    audit = AuditServicer(journal, subjects)
    server = build_server(
        [
            lambda s: consent_pb2_grpc.add_ConsentServiceServicer_to_server(consent, s),
            lambda s: contribution_pb2_grpc.add_ContributionServiceServicer_to_server(
                contribution, s
            ),
            lambda s: signal_pb2_grpc.add_SignalServiceServicer_to_server(signal, s),
            lambda s: ledger_pb2_grpc.add_LedgerServiceServicer_to_server(ledger, s),
            lambda s: usage_pb2_grpc.add_UsageServiceServicer_to_server(usage, s),
            lambda s: notice_pb2_grpc.add_NoticeServiceServicer_to_server(notice, s),
            lambda s: dispute_pb2_grpc.add_DisputeServiceServicer_to_server(dispute, s),
            lambda s: erasure_pb2_grpc.add_ErasureServiceServicer_to_server(erasure, s),
            lambda s: audit_pb2_grpc.add_AuditServiceServicer_to_server(audit, s),
        ],
        address="127.0.0.1:0",
        tls=_identity(Role.GATEWAY, "gateway", ["localhost", "127.0.0.1"]),
        trust_domain=TRUST_DOMAIN,
        policy=POLICY,
        limits=limits or Limits(),
        identity_check=_admit,
        observer=_Unobserved(),
    )
    server.start()
    callers = [
        *((Role.MEMBER, name) for name in MEMBERS),
        (Role.AUDITOR, "auditor"),
        (Role.OPERATOR, "operator"),
    ]
    channels = [_channel(server.port, _identity(role, name)) for role, name in callers]
    try:
        yield Consortium(journal, signal_store, clock, *map(Caller.on, channels), server)
    finally:
        for channel in channels:
            channel.close()
        server.stop()


def peer(name: str) -> Peer:
    """A member as the interceptors name it, for tests that call rules directly."""
    return Peer(Role.MEMBER, name, spiffe_id(TRUST_DOMAIN, Role.MEMBER, name))


def subjects_of(
    journal: Journal, clock: ManualClock, keys: TokenKeys = KEYS, carried: Quota = AMPLE
) -> Subjects:
    """Names subjects by tokens that `keys` made, asking key-holders in memory."""
    pepper = peppers(*range(1, 10)).__getitem__
    own = subject_keys_of(journal, clock)
    return Subjects(journal, keys.log, pepper, keys.update, clock, carried, own)


@functools.cache
def token(number: int, epoch: int = EPOCH) -> bytes:
    """The token of person `number`; different numbers give different ones."""
    return _MAKER.token(number, epoch)


def request_id() -> bytes:
    """16 bytes never used before."""
    return uuid.uuid4().bytes


def timestamp(microseconds: int) -> Timestamp:
    """A moment as messages carry it."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def draft(
    consortium: Consortium,
    subject: int | bytes,
    purposes: Iterable[int] = (common_pb2.PURPOSE_UNDERWRITING,),
    categories: Iterable[int] = (common_pb2.DATA_CATEGORY_CREDIT_ACCOUNTS,),
    starts_in_seconds: float | None = None,
    lasts_seconds: float = YEAR_SECONDS,
) -> consent_pb2.ConsentDraft:
    """A good consent, unless the arguments say otherwise."""
    now = consortium.clock.microseconds
    validity = common_pb2.Validity(
        expiry=timestamp(now + round(((starts_in_seconds or 0) + lasts_seconds) * 1_000_000))
    )
    if starts_in_seconds is not None:
        validity.start.CopyFrom(timestamp(now + round(starts_in_seconds * 1_000_000)))
    return consent_pb2.ConsentDraft(
        token=subject if isinstance(subject, bytes) else token(subject),
        purposes=[common_pb2.Purpose.ValueType(number) for number in purposes],
        categories=[common_pb2.DataCategory.ValueType(number) for number in categories],
        validity=validity,
        notice_version="2026-1",
        evidence_sha256=b"\xee" * 32,
    )


def grant(
    caller: Caller, drafts: Sequence[consent_pb2.ConsentDraft], epoch: int = 0
) -> consent_pb2.GrantConsentsResponse:
    """Record consents under a new request_id."""
    request = consent_pb2.GrantConsentsRequest(
        request_id=request_id(), consents=drafts, epoch=epoch
    )
    return caller.consents.GrantConsents(request, timeout=CALL_SECONDS)


def grant_one(caller: Caller, one: consent_pb2.ConsentDraft) -> bytes:
    """Record a good consent; returns its id."""
    response = grant(caller, [one])
    [granted] = response.granted
    return granted.consent_id


def withdraw(caller: Caller, consent_id: bytes) -> consent_pb2.WithdrawConsentResponse:
    """Withdraw a consent."""
    request = consent_pb2.WithdrawConsentRequest(consent_id=consent_id)
    return caller.consents.WithdrawConsent(request, timeout=CALL_SECONDS)


def account(
    consortium: Consortium, subject: int | bytes, ref: int = 1, **fields: Any
) -> contribution_pb2.ContributionRow:
    """A good row about an open account as of this month, unless the fields say otherwise."""
    month = months_since_1970(consortium.clock)
    values: dict[str, Any] = {
        "account_ref": ref.to_bytes(16, "big"),
        "as_of_month": month,
        "status": 1,
        "product": 3,
        "opened_quarter": month // 3 - 8,
        "limit": 5,
        "balance": 3,
        "past_due": 2 if fields.get("days_past_due", 1) > 1 else 1,
        "days_past_due": 1,
        "utilisation": 4,
    }
    return contribution_pb2.ContributionRow(
        token=subject if isinstance(subject, bytes) else token(subject),
        account=contribution_pb2.AccountSnapshot(**(values | fields)),
    )


def application(
    consortium: Consortium, subject: int | bytes, ref: int = 1, days_ago: int = 3
) -> contribution_pb2.ContributionRow:
    """A good row about an application for credit."""
    return contribution_pb2.ContributionRow(
        token=subject if isinstance(subject, bytes) else token(subject),
        application=contribution_pb2.ApplicationEvent(
            application_ref=ref.to_bytes(16, "big"),
            day=consortium.clock.microseconds // 86_400_000_000 - days_ago,
            product=bands_pb2.PRODUCT_CLASS_REVOLVING,
        ),
    )


def months_since_1970(clock: ManualClock) -> int:
    """The clock's month."""
    today = datetime.fromtimestamp(clock.microseconds / 1_000_000, UTC)
    return (today.year - 1970) * 12 + today.month - 1


def header(request: bytes, **fields: int) -> contribution_pb2.ContributeRequest:
    """The first message of a batch."""
    values = {"epoch": EPOCH, "catalogue_version": CATALOGUE_VERSION} | fields
    return contribution_pb2.ContributeRequest(
        header=contribution_pb2.BatchHeader(request_id=request, **values)
    )


def chunk(rows: Sequence[contribution_pb2.ContributionRow]) -> contribution_pb2.ContributeRequest:
    """A later message of a batch."""
    return contribution_pb2.ContributeRequest(chunk=contribution_pb2.RowChunk(rows=rows))


def contribute(
    caller: Caller,
    rows: Sequence[contribution_pb2.ContributionRow],
    request: bytes | None = None,
    rows_a_message: int = 2_000,
    epoch: int = EPOCH,
) -> contribution_pb2.ContributeResponse:
    """Contribute one batch."""
    messages = [header(request or request_id(), epoch=epoch)]
    for start in range(0, len(rows), rows_a_message):
        messages.append(chunk(rows[start : start + rows_a_message]))
    return caller.contributions.Contribute(iter(messages), timeout=CALL_SECONDS)


def reason_of(error: grpc.RpcError) -> str:
    """The stable reason of a refusal."""
    return _detail(error, error_details_pb2.ErrorInfo()).reason


def fields_of(error: grpc.RpcError) -> list[str]:
    """The fields that a refusal names."""
    bad_request = _detail(error, error_details_pb2.BadRequest())
    return [violation.field for violation in bad_request.field_violations]


def quota_subject_of(error: grpc.RpcError) -> str:
    """The limit that a refusal names."""
    [violation] = _detail(error, error_details_pb2.QuotaFailure()).violations
    return str(violation.subject)


def retry_seconds_of(error: grpc.RpcError) -> float | None:
    """When a refusal says to come back; None where it does not."""
    retry = error_details_pb2.RetryInfo()
    if not any(detail.Unpack(retry) for detail in rpc_status.from_call(error).details):
        return None
    return retry.retry_delay.ToMilliseconds() / 1000


def _detail(error: grpc.RpcError, wanted: Any) -> Any:
    for detail in rpc_status.from_call(error).details:
        if detail.Unpack(wanted):
            return wanted
    raise AssertionError(f"no {wanted.DESCRIPTOR.name} in {error}")


class _Unobserved:
    def observe(self, method: str, code: grpc.StatusCode, seconds: float) -> None:
        """Nothing is measured here."""


def _admit(_peer: Peer, _serial: Serial, _method: str) -> None:
    """Membership is another service's, with tests of its own."""


def join_members(journal: Journal) -> None:
    """Make MEMBERS active members."""

    def change(transaction: Transaction) -> None:
        names = transaction.connection.execute(sa.select(member_table.c.member_id)).scalars()
        if MEMBERS[0] in set(names):
            return
        transaction.connection.execute(
            sa.insert(member_table),
            [
                {
                    "member_id": name,
                    "member_no": number,
                    "display_name": name.title(),
                    "state": 2,
                    "invited_at": transaction.now,
                    "joined_at": transaction.now,
                    "certificate_serial": f"{number:x}",
                }
                for number, name in enumerate(MEMBERS, start=1)
            ],
        )

    journal.write(change)


@functools.cache
def _authority() -> Authority:
    return Authority.create(TRUST_DOMAIN, datetime.now(UTC))


@functools.cache
def _identity_cached(role: Role, name: str, hosts: tuple[str, ...]) -> Identity:
    key = new_key()
    names = Names(spiffe_id(TRUST_DOMAIN, role, name), hosts)
    certificate = _authority().issue(key.public_key(), names, datetime.now(UTC), timedelta(hours=1))
    return Identity(
        certificate_pem(certificate), key_pem(key), certificate_pem(_authority().certificate)
    )


def party(role: Role, name: str, *hosts: str) -> Identity:
    """The certificate and key of a party of the tests' consortium."""
    return _identity(role, name, hosts)


def write_profile(folder: Path, name: str, port: int, ledger_key: SigningKey) -> Path:
    """The profile of a member that makes no tokens, whose gateway is reached at `port`."""
    folder.mkdir()
    identity = _identity(Role.MEMBER, name)
    (folder / "cert.pem").write_bytes(identity.certificate_pem)
    (folder / "ca.pem").write_bytes(identity.ca_pem)
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_bytes(identity.private_key_pem)
    (folder / "profile.toml").write_text(
        f'gateway = "127.0.0.1:{port}"\n'
        'server_name = "localhost"\n'
        f'spiffe_id = "{spiffe_id(TRUST_DOMAIN, Role.MEMBER, name)}"\n'
        f'ledger_vkey = "{ledger_key.verifier.encode()}"\n'
    )
    return folder


def _identity(role: Role, name: str, hosts: Sequence[str] = ()) -> Identity:
    return _identity_cached(role, name, tuple(hosts))


def _channel(port: int, identity: Identity) -> grpc.Channel:
    options = [("grpc.max_receive_message_length", 16 * 1024 * 1024)]
    return grpc.secure_channel(f"localhost:{port}", channel_credentials(identity), options)
