"""Tokens: the same work as openmined-psi, an elliptic-curve private set intersection in C++.

A member asks which of its 10,000 people are among 100,000 contributed ones; 5,000 are. Both sides
of both systems run on this machine, in turns, and what counts is CPU time: all parties, without
the network. openmined-psi runs in an environment of its own (`make bench` makes it; see the
Makefile): where that is missing the figures are left out.
"""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message import Message

from bench import lookups
from bench.harness import Figure
from concordat.v1 import common_pb2, signal_pb2, token_pb2
from concordat_gateway.pki import Authority, Names, new_key
from concordat_gateway.store.subjects import PEPPER_BYTES, subject_key
from concordat_privacy.catalogue.signals import SIGNALS
from concordat_privacy.oprf import (
    ELEMENT_BYTES,
    MAX_BATCH,
    BlindedBatch,
    KeyPair,
    Mode,
    blind_batch,
    evaluate_batch,
    evaluate_batch_unproven,
    finalize_batch,
    generate_key,
    protocol,
    ristretto,
    suite,
)
from concordat_privacy.signing import NONCE_BYTES, EvaluationStatement
from concordat_rpc.peer import Role, spiffe_id

VERSION = "2.0.6"
PEER = Path("build/psi-venv/bin/python")
# The Makefile puts it there once the package is in.
READY = PEER.parents[1] / f".openmined-psi-{VERSION}"
CONTRIBUTED = (0, 100_000)
QUERIED = (95_000, 105_000)
HITS = 5_000
ROUNDS = 3
NOPROOF_TARGET = 1.0
OPRF = "Without proof is the protocol's mode OPRF, which no client of ours uses"
PROOF_TARGET = 2.1
LOOKUP_BATCH = 1000

_MEMBER = spiffe_id(lookups.TRUST_DOMAIN, Role.MEMBER, "lender-1")


def run() -> list[Figure]:
    """Measure: about 45 seconds, 20 of them set-up."""
    if not READY.exists():
        print(
            f"tokens.psi_*: left out, openmined-psi {VERSION} is not in build/psi-venv "
            "(make bench puts it there)",
            file=sys.stderr,
        )
        return []
    with _openmined() as theirs, tempfile.TemporaryDirectory() as folder:
        their_set_up = theirs.ask("set_up", CONTRIBUTED, queries=QUERIED[1] - QUERIED[0])
        ours = _Ours(Path(folder))
        our_set_up = ours.set_up()
        rounds = [
            (ours.online(proof=False), ours.online(proof=True), theirs.ask("online", QUERIED))
            for _ in range(ROUNDS)
        ]
    unproven, proven, peer = zip(*rounds, strict=True)
    if {*(r.hits for r in (*unproven, *proven)), *(r["hits"] for r in peer)} != {HITS}:
        raise RuntimeError("the systems do not find the same people")
    set_up = (
        f"Set-up of {CONTRIBUTED[1]:,} items, not counted: ours {our_set_up:.1f} s straight from "
        f"the key, theirs {their_set_up['seconds']:.1f} s"
    )
    return [
        _cpu(
            "tokens.psi_noproof_vs_openmined", unproven, peer, NOPROOF_TARGET, f"{set_up}. {OPRF}"
        ),
        _cpu("tokens.psi_vs_openmined", proven, peer, PROOF_TARGET, set_up),
        _bytes(proven[0].wire, peer[0], their_set_up["bytes"]),
    ]


def identifiers(span: tuple[int, int]) -> list[bytes]:
    """As bench.psi_peer.identifiers: 18 digits each."""
    return [b"%018d" % number for number in range(*span)]


class _Peer:
    """A conversation with bench/psi_peer.py."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, what: str, span: tuple[int, int], **more: int) -> dict[str, Any]:
        asking, answering = self._process.stdin, self._process.stdout
        if asking is None or answering is None:
            raise RuntimeError("no pipes")
        asking.write(json.dumps({"do": what, "first": span[0], "last": span[1], **more}) + "\n")
        asking.flush()
        line = answering.readline()
        if not line:
            raise RuntimeError(f"{PEER} has ended")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextmanager
def _openmined() -> Iterator[_Peer]:
    # -I: nothing of this checkout's environment reaches it.
    command = [str(PEER), "-I", str(Path(__file__).with_name("psi_peer.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield _Peer(process)


@dataclass
class _Round:
    """One run over all queries."""

    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds of each step."""
    wire: dict[str, int] = field(default_factory=dict)
    """Bytes of the messages of each kind, serialised."""
    hits: int = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        spent = time.process_time() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def sent(self, message: Message) -> bytes:
        raw = message.SerializeToString()
        kind = type(message).__name__
        self.wire[kind] = self.wire.get(kind, 0) + len(raw)
        return raw

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


