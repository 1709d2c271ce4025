"""A gateway that misbehaves on demand: a real gRPC server over mutual TLS, for tests of the SDK.

It keeps a real (small) ledger, evaluates with a real token key and answers in the contract's
shapes, so that what a test changes is the only thing wrong. Behaviour that belongs to the gateway
itself is tested against the gateway, not here.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from concordat import _methods
from concordat._steps import Flow, Method
from concordat.v1 import (
    aggregate_pb2,
    common_pb2,
    consent_pb2,
    contribution_pb2,
    ledger_pb2,
    signal_pb2,
    token_pb2,
    usage_pb2,
)
from concordat_gateway.pki import Authority, Names, certificate_pem, new_key
from concordat_privacy.log import leaf, merkle
from concordat_rpc.errors import Refusal
from concordat_rpc.status import to_grpc_status
from tests.peer_ledger import SPIFFE_ID, Ledger
from tests.peer_tokens import Keyholders

SERVER_NAME = "gateway.concordat.test"
LIFETIME = timedelta(days=1)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

METHODS = {method.path: method for method in vars(_methods).values() if isinstance(method, Method)}


@dataclass(frozen=True)
class Refuse:
    """Answer with a google.rpc.Status, and do nothing."""

    refusal: Refusal


@dataclass(frozen=True)
class Abort:
    """Answer with a bare status, as a proxy or the gRPC library does; by default do nothing."""

    code: grpc.StatusCode
    text: str = "cut off"
    after_work: bool = False


@dataclass(frozen=True)
class Change:
    """Do the work, then change the reply."""

    change: Callable[[Any], Any]


@dataclass(frozen=True)
class Hold:
    """Do the work once `released` is set; sets `arrived` before."""

    released: threading.Event
    arrived: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Later:
    """Do the work when so much time has passed on everybody's clock."""

    by: timedelta


Fault = Refuse | Abort | Change | Hold | Later


