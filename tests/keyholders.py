"""Real key-holders for tests, and members that sign batches for them.

A `Host` is a key-holder's folder: made as its command makes it, with an identity of the test's
authority. It serves as a process of its own (`start`), or in the test's process on a clock of the
test's (`serving`); its commands run in the test's process (`run`).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import grpc
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from concordat.v1 import keyholder_pb2, token_pb2
from concordat_gateway.pki import Authority, Names, certificate_pem, key_pem, new_key
from concordat_keyholder.cli import keyholder as command_line
from concordat_keyholder.config import load_config
from concordat_keyholder.holdings import CurrentHoldings
from concordat_keyholder.keylog import read_log
from concordat_keyholder.server import build
from concordat_keyholder.store.migrate import opened_store
from concordat_keyholder.store.tables import METADATA
from concordat_privacy.keylog import KeyLog
from concordat_privacy.oprf import PublicKey
from concordat_privacy.signing import EvaluationStatement
from concordat_rpc.metrics import CallMetrics
from concordat_rpc.peer import Role
from concordat_store.clock import Clock, system_clock
from tests.callers import Credentials, Refused, call, certified, connected, refused

TRUST_DOMAIN = "concordat.test"
SERVER_NAME = "keyholder.concordat.test"
EVALUATE = "/concordat.v1.KeyholderService/EvaluateBlinded"
UPDATE = "/concordat.v1.KeyholderService/UpdateBlinded"
LIST = "/concordat.v1.KeyholderService/ListHeldKeys"
HEALTH = "/grpc.health.v1.Health/Check"
ONLINE = token_pb2.EVALUATION_QUOTA_ONLINE
PORTFOLIO = token_pb2.EVALUATION_QUOTA_PORTFOLIO
_START_SECONDS = 60
_STOP_SECONDS = 30


def new_authority() -> Authority:
    """A consortium's authority: who holds it can make any certificate."""
    return Authority.create(TRUST_DOMAIN, datetime.now(UTC))