class _Ours:
    """A member, a key-holder and a gateway's table of contributed subjects, in one process."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self._pair: KeyPair = generate_key()
        self._pepper = os.urandom(PEPPER_BYTES)
        self._signing_key: ec.EllipticCurvePrivateKey = new_key()
        certificate = Authority.create(lookups.TRUST_DOMAIN, now).issue(
            self._signing_key.public_key(), Names(_MEMBER), now, timedelta(days=1)
        )
        self._certificate = certificate.public_bytes(Encoding.DER)
        self._table = sqlite3.connect(folder / "contributed.db")
        self._table.execute("CREATE TABLE contributed (subject BLOB PRIMARY KEY) WITHOUT ROWID")

    def set_up(self) -> float:
        """Fill the table; CPU seconds.

        The elements are made with the key itself, as a member's would come out of the protocol;
        what the protocol costs the members is what the queries measure.
        """
        started = time.process_time()
        dst = suite.DOMAINS[Mode.VOPRF].group_dst
        uniform = b"".join(
            suite.expand_message_xmd(value, dst, ristretto.UNIFORM_BYTES)
            for value in identifiers(CONTRIBUTED)
        )
        elements = ristretto.scalar_multiply_each(
            self._pair.secret.scalar, ristretto.elements_from_uniform(uniform)
        )
        subjects = sorted(subject_key(self._pepper, token) for token in _split(elements))
        self._table.executemany("INSERT INTO contributed VALUES (?)", ((s,) for s in subjects))
        self._table.commit()
        return time.process_time() - started

    def online(self, *, proof: bool) -> _Round:
        """All queries: blind, evaluate, finalise, match."""
        this = _Round()
        inputs = identifiers(QUERIED)
        tokens: list[bytes] = []
        for start in range(0, len(inputs), MAX_BATCH):
            with this.step("blind"):
                state, blinded = blind_batch(inputs[start : start + MAX_BATCH])
                request = this.sent(self._request(blinded))
            with this.step("evaluate"):
                response = this.sent(self._evaluate(request, proof=proof))
            with this.step("finalise"):
                tokens += self._finalize(state, response, proof=proof)
        for start in range(0, len(tokens), LOOKUP_BATCH):
            with this.step("match"):
                asked = signal_pb2.BatchLookupRequest(
                    tokens=b"".join(tokens[start : start + LOOKUP_BATCH]),
                    purpose=common_pb2.PURPOSE_PORTFOLIO_REVIEW,
                    signals=[lookups.SIGNAL],
                    request_id=os.urandom(16),
                    epoch=1,
                )
                this.hits += self._match(this.sent(asked))
        return this

    def _request(self, blinded: bytes) -> token_pb2.EvaluateRequest:
        signed_at = time.time_ns() // 1000
        statement = EvaluationStatement(
            epoch=1,
            quota=token_pb2.EVALUATION_QUOTA_PORTFOLIO,
            nonce=os.urandom(NONCE_BYTES),
            signed_at=signed_at,
            blinded_elements=blinded,
            spiffe_id=_MEMBER,
        )
        request = token_pb2.EvaluateRequest(
            epoch=statement.epoch,
            blinded_elements=blinded,
            nonce=statement.nonce,
            quota=token_pb2.EVALUATION_QUOTA_PORTFOLIO,
            certificate=self._certificate,
            signature=statement.sign(self._signing_key),
        )
        request.signed_at.FromMicroseconds(signed_at)
        return request

    def _evaluate(self, raw: bytes, *, proof: bool) -> token_pb2.EvaluateResponse:
        request = token_pb2.EvaluateRequest.FromString(raw)
        statement = EvaluationStatement(
            epoch=request.epoch,
            quota=request.quota,
            nonce=request.nonce,
            signed_at=request.signed_at.ToMicroseconds(),
            blinded_elements=request.blinded_elements,
            spiffe_id=_MEMBER,
        )
        if not statement.is_signed_by(self._signing_key.public_key(), request.signature):
            raise RuntimeError("a batch was not signed as it was sent")
        if not proof:
            evaluated = evaluate_batch_unproven(self._pair.secret, request.blinded_elements)
            return token_pb2.EvaluateResponse(evaluated_elements=evaluated)
        evaluated, shown = evaluate_batch(self._pair.secret, request.blinded_elements)
        return token_pb2.EvaluateResponse(evaluated_elements=evaluated, proof=shown)

    def _finalize(self, state: BlindedBatch, raw: bytes, *, proof: bool) -> list[bytes]:
        reply = token_pb2.EvaluateResponse.FromString(raw)
        if proof:
            return finalize_batch(state, reply.evaluated_elements, reply.proof, self._pair.public)
        # Past the guard that no client gets past, so that both find the same contributed tokens.
        return _split(protocol.unblind(state.blinds, reply.evaluated_elements))

    def _match(self, raw: bytes) -> int:
        """How many of a batch are contributed: the stores' way to find many subjects."""
        tokens = _split(signal_pb2.BatchLookupRequest.FromString(raw).tokens)
        subjects = sorted(subject_key(self._pepper, token) for token in tokens)
        marks = ", ".join("?" * len(subjects))
        found = self._table.execute(
            f"SELECT subject FROM contributed WHERE subject IN ({marks})", subjects
        )
        return len(found.fetchall())