@dataclass
class Peer:
    """The server's state, and what it was asked."""

    ledger: Ledger = field(default_factory=Ledger)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The key-holders' time of day; it stands still."""
    clients_ahead: timedelta = timedelta()
    """How far the clients' clocks are ahead of it."""
    requests: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """Every request, by the method's name. An upload is one list of messages."""
    callers: set[str] = field(default_factory=set)
    """Addresses of the connections that calls came over."""
    port: int = 0
    conversations: int = 0
    """So many are under way."""
    takes_end: bool = False
    """Whether it says that uploads can be ended; gateways of before do not."""
    ends: int = 0
    """So many ends of uploads were said."""
    keyholders: Keyholders = field(init=False)
    _faults: dict[str, deque[Fault | None]] = field(default_factory=lambda: defaultdict(deque))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.keyholders = Keyholders(self.time)

    def clients_time(self) -> datetime:
        """The time of day on the clients' clocks."""
        return self.time + self.clients_ahead

    def next(self, method: str, *faults: Fault | None) -> None:
        """What the next calls of a method meet, one each; None: nothing."""
        self._faults[method].extend(faults)

    def answer(self, method: Method[Any, Any], request: Any, context: grpc.ServicerContext) -> Any:
        """Do what a call asks for, or what `next` says instead."""
        with self._lock:
            received = list(request) if method.flow is Flow.UPLOAD else request
            self.requests[method.name].append(received)
            self.callers.add(context.peer())
            faults = self._faults[method.name]
            fault = faults.popleft() if faults else None
        match fault:
            case Refuse(refusal):
                context.abort_with_status(to_grpc_status(refusal))
            case Hold(released, arrived):
                arrived.set()
                released.wait(30)
            case Later(by):
                self.time += by
            case Abort(code, text, False):
                context.abort(code, text)
        with self._lock:
            reply = getattr(self, f"_{method.name}")(received)
        if isinstance(reply, Refusal):
            context.abort_with_status(to_grpc_status(reply))
        match fault:
            case Abort(code, text, True):
                context.abort(code, text)
            case Change(change):
                return change(reply)
        return reply

    # What the methods do

    def _ListTokenKeys(self, _: Any) -> token_pb2.ListTokenKeysResponse:  # noqa: N802
        return self.keyholders.listing

    def _Evaluate(  # noqa: N802
        self, request: token_pb2.EvaluateRequest
    ) -> token_pb2.EvaluateResponse | Refusal:
        return self.keyholders.evaluate(request, self.time)

    def _GrantConsents(  # noqa: N802
        self, request: consent_pb2.GrantConsentsRequest
    ) -> consent_pb2.GrantConsentsResponse:
        """Refuses items whose notice is "refused"."""
        reply = consent_pb2.GrantConsentsResponse()
        for item, draft in enumerate(request.consents):
            if draft.notice_version == "refused":
                reply.refused.add(item=item, field="notice_version", reason="OUT_OF_RANGE")
                continue
            index = self.ledger.append("consent.granted", request=request.request_id.hex())
            reply.granted.add(item=item, consent_id=index.to_bytes(16, "big"), entry_index=index)
        if reply.granted:
            reply.receipt.CopyFrom(self.ledger.receipt_of(reply.granted[-1].entry_index))
        return reply

    def _ListConsents(  # noqa: N802
        self, request: consent_pb2.ListConsentsRequest
    ) -> consent_pb2.ListConsentsResponse:
        """Five consents, `page_size` a page."""
        first = int(request.page_token or 0)
        last = min(first + request.page_size, 5)
        consents = [
            consent_pb2.Consent(
                consent_id=number.to_bytes(16, "big"),
                purposes=[common_pb2.PURPOSE_UNDERWRITING],
                categories=[common_pb2.DATA_CATEGORY_INQUIRIES],
                state=consent_pb2.CONSENT_STATE_ACTIVE,
            )
            for number in range(first, last)
        ]
        return consent_pb2.ListConsentsResponse(
            consents=consents, next_page_token=str(last) if last < 5 else ""
        )

    def _Contribute(  # noqa: N802
        self, messages: list[contribution_pb2.ContributeRequest]
    ) -> contribution_pb2.ContributeResponse:
        """Refuses every row whose token begins with 0xff."""
        rows = [row for message in messages for row in message.chunk.rows]
        refused = [
            common_pb2.ItemRefusal(item=item, field="token", reason="NO_CONSENT")
            for item, row in enumerate(rows)
            if row.token[0] == 0xFF
        ]
        return contribution_pb2.ContributeResponse(
            rows_accepted=len(rows) - len(refused),
            refused=refused,
            receipt=self.ledger.receipt(
                "contribution.batch", request=messages[0].header.request_id.hex()
            ),
        )

    def _ContributeStream(  # noqa: N802
        self,
        messages: Iterator[contribution_pb2.ContributeStreamRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[contribution_pb2.ContributeStreamResponse]:
        """Takes every row of every part; a fault is met by each answer in turn."""
        self.conversations += 1
        context.add_callback(self._conversation_ended)
        upload = next(messages).header.upload_id
        parts: list[Any] = []
        self.requests["ContributeStream"].append(parts)
        opened = contribution_pb2.ContributeStreamResponse()
        opened.opened.acknowledged_sequence = 0
        opened.opened.takes_end = self.takes_end
        yield self._met("ContributeStream", opened, context)
        for message in messages:
            answer = contribution_pb2.ContributeStreamResponse()
            if message.WhichOneof("message") == "end":
                rows = sum(len(part.rows) for part in parts)
                answer.ended.parts = message.end.parts
                answer.ended.rows_accepted = rows
                receipt = self.ledger.receipt(
                    "contribution.ended",
                    upload=upload.hex(),
                    parts=message.end.parts,
                    rows=rows,
                    refused=0,
                )
                answer.ended.receipt.CopyFrom(receipt)
                self.ends += 1
                yield self._met("ContributeStream", answer, context)
                continue
            parts.append(message.part)
            answer.acknowledged.sequence = message.part.sequence
            answer.acknowledged.rows_accepted = len(message.part.rows)
            receipt = self.ledger.receipt(
                "contribution.batch",
                upload=upload.hex(),
                sequence=message.part.sequence,
                rows=len(message.part.rows),
                refused=0,
            )
            answer.acknowledged.receipt.CopyFrom(receipt)
            yield self._met("ContributeStream", answer, context)

    def _conversation_ended(self) -> None:
        self.conversations -= 1

    def _met(self, name: str, reply: Any, context: grpc.ServicerContext) -> Any:
        """The reply, or what `next` says instead."""
        faults = self._faults[name]
        match faults.popleft() if faults else None:
            case Refuse(refusal):
                context.abort_with_status(to_grpc_status(refusal))
            case Abort(code, text):
                context.abort(code, text)
            case Change(change):
                return change(reply)
        return reply

    def _Lookup(self, request: signal_pb2.LookupRequest) -> signal_pb2.LookupResponse:  # noqa: N802
        return signal_pb2.LookupResponse(
            result=_subject(request.token), receipt=self._lookup_receipt(request, [request.token])
        )

    def _BatchLookup(  # noqa: N802
        self, request: signal_pb2.BatchLookupRequest
    ) -> signal_pb2.BatchLookupResponse:
        tokens = [request.tokens[at : at + 32] for at in range(0, len(request.tokens), 32)]
        return signal_pb2.BatchLookupResponse(
            results=[_subject(token) for token in tokens],
            receipt=self._lookup_receipt(request, tokens),
        )

    def _ReviewPortfolio(  # noqa: N802
        self,
        messages: Iterator[signal_pb2.ReviewPortfolioRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[signal_pb2.ReviewPortfolioResponse]:
        """Answers every chunk; a fault is met by each answer in turn."""
        self.conversations += 1
        context.add_callback(self._conversation_ended)
        header = next(messages).header
        chunks: list[Any] = []
        self.requests["ReviewPortfolio"].append(chunks)
        for message in messages:
            chunk = message.chunk
            chunks.append(chunk)
            tokens = [chunk.tokens[at : at + 32] for at in range(0, len(chunk.tokens), 32)]
            asked = signal_pb2.BatchLookupRequest(
                request_id=chunk.request_id,
                purpose=common_pb2.PURPOSE_PORTFOLIO_REVIEW,
                signals=header.signals,
                max_age_months=header.max_age_months,
            )
            answer = signal_pb2.ReviewPortfolioResponse(
                sequence=chunk.sequence,
                results=[_subject(token) for token in tokens],
                receipt=self._lookup_receipt(
                    asked, tokens, review=header.review_id.hex(), sequence=chunk.sequence
                ),
            )
            yield self._met("ReviewPortfolio", answer, context)

    def _lookup_receipt(
        self,
        request: signal_pb2.LookupRequest | signal_pb2.BatchLookupRequest,
        tokens: list[bytes],
        **fields: leaf.Json,
    ) -> common_pb2.Receipt:
        age = {"max_age_months": request.max_age_months} if request.max_age_months else {}
        return self.ledger.receipt(
            "lookup",
            **age,
            **fields,
            request=request.request_id.hex(),
            purpose=common_pb2.Purpose.Name(request.purpose).removeprefix("PURPOSE_").lower(),
            signals=[*sorted(request.signals)],
            items=len(tokens),
            items_root=merkle.Tree.of(tokens).root.hex(),
        )

    def _Count(self, request: aggregate_pb2.CountRequest) -> aggregate_pb2.CountResponse:  # noqa: N802
        return aggregate_pb2.CountResponse(
            cells=[aggregate_pb2.Cell(count=-2)],
            error_95=3,
            charged_nano_rho=500_000_000,
            receipt=self.ledger.receipt("aggregate.charged", request=request.request_id.hex()),
        )

    def _GetCheckpoint(self, _: Any) -> ledger_pb2.GetCheckpointResponse:  # noqa: N802
        return ledger_pb2.GetCheckpointResponse(checkpoint=self.ledger.note())

    def _GetInclusionProof(  # noqa: N802
        self, request: ledger_pb2.GetInclusionProofRequest
    ) -> ledger_pb2.GetInclusionProofResponse:
        tree = self.ledger.tree(request.tree_size)
        return ledger_pb2.GetInclusionProofResponse(
            hashes=tree.inclusion_proof(request.entry_index)
        )

    def _GetConsistencyProof(  # noqa: N802
        self, request: ledger_pb2.GetConsistencyProofRequest
    ) -> ledger_pb2.GetConsistencyProofResponse:
        tree = self.ledger.tree(request.new_size)
        return ledger_pb2.GetConsistencyProofResponse(
            hashes=tree.consistency_proof(request.old_size)
        )

    def _ExportEntries(  # noqa: N802
        self, request: ledger_pb2.ExportEntriesRequest
    ) -> Iterator[ledger_pb2.ExportEntriesResponse]:
        """One entry a message."""
        note = self.ledger.note()
        for index in range(request.start_index, len(self.ledger.leaves)):
            entry = ledger_pb2.ExportedEntry(entry_index=index, entry=self.ledger.leaves[index])
            yield ledger_pb2.ExportEntriesResponse(entries=[entry], checkpoint=note)
            note = ""

    def _ListUsage(self, request: usage_pb2.ListUsageRequest) -> usage_pb2.ListUsageResponse:  # noqa: N802
        """One member, with a limit by the day alone and one alarm."""
        reply = usage_pb2.ListUsageResponse()
        reply.as_of.FromDatetime(self.time)
        member = reply.members.add(member_id=request.member_id or "alpha")
        for kind in (1, 2, 3, 4):
            member.usage.add(
                kind=kind,
                today=kind,
                this_month=10 * kind,
                daily_limit=100 if kind == 1 else 0,
            )
        member.alarms.add(kind=usage_pb2.ALARM_KIND_REFUSED_SHARE, day=20_000, description="9 of 9")
        return reply

    def _SetLookupQuota(  # noqa: N802
        self, request: usage_pb2.SetLookupQuotaRequest
    ) -> usage_pb2.SetLookupQuotaResponse:
        receipt = self.ledger.receipt(
            "quota.set",
            member=request.member_id,
            lookups_daily=request.daily_limit,
            lookups_monthly=request.monthly_limit,
        )
        return usage_pb2.SetLookupQuotaResponse(receipt=receipt)


def _subject(token: bytes) -> signal_pb2.SubjectResult:
    """No consent for tokens that begin with 0xff; else three signals."""
    if token[0] == 0xFF:
        return signal_pb2.SubjectResult(status=signal_pb2.SUBJECT_STATUS_NO_CONSENT)
    return signal_pb2.SubjectResult(
        status=signal_pb2.SUBJECT_STATUS_OK,
        signals=[
            signal_pb2.Signal(
                name="lenders_open",
                band=3,
                band_label="2",
                as_of_month=682,
                coverage=signal_pb2.COVERAGE_PARTIAL,
                status=signal_pb2.SIGNAL_STATUS_PRESENT,
            ),
            signal_pb2.Signal(name="utilisation", status=signal_pb2.SIGNAL_STATUS_NOT_FOUND),
            signal_pb2.Signal(name="spend_volatility", status=signal_pb2.SIGNAL_STATUS_NO_CONSENT),
        ],
    )


class _Router(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        method = METHODS.get(handler_call_details.method)
        if method is None or not hasattr(self._peer, f"_{method.name}"):
            return None
        if method.flow is Flow.CONVERSATION:
            return grpc.stream_stream_rpc_method_handler(
                getattr(self._peer, f"_{method.name}"),
                request_deserializer=method.request.FromString,
                response_serializer=method.reply.SerializeToString,
            )

        def behave(request: Any, context: grpc.ServicerContext) -> Any:
            return self._peer.answer(method, request, context)

        make = {
            Flow.UNARY: grpc.unary_unary_rpc_method_handler,
            Flow.UPLOAD: grpc.stream_unary_rpc_method_handler,
            Flow.DOWNLOAD: grpc.unary_stream_rpc_method_handler,
        }[method.flow]
        return make(
            behave,
            request_deserializer=method.request.FromString,
            response_serializer=method.reply.SerializeToString,
        )


class Certificates:
    """An authority, and what it signs."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self._authority = Authority.create("concordat.test", self._now)
        self.ca_pem = certificate_pem(self._authority.certificate)

    def issue(
        self, spiffe_id: str, *hosts: str, key: PrivateKey | None = None
    ) -> tuple[bytes, bytes]:
        """A certificate and its key, both PEM, valid for a day from the authority's making.

        The key is a new one on P-256 unless given.
        """
        key = key or new_key()
        names = Names(spiffe_id, hosts)
        signed = self._authority.issue(key.public_key(), names, self._now, LIFETIME)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return certificate_pem(signed), pem


@contextmanager
def serving(certificates: Certificates) -> Iterator[Peer]:
    """A running peer."""
    peer = Peer()
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([_Router(peer)])
    certificate, key = certificates.issue("spiffe://concordat.test/gateway/peer", SERVER_NAME)
    peer.port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials(
            [(key, certificate)], certificates.ca_pem, require_client_auth=True
        ),
    )
    server.start()
    try:
        yield peer
    finally:
        server.stop(0).wait()


def write_profile(folder: Path, peer: Peer, certificates: Certificates) -> Path:
    """The profile folder of a member of this peer."""
    folder.mkdir(parents=True)
    certificate, key = certificates.issue(SPIFFE_ID)
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "ca.pem").write_bytes(certificates.ca_pem)
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_bytes(key)
    (folder / "profile.toml").write_text(
        f'gateway = "127.0.0.1:{peer.port}"\n'
        f'server_name = "{SERVER_NAME}"\n'
        f'spiffe_id = "{SPIFFE_ID}"\n'
        f'ledger_vkey = "{peer.ledger.key.verifier.encode()}"\n'
        f'key_log_vkey = "{peer.keyholders.log_key.verifier.encode()}"\n'
    )
    (folder / "keys.log").write_text(peer.keyholders.log)
    return folder