@dataclass(frozen=True)
class Member:
    """Whoever has a certificate and its key, and signs batches with it."""

    member_id: str
    key: ec.EllipticCurvePrivateKey
    certificate_pem: bytes

    @classmethod
    def certified_by(cls, authority: Authority, member_id: str, uri: str | None = None) -> Self:
        """With a new key, certified in the member's name, or with another URI."""
        uri = f"spiffe://{TRUST_DOMAIN}/member/{member_id}" if uri is None else uri
        return cls.of(member_id, certified(authority, uri))

    @classmethod
    def of(cls, member_id: str, credentials: Credentials) -> Self:
        """With a certificate that was made before."""
        key = serialization.load_pem_private_key(credentials.private_key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(member_id, key, credentials.certificate_pem)

    @property
    def certificate_der(self) -> bytes:
        certificate = x509.load_pem_x509_certificate(self.certificate_pem)
        return certificate.public_bytes(serialization.Encoding.DER)

    def signed(
        self,
        blinded: bytes,
        *,
        epoch: int = 1,
        quota: token_pb2.EvaluationQuota.ValueType = ONLINE,
        nonce: bytes | None = None,
        now: int | None = None,
        holders: Sequence[int] = (),
    ) -> keyholder_pb2.EvaluateBlindedRequest:
        """A batch, signed now or at another moment (microseconds since 1970)."""
        nonce = os.urandom(16) if nonce is None else nonce
        signed_at = system_clock() if now is None else now
        spiffe_id = f"spiffe://{TRUST_DOMAIN}/member/{self.member_id}"
        statement = EvaluationStatement(epoch, quota, nonce, signed_at, blinded, spiffe_id)
        request = keyholder_pb2.EvaluateBlindedRequest(
            epoch=epoch,
            blinded_elements=blinded,
            nonce=nonce,
            quota=quota,
            certificate=self.certificate_der,
            signature=statement.sign(self.key),
            holders=holders,
        )
        request.signed_at.FromMicroseconds(signed_at)
        return request


@dataclass
class Host:
    """A key-holder's folder, and its process while it serves."""

    folder: Path
    authority: Authority
    port: int = 0
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @classmethod
    def made(cls, folder: Path, authority: Authority, *options: str) -> Self:
        """Make a folder with ``concordat keyholder init`` and an identity of the authority."""
        host = cls(folder, authority)
        host.certify()
        common = ["--trust-domain", TRUST_DOMAIN, "--listen", "127.0.0.1:0"]
        result = CliRunner().invoke(command_line, ["init", str(folder), *common, *options])
        assert result.exit_code == 0, result.output
        return host

    def certify(self) -> None:
        """Put the identity there that the operator's authority issues."""
        self.folder.mkdir(exist_ok=True)
        key = new_key()
        names = Names(f"spiffe://{TRUST_DOMAIN}/keyholder/main", (SERVER_NAME,))
        certificate = self.authority.issue(
            key.public_key(), names, datetime.now(UTC), timedelta(days=1)
        )
        (self.folder / "cert.pem").write_bytes(certificate_pem(certificate))
        (self.folder / "ca.pem").write_bytes(certificate_pem(self.authority.certificate))
        (self.folder / "key.pem").touch(0o600)
        (self.folder / "key.pem").write_bytes(key_pem(key))

    @property
    def config(self) -> Path:
        return self.folder / "keyholder.toml"

    @property
    def key_log(self) -> KeyLog:
        config = load_config(self.config)
        return read_log(config.key_log, config.key_log_vkey)

    def public_key(self, epoch: int = 1) -> PublicKey:
        """What the key log says."""
        entry = self.key_log.key(epoch)
        assert entry is not None
        return entry.public_key

    @property
    def log(self) -> str:
        """What its processes wrote to stderr."""
        return (self.folder / "stderr.log").read_text()

    def edit(self, old: str, new: str) -> None:
        """Change the configuration file; works on the next start."""
        text = self.config.read_text()
        assert old in text, f"{old!r} is not in {text}"
        self.config.write_text(text.replace(old, new))

    def run(self, command: str, *arguments: str | Path, stdin: str | None = None) -> Result:
        """One of its commands, whatever comes of it."""
        line = [command, *map(str, arguments), "--config", str(self.config)]
        result = CliRunner().invoke(command_line, line, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            result.exception
        )
        return result

    def does(self, command: str, *arguments: str | Path) -> str:
        """One of its commands, which must succeed; what it printed."""
        result = self.run(command, *arguments)
        assert result.exit_code == 0, result.output
        return result.output

    def admit(self, member: Member) -> None:
        """Admit a member by its certificate."""
        file = self.folder / f"{member.member_id}.pem"
        file.write_bytes(member.certificate_pem)
        self.does("admit", member.member_id, "--certificate", file)

    def command(self, *options: str) -> list[str]:
        """The command line that serves."""
        return [
            *(sys.executable, "-m", "concordat_keyholder", "serve"),
            *("--config", str(self.config), *options),
        ]

    def start(self, *options: str) -> None:
        """Serve as a process of its own, and wait until it does."""
        assert self._process is None
        with (self.folder / "stderr.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(*options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        word, _, port = self._process.stdout.readline().partition(" ")
        assert word == "ready", self.log
        self.port = int(port)

    def fails_to_start(self, *options: str) -> str:
        """Start it where it cannot; what it says."""
        ended = subprocess.run(
            self.command(*options), capture_output=True, text=True, timeout=_START_SECONDS
        )
        assert ended.returncode == 1, ended
        assert "Traceback" not in ended.stderr
        return ended.stderr

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def stop(self) -> int:
        """Drain and stop; the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with no chance to react."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        code = process.wait(_STOP_SECONDS)
        assert process.stdout is not None
        process.stdout.close()
        return code

    @contextmanager
    def serving(self, clock: Clock) -> Iterator[None]:
        """Serve in this process, by a clock of the test's."""
        config = load_config(self.config)
        with opened_store(config.store_url) as database:
            metrics = CallMetrics(CollectorRegistry())
            server = build(
                config, CurrentHoldings(config), database, 0, clock=clock, observer=metrics
            )
            server.start()
            self.port = server.port
            try:
                yield
            finally:
                server.stop()

    def forget_members(self) -> None:
        """Empty its store: nobody is admitted, nothing was used."""
        url = load_config(self.config).store_url
        with opened_store(url) as database, database.write() as connection:
            for table in METADATA.sorted_tables:
                connection.execute(table.delete())

    def channel(self, role: Role = Role.GATEWAY) -> AbstractContextManager[grpc.Channel]:
        """A connection with a certificate of the consortium's authority."""
        uri = f"spiffe://{TRUST_DOMAIN}/{role.value}/main"
        return self.channel_with(certified(self.authority, uri))

    def channel_with(self, credentials: Credentials) -> AbstractContextManager[grpc.Channel]:
        """A connection with any certificate."""
        return connected(f"127.0.0.1:{self.port}", credentials, SERVER_NAME)


def evaluate(
    channel: grpc.Channel, request: keyholder_pb2.EvaluateBlindedRequest
) -> keyholder_pb2.EvaluateBlindedResponse:
    """Bring a batch as a gateway does."""
    return keyholder_pb2.EvaluateBlindedResponse.FromString(
        call(channel, EVALUATE, request.SerializeToString())
    )


def evaluate_refused(
    channel: grpc.Channel, request: keyholder_pb2.EvaluateBlindedRequest
) -> Refused:
    """How a batch is refused; fails the test if it is not."""
    try:
        evaluate(channel, request)
    except grpc.RpcError as error:
        return refused(error)
    raise AssertionError("the batch was evaluated")


def update(
    channel: grpc.Channel, request: keyholder_pb2.UpdateBlindedRequest
) -> keyholder_pb2.UpdateBlindedResponse:
    """Have elements moved to the next epoch."""
    return keyholder_pb2.UpdateBlindedResponse.FromString(
        call(channel, UPDATE, request.SerializeToString())
    )


def held_keys(channel: grpc.Channel) -> list[tuple[int, bytes, int]]:
    """Epoch, public key and holder of everything that is held."""
    reply = keyholder_pb2.ListHeldKeysResponse.FromString(call(channel, LIST))
    return [(key.epoch, key.public_key, key.holder) for key in reply.keys]


@contextmanager
def stopped_at_end(hosts: Sequence[Host]) -> Iterator[None]:
    """Kill those that still run after the block."""
    try:
        yield
    finally:
        for host in hosts:
            if host.is_running:
                host.kill()