def _split(packed: bytes) -> list[bytes]:
    return [packed[at : at + ELEMENT_BYTES] for at in range(0, len(packed), ELEMENT_BYTES)]


def _cpu(
    name: str,
    rounds: Sequence[_Round],
    peer: Sequence[dict[str, Any]],
    target: float,
    set_up: str,
) -> Figure:
    ours = statistics.median(each.total for each in rounds)
    theirs = statistics.median(sum(each["seconds"].values()) for each in peer)
    return Figure(
        name=name,
        value=ours,
        unit="CPU s",
        reference=theirs,
        ratio=ours / theirs,
        target=f"<= {target}",
        holds=ours / theirs <= target,
        note=f"{QUERIED[1] - QUERIED[0]:,} queries, {HITS:,} hits; ours: "
        f"{_steps([each.seconds for each in rounds])}; openmined-psi {VERSION}: "
        f"{_steps([each['seconds'] for each in peer])}; medians of {ROUNDS} rounds in turns. "
        f"Matching is HMAC and a SQLite table, without consents and ledger. {set_up}",
    )


def _steps(rounds: Sequence[dict[str, float]]) -> str:
    return ", ".join(
        f"{name} {statistics.median(each[name] for each in rounds):.2f}" for name in rounds[0]
    )


def _bytes(wire: dict[str, int], peer: dict[str, Any], set_up: int) -> Figure:
    """Whole messages of the contract, with replies as large as a gateway's."""
    evaluation = wire["EvaluateRequest"] + wire["EvaluateResponse"]
    asked = wire["BatchLookupRequest"]
    answered = _lookup_replies()
    ours = evaluation + asked + answered
    online = peer["request_bytes"] + peer["response_bytes"]
    theirs = online + set_up
    # The least that a reply to "which of these" could be: a bit each.
    least = evaluation + asked + (QUERIED[1] - QUERIED[0]) // 8
    return Figure(
        name="tokens.psi_bytes_vs_openmined",
        value=ours,
        unit="bytes",
        reference=theirs,
        ratio=ours / theirs,
        target="< 1",
        holds=ours < theirs,
        note=f"ours: Evaluate {evaluation:,} both ways (signature and certificate in), BatchLookup "
        f"of one signal {asked:,} and {answered:,} with receipts; a bit an answer would make it "
        f"{least:,}. Theirs: request and response {online:,}, set-up {set_up:,} (Golomb-"
        "compressed), without which the client cannot match; it may be kept while the "
        f"contributed set stays the same, and without it the ratio is {ours / online:.2f} "
        f"({evaluation / online:.2f} for Evaluate alone, which leaves a client as far)",
    )


def _lookup_replies() -> int:
    """Bytes of the replies to all queries, one signal for each hit, with a real receipt each."""
    [definition] = (each for each in SIGNALS if each.name == lookups.SIGNAL)
    hit = signal_pb2.SubjectResult(
        status=signal_pb2.SUBJECT_STATUS_OK,
        signals=[
            signal_pb2.Signal(
                name=definition.name,
                band=2,
                band_label=definition.labels[1],
                as_of_month=682,
                coverage=signal_pb2.COVERAGE_FULL,
                status=signal_pb2.SIGNAL_STATUS_PRESENT,
            )
        ],
    )
    miss = signal_pb2.SubjectResult(status=signal_pb2.SUBJECT_STATUS_NO_CONSENT)
    batches = (QUERIED[1] - QUERIED[0]) // LOOKUP_BATCH
    with lookups.on_sqlite() as gateway:
        pepper = os.urandom(PEPPER_BYTES)
        subjects = [subject_key(pepper, b"%032d" % number) for number in range(LOOKUP_BATCH)]
        committed = gateway.look_up(subjects)
    entry = committed.value.entry
    reply = signal_pb2.BatchLookupResponse(
        results=[hit, miss] * (LOOKUP_BATCH // 2),
        receipt=common_pb2.Receipt(
            entry_index=entry.index, entry=entry.leaf, checkpoint=committed.checkpoint
        ),
    )
    return batches * reply.ByteSize()
